// zaya pack: a checkpoint's weights as the kernels read them, with what that cost in exactness.
#include "model/pack.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <sstream>

#include "apps/zaya/common.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/verbs.h"
#include "base/file.h"
#include "checkpoint/packed.h"
#include "model/calibration.h"

namespace zaya::app {
namespace {

struct Options {
  std::string model, out, format = "q4", calibrate;
  int threads = 0;
  bool json = false;
};

const char* class_name(model::TensorClass tensor_class) {
  switch (tensor_class) {
    case model::TensorClass::expert: return "experts";
    case model::TensorClass::attention: return "attention";
    case model::TensorClass::router: return "router";
    case model::TensorClass::head: return "embedding and head";
  }
  return "other";
}

constexpr size_t kPieceTokens = 2048;

// One line of a calibration file: its "tokens" as they are, its "text", or its "messages" through the chat template.
Result<std::vector<int32_t>> line_tokens(const std::string& line, const text::Tokenizer& tokenizer,
                                         const Result<text::ChatTemplate>& chat_template) {
  const text::Json json = text::Json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto has = [&](const char* key, bool (text::Json::*is)() const noexcept) {
    return json.is_object() && json.contains(key) && (json[key].*is)();
  };
  if (has("text", &text::Json::is_string)) return tokenizer.encode(json["text"].get<std::string>());
  if (has("messages", &text::Json::is_array)) {
    if (!chat_template.ok()) return chat_template.status();
    ZAYA_ASSIGN(const std::string rendered, chat_template->render({{"messages", json["messages"]}}));
    return tokenizer.encode(rendered);
  }
  if (!has("tokens", &text::Json::is_array)) {
    return Status(Code::malformed, "there is no \"text\", \"messages\" or \"tokens\"");
  }
  std::vector<int32_t> tokens;
  for (const text::Json& token : json["tokens"]) {
    if (!token.is_number_integer()) return Status(Code::malformed, "\"tokens\" are integers");
    // Whatever the model does not know is its error to make; this only keeps the number as it is.
    tokens.push_back(static_cast<int32_t>(std::clamp<int64_t>(token.get<int64_t>(), -1, INT32_MAX)));
  }
  return tokens;
}

// The texts of a calibration file as token ids: one per line of a .jsonl file; any other file is one text. Long ones
// are cut.
Result<std::vector<std::vector<int32_t>>> calibration_texts(const std::string& path,
                                                            const std::filesystem::path& directory) {
  ZAYA_ASSIGN(const std::string content, read_file(path));
  ZAYA_ASSIGN(const text::Tokenizer tokenizer, text::Tokenizer::load(directory / "tokenizer.json"));
  std::vector<std::vector<int32_t>> texts;
  if (path.ends_with(".jsonl")) {
    const Result<text::ChatTemplate> chat_template = text::ChatTemplate::load(directory);
    std::istringstream lines(content);
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
      ++number;
      if (line.find_first_not_of(" \t\r") == line.npos) continue;
      Result<std::vector<int32_t>> tokens = line_tokens(line, tokenizer, chat_template);
      if (!tokens.ok()) return tokens.status().with_context(fmt::format("{}:{}", path, number));
      texts.push_back(std::move(tokens).value());
    }
  } else {
    texts.push_back(tokenizer.encode(content));
  }
  std::vector<std::vector<int32_t>> pieces;
  for (const std::vector<int32_t>& text : texts) {
    for (size_t at = 0; at < text.size(); at += kPieceTokens) {
      const size_t count = std::min(text.size() - at, kPieceTokens);
      pieces.emplace_back(text.begin() + static_cast<std::ptrdiff_t>(at),
                          text.begin() + static_cast<std::ptrdiff_t>(at + count));
    }
  }
  return pieces;
}

// Shows a bar, and stops at Ctrl-C.
class Watched {
 public:
  explicit Watched(const char* what) : what_(what) {}
  bool operator()(int64_t done, int64_t total) {
    if (progress_ == nullptr) progress_ = std::make_shared<Progress>(what_, total);
    progress_->update(done);
    return !take_interrupt();
  }

 private:
  const char* what_;
  std::shared_ptr<Progress> progress_;
};

Result<model::Importance> importance_from(const Options& options, const std::filesystem::path& directory) {
  ZAYA_ASSIGN(const auto texts, calibration_texts(options.calibrate, directory));
  ZAYA_ASSIGN(checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::open(directory));
  ZAYA_ASSIGN(auto backend, ops::make_backend("cpu", {.threads = options.threads}));
  return model::calibrate(std::move(checkpoint), std::move(backend), texts, Watched("calibrating"));
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const model::Preset preset, model::preset_named(options.format));
  ZAYA_ASSIGN(const std::filesystem::path directory, model_directory(options.model));
  if (const std::string packed_as = checkpoint::packed_preset(directory); !packed_as.empty()) {
    return Status(Code::invalid_argument, fmt::format("{} is packed already, as {}", directory.string(), packed_as),
                  "start from the unpacked checkpoint");
  }
  ZAYA_ASSIGN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::open(directory));
  catch_interrupts();
  model::Importance importance;
  if (!options.calibrate.empty()) {
    ZAYA_ASSIGN(importance, importance_from(options, directory));
  }
  const Result<model::PackReport> report =
      model::pack(checkpoint, preset, options.out, options.threads, Watched("packing"),
                  options.calibrate.empty() ? nullptr : &importance);
  if (!report.ok()) return report.status();

  if (options.json) {
    text::Json classes = text::Json::array();
    for (const model::PackedClass& c : report->classes) {
      text::Json entry{{"class", class_name(c.tensor_class)},
                       {"format", ops::weight_type_name(c.type)},
                       {"weights", c.weights},
                       {"bytes", c.bytes}};
      entry["decibels"] = c.noise > 0 ? text::Json(c.decibels()) : text::Json();
      classes.push_back(std::move(entry));
    }
    fmt::print("{}\n", json_text({{"bytes", report->bytes}, {"classes", classes}}, 2));
    return Status();
  }
  fmt::print("{:<20} {:>6} {:>14} {:>12} {:>16}\n", "", "format", "weights", "bits each", "signal to noise");
  for (const model::PackedClass& c : report->classes) {
    fmt::print("{:<20} {:>6} {:>14} {:>12.3f} {:>16}\n", class_name(c.tensor_class), ops::weight_type_name(c.type),
               c.weights, 8.0 * static_cast<double>(c.bytes) / static_cast<double>(c.weights),
               c.noise > 0 ? fmt::format("{:.2f} dB", c.decibels()) : "exact");
  }
  fmt::print("{} holds {:.3f} GB\n", options.out, static_cast<double>(report->bytes) / 1e9);
  return Status();
}

}  // namespace

Action add_pack(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  verb.add_option("MODEL", options->model, "Checkpoint directory")->required();
  verb.add_option("OUT", options->out, "Directory to write")->required();
  verb.add_option("--format", options->format, "bf16, q8 or q4 (experts 4.5 bits a weight, the rest 8.5)");
  verb.add_option(
          "--calibrate", options->calibrate,
          "Run the model over this text first, and pack with most care what it uses: a .jsonl file of lines with "
          "\"text\" or \"messages\", or any other text")
      ->check(CLI::ExistingFile);
  verb.add_option("--threads", options->threads, "Threads (default: every physical core)")->check(CLI::Range(0, 1024));
  verb.add_flag("--json", options->json, "Machine-readable report");
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
