// The file's `decoder`: how the texts of tokens become one text. Written as a stream, so that decoding a whole list and
// decoding token by token are the same code.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::text {

struct DecoderStep {
  enum class Kind {
    replace,        // in each token, or across all of them after `fuse`
    byte_fallback,  // runs of "<0x0A>"-like tokens become the text of these bytes
    fuse,           // all tokens become one
    strip,          // up to `strip_start` and `strip_stop` characters `content` off a token's ends
    metaspace,      // `pattern`, one character, becomes a space; in the first token nothing, if `drop_in_first`
    join,           // a space between tokens: what a file without a decoder asks for
  } kind;
  std::string pattern;  // replace, metaspace: never empty
  std::string content;  // replace; strip: one character
  uint64_t strip_start = 0;
  uint64_t strip_stop = 0;
  bool drop_in_first = false;  // metaspace
  bool fused = false;          // a `fuse` came before, so all tokens are one; set by DecoderChain
};

// Flattened and validated by the file's reader; byte_fallback and join never follow fuse.
class DecoderChain {
 public:
  DecoderChain() = default;
  explicit DecoderChain(std::vector<DecoderStep> steps);
  const std::vector<DecoderStep>& steps() const { return steps_; }

 private:
  std::vector<DecoderStep> steps_;
};

// One pass of tokens through a chain, which must outlive it.
class DecoderStream {
 public:
  explicit DecoderStream(const DecoderChain& chain) : chain_(&chain), states_(chain.steps().size()) {}

  // Appends to `out` what `token` (its text in the vocabulary) settles.
  void push(std::string_view token, std::string& out) { push_from(0, token, out); }
  // Appends what was held back, and starts anew.
  void finish(std::string& out);

 private:
  struct State {
    std::string held;       // byte_fallback: bytes; fused replace, strip: a tail that may yet change
    bool started = false;   // metaspace, join: the first token has passed; fused strip: the start is done
    uint64_t stripped = 0;  // fused strip: characters taken off the start
  };

  void push_from(size_t step, std::string_view token, std::string& out);
  void flush_bytes(size_t step, std::string& out);
  void push_fused_replace(size_t step, std::string_view token, bool at_end, std::string& out);
  void push_fused_strip(size_t step, std::string_view token, bool at_end, std::string& out);

  const DecoderChain* chain_;
  std::vector<State> states_;  // one for each step
};

}  // namespace zaya::text
