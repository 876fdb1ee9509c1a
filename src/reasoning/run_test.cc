// The algorithm's semantics, held against a scripted generator, and journals.
#include "reasoning/run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "base/file.h"
#include "reasoning/estimate.h"
#include "reasoning/journal.h"
#include "reasoning/scripted_generator.h"
#include "reasoning/solver.h"
#include "reasoning/subsets.h"

namespace zaya::reasoning {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

reasoning::Run make_run(const Settings& settings, const std::string& prompts = "plain",
                        const std::string& problem = "2 + 2?") {
  Result<Prompts> templates = Prompts::named(prompts);
  EXPECT_TRUE(templates.ok()) << templates.status().to_string();
  Result<reasoning::Run> run = reasoning::Run::create(
      problem, settings, *templates,
      [](std::span<const text::TokenId> tokens) { return std::string(tokens.begin(), tokens.end()); });
  EXPECT_TRUE(run.ok()) << run.status().to_string();
  return std::move(run).value();
}

Settings small_settings() {
  Settings settings;
  settings.population = 6;
  settings.aggregation_size = 3;
  settings.rounds = 2;
  settings.thinking_budget = 40;
  settings.tail_length = 10;
  settings.final_budget = 20;
  settings.seed = 5;
  settings.early_stop = false;
  return settings;
}

// Reasoning that names its job from end to end, so that any tail says whose it is.
std::string signature(int64_t id, size_t length) {
  std::string text;
  while (text.size() < length) text += fmt::format("<{}>", id);
  return text.substr(text.size() - length);
}

ScriptedGenerator signing_generator(size_t length = 60) {
  ScriptedGenerator generator;
  generator.script = [length](const Job& job) {
    return ScriptedGenerator::Script{signature(job.id, length), fmt::format("The answer is {}.", job.id % 3)};
  };
  return generator;
}

RunResult solved(reasoning::Run& run, Generator& generator, Journal* journal = nullptr, SolveOptions options = {}) {
  Result<RunResult> result = solve(run, generator, journal, nullptr, options);
  EXPECT_TRUE(result.ok()) << result.status().to_string();
  return result.ok() ? *result : RunResult{};
}

// Over random settings: as many rounds and candidates as the parameters say, prompts that hold the tails of C different
// candidates of the round before and of nobody else, tails that are the last τ tokens, budgets held to the token.
TEST(Run, KeepsTheAlgorithmForRandomSettings) {
  std::mt19937 random(7);
  const auto pick = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
  for (int trial = 0; trial < 60; ++trial) {
    Settings settings = small_settings();
    settings.population = pick(1, 12);
    settings.aggregation_size = pick(1, settings.population);
    settings.rounds = pick(0, 4);
    settings.thinking_budget = pick(20, 80);
    settings.tail_length = pick(1, settings.thinking_budget);
    settings.final_budget = pick(1, 30);
    settings.seed = random();
    settings.overlap = trial % 2 == 0;
    settings.answer_rounds = trial % 3 == 0 ? AnswerRounds::last : AnswerRounds::every;
    settings.tail_order = trial % 4 < 2 ? TailOrder::shared : TailOrder::drawn;
    reasoning::Run run = make_run(settings);
    ScriptedGenerator generator = signing_generator(static_cast<size_t>(pick(10, 100)));
    generator.random.seed(static_cast<unsigned>(trial));
    generator.room = pick(1, 20);
    const RunResult result = solved(run, generator);

    ASSERT_EQ(run.rounds().size(), static_cast<size_t>(settings.rounds) + 1) << "T counts aggregations";
    ASSERT_EQ(generator.submitted.size(), static_cast<size_t>((settings.rounds + 1) * settings.population));
    EXPECT_LE(generator.most_running, generator.room);
    std::set<uint64_t> seeds;
    int64_t tokens = 0;
    for (const Job& job : generator.submitted) {
      const Candidate& candidate = run.candidate(job.id);
      seeds.insert(job.seed);
      EXPECT_LE(candidate.trace.reasoning.count, settings.thinking_budget);
      EXPECT_LE(candidate.trace.answer.count, settings.final_budget);
      const bool last = candidate.round == settings.rounds;
      if (settings.answer_rounds == AnswerRounds::last && !last) {
        EXPECT_EQ(candidate.trace.answer.count, 0);
      }
      tokens += candidate.trace.new_tokens;
      const std::string reasoning = candidate.trace.reasoning.text;
      EXPECT_EQ(candidate.tail.text,
                reasoning.substr(reasoning.size() -
                                 std::min<size_t>(reasoning.size(), static_cast<size_t>(settings.tail_length))));
      if (candidate.round == 0) {
        EXPECT_EQ(job.prompt.text(), "2 + 2?");
        continue;
      }
      std::set<int64_t> parents(candidate.parents.begin(), candidate.parents.end());
      EXPECT_EQ(static_cast<int64_t>(parents.size()), settings.aggregation_size) << "without replacement";
      std::string expected;
      for (int64_t parent : candidate.parents) {
        expected +=
            run.rounds()[static_cast<size_t>(candidate.round - 1)][static_cast<size_t>(parent)].tail.text + "\n";
      }
      EXPECT_EQ(job.prompt.text(), expected + "2 + 2?") << "only the previous round is read";
    }
    EXPECT_EQ(seeds.size(), generator.submitted.size()) << "each candidate has a seed of its own";
    EXPECT_EQ(result.new_tokens, tokens);
    EXPECT_EQ(result.stopped, Stopped::complete);
  }
}

TEST(Run, IsTheSameWhateverTheOrderInWhichCandidatesEnd) {
  std::vector<std::string> runs;
  for (unsigned seed = 0; seed < 4; ++seed) {
    Settings settings = small_settings();
    settings.overlap = seed % 2 == 0;
    reasoning::Run run = make_run(settings);
    ScriptedGenerator generator = signing_generator();
    generator.random.seed(seed);
    generator.room = 1 + seed * 3;
    solved(run, generator);
    std::string all;
    for (const auto& round : run.rounds()) {
      for (const Candidate& candidate : round) all += fmt::format("{} {}|", candidate.seed, candidate.tail.text);
    }
    runs.push_back(all);
  }
  for (const std::string& run : runs) EXPECT_EQ(run, runs[0]);
}

TEST(Run, RefusesWhatIsNoRun) {
  const auto code = [](auto&& change) {
    Settings settings = small_settings();
    change(settings);
    return reasoning::Run::create("x", settings, *Prompts::named("plain"), {}).status().code();
  };
  EXPECT_EQ(code([](Settings&) {}), Code::ok);
  EXPECT_EQ(code([](Settings& s) { s.aggregation_size = 7; }), Code::invalid_argument) << "C > N";
  EXPECT_EQ(code([](Settings& s) { s.aggregation_size = 0; }), Code::invalid_argument);
  EXPECT_EQ(code([](Settings& s) { s.population = 0; }), Code::invalid_argument);
  EXPECT_EQ(code([](Settings& s) { s.rounds = -1; }), Code::invalid_argument);
  EXPECT_EQ(code([](Settings& s) { s.tail_length = 0; }), Code::invalid_argument);
  EXPECT_EQ(code([](Settings& s) { s.sampling.temperature = NAN; }), Code::invalid_argument);
  EXPECT_EQ(code([](Settings& s) { s.carry = Carry::resume; }), Code::invalid_argument) << "needs C = 1";
  EXPECT_EQ(code([](Settings& s) { s.widths = {4, 4}; }), Code::invalid_argument) << "T + 1 widths";
  EXPECT_EQ(code([](Settings& s) { s.widths = {6, 2, 6}; }), Code::invalid_argument) << "C of 2";
  EXPECT_EQ(reasoning::Run::create("", small_settings(), *Prompts::named("plain"), {}).status().code(),
            Code::invalid_argument);
}

// Any subset is as likely as any other, and candidates draw independently of each other.
TEST(Subsets, AreUniformAndIndependent) {
  constexpr int64_t kN = 6, kC = 3, kDraws = 20000;  // 20 subsets
  std::map<std::vector<int64_t>, int64_t> counts;
  int64_t equal_neighbours = 0;
  auto draws = draw_subsets(99, 1, kDraws, kN, kC);
  for (auto& subset : draws) std::sort(subset.begin(), subset.end());
  for (size_t i = 0; i < draws.size(); ++i) {
    ++counts[draws[i]];
    equal_neighbours += i > 0 && draws[i] == draws[i - 1];
  }
  ASSERT_EQ(counts.size(), 20u);
  double chi = 0;
  for (const auto& [subset, count] : counts) chi += std::pow(static_cast<double>(count) - 1000, 2) / 1000;
  EXPECT_LT(chi, 43.8) << "χ² with 19 degrees of freedom exceeds this once in a thousand seeds";
  EXPECT_NEAR(static_cast<double>(equal_neighbours), 1000, 110);
  EXPECT_NE(draw_subsets(99, 1, 4, 16, 4), draw_subsets(99, 2, 4, 16, 4));
  EXPECT_NE(draw_subsets(99, 1, 4, 16, 4), draw_subsets(98, 1, 4, 16, 4));
}

TEST(Subsets, AreReorderedToShareTheirBeginnings) {
  int64_t before = 0, after = 0, all = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    auto subsets = draw_subsets(seed, 1, 16, 16, 4);
    const auto drawn = subsets;
    before += distinct_prefix_tails(subsets);
    std::vector<int64_t> order = order_for_sharing(subsets);
    after += distinct_prefix_tails(subsets);
    for (size_t i = 0; i < subsets.size(); ++i) {
      EXPECT_THAT(subsets[i], testing::UnorderedElementsAreArray(drawn[i]));
      all += static_cast<int64_t>(subsets[i].size());
    }
    // Neighbours in the order share what can be shared: counting along it finds every common prefix.
    int64_t along = 0;
    for (size_t k = 0; k < order.size(); ++k) {
      size_t shared = 0;
      if (k > 0) {
        const auto& a = subsets[static_cast<size_t>(order[k - 1])];
        const auto& b = subsets[static_cast<size_t>(order[k])];
        while (shared < 4 && a[shared] == b[shared]) ++shared;
      }
      along += static_cast<int64_t>(4 - shared);
    }
    EXPECT_EQ(along, distinct_prefix_tails(subsets));
    std::sort(order.begin(), order.end());
    for (size_t k = 0; k < order.size(); ++k) EXPECT_EQ(order[k], static_cast<int64_t>(k));
  }
  EXPECT_LT(after, before * 85 / 100);
  RecordProperty("tails_per_run", static_cast<int>(all / 50));
  RecordProperty("tails_computed_per_run", static_cast<int>(after / 50));
  EXPECT_EQ(distinct_prefix_tails({{1, 2, 3}, {1, 2, 4}, {1, 5, 6}, {1, 2, 3}}), 6);
}

