#include "eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "nlohmann/json.hpp"

namespace zaya::eval {
namespace {

std::string percent(double value) { return fmt::format("{:.1f} %", 100 * value); }
std::string range(const Interval& interval) {
  return fmt::format("{:.1f} – {:.1f} %", 100 * interval.low, 100 * interval.high);
}
std::string share_text(const Share& share) {
  return fmt::format("{} ({})", percent(share.value), range(share.interval));
}

std::string p_text(double p) { return p < 0.0001 ? "< 0.0001" : fmt::format("{:.4f}", p); }

// What stands in a table must not end its cell.
std::string cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' || c == '\r' ? ' ' : c;
  }
  return out;
}

std::string settings_text(const StrategySummary& one) {
  const reasoning::Settings& s = one.settings;
  std::string text = fmt::format("{}, N {}", name_of(s.method), s.population);
  if (!one.tokens_of.empty()) text += fmt::format(" (chosen to spend the tokens of {})", one.tokens_of);
  if (s.rounds > 0) text += fmt::format(", C {}, T {}, τ {}", s.aggregation_size, s.rounds, s.tail_length);
  return text + fmt::format(", β {}, answers ≤ {} tokens, temperature {}, top-p {}", s.thinking_budget, s.final_budget,
                            s.sampling.temperature, s.sampling.top_p);
}

std::string source_text(const Plan& plan) {
  std::string text;
  bool gym = false;
  for (const std::string& source : plan.set.sources) {
    text += (text.empty() ? "" : ", ") + source;
    gym = gym || source.starts_with("gym");
  }
  if (!gym) return text;
  std::string difficulties;
  for (int difficulty : plan.set.gym.difficulties) {
    difficulties += (difficulties.empty() ? "" : ", ") + std::to_string(difficulty);
  }
  return text + fmt::format(" ({} split, difficulties {}, {} problems of each, seeds from {})",
                            gym::name_of(plan.set.gym.split), difficulties, plan.set.gym.count,
                            plan.set.gym.first_seed);
}

void append_groups(const Summary& summary, std::string& text) {
  std::vector<std::string> groups;
  for (const StrategySummary& one : summary.strategies) {
    for (const GroupSummary& group : one.groups) {
      if (std::find(groups.begin(), groups.end(), group.group) == groups.end()) groups.push_back(group.group);
    }
  }
  if (groups.empty()) return;
  std::sort(groups.begin(), groups.end());
  text += "\n## By group\n\n| group | items |";
  for (const StrategySummary& one : summary.strategies) text += " " + cell(one.name) + " |";
  text += "\n|---|---|";
  for (size_t i = 0; i < summary.strategies.size(); ++i) text += "---|";
  text += "\n";
  for (const std::string& group : groups) {
    std::string row;
    int64_t items = 0;
    for (const StrategySummary& one : summary.strategies) {
      const auto found = std::find_if(one.groups.begin(), one.groups.end(),
                                      [&](const GroupSummary& candidate) { return candidate.group == group; });
      if (found != one.groups.end()) items = std::max(items, found->items);
      row += fmt::format(" {} |", found == one.groups.end() ? "–" : share_text(found->accuracy));
    }
    text += fmt::format("| {} | {} |{}\n", cell(group), items, row);
  }
}

void append_at_k(const Summary& summary, std::string& text) {
  const bool several = std::any_of(summary.strategies.begin(), summary.strategies.end(),
                                   [](const StrategySummary& one) { return one.pass.size() > 1; });
  if (!several) return;
  text +=
      "\n## pass@k and vote@k\n\nOver the samples of an item: at least one of k is right (without bias), and the most "
      "frequent of k answers is (over 200 draws where k is less than the samples).\n\n| strategy | k | pass@k | vote@k "
      "|\n|---|---|---|---|\n";
  for (const StrategySummary& one : summary.strategies) {
    for (size_t i = 0; i < one.pass.size(); ++i) {
      text += fmt::format("| {} | {} | {} | {} |\n", cell(one.name), one.pass[i].k, share_text(one.pass[i].share),
                          share_text(one.vote[i].share));
    }
  }
}

void append_rounds(const Summary& summary, std::string& text) {
  const bool several = std::any_of(summary.strategies.begin(), summary.strategies.end(),
                                   [](const StrategySummary& one) { return one.by_round.size() > 1; });
  if (!several) return;
  text += "\n## By round\n\nMean over the candidates of a round; the last one's is the score as published.\n\n";
  text += "| strategy | round | right |\n|---|---|---|\n";
  for (const StrategySummary& one : summary.strategies) {
    for (size_t round = 0; round < one.by_round.size(); ++round) {
      text += fmt::format("| {} | {} | {} |\n", cell(one.name), round, share_text(one.by_round[round]));
    }
  }
}

}  // namespace

std::string strategy_table(const Evaluation& evaluation, const Summary& summary) {
  std::string text =
      "| strategy | right | 95 % interval | mean of the last round | new tokens | all tokens | seconds | tok/s | kJ "
      "|\n|---|---|---|---|---|---|---|---|---|\n";
  for (const StrategySummary& one : summary.strategies) {
    if (one.samples == 0) {
      text += fmt::format("| {} | – | | | | | | | |\n", cell(one.name));
      continue;
    }
    text += fmt::format(
        "| {}{} | {} | {} | {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {} |\n", cell(one.name),
        one.whole ? ""
                  : fmt::format(" ({} of {} samples)", one.samples, evaluation.plan.items * evaluation.plan.samples),
        percent(one.accuracy.value), range(one.accuracy.interval), percent(one.last_round.value), one.new_tokens,
        one.all_tokens, one.seconds, one.tokens_per_second,
        one.joules >= 0 ? fmt::format("{:.2f}", one.joules / 1000) : "–");
  }
  return text;
}

