// Journals are files, and what servers stream is worse.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "reasoning/http.h"
#include "reasoning/journal.h"
#include "reasoning/prompts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zaya::reasoning;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto saved = parse_journal(text); saved.ok()) {
    if (const auto run = restore_run(*saved, [](auto) { return std::string("tail"); }); run.ok()) (void)run->result();
  }
  (void)Prompts::parse(text, "fuzz");
  EventStream events;
  (void)events.push(text, [](std::string_view payload) { return parse_chat_chunk(payload).status(); });
  (void)parse_chat_chunk(text);
  (void)first_model(text);
  (void)error_text(500, text);
  return 0;
}