TEST(Methods, AreSpecialCasesOfOneRun) {
  const auto widths = [](Method method, int64_t rounds = 2) {
    Settings settings = small_settings();
    settings.population = 16;
    settings.rounds = rounds;
    settings.method = method;
    settings.apply_method();
    EXPECT_TRUE(settings.validate().ok()) << name_of(method);
    return settings.round_widths();
  };
  EXPECT_THAT(widths(Method::markovian_rsa), ElementsAre(16, 16, 16));
  EXPECT_THAT(widths(Method::single), ElementsAre(1));
  EXPECT_THAT(widths(Method::vote), ElementsAre(16));
  EXPECT_THAT(widths(Method::best_of), ElementsAre(16));
  EXPECT_THAT(widths(Method::pacore), ElementsAre(16, 4, 1));
  EXPECT_THAT(widths(Method::pacore, 0), ElementsAre(16));

  // τ = β: the whole trace goes on.
  Settings rsa = small_settings();
  rsa.method = Method::rsa;
  reasoning::Run whole = make_run(rsa);
  ScriptedGenerator generator = signing_generator();
  solved(whole, generator);
  EXPECT_EQ(whole.rounds()[0][0].tail.text, whole.rounds()[0][0].trace.reasoning.text);

  // T = 0: parallel sampling.
  Settings parallel = small_settings();
  parallel.rounds = 0;
  reasoning::Run sampling = make_run(parallel);
  ScriptedGenerator other = signing_generator();
  EXPECT_EQ(solved(sampling, other).votes.size(), 3u);
  EXPECT_EQ(other.submitted.size(), 6u);

  // PaCoRe hands on answers only.
  Settings pacore = small_settings();
  pacore.method = Method::pacore;
  pacore.tail_length = 20;
  reasoning::Run conclusions = make_run(pacore);
  ScriptedGenerator third = signing_generator(20);
  solved(conclusions, third);
  EXPECT_THAT(third.submitted.back().prompt.text(), HasSubstr("The answer is"));
  EXPECT_THAT(third.submitted.back().prompt.text(), Not(HasSubstr("<")));
}

