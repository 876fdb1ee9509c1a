// libzaya: run a ZAYA1 model inside your own program.
//
//   auto model = zaya::Model::load("path/to/ZAYA1-8B");
//   if (!model.ok()) return fail(model.status().to_string());
//   auto reply = model->chat({{"user", "What is 47 * 86?"}}, {}, [](const zaya::Piece& p) { std::cout << p.text; });
//
// Nothing here throws; every call that can fail returns a Result or a Status (base/status.h: code, sentence, hint).
// A Model is movable. One call at a time per Model; different Models are independent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace zaya {

struct LoadOptions {
  int threads = 0;              // 0 = all physical cores this process may use
  std::string backend = "cpu";  // or "reference": readable, exact, slow
  // "stored" reads the weights as they lie in the files; "bf16", "q8" and "q4" pack them into memory while loading.
  std::string format = "stored";
  // "f32": a token's result never depends on what shares its step. "bf16": packed weights may meet activations rounded
  // to BF16, on AMX tiles where the processor has them. "int8": besides, 4- and 8-bit weights meet activations rounded
  // to 8 bits: faster, and less exact. "auto": bf16 for a packed format, else f32.
  std::string activations = "auto";
  // Keys and values: "f32", "bf16" or "int8"; "auto": bf16 for a packed format, else f32.
  std::string kv = "auto";
  // "full" multiplies the whole LM head with every token; "two-stage" reads an 8-bit head in 4 bits and only the likely
  // rows whole: the likeliest token stays the same, the tail of the distribution is approximate. "auto": two-stage for
  // a packed format.
  std::string head = "auto";
};

struct Message {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// Unset sampling fields take the model's own generation_config.json, else temperature 1, top-p 0.95.
struct GenerateOptions {
  std::optional<double> temperature;  // 0 = greedy
  std::optional<double> top_p;
  std::optional<int64_t> top_k;  // 0 = off
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<uint64_t> seed;   // unset = different each time
  int64_t max_tokens = -1;        // new tokens, reasoning included; -1 = until the context is full
  std::vector<std::string> stop;  // strings that end the answer
  bool think = true;              // let the model reason first
  int64_t think_budget = -1;      // reasoning tokens before the answer is forced; -1 = no limit
  std::stop_token cancel;         // asked before every token
};

// A piece of streamed text; the view is valid during the call only.
struct Piece {
  bool reasoning = false;
  std::string_view text;
};
using PieceSink = std::function<void(const Piece&)>;

struct Reply {
  std::string reasoning;
  std::string answer;
  std::string finish;  // "stop", "length" or "cancelled"
  int64_t prompt_tokens = 0;
  int64_t reasoning_tokens = 0;
  int64_t new_tokens = 0;      // reasoning, answer and stop token
  double prefill_seconds = 0;  // until the first new token
  double decode_seconds = 0;   // from the first new token to the last
};

class Model {
 public:
  // `directory`: a checkpoint in Hugging Face form, of either published layout, with its tokenizer.json.
  static Result<Model> load(const std::filesystem::path& directory, const LoadOptions& options = {});

  // Answers the conversation through the model's chat template.
  Result<Reply> chat(const std::vector<Message>& messages, const GenerateOptions& options = {},
                     const PieceSink& sink = {});

  // Continues a text as it stands, without a template. `think` and `think_budget` have no effect.
  Result<Reply> complete(std::string_view text, const GenerateOptions& options = {}, const PieceSink& sink = {});

  // Token ids of a text (special tokens in it recognised, none added), and back.
  std::vector<int32_t> tokenize(std::string_view text) const;
  std::string detokenize(const std::vector<int32_t>& tokens) const;

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace zaya
