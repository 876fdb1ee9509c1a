#include "apps/zaya/line_reader.h"

#include <editline/readline.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <iostream>

#include "apps/zaya/common.h"
#include "text/utf8.h"

namespace zaya::app {
namespace {

// One byte from the terminal, or -1 at its end and after Ctrl-C. A signal that comes just before a blocking read, or on
// another thread, interrupts nothing, so this waits in short turns and looks at the flag itself.
int read_byte() {
  constexpr int kTurn = 50;  // milliseconds
  pollfd terminal{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  while (!interrupt_pending()) {
    if (::poll(&terminal, 1, kTurn) <= 0) continue;
    unsigned char byte;
    return ::read(STDIN_FILENO, &byte, 1) == 1 ? byte : -1;
  }
  return -1;
}

bool line_is_new = false;  // nothing of the current line was read yet

// For libedit, which takes the result for a wide character.
int read_character(std::FILE*) {
  int lead = read_byte();
  // A Ctrl-D that was typed between two prompts, when the terminal was not libedit's, arrives as a zero.
  constexpr int kControlD = 4;
  if (lead == 0 && line_is_new) lead = kControlD;
  line_is_new = false;
  if (lead < 0x80) return lead;
  std::string bytes(1, static_cast<char>(lead));
  for (int left = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1; left > 0; --left) {
    const int next = read_byte();
    if (next < 0) return -1;
    bytes += static_cast<char>(next);
  }
  return static_cast<int>(text::decode_utf8(bytes).value);
}

}  // namespace

LineReader::LineReader(std::string prompt) : prompt_(std::move(prompt)) {
  // libedit converts by the locale. The text is UTF-8 whatever the environment says; only this category is set, so that
  // numbers keep their point.
  if (std::setlocale(LC_CTYPE, "") == nullptr || std::string_view(::nl_langinfo(CODESET)) != "UTF-8") {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  ::rl_getc_function = read_character;
}

std::optional<std::string> LineReader::read_line(const std::string& prompt) {
  if (is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO)) {
    line_is_new = true;
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