// Delethink: the beginning of the first chunk and the last τ tokens stand in the assistant's turn; a trace that has
// finished is not continued.
TEST(Methods, DelethinkContinuesInsideTheTurn) {
  Settings settings = small_settings();
  settings.method = Method::delethink;
  settings.head_length = 5;
  reasoning::Run run = make_run(settings);
  ScriptedGenerator generator;
  generator.script = [&](const Job& job) {
    if (job.id == 2) return ScriptedGenerator::Script{"short", "The answer is 4."};
    return ScriptedGenerator::Script{signature(job.id, 60), "The answer is 5."};
  };
  solved(run, generator);
  for (const Job& job : generator.submitted) {
    const Candidate& candidate = run.candidate(job.id);
    EXPECT_EQ(job.prompt.text(), "2 + 2?");
    if (candidate.round == 0) continue;
    const Candidate& parent =
        run.rounds()[static_cast<size_t>(candidate.round - 1)][static_cast<size_t>(candidate.parents[0])];
    ASSERT_EQ(job.prompt.continuation.size(), 2u);
    EXPECT_EQ(job.prompt.continuation[0].text.size(), 5u);
    EXPECT_EQ(job.prompt.continuation[1].text, parent.tail.text);
    EXPECT_EQ(job.close, candidate.round == 2 ? Close::force : Close::stop);
  }
  for (const auto& round : run.rounds()) {
    for (const Candidate& candidate : round) {
      if (candidate.carried) {
        EXPECT_EQ(candidate.trace.new_tokens, 0);
        EXPECT_EQ(candidate.answer, "4");
      }
    }
  }
}

