#include "server/run_ask.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <string_view>

#include "reasoning/answers.h"

namespace zaya::server {
namespace {

using reasoning::Settings;

constexpr int64_t kMaxWidth = 256, kMaxTokens = int64_t{1} << 24;  // as Settings::validate has them

// Numbers above lose their last digits in clients that read JSON numbers as doubles.
uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32 | device()) >> 11;
}

template <class T>
void read_name(Reader& reader, const char* key, T& value) {
  const auto name = reader.string(key);
  if (!name) return;
  if (const Status status = parse_name(name->substr(0, 64), value); !status.ok()) {
    reader.fail(key, fmt::format("is wrong: {}", status.to_string()));
  }
}

void read_integer(Reader& reader, const char* key, int64_t low, int64_t high, int64_t& value) {
  value = reader.integer(key, low, high).value_or(value);
}

void read_sampling(Reader& reader, reasoning::Sampling& sampling) {
  sampling.temperature = reader.number("temperature", 0, 100).value_or(sampling.temperature);
  const auto top_p = reader.number("top_p", 0, 1);
  if (top_p && *top_p == 0) reader.fail("top_p", "is 0; it must be above 0");
  sampling.top_p = top_p.value_or(sampling.top_p);
  if (const auto top_k = reader.integer("top_k", -1, INT32_MAX)) sampling.top_k = std::max<int64_t>(0, *top_k);
  sampling.min_p = reader.number("min_p", 0, 1).value_or(sampling.min_p);
}

void read_seed(Reader& reader, std::optional<uint64_t>& seed) {
  if (const auto given = reader.integer("seed", INT64_MIN, INT64_MAX)) seed = static_cast<uint64_t>(*given);
}

void read_widths(Reader& reader, Settings& settings) {
  const Json* list = reader.array("widths");
  if (list == nullptr) return;
  if (list->size() > 257) return reader.fail("widths", "has more entries than there can be rounds");
  for (const Json& width : *list) {
    if (!width.is_number_integer() || width < 1 || width > kMaxWidth) {
      return reader.fail("widths", fmt::format("must hold integers between 1 and {}", kMaxWidth));
    }
    settings.widths.push_back(width.get<int64_t>());
  }
}

// A misspelt field would silently run with another setting, for hours perhaps.
void refuse_unknown(Reader& reader) {
  static constexpr std::string_view kKnown[] = {
      "preset",  "method",      "N",       "C",           "T",      "beta",         "tau",         "final_budget",
      "seed",    "temperature", "top_p",   "top_k",       "min_p",  "tail_content", "close",       "answer_rounds",
      "choice",  "tail_order",  "carry",   "head_length", "widths", "answer_kind",  "max_seconds", "max_new_tokens",
      "prompts", "max_rounds",  "overlap", "early_stop"};
  for (const auto& [key, value] : reader.json().items()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), key) == std::end(kKnown)) {
      return reader.fail(key.substr(0, 64), "is not known", "unknown_parameter");
    }
  }
}

// `thinking_budget`: from outside the object; −1 = none.
void read_settings(Reader& reader, int64_t context, int64_t thinking_budget, const RunLimits& limits, RunAsk& run) {
  Settings& settings = run.settings;
  // As `zaya solve` chooses.
  const bool light = settings.aggregation_size * settings.tail_length + 2 * settings.thinking_budget < context;
  const std::string preset = reader.string("preset").value_or(light ? "light" : "tiny");
  if (const Status status = reasoning::apply_preset(preset.substr(0, 64), settings); !status.ok()) {
    reader.fail("preset", fmt::format("is wrong: {}", status.to_string()));
  }
  if (thinking_budget >= 1) settings.thinking_budget = thinking_budget;
  run.prompts = reader.string("prompts").value_or(preset == "tiny" ? "plain" : "boxed");
  // Never a path: it would name a file of this machine.
  if (run.prompts != "boxed" && run.prompts != "plain") reader.fail("prompts", "must be boxed or plain");

  read_name(reader, "method", settings.method);
  read_integer(reader, "N", 1, kMaxWidth, settings.population);
  read_integer(reader, "C", 1, kMaxWidth, settings.aggregation_size);
  read_integer(reader, "T", 0, 256, settings.rounds);
  read_integer(reader, "beta", 1, kMaxTokens, settings.thinking_budget);
  read_integer(reader, "tau", 1, kMaxTokens, settings.tail_length);
  read_integer(reader, "final_budget", 1, kMaxTokens, settings.final_budget);
  read_integer(reader, "head_length", 0, kMaxTokens, settings.head_length);
  read_integer(reader, "max_rounds", 0, 256, settings.max_rounds);
  read_sampling(reader, settings.sampling);
  read_name(reader, "tail_content", settings.tail_content);
  read_name(reader, "close", settings.close);
  read_name(reader, "answer_rounds", settings.answer_rounds);
  read_name(reader, "tail_order", settings.tail_order);
  read_name(reader, "carry", settings.carry);
  read_name(reader, "choice", settings.choice);
  read_widths(reader, settings);
  auto kind = reasoning::AnswerKind::automatic;
  read_name(reader, "answer_kind", kind);
  settings.answer_kind = reasoning::name_of(kind);
  settings.max_seconds = reader.number("max_seconds", 0, 1e9).value_or(-1);
  settings.early_stop = reader.boolean("early_stop").value_or(true);
  settings.overlap = reader.boolean("overlap").value_or(true);
  read_integer(reader, "max_new_tokens", 1, limits.max_new_tokens, settings.max_new_tokens);
  refuse_unknown(reader);
  if (reader.failed()) return;

  if (settings.method == reasoning::Method::best_of) reader.fail("method", "is best-of, which needs a verifier");
  if (settings.choice == reasoning::Choice::verifier) reader.fail("choice", "is verifier, and there is none here");
  settings.apply_method();
  if (settings.widths.empty() && settings.aggregation_size > settings.population &&
      settings.method != reasoning::Method::pacore) {
    reader.fail(
        "C", fmt::format("is {}; it must be at most N, which is {}", settings.aggregation_size, settings.population));
  }
  if (settings.carry == reasoning::Carry::resume && settings.aggregation_size != 1 && settings.rounds > 0) {
    reader.fail("C", "must be 1 where tails are continued (carry = resume)");
  }
  if (const Status status = settings.validate(); !status.ok()) {
    reader.fail(settings.widths.empty() ? "" : "widths", fmt::format("makes no run: {}", status.to_string()));
  }
  if (reader.failed()) return;
  int64_t candidates = 0;
  for (const int64_t width : settings.round_widths()) candidates += width;
  if (candidates > limits.max_candidates) {
    reader.fail("N", fmt::format("is too large: these settings make {} candidates; at most {} are allowed", candidates,
                                 limits.max_candidates));
  }
  // The server's limit becomes the run's only where the run could reach it: a limited run goes round by round.
  constexpr int64_t kTags = 16;
  if (settings.max_new_tokens < 0 &&
      candidates * (settings.thinking_budget + settings.final_budget + kTags) > limits.max_new_tokens) {
    settings.max_new_tokens = limits.max_new_tokens;
  }
}

