#include "apps/zaya/solve_settings.h"

namespace zaya::app {

using reasoning::Settings;

void SettingsOptions::add_to(CLI::App& verb) {
  verb.add_option("--preset", preset,
                  "tiny, light, small, deployment, headline, high, extra-high (default: light, or tiny where the "
                  "model's context is too short for it)");
  verb.add_option("-N,--population", given.population, "N: candidates in a round");
  verb.add_option("-C,--aggregate", given.aggregation_size, "C: tails that a candidate reads");
  verb.add_option("-T,--rounds", given.rounds, "T: aggregation rounds; T + 1 rounds are generated");
  verb.add_option("--beta", given.thinking_budget, "β: reasoning tokens of a rollout");
  verb.add_option("--tau", given.tail_length, "τ: tokens of a tail");
  verb.add_option("--final-budget", given.final_budget, "Answer tokens behind the reasoning");
  verb.add_option("--temperature", given.sampling.temperature, "Sampling temperature (default: 1)");
  verb.add_option("--top-p", given.sampling.top_p, "Keep the likeliest tokens of this mass (default: 1)");
  verb.add_option("--top-k", given.sampling.top_k, "Keep the k likeliest tokens (default: all)");
  verb.add_option("--min-p", given.sampling.min_p, "Keep tokens of at least this share of the likeliest one's");
  verb.add_option("--seed", given.seed, "Draws and sampling follow from it (default: solve: a new one; eval: 0)");
  verb.add_option("--tail", tail, "What a tail holds: reasoning, with-answer, hybrid (PaCoRe), answer");
  verb.add_option("--close", close, "At β: force (close the reasoning and answer) or stop");
  verb.add_option("--answers", answers, "Rounds whose traces go on to an answer: every or last");
  verb.add_option("--order", order, "Tails in a prompt: shared (so that prompts begin alike) or drawn");
  verb.add_option("--carry", carry, "Tails go into a new question (aggregate), or are continued (resume; C = 1)");
  verb.add_option("--choice", choice, "The run's answer: vote, last, aggregate (one more round) or verifier");
  verb.add_option("--answer-kind", answer_kind, "auto, boxed, tag, option, number, code or text");
  verb.add_option("--head-tokens", given.head_length, "With --carry resume: first tokens that stay in front");
  verb.add_option("--widths", given.widths, "Candidates of each round, T + 1 numbers: 16,4,1")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb.add_option("--prompts", prompts, "boxed, plain, or a template file (docs/markovian-rsa.md)");
  verb.add_option("--max-new-tokens", given.max_new_tokens, "New tokens of the whole run at most");
  verb.add_option("--max-rounds", given.max_rounds, "Aggregation rounds at most");
  verb.add_flag("--no-overlap", no_overlap, "Begin a round only when the one before is complete");
  verb.add_option("--parallel", parallel, "Candidates under way at once (default: all; eval: 64)");
}

Result<Settings> SettingsOptions::settings(const CLI::App& verb, int64_t context, std::string& prompts_name) const {
  Settings settings;
  std::string name_of_preset = preset;
  if (name_of_preset.empty()) {
    const Settings light;
    const bool fits = context == 0 || light.aggregation_size * light.tail_length + 2 * light.thinking_budget < context;
    name_of_preset = fits ? "light" : "tiny";
  }
  ZAYA_RETURN_IF_ERROR(reasoning::apply_preset(name_of_preset, settings));
  prompts_name = !prompts.empty() ? prompts : name_of_preset == "tiny" ? "plain" : "boxed";

  const auto take = [&](const char* option, auto& to, const auto& from) {
    if (verb.count(option) > 0) to = from;
  };
  take("--population", settings.population, given.population);
  take("--aggregate", settings.aggregation_size, given.aggregation_size);
  take("--rounds", settings.rounds, given.rounds);
  take("--beta", settings.thinking_budget, given.thinking_budget);
  take("--tau", settings.tail_length, given.tail_length);
  take("--final-budget", settings.final_budget, given.final_budget);
  take("--temperature", settings.sampling.temperature, given.sampling.temperature);
  take("--top-p", settings.sampling.top_p, given.sampling.top_p);
  take("--top-k", settings.sampling.top_k, given.sampling.top_k);
  take("--min-p", settings.sampling.min_p, given.sampling.min_p);
  take("--head-tokens", settings.head_length, given.head_length);
  take("--widths", settings.widths, given.widths);
  take("--max-new-tokens", settings.max_new_tokens, given.max_new_tokens);
  take("--max-rounds", settings.max_rounds, given.max_rounds);
  take("--seed", settings.seed, given.seed);
  const auto name = [](const std::string& text, auto& value) {
    return text.empty() ? Status() : parse_name(text, value);
  };
  ZAYA_RETURN_IF_ERROR(name(tail, settings.tail_content));
  ZAYA_RETURN_IF_ERROR(name(close, settings.close));
  ZAYA_RETURN_IF_ERROR(name(answers, settings.answer_rounds));
  ZAYA_RETURN_IF_ERROR(name(order, settings.tail_order));
  ZAYA_RETURN_IF_ERROR(name(carry, settings.carry));
  ZAYA_RETURN_IF_ERROR(name(choice, settings.choice));
  if (!answer_kind.empty()) settings.answer_kind = answer_kind;
  settings.overlap = !no_overlap;
  return settings;
}

}  // namespace zaya::app