TEST(Tails, HoldWhatTheyAreAskedToHold) {
  const auto tail = [](TailContent content, const std::string& reasoning, const std::string& answer) {
    Settings settings = small_settings();
    settings.tail_content = content;
    settings.tail_length = 8;
    reasoning::Run run = make_run(settings);
    ScriptedGenerator generator;
    generator.script = [&](const Job&) { return ScriptedGenerator::Script{reasoning, answer}; };
    solved(run, generator);
    return run.rounds()[0][0].tail.text;
  };
  EXPECT_EQ(tail(TailContent::reasoning, "0123456789", "abc"), "23456789");
  EXPECT_EQ(tail(TailContent::reasoning, "", "abcdefghij"), "cdefghij") << "an answer without reasoning speaks for it";
  EXPECT_EQ(tail(TailContent::with_answer, "0123456789", "abc"), "56789abc");
  EXPECT_EQ(tail(TailContent::answer, "0123456789", "abc"), "abc");
  EXPECT_EQ(tail(TailContent::hybrid, "0123456789", "abc"), "abc");
  EXPECT_EQ(tail(TailContent::hybrid, "0123456789", std::string(50, 'x')), "23456789") << "the answer was cut";
}

// Text without tokens is cut by its own ratio, at a character's border.
TEST(Tails, OfTextAreCutByCharacters) {
  Settings settings = small_settings();
  settings.tail_length = 2;
  reasoning::Run run = make_run(settings);
  const std::vector<Job> jobs = run.start(1);
  Trace trace;
  trace.reasoning = {.text = "abcdéfgh", .count = 4, .estimated = true};  // 9 bytes
  run.complete(jobs[0].id, trace);
  EXPECT_EQ(run.candidate(jobs[0].id).tail.text, "fgh") << "é is not cut in half";
  EXPECT_TRUE(run.candidate(jobs[0].id).tail.tokens.empty());
}

