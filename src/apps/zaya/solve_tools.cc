#include "apps/zaya/solve_tools.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "apps/zaya/common.h"
#include "reasoning/answers.h"
#include "reasoning/remote_generator.h"
#include "text/utf8.h"

namespace zaya::app {

using reasoning::Run;

void RemoteOptions::add_to(CLI::App& verb) {
  verb.add_option("--endpoint", endpoints,
                  "OpenAI-compatible servers (http://host:port/v1) to run on instead; MODEL, if given, then lends its "
                  "tokenizer for counting")
      ->allow_extra_args(false);
  verb.add_option("--endpoint-model", model, "The model's name at the servers (default: the first they list)");
  verb.add_option("--api-key-env", key_variable, "Environment variable that holds the servers' key");
  verb.add_option("--endpoint-extra", extra, "JSON object whose fields are added to every request");
  verb.add_option("--per-endpoint", per_endpoint, "Requests under way at one server")->check(CLI::Range(1, 1024));
  verb.add_option("--endpoint-timeout", timeout, "Seconds without a token after which a server counts as stuck");
  verb.add_option("--attempts", attempts, "Attempts at one candidate, over all servers")->check(CLI::Range(1, 100));
}

Result<std::unique_ptr<reasoning::Generator>> open_remote(const RemoteOptions& options,
                                                          const std::string& model_directory) {
  reasoning::RemoteSettings settings;
  settings.endpoints = options.endpoints;
  settings.model = options.model;
  settings.extra = options.extra;
  settings.per_endpoint = options.per_endpoint;
  settings.stall_seconds = options.timeout;
  settings.attempts = options.attempts;
  if (const char* key = std::getenv(options.key_variable.c_str()); key != nullptr) settings.key = key;
  if (!model_directory.empty()) {
    ZAYA_ASSIGN(text::Tokenizer tokenizer,
                text::Tokenizer::load(std::filesystem::path(model_directory) / "tokenizer.json"));
    settings.tokenizer = std::move(tokenizer);
  }
  ZAYA_ASSIGN(std::unique_ptr<reasoning::RemoteGenerator> generator,
              reasoning::RemoteGenerator::create(std::move(settings)));
  return std::unique_ptr<reasoning::Generator>(std::move(generator));
}

reasoning::Verifier command_verifier(const std::string& command, const std::string& problem) {
  return [command, problem](const reasoning::Candidate& candidate) {
    const std::string input = json_text(
        {{"problem", problem}, {"answer", candidate.answer.value_or("")}, {"text", candidate.trace.answer.text}});
    const auto before = std::signal(SIGPIPE, SIG_IGN);  // a verifier need not read all of it
    double score = 0;
    if (std::FILE* pipe = ::popen(command.c_str(), "w"); pipe != nullptr) {
      std::fwrite(input.data(), 1, input.size(), pipe);
      score = ::pclose(pipe) == 0 ? 1 : 0;
    }
    std::signal(SIGPIPE, before);
    return score;
  };
}

int show_run(const reasoning::SavedRun& saved, bool json) {
  if (json) {
    fmt::print("{}\n", saved.result.empty() ? "{\"event\":\"result\",\"stopped\":\"no\"}" : saved.result);
    return kFine;
  }
  Result<Run> run = reasoning::restore_run(saved, [](std::span<const text::TokenId>) { return std::string(); });
  if (!run.ok()) return fail(run.status());
  const auto& settings = run->settings();
  fmt::print("{}\n", text::replace_controls(saved.problem));
  fmt::print("{} · N {} · C {} · T {} · β {} · τ {} · seed {}{}\n", name_of(settings.method), settings.population,
             settings.aggregation_size, settings.rounds, settings.thinking_budget, settings.tail_length, settings.seed,
             saved.sessions > 1 ? fmt::format(" · {} sessions", saved.sessions) : "");
  for (const auto& round : run->rounds()) {
    fmt::print("\nround {}\n", round[0].round);
    for (const auto& candidate : round) {
      if (candidate.state != reasoning::Candidate::State::done) {
        fmt::print("  {:>3}  –\n", candidate.index + 1);
        continue;
      }
      std::string parents;
      for (int64_t parent : candidate.parents) parents += (parents.empty() ? " ←" : ",") + std::to_string(parent + 1);
      fmt::print("  {:>3}{}  {} tokens, {}{}\n", candidate.index + 1, parents, candidate.trace.new_tokens,
                 candidate.trace.closed ? "finished" : "cut",
                 candidate.answer.has_value() ? "  → " + text::replace_controls(*candidate.answer) : "");
    }
    for (const auto& vote : run->votes(round[0].round)) {
      fmt::print("  {} × {}\n", vote.candidates.size(), text::replace_controls(vote.answer));
    }
  }
  const reasoning::RunResult result = run->result();
  const text::Json line = text::Json::parse(saved.result, nullptr, false);
  const auto stopped = line.is_object() ? line.find("stopped") : line.end();
  const bool ended = line.is_object() && stopped != line.end() && stopped->is_string();
  fmt::print("\n{} new tokens in {:.1f} s, {}\n{}\n", result.new_tokens, saved.seconds,
             ended ? stopped->get<std::string>() : "not ended",
             text::replace_controls(result.text.empty() ? result.answer : result.text));
  return kFine;
}

int compare_answers() {
  std::string line;
  constexpr size_t kLongest = size_t{1} << 20;
  while (std::getline(std::cin, line)) {
    if (line.size() > kLongest) return fail(Status(Code::out_of_range, "a line is longer than a megabyte"));
    const text::Json json = text::Json::parse(line, nullptr, false);
    if (!json.is_object()) return fail(Status(Code::malformed, "a line is no JSON object"));
    const auto text_of = [&](const char* key) {
      const auto found = json.find(key);
      return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    reasoning::AnswerKind kind = reasoning::AnswerKind::automatic;
    if (const std::string name = text_of("kind"); !name.empty()) {
      if (Status status = reasoning::parse_name(name, kind); !status.ok()) return fail(status);
    }
    const auto answer = reasoning::extract_answer(text_of("text"), kind);
    // The gold answer may be marked up like the text.
    const std::string gold = reasoning::extract_answer(text_of("gold")).value_or(text_of("gold"));
    const bool same = answer.has_value() && reasoning::same_answer(gold, *answer);
    fmt::print("{}\n",
               json_text({{"answer", answer.has_value() ? text::Json(*answer) : text::Json()}, {"same", same}}));
  }
  return kFine;
}

}  // namespace zaya::app