std::string pair_table(const std::vector<PairSummary>& pairs) {
  std::string text =
      "| pair | items | difference | 95 % interval | only the first right | only the second right | p | test "
      "|\n|---|---|---|---|---|---|---|---|\n";
  for (const PairSummary& pair : pairs) {
    text += fmt::format("| {} → {} | {} | {:+.1f} points | {:+.1f} – {:+.1f} | {} | {} | {} | {} |\n", cell(pair.a),
                        cell(pair.b), pair.items, 100 * pair.difference.mean, 100 * pair.difference.interval.low,
                        100 * pair.difference.interval.high, pair.mcnemar ? std::to_string(pair.only_a) : "–",
                        pair.mcnemar ? std::to_string(pair.only_b) : "–", p_text(pair.p),
                        pair.mcnemar ? "McNemar, exact" : "paired bootstrap over items");
  }
  return text;
}

std::string report_text(const Evaluation& evaluation, const Summary& summary,
                        const std::vector<std::string>& pictures) {
  const Plan& plan = evaluation.plan;
  std::string text = fmt::format("# Evaluation\n\n{} problems of {}; {} sample{} of each strategy on each.\n",
                                 plan.items, source_text(plan), plan.samples, plan.samples == 1 ? "" : "s");
  const bool wilson = std::all_of(summary.strategies.begin(), summary.strategies.end(),
                                  [](const StrategySummary& one) { return one.wilson; });
  const bool energy = std::any_of(summary.strategies.begin(), summary.strategies.end(),
                                  [](const StrategySummary& one) { return one.joules >= 0; });
  text += fmt::format("Model: {}. Seed {}{}. Begun {}{}.\n\n", plan.model.empty() ? "servers" : plan.model, plan.seed,
                      plan.deterministic ? ", deterministic" : "", plan.created,
                      evaluation.sessions > 1 ? fmt::format(", {} sessions", evaluation.sessions) : "");
  if (evaluation.failed > 0) {
    text +=
        fmt::format("**{} runs failed and are not in these figures**; the first: {}. `--resume` makes them again.\n\n",
                    evaluation.failed, cell(evaluation.first_failure));
  }
  text += strategy_table(evaluation, summary);
  text += fmt::format(
      "\nRight: the run's answer. Intervals of it: {}. Tokens are means of a run; all tokens = prompts and new ones, "
      "each "
      "prompt as if computed on its own. Seconds: wall clock of all sessions. Energy: {}.\n",
      wilson ? "Wilson's (one sample of each item)"
             : "bootstrap over items, 10,000 resamples (Wilson's where each item has one sample)",
      energy ? "the processor packages' own count (RAPL), whoever used them"
             : "this machine offers no counter (RAPL) that could be read");
  for (const StrategySummary& one : summary.strategies) {
    text += fmt::format("\n- **{}**: {}", cell(one.name), settings_text(one));
  }
  text += "\n";
  for (const std::string& picture : pictures) text += fmt::format("\n![{}]({})\n", picture, picture);
  if (!summary.pairs.empty()) text += "\n## Against the first\n\n" + pair_table(summary.pairs);
  append_rounds(summary, text);
  append_at_k(summary, text);
  append_groups(summary, text);
  return text;
}

Status write_report(const Evaluation& evaluation, const std::filesystem::path& directory) {
  const Summary summary = summarize(evaluation);
  std::vector<std::string> pictures;
  const auto write = [&](const std::string& name, const std::string& content) {
    if (name.ends_with(".svg")) pictures.push_back(name);
    return write_file(directory / name, content);
  };
  std::vector<Bar> bars;
  std::vector<Series> rounds, passes;
  for (const StrategySummary& one : summary.strategies) {
    if (one.samples == 0) continue;
    bars.push_back({one.name, fmt::format("{:.0f} new tokens", one.new_tokens), one.accuracy});
    if (one.by_round.size() > 1) {
      Series series{.name = one.name};
      for (size_t i = 0; i < one.by_round.size(); ++i) series.x.push_back(static_cast<double>(i));
      series.y = one.by_round;
      rounds.push_back(std::move(series));
    }
    if (one.pass.size() > 1) {
      for (const auto& [name, points] : {std::pair{"pass@k, ", &one.pass}, std::pair{"vote@k, ", &one.vote}}) {
        Series series{.name = name + one.name};
        for (const At& at : *points) {
          series.x.push_back(static_cast<double>(at.k));
          series.y.push_back(at.share);
        }
        passes.push_back(std::move(series));
      }
    }
  }
  if (!bars.empty()) {
    ZAYA_RETURN_IF_ERROR(write("accuracy.svg", bars_svg("Right answers, with 95 % intervals", bars)));
  }
  if (!rounds.empty()) {
    ZAYA_RETURN_IF_ERROR(write("rounds.svg", lines_svg("Mean over the candidates of a round", "round", rounds)));
  }
  if (!passes.empty()) {
    ZAYA_RETURN_IF_ERROR(write("pass.svg", lines_svg("k samples of an item", "k", passes)));
  }
  ZAYA_RETURN_IF_ERROR(write("summary.json", summary_json(evaluation, summary) + "\n"));
  return write("report.md", report_text(evaluation, summary, pictures));
}

}  // namespace zaya::eval