TEST(Budget, OfTheRunIsHeldToTheToken) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 60; ++trial) {
    Settings settings = small_settings();
    settings.max_new_tokens = static_cast<int64_t>(random() % 1500);
    settings.population = 1 + static_cast<int64_t>(random() % 8);
    settings.aggregation_size = 1;
    reasoning::Run run = make_run(settings);
    ScriptedGenerator generator = signing_generator(10 + random() % 60);
    const RunResult result = solved(run, generator);
    EXPECT_LE(result.new_tokens, settings.max_new_tokens);
    const bool all = result.stopped == Stopped::complete;
    EXPECT_TRUE(all || result.stopped == Stopped::tokens);
    EXPECT_TRUE(result.candidate >= 0 || settings.max_new_tokens < 33 * settings.population)
        << "a best answer all the same";
  }
  Settings none = small_settings();
  none.max_new_tokens = 0;
  reasoning::Run run = make_run(none);
  ScriptedGenerator generator = signing_generator();
  EXPECT_EQ(solved(run, generator).stopped, Stopped::tokens);
  EXPECT_TRUE(generator.submitted.empty());
}

TEST(Budget, OfTimeAndRoundsEndsWithTheBestAnswer) {
  Settings settings = small_settings();
  settings.max_rounds = 1;
  reasoning::Run fewer = make_run(settings);
  ScriptedGenerator generator = signing_generator();
  const RunResult result = solved(fewer, generator);
  EXPECT_EQ(result.round, 1);
  EXPECT_EQ(generator.submitted.size(), 12u);

  settings = small_settings();
  settings.max_seconds = 0;
  reasoning::Run late = make_run(settings);
  EXPECT_EQ(solved(late, generator).stopped, Stopped::time);

  // Interrupted in the last round: the round before has the answers.
  reasoning::Run interrupted = make_run(small_settings());
  for (int i = 0; i < 13; ++i) {
    const std::vector<Job> jobs = interrupted.start(1);
    ASSERT_EQ(jobs.size(), 1u);
    interrupted.complete(jobs[0].id, generator.play(jobs[0]));
  }
  interrupted.stop(Stopped::interrupted);
  EXPECT_TRUE(interrupted.start(10).empty());
  EXPECT_EQ(interrupted.result().round, 1);
  EXPECT_EQ(interrupted.result().stopped, Stopped::interrupted);
}

TEST(Votes, StopTheLastRoundOnceDecided) {
  Settings settings = small_settings();
  settings.early_stop = true;
  settings.population = 8;
  reasoning::Run run = make_run(settings);
  ScriptedGenerator generator;
  generator.script = [](const Job&) { return ScriptedGenerator::Script{"thinking", "The answer is 4."}; };
  generator.room = 2;
  const RunResult result = solved(run, generator);
  EXPECT_EQ(result.stopped, Stopped::decided);
  EXPECT_EQ(result.answer, "4");
  EXPECT_EQ(result.round, 2);
  EXPECT_EQ(result.candidates_cut, 3) << "five of eight decide";
  EXPECT_GT(result.tokens_saved, 0);
  ASSERT_EQ(result.votes.size(), 1u);
  EXPECT_EQ(result.votes[0].candidates.size(), 5u);

  // With the same seed and without early stop the winner is the same.
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::string answers[2];
    for (bool early : {false, true}) {
      settings.early_stop = early;
      settings.seed = seed;
      reasoning::Run played = make_run(settings);
      ScriptedGenerator mixed = signing_generator(20);
      mixed.random.seed(seed);
      mixed.script = [](const Job& job) {
        return ScriptedGenerator::Script{"x", fmt::format("The answer is {}.", job.seed % 10 < 7 ? 1 : job.seed % 5)};
      };
      answers[early] = solved(played, mixed).answer;
    }
    EXPECT_EQ(answers[0], answers[1]);
  }
}

TEST(Choice, TakesOneMoreRoundOrAVerifier) {
  Settings settings = small_settings();
  settings.choice = Choice::aggregate;
  reasoning::Run run = make_run(settings);
  ScriptedGenerator generator = signing_generator();
  const RunResult result = solved(run, generator);
  EXPECT_EQ(generator.submitted.size(), 19u);
  EXPECT_EQ(result.round, 3);
  EXPECT_EQ(run.rounds()[3][0].parents.size(), 3u);

  Settings best = small_settings();
  best.method = Method::best_of;
  reasoning::Run judged = make_run(best);
  ScriptedGenerator other = signing_generator();
  SolveOptions options;
  options.verifier = [](const Candidate& candidate) { return candidate.answer == "2" ? 1.0 : 0.0; };
  EXPECT_EQ(solved(judged, other, nullptr, options).answer, "2");
}

