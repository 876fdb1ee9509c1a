// A model directory made ready to answer: checkpoint, tokenizer, chat template and sampling defaults together. The
// public header and the program's verbs both stand on it.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "engine/engine.h"
#include "ops/backend.h"
#include "text/chat_template.h"
#include "zaya/zaya.h"

namespace zaya {

struct Session {
  std::shared_ptr<engine::Engine> engine;           // shared with the service that steps it, if there is one
  std::optional<text::ChatTemplate> chat_template;  // none: the directory has no template
  engine::SamplingParams sampling;                  // what generation_config.json advises
  std::filesystem::path directory;

  static Result<Session> open(const std::filesystem::path& directory, const LoadOptions& options = {},
                              const engine::EngineOptions& engine_options = {});

  // The request that asks for the assistant's next turn. `variables` is what the template reads: messages, tools, …;
  // generation prompt and thinking switch are added.
  Result<engine::Request> chat_request(text::Json variables, const GenerateOptions& options) const;

  // The request that continues a bare text. An empty text starts from bos.
  Result<engine::Request> completion_request(std::string_view text, const GenerateOptions& options) const;

 private:
  engine::Request base_request(const GenerateOptions& options) const;
};

// The sampling that a generation_config.json asks for; its do_sample = false is temperature 0. Defaults where it is
// silent or absent: temperature 1, top-p 0.95 (what the model's authors advise).
Result<engine::SamplingParams> load_sampling_defaults(const std::filesystem::path& directory);

// The backend that `options` ask for; `packed`: whether the weights will be.
Result<std::unique_ptr<ops::Backend>> make_backend(const LoadOptions& options, bool packed);

// The same for the model's own options.
Result<model::Options> model_options(const LoadOptions& options, bool packed);

// The model of a directory, a checkpoint or a packed model, as `options` ask. Session::open adds the tokenizer.
Result<std::unique_ptr<model::Model>> open_model(const std::filesystem::path& directory, const LoadOptions& options);

Reply to_reply(const engine::Outcome& outcome);

}  // namespace zaya
