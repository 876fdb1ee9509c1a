// Answers come from models: reading and comparing them must end, whatever they hold.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "reasoning/answers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zaya::reasoning;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (AnswerKind kind : {AnswerKind::automatic, AnswerKind::option, AnswerKind::number, AnswerKind::code}) {
    (void)extract_answer(text, kind);
  }
  const size_t half = text.find('\n');
  const std::string_view a = text.substr(0, half);
  const std::string_view b = half == std::string_view::npos ? a : text.substr(half + 1);
  if (!same_answer(a, a) || same_answer(a, b) != same_answer(b, a)) std::abort();
  return 0;
}
