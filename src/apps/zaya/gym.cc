// zaya gym: lists the environments, prints problems, checks answers.
#include "gym/gym.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"
#include "gym/problem_json.h"
#include "text/chat_template.h"

namespace zaya::app {
namespace {

using text::Json;

struct SampleOptions {
  std::vector<std::string> environments, difficulties;
  std::string split = "train", model;
  uint64_t seed = 0;
  int64_t count = 1;
  bool json = false, chat = false;
};

int list(bool json) {
  if (json) {
    Json all = Json::array();
    for (const gym::Environment* environment : gym::environments()) {
      all.push_back({{"name", environment->name()},
                     {"summary", environment->summary()},
                     {"growth", environment->growth()},
                     {"max_useful_difficulty", environment->max_useful_difficulty()}});
    }
    fmt::print("{}\n", json_text(all));
    return kFine;
  }
  for (const gym::Environment* environment : gym::environments()) {
    fmt::print("{:<16} 0-{}  {}\n{:<16}      {}\n", environment->name(), environment->max_useful_difficulty(),
               environment->summary(), "", environment->growth());
  }
  return kFine;
}

// "3" or "0-4".
Result<std::vector<int>> levels_of(const std::vector<std::string>& given) {
  std::vector<int> levels;
  for (const std::string& text : given) {
    int first = 0, last = 0, used = 0;
    const int found = std::sscanf(text.c_str(), "%6d%n-%6d%n", &first, &used, &last, &used);
    if (found < 2) last = first;
    if (found < 1 || used != static_cast<int>(text.size()) || first < 0 || last < first || last > 1000) {
      return Status(Code::invalid_argument, fmt::format("\"{}\" is no difficulty", text), "give one like 2, or 0-4");
    }
    for (int level = first; level <= last; ++level) levels.push_back(level);
  }
  return levels;
}

// The conversation as training sees it: the template's text around the question, the solution, the end of the turn.
Result<std::string> chat_text(const text::ChatTemplate& chat, const gym::Problem& problem) {
  const Json user = {{"role", "user"}, {"content", problem.prompt}};
  ZAYA_ASSIGN(std::string text, chat.render({{"messages", Json::array({user})}, {"add_generation_prompt", true}}));
  constexpr std::string_view kThink = "<think>\n";
  std::string answer = gym::assistant_text(problem);
  if (text.ends_with(kThink)) answer.erase(0, kThink.size());  // ZAYA1's generation prompt opens the block itself
  return text + answer + "<|im_end|>\n";
}

Status sample(const SampleOptions& options) {
  std::vector<const gym::Environment*> chosen;
  for (const std::string& name : options.environments) {
    if (name == "all") {
      chosen.assign(gym::environments().begin(), gym::environments().end());
      break;
    }
    chosen.push_back(gym::find_environment(name));
    if (!chosen.back()) {
      return Status(Code::not_found, fmt::format("there is no environment \"{}\"", name), "`zaya gym list` shows them");
    }
  }
  const auto split = gym::parse_split(options.split);
  if (!split) return Status(Code::invalid_argument, "--split is train or held_out");
  ZAYA_ASSIGN(const std::vector<int> levels, levels_of(options.difficulties));
  std::optional<text::ChatTemplate> chat;
  if (options.chat) {
    ZAYA_ASSIGN(const std::filesystem::path path, model_directory(options.model));
    ZAYA_ASSIGN(chat, text::ChatTemplate::load(path));
  }
  bool first = true;
  for (const gym::Environment* environment : chosen) {
    for (const int level : levels) {
      for (int64_t i = 0; i < options.count; ++i) {
        const gym::Problem problem =
            gym::make_problem(*environment, *split, options.seed + static_cast<uint64_t>(i), level);
        std::string rendered;
        if (chat) {
          ZAYA_ASSIGN(rendered, chat_text(*chat, problem));
        }
        if (options.json) {
          Json json = Json::parse(gym::problem_json(problem));
          if (chat) json["chat"] = rendered;
          fmt::print("{}\n", json_text(json));
        } else if (chat) {
          fmt::print("{}", rendered);
        } else {
          fmt::print("{}{} (difficulty {}, seed {}, {})\n{}\n\n{}\n", first ? "" : "\n", problem.environment, level,
                     problem.seed, gym::name_of(problem.split), problem.prompt, gym::assistant_text(problem));
        }
        first = false;
      }
    }
  }
  return Status();
}

// One line in, one line out: {"problem": {…}, "answer": "…"}, or the problem's own keys with "response" for the answer.
Result<Json> check_line(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Status(Code::malformed, "expected one JSON object per line");
  const bool nested = json.contains("problem");
  const auto given = json.find(nested ? "answer" : "response");
  if (given == json.end() || !given->is_string()) {
    return Status(Code::malformed, "expected {\"problem\": {…}, \"answer\": \"…\"}, or a problem with a \"response\"");
  }
  ZAYA_ASSIGN(const gym::Problem problem, gym::parse_problem(json_text(nested ? json["problem"] : json)));
  const std::string answer = given->get<std::string>();
  return Json{{"correct", gym::verify_answer(problem, answer)},
              {"final_answer", gym::final_answer(answer)},
              {"known_environment", gym::find_environment(problem.environment) != nullptr}};
}

Status check() {
  int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++number;
    if (line.empty()) continue;
    const auto verdict = check_line(line);
    if (!verdict.ok()) return verdict.status().with_context(fmt::format("line {}", number));
    fmt::print("{}\n", json_text(*verdict));
    std::fflush(stdout);  // the program at the other end of the pipe may wait for it
  }
  return Status();
}

int finish(const Status& status) { return status.ok() ? kFine : fail(status); }

}  // namespace