TEST(Failures, OfCandidatesAreNoFailureOfTheRun) {
  reasoning::Run run = make_run(small_settings());
  ScriptedGenerator generator = signing_generator();
  const auto sign = generator.script;
  generator.script = [&](const Job& job) {
    auto script = sign(job);
    script.fails = job.id == 0 || job.id == 7;
    return script;
  };
  const RunResult result = solved(run, generator);
  EXPECT_EQ(result.stopped, Stopped::complete);
  EXPECT_EQ(result.round, 2);
  for (const Job& job : generator.submitted) EXPECT_THAT(job.prompt.text(), Not(HasSubstr("<0>")));

  generator.script = [](const Job&) { return ScriptedGenerator::Script{.fails = true}; };
  reasoning::Run hopeless = make_run(small_settings());
  ScriptedGenerator failing;
  failing.script = generator.script;
  EXPECT_FALSE(solve(hopeless, failing, nullptr, nullptr, {}).ok());
  EXPECT_EQ(failing.submitted.size(), 6u) << "no second round on nothing";
}

TEST(Prompts, AreTemplatesOfTheUsers) {
  const char* source =
      "=== rollout\nQ: {{problem}} \\frac{{1}}{2}\n=== aggregate\n{{count}} of {{problem}}:\n{{candidates}}END\n"
      "=== candidate\n#{{number}} {{tail}}\n\n";
  Result<Prompts> prompts = Prompts::parse(source, "test");
  ASSERT_TRUE(prompts.ok()) << prompts.status().to_string();
  EXPECT_EQ(prompts->rollout("x{{tail}}").text(), "Q: x{{tail}} \\frac{{1}}{2}") << "what is put in is not expanded";
  const std::vector<Segment> tails = {{.text = "a", .is_tail = true}, {.text = "{{count}}", .is_tail = true}};
  const Prompt prompt = prompts->aggregation("x", tails);
  EXPECT_EQ(prompt.text(), "2 of x:\n#1 a\n#2 {{count}}\nEND");
  ASSERT_EQ(prompt.user.size(), 5u);
  EXPECT_TRUE(prompt.user[1].is_tail);
  EXPECT_EQ(prompts->aggregation("x", std::span(tails).first(1)).text(), "1 of x:\n#1 a\nEND");

  const auto code = [](const char* text) { return Prompts::parse(text, "test").status().code(); };
  EXPECT_EQ(code("=== rollout\n{{problem}}\n"), Code::malformed) << "no aggregate";
  EXPECT_EQ(code("=== nonsense\n"), Code::malformed);
  EXPECT_EQ(code("=== rollout\nx\n=== aggregate\n{{candidates}}\n=== candidate\n{{tail}}\n"), Code::malformed);
  EXPECT_EQ(code(""), Code::malformed);
  EXPECT_EQ(Prompts::named("/nowhere").status().code(), Code::not_found);
  EXPECT_THAT(Prompts::named("boxed")->rollout("P").text(), HasSubstr("\\boxed{}"));
  EXPECT_EQ(Prompts::named("plain")->rollout("P").text(), "P");
}

class JournalTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(path_); }
  std::string content() { return *read_file(path_); }
  const std::filesystem::path path_ = std::filesystem::path(testing::TempDir()) / "zaya_journal_test.jsonl";
};

std::string summary(const reasoning::Run& run) {
  std::string all;
  for (const auto& round : run.rounds()) {
    for (const Candidate& c : round) {
      all += fmt::format("{}/{} {} {} {} {} {}\n", c.round, c.index, c.tail.text, c.trace.reasoning.text,
                         c.trace.answer.text, c.trace.new_tokens, c.answer.value_or("-"));
    }
  }
  return all;
}

