#include "libzaya/session.h"

#include <fmt/format.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packed.h"
#include "model/model.h"
#include "ops/backend.h"

namespace zaya {
namespace {

// Whether a rendered prompt leaves the model inside its reasoning: it ends with the open tag, white space aside.
bool ends_inside_reasoning(std::string_view prompt, const engine::Thinking& thinking) {
  const size_t end = prompt.find_last_not_of(" \t\r\n");
  return end != std::string_view::npos && prompt.substr(0, end + 1).ends_with(thinking.open_tag);
}

template <class T>
void override_with(T& value, const std::optional<T>& chosen) {
  if (chosen.has_value()) value = *chosen;
}

}  // namespace

Result<engine::SamplingParams> load_sampling_defaults(const std::filesystem::path& directory) {
  engine::SamplingParams params;
  params.top_p = 0.95;
  const std::filesystem::path path = directory / "generation_config.json";
  const Result<std::string> content = read_file(path, size_t{1} << 20);
  if (!content.ok())
    return content.status().code() == Code::not_found ? Result(params)
                                                      : Result<engine::SamplingParams>(content.status());
  const text::Json json = text::Json::parse(*content, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Status(Code::malformed, fmt::format("{} is not a JSON object", path.string()));

  const auto read = [&](const char* key, auto& value) {
    using T = std::decay_t<decltype(value)>;
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (std::is_integral_v<T> ? found->is_number_integer() : found->is_number()) value = found->get<T>();
  };
  read("temperature", params.temperature);
  read("top_p", params.top_p);
  read("top_k", params.top_k);
  read("min_p", params.min_p);
  read("repetition_penalty", params.repetition_penalty);
  const auto sample = json.find("do_sample");
  if (sample != json.end() && sample->is_boolean() && !sample->get<bool>()) params.temperature = 0;
  if (Status status = params.validate(1); !status.ok()) return status.with_context(path.string());
  return params;
}

Result<std::unique_ptr<ops::Backend>> make_backend(const LoadOptions& options, bool packed) {
  ops::Activations activations = packed ? ops::Activations::bf16 : ops::Activations::f32;
  if (options.activations == "f32") {
    activations = ops::Activations::f32;
  } else if (options.activations == "bf16") {
    activations = ops::Activations::bf16;
  } else if (options.activations == "int8") {
    activations = ops::Activations::int8;
  } else if (options.activations != "auto") {
    return Status(Code::invalid_argument, "there are no activations named \"" + options.activations + "\"",
                  "use auto, f32, bf16 or int8");
  }
  return ops::make_backend(options.backend, {.threads = options.threads, .activations = activations});
}

Result<model::Options> model_options(const LoadOptions& options, bool packed) {
  model::Options result;
  ZAYA_ASSIGN(result.preset, model::preset_named(options.format));
  result.kv = packed ? ops::KvType::bf16 : ops::KvType::f32;
  if (options.kv != "auto") {
    ZAYA_ASSIGN(result.kv, ops::kv_type_named(options.kv));
  }
  if (options.head != "auto" && options.head != "full" && options.head != "two-stage") {
    return Status(Code::invalid_argument, "there is no head named \"" + options.head + "\"",
                  "use auto, full or two-stage");
  }
  result.two_stage_head = options.head == "auto" ? packed : options.head == "two-stage";
  return result;
}

Result<std::unique_ptr<model::Model>> open_model(const std::filesystem::path& directory, const LoadOptions& options) {
  ZAYA_ASSIGN(const model::Preset preset, model::preset_named(options.format));
  const std::string packed_as = checkpoint::packed_preset(directory);
  const bool packs = preset != model::Preset::as_stored || !packed_as.empty();
  ZAYA_ASSIGN(const model::Options how, model_options(options, packs));
  ZAYA_ASSIGN(std::unique_ptr<ops::Backend> backend, make_backend(options, packs));
  if (packed_as.empty()) {
    ZAYA_ASSIGN(checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::open(directory));
    return model::Model::load(std::move(checkpoint), std::move(backend), how);
  }
  if (preset != model::Preset::as_stored && options.format != packed_as) {
    return Status(Code::invalid_argument,
                  fmt::format("{} is packed as {} already, not as {}", directory.string(), packed_as, options.format),
                  "leave the format out, or start from the unpacked checkpoint");
  }
  ZAYA_ASSIGN(checkpoint::PackedCheckpoint packed, checkpoint::PackedCheckpoint::open(directory));
  return model::Model::load(std::move(packed), std::move(backend), how);
}

Result<Session> Session::open(const std::filesystem::path& directory, const LoadOptions& options,
                              const engine::EngineOptions& engine_options) {
  ZAYA_ASSIGN(std::unique_ptr<model::Model> model, open_model(directory, options));
  ZAYA_ASSIGN(text::Tokenizer tokenizer, text::Tokenizer::load(directory / "tokenizer.json"));
  Session session;
  session.directory = directory;
  session.engine = std::make_shared<engine::Engine>(std::move(model), std::move(tokenizer));
  ZAYA_RETURN_IF_ERROR(session.engine->configure(engine_options));
  Result<text::ChatTemplate> chat_template = text::ChatTemplate::load(directory);
  if (chat_template.ok()) {
    session.chat_template = std::move(chat_template).value();
  } else if (chat_template.status().code() != Code::not_found) {
    return chat_template.status();
  }
  ZAYA_ASSIGN(session.sampling, load_sampling_defaults(directory));
  return session;
}

engine::Request Session::base_request(const GenerateOptions& options) const {
  engine::Request request;
  request.sampling = sampling;
  override_with(request.sampling.temperature, options.temperature);
  override_with(request.sampling.top_p, options.top_p);
  override_with(request.sampling.top_k, options.top_k);
  override_with(request.sampling.min_p, options.min_p);
  override_with(request.sampling.repetition_penalty, options.repetition_penalty);
  request.sampling.seed = options.seed;
  request.max_tokens = options.max_tokens;
  request.stop_strings = options.stop;
  request.stop_tokens = engine->model().config().eos_tokens;
  request.cancel = options.cancel;
  return request;
}

Result<engine::Request> Session::chat_request(text::Json variables, const GenerateOptions& options) const {
  if (!chat_template.has_value()) {
    return Status(Code::not_found, fmt::format("{} has no chat template", directory.string()),
                  "add chat_template.jinja to it, or continue bare text with --raw");
  }
  variables["add_generation_prompt"] = true;
  variables["enable_thinking"] = options.think;
  ZAYA_ASSIGN(const std::string prompt, chat_template->render(variables));
  engine::Request request = base_request(options);
  // The template has written every special token itself; the post-processor would add an end of turn.
  request.prompt = engine->tokenizer().encode(prompt);
  request.thinking.starts_inside = ends_inside_reasoning(prompt, request.thinking);
  request.thinking.budget = options.think_budget;
  return request;
}

Result<engine::Request> Session::completion_request(std::string_view text, const GenerateOptions& options) const {
  engine::Request request = base_request(options);
  if (const auto bos = engine->model().config().bos_token) request.prompt.push_back(*bos);
  for (text::TokenId token : engine->tokenizer().encode(text)) request.prompt.push_back(token);
  return request;
}

Reply to_reply(const engine::Outcome& outcome) {
  return {.reasoning = outcome.reasoning,
          .answer = outcome.answer,
          .finish = engine::finish_name(outcome.finish),
          .prompt_tokens = outcome.prompt_tokens,
          .reasoning_tokens = outcome.reasoning_tokens,
          .new_tokens = static_cast<int64_t>(outcome.tokens.size()),
          .prefill_seconds = outcome.prefill_seconds,
          .decode_seconds = outcome.decode_seconds};
}

}  // namespace zaya
