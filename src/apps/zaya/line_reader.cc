#include "apps/zaya/line_reader.h"

#include <editline/readline.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "apps/zaya/common.h"

namespace zaya::app {

std::optional<std::string> LineReader::read_line(const std::string& prompt) {
  if (is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO)) {
    char* line = ::readline(prompt.c_str());
    if (line == nullptr) return std::nullopt;
    std::string text(line);
    std::free(line);
    if (!text.empty()) ::add_history(text.c_str());
    return text;
  }
  std::string text;
  if (!std::getline(std::cin, text)) return std::nullopt;
  return text;
}

std::optional<std::string> LineReader::read() {
  constexpr std::string_view kFence = "\"\"\"";
  std::optional<std::string> line = read_line(prompt_);
  if (!line.has_value()) return line;
  std::string text = *line;

  if (text.starts_with(kFence)) {
    text.erase(0, kFence.size());
    size_t close;
    while ((close = text.find(kFence)) == std::string::npos) {
      line = read_line(". ");
      if (!line.has_value()) return line;
      text += (text.empty() ? "" : "\n") + *line;
    }
    return text.substr(0, close);
  }
  while (text.ends_with('\\')) {
    text.pop_back();
    line = read_line(". ");
    if (!line.has_value()) return line;
    text += "\n" + *line;
  }
  return text;
}

}  // namespace zaya::app