// Cut at every line, and within lines, the rest of the run makes the same run.
TEST_F(JournalTest, ResumesFromAnyPointToTheSameRun) {
  Settings settings = small_settings();
  settings.sampling.top_k = 7;
  std::string whole;
  std::string result;
  {
    reasoning::Run run = make_run(settings, "boxed", "What is \"2\" + 2?\n");
    ScriptedGenerator generator = signing_generator();
    Result<Journal> journal = Journal::create(path_);
    ASSERT_TRUE(journal.ok());
    EXPECT_EQ(Journal::create(path_).status().code(), Code::invalid_argument);
    EXPECT_EQ(Journal::reopen(path_).status().code(), Code::invalid_argument) << "it is locked";
    solved(run, generator, &*journal, {.id = "one"});
    whole = content();
    result = summary(run);
  }
  const size_t first = whole.find('\n');
  for (size_t cut = first + 1; cut < whole.size(); cut += 997) {
    { std::ofstream(path_, std::ios::trunc) << whole.substr(0, cut); }
    Result<Journal> journal = Journal::reopen(path_);
    ASSERT_TRUE(journal.ok()) << journal.status().to_string();
    EXPECT_EQ(content().back(), '\n') << "a torn line is taken away";
    Result<SavedRun> saved = read_journal(path_);
    ASSERT_TRUE(saved.ok()) << saved.status().to_string();
    EXPECT_EQ(saved->settings.sampling.top_k, 7);
    EXPECT_FALSE(saved->complete);
    Result<reasoning::Run> run =
        restore_run(*saved, [](std::span<const text::TokenId> t) { return std::string(t.begin(), t.end()); });
    ASSERT_TRUE(run.ok()) << run.status().to_string();
    ScriptedGenerator generator = signing_generator();
    generator.random.seed(static_cast<unsigned>(cut));
    solved(*run, generator, &*journal, {.resumed = true});
    EXPECT_EQ(summary(*run), result) << "cut at " << cut;
    EXPECT_EQ(generator.submitted.size(), 18 - saved->traces.size()) << "nothing is generated twice";
    EXPECT_TRUE(read_journal(path_)->complete);
  }
}

TEST_F(JournalTest, RefusesWhatIsNoJournal) {
  const auto code = [](std::string_view text) { return parse_journal(text).status().code(); };
  EXPECT_EQ(code(""), Code::malformed);
  EXPECT_EQ(code("{\"event\":\"run\""), Code::malformed) << "torn before its first line";
  EXPECT_EQ(code("{\"event\":\"trace\"}\n"), Code::malformed);
  EXPECT_EQ(code("{\"event\":\"run\",\"version\":2}\n"), Code::unsupported);
  EXPECT_EQ(code("{\"event\":\"run\",\"version\":1,\"settings\":{\"N\":2,\"C\":3}}\n"), Code::invalid_argument);
  EXPECT_EQ(code("{\"event\":\"run\",\"version\":1,\"settings\":{\"N\":\"x\"}}\n"), Code::malformed);
  const std::string head = "{\"event\":\"run\",\"version\":1,\"settings\":{}}\n";
  EXPECT_EQ(code(head), Code::ok);
  EXPECT_EQ(code(head + head), Code::malformed);
  EXPECT_EQ(code(head + "{\"event\":\"trace\",\"round\":9,\"candidate\":0}\n"), Code::malformed);
  EXPECT_EQ(code(head + "nonsense\n"), Code::malformed);
  EXPECT_EQ(code(head + "{\"event\":\"from a later version\"}\n"), Code::ok);
  EXPECT_EQ(read_journal("/nowhere").status().code(), Code::not_found);
}

TEST(Estimate, CountsTokensFromTheDraws) {
  Settings settings = small_settings();
  reasoning::Run run = make_run(settings);
  const Cost cost = estimate_cost(run, {.prefill_rate = 100, .decode_rate = 10, .bytes_per_token = 2}, 1, 50, 20);
  EXPECT_EQ(cost.candidates, 18);
  EXPECT_EQ(cost.new_tokens, 18 * (40 + 20));
  EXPECT_EQ(cost.prompt_tokens, 6 * 50 + 12 * (50 + 3 * 10));
  EXPECT_LT(cost.computed_prompt_tokens, cost.prompt_tokens);
  EXPECT_GE(cost.computed_prompt_tokens, 3 * 50 + 2 * 3 * 10);
  EXPECT_EQ(cost.longest_sequence, 50 + 30 + 60);
  EXPECT_DOUBLE_EQ(cost.decode_seconds, static_cast<double>(cost.new_tokens) / 10);
}

}  // namespace
}  // namespace zaya::reasoning
