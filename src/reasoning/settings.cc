#include "reasoning/settings.h"

#include <fmt/format.h>

#include <cmath>
#include <span>

namespace zaya::reasoning {
namespace {

template <class T>
struct Named {
  T value;
  const char* name;
};

constexpr Named<Method> kMethods[] = {{Method::markovian_rsa, "markovian-rsa"},
                                      {Method::single, "single"},
                                      {Method::vote, "vote"},
                                      {Method::rsa, "rsa"},
                                      {Method::delethink, "delethink"},
                                      {Method::pacore, "pacore"},
                                      {Method::best_of, "best-of"}};
constexpr Named<TailContent> kTailContents[] = {{TailContent::reasoning, "reasoning"},
                                                {TailContent::with_answer, "with-answer"},
                                                {TailContent::hybrid, "hybrid"},
                                                {TailContent::answer, "answer"}};
constexpr Named<Close> kCloses[] = {{Close::force, "force"}, {Close::stop, "stop"}};
constexpr Named<AnswerRounds> kAnswerRounds[] = {{AnswerRounds::every, "every"}, {AnswerRounds::last, "last"}};
constexpr Named<TailOrder> kTailOrders[] = {{TailOrder::shared, "shared"}, {TailOrder::drawn, "drawn"}};
constexpr Named<Carry> kCarries[] = {{Carry::aggregate, "aggregate"}, {Carry::resume, "resume"}};
constexpr Named<Choice> kChoices[] = {
    {Choice::vote, "vote"}, {Choice::last, "last"}, {Choice::aggregate, "aggregate"}, {Choice::verifier, "verifier"}};

template <class T, size_t n>
const char* find_name(const Named<T> (&table)[n], T value) {
  for (const auto& entry : table) {
    if (entry.value == value) return entry.name;
  }
  return "unknown";
}

template <class T, size_t n>
Status find_value(const Named<T> (&table)[n], const char* what, std::string_view name, T& value) {
  std::string names;
  for (const auto& entry : table) {
    if (entry.name == name) return value = entry.value, Status();
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  return Status(Code::invalid_argument, fmt::format("there is no {} named \"{}\"", what, name), "use one of " + names);
}

Status in_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return Status();
  return Status(Code::invalid_argument, fmt::format("{} is {}, and must be from {} to {}", name, value, low, high));
}

// Far above any published setting; they keep products of settings small.
constexpr int64_t kMaxPopulation = 256, kMaxRounds = 256, kMaxTokens = int64_t{1} << 24;

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"tiny", "for contexts of 2K tokens, as the embedded model's", 8, 2, 2, 256, 128, 128},
      {"light", "the light serving profile", 8, 4, 2, 8192, 4096, 40960},
      {"small", "N 16 with short budgets", 16, 4, 2, 8192, 4096, 40960},
      {"deployment", "about 440K new tokens a problem", 16, 4, 2, 16384, 4096, 40960},
      {"headline", "the published AIME and HMMT scores; about 740K new tokens a problem", 16, 4, 2, 40960, 4096, 40960},
      {"high", "eight aggregation rounds", 16, 4, 8, 16384, 4096, 40960},
      {"extra-high", "about 5.5M new tokens a problem", 32, 4, 8, 32768, 4096, 40960},
  };
  return all;
}

Status apply_preset(std::string_view name, Settings& settings) {
  std::string names;
  for (const Preset& preset : presets()) {
    names += (names.empty() ? "" : ", ") + std::string(preset.name);
    if (preset.name != name) continue;
    settings.population = preset.population;
    settings.aggregation_size = preset.aggregation_size;
    settings.rounds = preset.rounds;
    settings.thinking_budget = preset.thinking_budget;
    settings.tail_length = preset.tail_length;
    settings.final_budget = preset.final_budget;
    return Status();
  }
  return Status(Code::not_found, fmt::format("there is no preset named \"{}\"", name), "use one of " + names);
}

void Settings::apply_method() {
  switch (method) {
    case Method::markovian_rsa: break;
    case Method::single: population = 1; [[fallthrough]];
    case Method::vote: rounds = 0; break;
    case Method::best_of:
      rounds = 0;
      choice = Choice::verifier;
      break;
    case Method::rsa: tail_length = thinking_budget; break;
    case Method::delethink:
      aggregation_size = 1;
      carry = Carry::resume;
      break;
    case Method::pacore:
      tail_content = TailContent::answer;
      tail_order = TailOrder::drawn;
      choice = Choice::last;
      break;
  }
  // With no round to follow, C plays no part and need not fit.
  if (rounds == 0 && choice != Choice::aggregate && aggregation_size > population) aggregation_size = population;
}