Action add_gym(CLI::App& verb) {
  auto exit_code = std::make_shared<int>(kFine);
  verb.require_subcommand(1);

  CLI::App* list_verb = verb.add_subcommand("list", "The environments and what grows with their difficulty");
  auto json = std::make_shared<bool>(false);
  list_verb->add_flag("--json", *json, "One JSON array");
  list_verb->footer("Example: zaya gym list");
  list_verb->callback([=] { *exit_code = list(*json); });

  CLI::App* sample_verb = verb.add_subcommand("sample", "Problems with worked solutions");
  auto options = std::make_shared<SampleOptions>();
  sample_verb->add_option("ENVIRONMENT", options->environments, "Names, or all")->required();
  options->difficulties = {"0"};
  sample_verb->add_option("-d,--difficulty", options->difficulties, "Levels, like 2 or 0-4 (default: 0)");
  sample_verb->add_option("-n,--n", options->count, "Problems per environment and difficulty")
      ->check(CLI::Range(int64_t{1}, int64_t{100000000}));
  sample_verb->add_option("--seed", options->seed, "Seed of the first; the next ones count up from it");
  sample_verb->add_option("--split", options->split, "train or held_out; no problem is in both")
      ->check(CLI::IsMember({"train", "held_out"}));
  sample_verb->add_flag("--json", options->json, "One JSON object per line");
  sample_verb->add_flag("--chat", options->chat, "The whole text of the conversation, through a chat template");
  sample_verb->add_option("--model", options->model,
                          "Model directory whose template --chat uses (default: the embedded)");
  sample_verb->footer(
      "Example: zaya gym sample countdown knights_knaves --difficulty 0-3 --n 2 --split held_out\n"
      "         zaya gym sample all -d 0-4 -n 1000 --json > problems.jsonl");
  sample_verb->callback([=] { *exit_code = finish(sample(*options)); });

  CLI::App* check_verb = verb.add_subcommand("check", "Verdicts on answers: JSON lines on standard input");
  check_verb->footer(
      "Example: echo '{\"problem\": {\"environment\": \"addition\", \"prompt\": \"What is 2 + 2?\", \"answer\": "
      "\"4\"}, "
      "\"answer\": \"It is \\\\boxed{4}\"}' | zaya gym check");
  check_verb->callback([=] { *exit_code = finish(check()); });
  return [exit_code] { return *exit_code; };
}

}  // namespace zaya::app
