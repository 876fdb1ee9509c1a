// Parses arbitrary bytes as a template and renders it with a small fixed context under small limits. Whatever the
// bytes, the result is a text or a Status, soon.
#include <cstddef>
#include <cstdint>
#include <string>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using zaya::text::Json;
  static const Json kVariables = Json::parse(R"({
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Größe 😀 <x>"},
                 {"role": "assistant", "content": null, "reasoning": "r",
                  "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1, "b": [1.5, true]}}}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}}],
    "name": "Zoë", "text": "The quick brown fox", "lines": "a\n\nb\r\nc", "n": 7, "big": 9223372036854775807, "pi": 3.14,
    "numbers": [3, 1, 2], "mixed": [1, "a", null, true, 2.5, [1], {"k": "v"}], "user": {"name": "Ann", "tags": ["x", "y"]},
    "bos_token": "<s>", "add_generation_prompt": true})");
  auto parsed = zaya::text::ChatTemplate::parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  zaya::text::jinja::RenderOptions options;
  options.limits.steps = 20'000;
  options.limits.output_bytes = 1 << 16;
  options.limits.text_bytes = 1 << 16;
  options.limits.live_bytes = 1 << 20;
  options.limits.depth = 400;
  options.limits.call_depth = 20;
  options.now = [] { return std::tm{}; };
  (void)parsed->render(kVariables, options).ok();
  return 0;
}
