// Shows an answer while it comes: reasoning dimmed on a terminal, left out of a pipe.
#pragma once

#include <cstdio>
#include <string>

#include "engine/generation.h"
#include "text/utf8.h"

namespace zaya::app {

class Printer {
 public:
  // `reasoning`: whether reasoning is shown at all; `colour`: whether it is dimmed.
  Printer(std::FILE* out, bool reasoning, bool colour) : out_(out), reasoning_(reasoning), colour_(colour) {}

  void show(const engine::Event& event) {
    for (const auto& piece : event.pieces) {
      if (piece.reasoning) {
        if (!reasoning_) continue;
        dim(true);
        write(piece.text);
        continue;
      }
      if (dimmed_) write(at_line_start_ ? "\n" : "\n\n");
      dim(false);
      write(piece.text);
    }
    std::fflush(out_);
  }

  // Ends the last line.
  void finish() {
    dim(false);
    if (!at_line_start_) write("\n");
    std::fflush(out_);
  }

 private:
  void dim(bool on) {
    if (on == dimmed_) return;
    dimmed_ = on;
    if (colour_) std::fputs(on ? "\x1b[2m" : "\x1b[0m", out_);
  }

  void write(const std::string& text) {
    const std::string shown = colour_ ? text::replace_controls(text) : text;
    std::fwrite(shown.data(), 1, shown.size(), out_);
    if (!text.empty()) at_line_start_ = text.back() == '\n';
  }

  std::FILE* out_;
  bool reasoning_, colour_;
  bool dimmed_ = false;
  bool at_line_start_ = true;
};

}  // namespace zaya::app