// The one user message. Templates of the room's prompts have a place for a problem, and none for what came before it.
std::string read_problem(Reader& reader, const AskLimits& limits) {
  const Json variables = chat_variables(reader, limits);
  if (reader.failed()) return {};
  if (variables.contains("tools")) reader.fail("tools", "cannot be had together with markovian_rsa");
  const Json& messages = variables["messages"];
  for (size_t i = 0; i < messages.size(); ++i) {
    if (i == 0 && messages[i]["role"] == "user") continue;
    reader.fail(fmt::format("messages[{}]", i), "cannot be had: a run of Markovian RSA takes one user message alone",
                "unsupported_value");
  }
  if (reader.failed()) return {};
  std::string problem = messages[0]["content"].get<std::string>();
  if (problem.find_first_not_of(" \t\r\n") == std::string::npos) reader.fail("messages[0].content", "is empty");
  return problem;
}

}  // namespace

bool wants_run(const Json& body) {
  const auto found = body.find("markovian_rsa");
  return found != body.end() && !found->is_null() && *found != false;
}

void parse_run(const Json& body, const AskContext& context, const RunLimits& limits, RunAsk& run,
               std::optional<ApiError>& error) {
  Reader reader(body, "", error);
  if (!context.backend.make_generator || limits.max_runs <= 0) {
    return reader.fail("markovian_rsa", "is not supported: this server does not offer it", "unsupported_parameter");
  }
  const Json* given = reader.object("markovian_rsa");
  if (given == nullptr) return;
  run.problem = read_problem(reader, context.limits);
  (void)reader.string("model");
  read_stream(reader, run.ask);
  run.ask.prompts.resize(1);

  // What a run cannot do, rather than ignoring it.
  const char* no_run = "a run of Markovian RSA has no use for it";
  if (reader.integer("n", 1, context.limits.max_choices).value_or(1) != 1) {
    reader.fail("n", "must be 1 with markovian_rsa", "unsupported_value");
  }
  for (const char* key : {"stop", "logprobs", "logit_bias", "functions", "audio"}) reader.refuse(key, no_run);
  for (const char* key : {"presence_penalty", "frequency_penalty"}) {
    if (reader.number(key, -2, 2).value_or(0) != 0) reader.fail(key, "must be 0 with markovian_rsa");
  }
  if (reader.number("repetition_penalty", 0.01, 100).value_or(1) != 1) {
    reader.fail("repetition_penalty", "must be 1 with markovian_rsa");
  }
  if (const Json* format = reader.object("response_format")) {
    Reader wanted(*format, "response_format", error);
    if (wanted.string("type").value_or("text") != "text") wanted.fail("type", "must be text");
  }

  // Fields that any chat request may have stand for the run's own where the object does not say.
  read_sampling(reader, run.settings.sampling);
  std::optional<uint64_t> seed;
  read_seed(reader, seed);
  ThinkingChoice thinking;
  Json variables;
  read_effort(reader, "reasoning_effort", thinking);
  read_thinking(reader, thinking, variables);
  if (!thinking.think) reader.fail("markovian_rsa", "needs the model to think", "unsupported_value");
  const auto most = [&](const char* key) { read_integer(reader, key, 1, INT32_MAX, run.settings.max_new_tokens); };
  most("max_tokens");
  most("max_completion_tokens");
  if (reader.failed()) return;
  run.settings.max_new_tokens = std::min(run.settings.max_new_tokens, limits.max_new_tokens);

  Reader object(*given, "markovian_rsa", error);
  read_seed(object, seed);
  read_settings(object, context.backend.context(), thinking.budget, limits, run);
  run.settings.seed = seed ? *seed : random_seed();
  // Formats repeat these.
  run.ask.prompts.front().sampling.temperature = run.settings.sampling.temperature;
  run.ask.prompts.front().sampling.top_p = run.settings.sampling.top_p;
}

}  // namespace zaya::server
