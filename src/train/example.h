// Examples: the token sequences that training sees, and which of their tokens count in the loss.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace zaya::train {

struct Example {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss;  // loss[t]: whether predicting token t counts; loss[0] never does
  int32_t kind = 0;           // the index of its environment or file in Sources::kinds(), for the log
};

// Turns texts and conversations into examples of at most `context` tokens.
class Encoder {
 public:
  // The tokenizer and chat template of a folder in Hugging Face form.
  static Result<Encoder> load(const std::filesystem::path& folder, int64_t context, bool loss_on_all);

  // <bos> text <eos>, all of it in the loss. Nothing when it is longer than the context.
  std::optional<Example> text(std::string_view text) const;

  // A conversation whose last message is the assistant's: its tokens (reasoning, answer, end of turn) are the loss, or
  // everything is. The rest is rendered as the prompt of a generation, so that the model trains on exactly what it
  // will see. With `think` the assistant's content is "<think>\n…\n</think>\n\nanswer"; an answer without a think block
  // follows the template's empty one.
  //
  // Answer-preserving trimming (arXiv 2605.05365): what exceeds the context is cut from the end of the reasoning;
  // its beginning and the whole answer stay. Earlier turns lose their reasoning first. Nothing when the rest alone
  // does not fit. invalid_argument for messages of another form.
  Result<std::optional<Example>> chat(const text::Json& messages) const;

  const text::Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  Encoder(text::Tokenizer tokenizer, text::ChatTemplate chat_template)
      : tokenizer_(std::move(tokenizer)), template_(std::move(chat_template)) {}

  Result<std::vector<int32_t>> prompt(const text::Json& messages, bool think) const;

  text::Tokenizer tokenizer_;
  text::ChatTemplate template_;
  int64_t context_ = 0;
  bool loss_on_all_ = false;
  std::optional<int32_t> bos_;
  int32_t eos_ = 1;
  std::string end_of_turn_;
};

}  // namespace zaya::train
