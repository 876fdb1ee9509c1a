// zaya run: one answer, streamed.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/printer.h"
#include "apps/zaya/verbs.h"

namespace zaya::app {
namespace {

struct Options {
  ModelOptions model;
  SamplingOptions sampling;
  std::string prompt, system;
  bool raw = false, json = false, ignore_stop = false, show_thinking = false, hide_thinking = false;
  int logprobs = -1;
};

text::Json logprob_json(const engine::TokenLogprob& record, const text::Tokenizer& tokenizer) {
  return {
      {"token", record.token}, {"text", tokenizer.decode(std::span(&record.token, 1))}, {"logprob", record.logprob}};
}

text::Json outcome_json(const engine::Outcome& outcome, const text::Json& logprobs) {
  text::Json json = {{"answer", outcome.answer},
                     {"reasoning", outcome.reasoning},
                     {"finish", engine::finish_name(outcome.finish)},
                     {"tokens", outcome.tokens},
                     {"prompt_tokens", outcome.prompt_tokens},
                     {"reasoning_tokens", outcome.reasoning_tokens},
                     {"budget_spent", outcome.budget_spent},
                     {"prefill_seconds", outcome.prefill_seconds},
                     {"decode_seconds", outcome.decode_seconds}};
  if (!outcome.stop_string.empty()) json["stop_string"] = outcome.stop_string;
  if (!logprobs.empty()) json["logprobs"] = logprobs;
  return json;
}

int run(const Options& options, const CLI::App& verb) {
  std::string prompt = options.prompt;
  if (prompt == "-") prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  Result<Session> session = options.model.open();
  if (!session.ok()) return fail(session.status());

  const GenerateOptions generate_options = options.sampling.result(verb);
  text::Json messages = text::Json::array();
  if (!options.system.empty()) messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  Result<engine::Request> request = options.raw ? session->completion_request(prompt, generate_options)
                                                : session->chat_request({{"messages", messages}}, generate_options);
  if (!request.ok()) return fail(request.status());
  request->sampling.top_logprobs = options.logprobs;
  if (options.ignore_stop) request->stop_tokens.clear();

  const bool colour = wants_colour(STDOUT_FILENO);
  const bool reasoning = options.show_thinking || (is_terminal(STDOUT_FILENO) && !options.hide_thinking);
  Printer printer(stdout, reasoning, colour);
  text::Json logprobs = text::Json::array();
  catch_interrupts();
  Result<engine::Outcome> outcome = generate(*session->engine, std::move(*request), [&](const engine::Event& event) {
    if (!options.json) printer.show(event);
    if (event.sampled.chosen.has_value()) {
      text::Json record = logprob_json(*event.sampled.chosen, session->engine->tokenizer());
      record["top"] = text::Json::array();
      for (const auto& top : event.sampled.top)
        record["top"].push_back(logprob_json(top, session->engine->tokenizer()));
      logprobs.push_back(std::move(record));
    }
  });
  if (!outcome.ok()) {
    if (!options.json) printer.finish();
    return fail(outcome.status());
  }
  if (options.json) {
    fmt::print("{}\n", json_text(outcome_json(*outcome, logprobs)));
  } else {
    printer.finish();
    if (is_terminal(STDERR_FILENO)) fmt::print(stderr, "{}\n", speed_line(*outcome));
    if (outcome->finish == engine::Finish::length) fmt::print(stderr, "zaya: stopped at the token limit\n");
  }
  return outcome->finish == engine::Finish::cancelled ? kFailed : kFine;
}

}  // namespace

Action add_run(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.add_to(verb);
  verb.add_option("-p,--prompt", options->prompt, "The question; - reads it from standard input")->required();
  verb.add_option("--system", options->system, "System message");
  verb.add_flag("--raw", options->raw, "Continue the text as it stands, without the chat template");
  options->sampling.add_to(verb);
  verb.add_flag("--show-thinking", options->show_thinking, "Print the reasoning even into a pipe");
  verb.add_flag("--hide-thinking", options->hide_thinking, "Do not print the reasoning");
  verb.add_flag("--ignore-stop", options->ignore_stop, "Go on behind stop tokens (for measuring)");
  verb.add_flag("--json", options->json, "Print one JSON object when done: texts, tokens, timings");
  verb.add_option("--logprobs", options->logprobs,
                  "With --json: log probabilities of the K likeliest tokens at each step")
      ->check(CLI::Range(0, 100));
  return [options, &verb] { return run(*options, verb); };
}

}  // namespace zaya::app
