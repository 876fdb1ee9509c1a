// Whole evaluations on scripted generators: plans, journals, resuming, summaries, rollouts and aggregation examples.
#include "eval/evaluation.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/file.h"
#include "eval/energy.h"
#include "eval/report.h"
#include "eval/rollouts.h"
#include "eval/runner.h"
#include "eval/summary.h"
#include "nlohmann/json.hpp"
#include "reasoning/prompts.h"
#include "reasoning/scripted_generator.h"

namespace zaya::eval {
namespace {

using reasoning::Job;
using reasoning::Journal;
using reasoning::ScriptedGenerator;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

class Temporary : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "zaya-eval-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::filesystem::path path(const std::string& name) const { return directory_ / name; }

  std::filesystem::path directory_;
};

ItemSet numbered_items(int count) {
  ItemSet set;
  for (int i = 0; i < count; ++i) {
    set.items.push_back({.id = fmt::format("set/{}", i),
                         .group = i % 2 == 0 ? "even" : "odd",
                         .prompt = fmt::format("What is {}?", i),
                         .expected = std::to_string(i)});
  }
  return set;
}

Plan plan_of(const ItemSet& set, std::vector<Strategy> strategies, int64_t samples = 1) {
  Plan plan{.digest = set.digest(), .items = static_cast<int64_t>(set.items.size()), .samples = samples, .seed = 4};
  plan.set.sources = {"set.jsonl"};
  plan.set.gym.difficulties = {0, 2};
  plan.prompts = reasoning::Prompts::named("plain")->source();
  plan.generator = R"({"kind":"scripted"})";
  plan.strategies = std::move(strategies);
  return plan;
}

Strategy strategy(const std::string& name, reasoning::Method method, int64_t population = 4) {
  Strategy made{.name = name};
  made.settings.method = method;
  made.settings.population = population;
  made.settings.aggregation_size = 2;
  made.settings.rounds = 2;
  made.settings.thinking_budget = 40;
  made.settings.tail_length = 10;
  made.settings.final_budget = 20;
  made.settings.early_stop = false;
  made.settings.apply_method();
  EXPECT_TRUE(made.settings.validate().ok());
  return made;
}

// Right in two of three cases in the first round, always with a tail to read; the same for a job on every occasion.
ScriptedGenerator knowing_generator() {
  ScriptedGenerator generator;
  generator.script = [](const Job& job) {
    const std::string text = job.prompt.text();
    const size_t at = text.find("What is ");
    const std::string number = text.substr(at + 8, text.find('?', at) - at - 8);
    const bool reads = at > 0;
    const bool right = reads || job.seed % 3 != 0;
    return ScriptedGenerator::Script{fmt::format("thinking of {} by {} ", number, job.seed % 100000),
                                     fmt::format("The answer is {}.", right ? number : "wrong")};
  };
  return generator;
}

Evaluation run_whole(const Plan& plan, const ItemSet& set, const std::filesystem::path& path, unsigned order = 1,
                     int64_t parallel = 16) {
  Evaluation evaluation{.plan = plan};
  Result<Journal> journal = Journal::create(path);
  EXPECT_TRUE(journal.ok()) << journal.status().to_string();
  EXPECT_TRUE(journal->append(plan_line(plan)).ok());
  ScriptedGenerator generator = knowing_generator();
  generator.random.seed(order);
  const Result<bool> whole = run_plan(evaluation, set, generator, *journal, {.parallel = parallel});
  EXPECT_TRUE(whole.ok() && *whole) << whole.status().to_string();
  EXPECT_LE(generator.most_running, parallel);
  return evaluation;
}

// What does not depend on the clock.
std::multiset<std::string> essence(const Evaluation& evaluation) {
  std::multiset<std::string> all;
  for (Sample sample : evaluation.samples) {
    sample.seconds = sample.at = 0;
    sample.joules = -1;
    all.insert(sample_line(evaluation.plan, sample));
  }
  return all;
}

using Evaluations = Temporary;

TEST_F(Evaluations, RunEveryStrategyOnEveryItemWhateverTheOrder) {
  const ItemSet set = numbered_items(20);
  const Plan plan =
      plan_of(set,
              {strategy("single", reasoning::Method::single), strategy("vote", reasoning::Method::vote, 5),
               strategy("rsa", reasoning::Method::markovian_rsa)},
              2);
  const Evaluation one = run_whole(plan, set, path("a"), 1, 16), other = run_whole(plan, set, path("b"), 9, 3);
  EXPECT_EQ(one.samples.size(), 3u * 2 * 20);
  EXPECT_EQ(essence(one), essence(other)) << "the order of events and the width of batches change nothing";

  const Summary summary = summarize(one);
  ASSERT_EQ(summary.strategies.size(), 3u);
  const StrategySummary &single = summary.strategies[0], &vote = summary.strategies[1], &rsa = summary.strategies[2];
  EXPECT_TRUE(single.whole);
  EXPECT_FALSE(single.wilson) << "two samples of each item: bootstrap";
  EXPECT_NEAR(single.accuracy.value, 2.0 / 3, 0.25);
  EXPECT_NEAR(vote.accuracy.value, 0.79, 0.2) << "three of five, each right in two of three cases";
  EXPECT_EQ(rsa.accuracy.value, 1);
  ASSERT_EQ(rsa.by_round.size(), 3u);
  EXPECT_LT(rsa.by_round[0].value, 1);
  EXPECT_EQ(rsa.last_round.value, 1);
  EXPECT_NEAR(vote.last_round.value, 2.0 / 3, 0.15) << "the mean over rollouts, not the vote's";
  EXPECT_NEAR(vote.new_tokens / single.new_tokens, 5, 0.1);
  ASSERT_EQ(single.pass.size(), 2u);
  EXPECT_EQ(single.pass[0].share.value, single.accuracy.value);
  EXPECT_GE(single.pass[1].share.value, single.pass[0].share.value);
  EXPECT_EQ(single.groups.size(), 2u);
  EXPECT_EQ(single.groups[0].items, 10);
  ASSERT_EQ(summary.pairs.size(), 2u);
  EXPECT_FALSE(summary.pairs[1].mcnemar);
  EXPECT_GT(summary.pairs[1].difference.interval.low, 0);

  // The journal holds it all.
  const Result<Evaluation> read = read_evaluation(path("a"));
  ASSERT_TRUE(read.ok()) << read.status().to_string();
  EXPECT_EQ(essence(*read), essence(one));
  EXPECT_EQ(plan_line(read->plan), plan_line(plan));
  const std::string report = report_text(*read, summary, {"accuracy.svg"});
  EXPECT_THAT(report, HasSubstr("| rsa | 100.0 % |"));
  EXPECT_THAT(report, HasSubstr("no counter"));
  ASSERT_TRUE(write_report(*read, directory_).ok());
  for (const char* name : {"report.md", "summary.json", "accuracy.svg", "rounds.svg", "pass.svg"}) {
    EXPECT_TRUE(std::filesystem::exists(path(name))) << name;
  }
  EXPECT_TRUE(Json::accept(*read_file(path("summary.json"))));
}

TEST_F(Evaluations, GoOnAfterBeingCutAnywhere) {
  const ItemSet set = numbered_items(8);
  const Plan plan =
      plan_of(set, {strategy("rsa", reasoning::Method::markovian_rsa), strategy("single", reasoning::Method::single)});
  const Evaluation whole = run_whole(plan, set, path("whole"));
  const std::string content = *read_file(path("whole"));
  const size_t first = content.find('\n') + 1;
  std::mt19937 random(5);
  for (int trial = 0; trial < 25; ++trial) {
    const std::filesystem::path cut = path(fmt::format("cut{}", trial));
    const size_t length = first + random() % (content.size() - first + 1);
    std::ofstream(cut, std::ios::binary) << content.substr(0, length);
    Result<Journal> journal = Journal::reopen(cut);
    ASSERT_TRUE(journal.ok());
    Result<Evaluation> evaluation = read_evaluation(cut);
    ASSERT_TRUE(evaluation.ok()) << evaluation.status().to_string();
    ASSERT_TRUE(journal->append(session_line()).ok());
    ++evaluation->sessions;
    const size_t before = evaluation->samples.size();
    ScriptedGenerator generator = knowing_generator();
    ASSERT_TRUE(run_plan(*evaluation, set, generator, *journal, {}).ok());
    EXPECT_EQ(essence(*evaluation), essence(whole));
    EXPECT_EQ(essence(*read_evaluation(cut)), essence(whole));
    EXPECT_EQ(generator.submitted.empty(), before == whole.samples.size()) << "nothing is made twice";
  }
}

TEST_F(Evaluations, ResumeInsideRunsThatKeepTheirJournals) {
  const ItemSet set = numbered_items(3);
  const Plan plan = plan_of(set, {strategy("rsa", reasoning::Method::markovian_rsa)});
  const Evaluation whole = run_whole(plan, set, path("whole"));
  Evaluation evaluation{.plan = plan};
  Result<Journal> journal = Journal::create(path("kept"));
  ASSERT_TRUE(journal->append(plan_line(plan)).ok());
  std::stop_source stop;
  int64_t ticks = 0;
  RunnerOptions options{.parallel = 4, .stop = stop.get_token(), .traces = path("runs")};
  options.on_progress = [&](const Progress&) {
    if (++ticks == 12) stop.request_stop();
  };
  ScriptedGenerator generator = knowing_generator();
  const Result<bool> stopped = run_plan(evaluation, set, generator, *journal, options);
  ASSERT_TRUE(stopped.ok()) << stopped.status().to_string();
  EXPECT_FALSE(*stopped);
  const size_t made = generator.submitted.size();
  ASSERT_LT(made, 36u);

  ScriptedGenerator again = knowing_generator();
  const Result<bool> finished = run_plan(evaluation, set, again, *journal, {.parallel = 4, .traces = path("runs")});
  ASSERT_TRUE(finished.ok() && *finished) << finished.status().to_string();
  EXPECT_LE(again.submitted.size(), 36 - made + 4) << "only what was under way is made again";
  EXPECT_EQ(essence(evaluation), essence(whole));
}

TEST_F(Evaluations, MatchTheTokensOfAnother) {
  const ItemSet set = numbered_items(6);
  std::vector<Strategy> strategies{strategy("vote", reasoning::Method::vote, 1),
                                   strategy("rsa", reasoning::Method::markovian_rsa)};
  strategies[0].tokens_of = "rsa";
  const Evaluation evaluation = run_whole(plan_of(set, strategies), set, path("a"));
  const Summary summary = summarize(evaluation);
  EXPECT_EQ(summary.strategies[0].settings.population, 12) << "three rounds of four rollouts of equal length";
  EXPECT_NEAR(summary.strategies[0].new_tokens, summary.strategies[1].new_tokens,
              0.1 * summary.strategies[1].new_tokens);
  const Result<Evaluation> read = read_evaluation(path("a"));
  EXPECT_TRUE(read->plan.strategies[0].matched);
  EXPECT_EQ(read->plan.strategies[0].settings.population, 12);
}

TEST_F(Evaluations, KeepFailuresApartAndStopWhenNothingWorks) {
  const ItemSet set = numbered_items(12);
  const Plan plan = plan_of(set, {strategy("single", reasoning::Method::single)});
  Evaluation evaluation{.plan = plan};
  Result<Journal> journal = Journal::create(path("a"));
  ASSERT_TRUE(journal->append(plan_line(plan)).ok());
  ScriptedGenerator generator = knowing_generator();
  const auto script = generator.script;
  generator.script = [&](const Job& job) {
    auto made = script(job);
    made.fails = job.prompt.text() == "What is 3?";
    return made;
  };
  ASSERT_TRUE(run_plan(evaluation, set, generator, *journal, {}).ok());
  EXPECT_EQ(evaluation.samples.size(), 11u);
  EXPECT_EQ(evaluation.failed, 1);
  EXPECT_EQ(read_evaluation(path("a"))->failed, 1);
  EXPECT_FALSE(summarize(evaluation).strategies[0].whole);
  EXPECT_THAT(report_text(evaluation, summarize(evaluation), {}), HasSubstr("1 runs failed"));

  Evaluation none{.plan = plan};
  Result<Journal> other = Journal::create(path("b"));
  ASSERT_TRUE(other->append(plan_line(plan)).ok());
  generator.script = [](const Job&) { return ScriptedGenerator::Script{.fails = true}; };
  const Result<bool> failed = run_plan(none, set, generator, *other, {.parallel = 1});
  EXPECT_EQ(failed.status().code(), Code::io_error);
  EXPECT_THAT(failed.status().message(), HasSubstr("in a row"));
}

TEST(EvaluationJournal, RefusesWhatItDoesNotUnderstand) {
  const ItemSet set = numbered_items(2);
  const Plan plan = plan_of(set, {strategy("single", reasoning::Method::single)});
  const std::string good = plan_line(plan) + "\n";
  EXPECT_TRUE(parse_evaluation(good).ok());
  EXPECT_TRUE(parse_evaluation(good + "{\"torn").ok());
  for (const std::string& bad :
       {std::string(), std::string("{}\n"), std::string("[]\n"), good + "nothing\n", good + "{\"event\":\"sample\"}\n",
        good + R"({"event":"sample","strategy":"single","sample":7})" + "\n",
        good + R"({"event":"matched","strategy":"single","population":-3})" + "\n"}) {
    EXPECT_FALSE(parse_evaluation(bad).ok()) << bad;
  }
  std::mt19937 random(2);
  const Sample sample{.item = "set/0", .answer = "x", .rounds = {{{true, true, true, 4}}}};
  const std::string journal = good + sample_line(plan, sample) + "\n" + matched_line(plan.strategies[0], 1, 2) + "\n";
  ASSERT_TRUE(parse_evaluation(journal).ok());
  for (int trial = 0; trial < 2000; ++trial) {
    std::string damaged = journal;
    for (int i = 0; i < 1 + trial % 4; ++i) damaged[random() % damaged.size()] = static_cast<char>(random() % 128);
    const Result<Evaluation> read = parse_evaluation(damaged);
    if (read.ok()) summarize(*read);
  }
}

Evaluation made_up(const std::vector<int>& right, const std::string& name) {
  const ItemSet set = numbered_items(static_cast<int>(right.size()));
  Evaluation evaluation{.plan = plan_of(set, {strategy(name, reasoning::Method::single)})};
  for (size_t i = 0; i < right.size(); ++i) {
    evaluation.samples.push_back({.item = set.items[i].id, .right = right[i] != 0, .answer = "x"});
  }
  return evaluation;
}

TEST(Compare, UsesMcNemarOnPairedItems) {
  const Evaluation a = made_up({1, 1, 0, 0, 0, 0, 0, 0, 0, 1}, "a"), b = made_up({1, 0, 1, 1, 1, 1, 1, 1, 0}, "b");
  const Result<PairSummary> pair = compare(a, 0, b, 0);
  ASSERT_TRUE(pair.ok());
  EXPECT_EQ(pair->items, 9) << "the tenth is in one of them only";
  EXPECT_TRUE(pair->mcnemar);
  EXPECT_EQ(pair->only_a, 1);
  EXPECT_EQ(pair->only_b, 6);
  EXPECT_NEAR(pair->p, 2 * 8.0 / 128, 1e-12);
  EXPECT_NEAR(pair->difference.mean, 5.0 / 9, 1e-12);
  EXPECT_FALSE(compare(a, 0, made_up({}, "c"), 0).ok());
  EXPECT_TRUE(summarize(a).strategies[0].wilson);
}

TEST(Vote, CountsSamplesOfOneItem) {
  // Right answers are in the majority in one item, in the minority in the other; one of them is spelled otherwise.
  Evaluation evaluation{.plan = plan_of(numbered_items(2), {strategy("s", reasoning::Method::single)}, 5)};
  const auto add = [&](const std::string& item, int64_t number, const std::string& answer, bool right) {
    evaluation.samples.push_back({.number = number, .item = item, .right = right, .answer = answer});
  };
  const char* first[] = {"1/2", "0.5", "3", "0.50", "4"};
  const char* second[] = {"7", "7", "8", "", "7"};
  for (int i = 0; i < 5; ++i) {
    add("set/0", i, first[i], i == 0 || i == 1 || i == 3);
    add("set/1", i, second[i], i == 2);
  }
  const StrategySummary summary = summarize(evaluation).strategies[0];
  ASSERT_EQ(summary.vote.size(), 4u);  // 1, 2, 4, 5
  EXPECT_EQ(summary.vote[3].k, 5);
  EXPECT_EQ(summary.vote[3].share.value, 0.5);
  EXPECT_EQ(summary.pass[3].share.value, 1);
  EXPECT_NEAR(summary.pass[0].share.value, 0.4, 1e-12);
}

Strategy rollout_strategy(int64_t population) {
  Strategy made = strategy("rollouts", reasoning::Method::vote, population);
  return made;
}

using RolloutFiles = Temporary;

// Examples say what a run would have asked, to the letter: the same seed, the same rollouts, the same prompts.
TEST_F(RolloutFiles, BecomeThePromptsOfARun) {
  const Result<ItemSet> set =
      gym_items({.environments = {"addition"}, .difficulties = {1}, .count = 4, .split = gym::Split::train});
  ASSERT_TRUE(set.ok());
  for (const char* prompts : {"plain", "boxed"}) {
    Plan plan = plan_of(*set, {rollout_strategy(6)});
    plan.prompts = reasoning::Prompts::named(prompts)->source();
    const std::filesystem::path file = path(prompts);
    ScriptedGenerator generator;
    generator.script = [](const Job& job) {
      return ScriptedGenerator::Script{fmt::format("{{{{problem}}}} steps of {} to the end", job.seed), "\\boxed{1}"};
    };
    {
      Result<Journal> out = Journal::create(file);
      ASSERT_TRUE(out->append(rollouts_line(plan)).ok());
      const Result<RolloutTotals> totals = write_rollouts(plan, *set, {}, generator, *out, {});
      ASSERT_TRUE(totals.ok()) << totals.status().to_string();
      EXPECT_EQ(totals->problems, 4);
      EXPECT_EQ(totals->rollouts, 24);
    }
    AggregationOptions options{.sizes = {3}, .per_problem = 6};
    options.settings.population = 0;
    options.settings.tail_length = 17;
    options.settings.seed = plan.seed;
    std::map<std::string, Json> examples;
    const auto decode = [](std::span<const text::TokenId> tokens) { return std::string(tokens.begin(), tokens.end()); };
    const Result<AggregationTotals> totals = make_aggregation(file, options, decode, {}, [&](const std::string& line) {
      Json example = Json::parse(line);
      const std::string id = example["id"];
      examples[id] = std::move(example);
      return Status();
    });
    ASSERT_TRUE(totals.ok()) << totals.status().to_string();
    ASSERT_EQ(examples.size(), 24u);

    for (const Item& item : set->items) {
      reasoning::Settings settings = rollout_strategy(6).settings;
      settings.method = reasoning::Method::markovian_rsa;
      settings.aggregation_size = 3;
      settings.rounds = 1;
      settings.tail_length = 17;
      settings.seed = run_seed(plan, item.id, 0);
      Result<reasoning::Run> run =
          reasoning::Run::create(item.prompt, settings, *reasoning::Prompts::named(prompts), decode);
      ASSERT_TRUE(run.ok());
      for (const Job& job : run->start(100)) run->complete(job.id, generator.play(job));
      std::map<int64_t, std::string> asked;
      for (const Job& job : run->start(100)) asked[job.id] = job.prompt.text();
      ASSERT_EQ(asked.size(), 6u);
      for (const auto& [id, prompt] : asked) {
        const Json& example = examples[fmt::format("{}/{}", item.id, id - 6)];
        EXPECT_EQ(example["messages"][0]["content"], prompt);
        EXPECT_EQ(example["messages"][1]["content"], gym::assistant_text(*item.problem));
        EXPECT_EQ(example["right"].size(), 3u);
      }
    }
  }
}

TEST_F(RolloutFiles, GoOnAndAreFiltered) {
  const Result<ItemSet> set =
      gym_items({.environments = {"addition"}, .difficulties = {2}, .count = 6, .split = gym::Split::train});
  const Plan plan = plan_of(*set, {rollout_strategy(4)});
  ScriptedGenerator generator;
  generator.script = [&](const Job& job) {
    for (const Item& item : set->items) {
      if (item.prompt == job.prompt.text() && job.seed % 2 == 0) {
        return ScriptedGenerator::Script{"all of it is known", "\\boxed{" + item.expected + "}"};
      }
    }
    return ScriptedGenerator::Script{"nothing is known here", "\\boxed{no}"};
  };
  Result<Journal> out = Journal::create(path("a"));
  ASSERT_TRUE(out->append(rollouts_line(plan)).ok());
  ItemSet half = *set;
  half.items.resize(3);
  ASSERT_TRUE(write_rollouts(plan, half, {}, generator, *out, {.keep_tokens = 8}).ok());
  ASSERT_TRUE(out->append("{\"event\":\"problem\",\"id\":\"torn\"").ok());
  Plan read;
  EXPECT_FALSE(read_rollouts(path("a"), read).ok()) << "a line that is whole and no JSON is damage";
  std::string content = *read_file(path("a"));
  content.resize(content.rfind('{'));
  ASSERT_TRUE(write_file(path("b"), content + "{\"event\":\"problem\"").ok());
  const Result<std::vector<std::string>> ids = read_rollouts(path("b"), read);
  ASSERT_TRUE(ids.ok()) << ids.status().to_string();
  EXPECT_EQ(ids->size(), 3u);
  EXPECT_EQ(rollouts_line(read), rollouts_line(plan));
  Result<Journal> rest = Journal::reopen(path("b"));
  const Result<RolloutTotals> totals = write_rollouts(plan, *set, *ids, generator, *rest, {.keep_tokens = 8});
  ASSERT_TRUE(totals.ok());
  EXPECT_EQ(totals->problems, 3);
  EXPECT_EQ(totals->skipped, 3);

  const auto decode = [](std::span<const text::TokenId> tokens) { return std::string(tokens.begin(), tokens.end()); };
  AggregationOptions options{.sizes = {1, 2}, .per_problem = 2, .min_right = 1, .max_right = 1};
  options.settings.population = 0;
  options.settings.tail_length = 8;
  std::set<int64_t> sizes;
  const auto check = [&](const std::string& line) {
    const Json example = Json::parse(line);
    sizes.insert(example["C"].get<int64_t>());
    int64_t right = 0;
    for (const Json& one : example["right"]) right += one.get<bool>() ? 1 : 0;
    EXPECT_EQ(right, 1);
    const std::string prompt = example["messages"][0]["content"];
    EXPECT_EQ(prompt.find("is known") != std::string::npos, true) << "the last eight bytes";
    return Status();
  };
  const Result<AggregationTotals> made = make_aggregation(path("b"), options, decode, {}, check);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  EXPECT_EQ(made->problems, 6);
  EXPECT_EQ(made->examples + made->filtered, 12);
  EXPECT_GT(made->examples, 0);
  options.settings.tail_length = 9;
  const auto more = make_aggregation(path("b"), options, decode, {}, check);
  EXPECT_EQ(more.status().code(), Code::out_of_range) << "the file kept eight tokens";
  options.sizes = {5};
  options.settings.tail_length = 8;
  EXPECT_EQ(make_aggregation(path("b"), options, decode, {}, check)->too_few, 6);
  EXPECT_EQ(make_aggregation(path("none"), options, decode, {}, check).status().code(), Code::not_found);
}

TEST_F(Temporary, EnergyIsReadWhereItIsOffered) {
  EnergyMeter none(path("nothing"));
  EXPECT_FALSE(none.available());
  EXPECT_LT(none.joules(), 0);
  const auto write = [&](const std::string& domain, const std::string& name, const std::string& value) {
    std::filesystem::create_directories(path(domain));
    std::ofstream(path(domain + "/" + name)) << value;
  };
  for (const char* domain : {"intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"}) {
    write(domain, "energy_uj", "4000000");
    write(domain, "max_energy_range_uj", "5000000");
  }
  EnergyMeter meter(directory_);
  EXPECT_EQ(meter.joules(), 0);
  write("intel-rapl:0", "energy_uj", "4500000");
  write("intel-rapl:0:0", "energy_uj", "4900000");
  EXPECT_NEAR(meter.joules(), 0.5, 1e-9) << "parts of a package do not count twice";
  write("intel-rapl:1", "energy_uj", "1000000");
  EXPECT_NEAR(meter.joules(), 2.5, 1e-9) << "the second wrapped round";
}

}  // namespace
}  // namespace zaya::eval
