// Reads what a person types: with line editing and history on a terminal (libedit), plainly from a pipe.
#pragma once

#include <optional>
#include <string>

namespace zaya::app {

class LineReader {
 public:
  explicit LineReader(std::string prompt);

  // One entry, its continuation lines joined: a line that ends with \ goes on in the next one, and """ opens a block
  // that the next """ closes. Nothing at the end of input or after a signal.
  std::optional<std::string> read();

 private:
  std::optional<std::string> read_line(const std::string& prompt);
  std::string prompt_;
};

}  // namespace zaya::app