Status Settings::validate() const {
  ZAYA_RETURN_IF_ERROR(in_range("N (population)", population, 1, kMaxPopulation));
  ZAYA_RETURN_IF_ERROR(in_range("C (aggregation size)", aggregation_size, 1, kMaxPopulation));
  ZAYA_RETURN_IF_ERROR(in_range("T (aggregation rounds)", rounds, 0, kMaxRounds));
  ZAYA_RETURN_IF_ERROR(in_range("beta (thinking budget)", thinking_budget, 1, kMaxTokens));
  ZAYA_RETURN_IF_ERROR(in_range("tau (tail length)", tail_length, 1, kMaxTokens));
  ZAYA_RETURN_IF_ERROR(in_range("the final budget", final_budget, 1, kMaxTokens));
  ZAYA_RETURN_IF_ERROR(in_range("the head length", head_length, 0, kMaxTokens));
  const std::vector<int64_t> all = round_widths();
  if (!widths.empty() && static_cast<int64_t>(widths.size()) != rounds + 1) {
    return Status(Code::invalid_argument,
                  fmt::format("{} widths are given for {} rounds (T = {} aggregation rounds and the first)",
                              widths.size(), rounds + 1, rounds));
  }
  for (size_t round = 0; round < all.size(); ++round) {
    ZAYA_RETURN_IF_ERROR(in_range("a round's width", all[round], 1, kMaxPopulation));
    if (round > 0 && method != Method::pacore && aggregation_size > all[round - 1]) {
      return Status(Code::invalid_argument,
                    fmt::format("C = {} tails cannot be drawn without replacement from N = {} candidates",
                                aggregation_size, all[round - 1]),
                    "choose C at most N");
    }
  }
  if (carry == Carry::resume && aggregation_size != 1 && rounds > 0) {
    return Status(Code::invalid_argument,
                  fmt::format("C = {} tails cannot be continued in one assistant's turn", aggregation_size),
                  "carry = resume needs C = 1");
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  if (!finite(sampling.temperature) || sampling.temperature < 0 || !finite(sampling.top_p) || sampling.top_p <= 0 ||
      sampling.top_p > 1 || !finite(sampling.min_p) || sampling.min_p < 0 || sampling.min_p > 1 || sampling.top_k < 0) {
    return Status(Code::invalid_argument,
                  "the sampling needs temperature ≥ 0, 0 < top-p ≤ 1, 0 ≤ min-p ≤ 1, top-k ≥ 0");
  }
  return Status();
}

std::vector<int64_t> Settings::round_widths() const {
  int64_t aggregations = rounds;
  if (max_rounds >= 0 && max_rounds < aggregations) aggregations = max_rounds;
  std::vector<int64_t> all;
  for (int64_t round = 0; round <= aggregations; ++round) {
    if (round < static_cast<int64_t>(widths.size())) {
      all.push_back(widths[static_cast<size_t>(round)]);
    } else if (method == Method::pacore && rounds > 0) {
      // Narrowing geometrically to one: 16, 4, 1 for N = 16, T = 2.
      const double exponent = 1 - static_cast<double>(round) / static_cast<double>(rounds);
      all.push_back(std::llround(std::pow(static_cast<double>(population), exponent)));
    } else {
      all.push_back(population);
    }
  }
  if (choice == Choice::aggregate) all.push_back(1);
  return all;
}

int64_t Settings::tails_read(int64_t previous) const { return method == Method::pacore ? previous : aggregation_size; }

const char* name_of(Method value) { return find_name(kMethods, value); }
const char* name_of(TailContent value) { return find_name(kTailContents, value); }
const char* name_of(Close value) { return find_name(kCloses, value); }
const char* name_of(AnswerRounds value) { return find_name(kAnswerRounds, value); }
const char* name_of(TailOrder value) { return find_name(kTailOrders, value); }
const char* name_of(Carry value) { return find_name(kCarries, value); }
const char* name_of(Choice value) { return find_name(kChoices, value); }

Status parse_name(std::string_view name, Method& value) { return find_value(kMethods, "method", name, value); }
Status parse_name(std::string_view name, TailContent& value) {
  return find_value(kTailContents, "tail content", name, value);
}
Status parse_name(std::string_view name, Close& value) { return find_value(kCloses, "close", name, value); }
Status parse_name(std::string_view name, AnswerRounds& value) {
  return find_value(kAnswerRounds, "choice of answering rounds", name, value);
}
Status parse_name(std::string_view name, TailOrder& value) {
  return find_value(kTailOrders, "tail order", name, value);
}
Status parse_name(std::string_view name, Carry& value) { return find_value(kCarries, "carry", name, value); }
Status parse_name(std::string_view name, Choice& value) { return find_value(kChoices, "answer choice", name, value); }

}  // namespace zaya::reasoning
