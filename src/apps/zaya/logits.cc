// zaya logits: FP32 logits of every position, for comparing implementations; and which experts were chosen.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <vector>

#include "apps/zaya/common.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/verbs.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "model/model.h"

namespace zaya::app {
namespace {

struct Options {
  ModelOptions model;
  std::string tokens, out;
  int64_t chunk = 64;
  bool choices = false;
};

// "2,5,9", or the content of a file when given as "@FILE"; white space is allowed between the numbers.
Result<std::vector<int32_t>> parse_tokens(std::string text) {
  if (text.starts_with('@')) {
    ZAYA_ASSIGN(text, read_file(text.substr(1), size_t{64} << 20));
  }
  std::vector<int32_t> tokens;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto skip = [&](std::string_view what) {
    while (at != end && what.find(*at) != std::string_view::npos) ++at;
  };
  for (skip(" \t\r\n"); at != end; skip(", \t\r\n")) {
    int32_t token = 0;
    const auto [rest, error] = std::from_chars(at, end, token);
    if (error != std::errc()) {
      return Status(Code::invalid_argument,
                    fmt::format("\"{}\" is no token id", std::string(at, std::min(end, at + 12))),
                    "give ids like 2,5,9 or @FILE");
    }
    tokens.push_back(token);
    at = rest;
  }
  if (tokens.empty()) return Status(Code::invalid_argument, "there are no tokens", "give ids like 2,5,9 or @FILE");
  return tokens;
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const std::vector<int32_t> tokens, parse_tokens(options.tokens));
  ZAYA_ASSIGN(const std::filesystem::path directory, model_directory(options.model.model));
  ZAYA_ASSIGN(const auto model, open_model(directory, options.model.load));
  const int64_t count = static_cast<int64_t>(tokens.size()), vocabulary = model->config().vocab_size;
  const int64_t layers = model->config().num_layers(), top_k = model->config().experts_per_token;
  std::vector<checkpoint::TensorDeclaration> tensors{{"logits", checkpoint::DType::f32, {count, vocabulary}}};
  if (options.choices) tensors.push_back({"choices", checkpoint::DType::f32, {count, layers, top_k}});
  ZAYA_ASSIGN(auto writer, checkpoint::SafetensorsWriter::create(options.out, tensors));
  model::SequenceState sequence = model->new_sequence();
  std::vector<float> logits, choices(options.choices ? static_cast<size_t>(count * layers * top_k) : 0);
  Progress progress("logits", count);
  for (int64_t done = 0; done < count;) {
    const int64_t step = std::min(options.chunk, count - done);
    const model::TokenRun part{
        &sequence, std::span(tokens).subspan(static_cast<size_t>(done), static_cast<size_t>(step)), model::Logits::all};
    model::TraceFunction trace;
    if (options.choices) {
      trace = [&](const model::LayerTrace& layer) {
        for (int64_t i = 0; i < step; ++i) {
          std::copy_n(layer.choice.data() + i * top_k, top_k,
                      choices.data() + ((done + i) * layers + layer.layer) * top_k);
        }
      };
    }
    ZAYA_RETURN_IF_ERROR(model->forward({&part, 1}, logits, trace));
    ZAYA_RETURN_IF_ERROR(writer.append(std::as_bytes(std::span(logits))));
    done += step;
    progress.update(done);
  }
  ZAYA_RETURN_IF_ERROR(writer.append(std::as_bytes(std::span(choices))));
  return writer.finish();
}

}  // namespace

Action add_logits(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.load.head = "full";  // whoever asks for logits wants them all
  options->model.add_to(verb);
  verb.add_option("--tokens", options->tokens, "Token ids: 2,5,9 or @FILE")->required();
  verb.add_option("--out", options->out, "The safetensors file to write: `logits` [n, vocabulary], FP32")->required();
  verb.add_flag("--choices", options->choices,
                "Write `choices` [n, layers, experts per token] too: the experts that the router chose (the number of "
                "experts: none, the skip class), as FP32");
  verb.add_option("--chunk", options->chunk, "Tokens per step; does not change the result")
      ->check(CLI::Range(1, 65536));
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
