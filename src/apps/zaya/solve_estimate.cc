// zaya solve --estimate: a moment of measuring, then arithmetic.
#include <fmt/format.h>

#include <chrono>

#include "apps/zaya/common.h"
#include "apps/zaya/solve_tools.h"
#include "reasoning/estimate.h"

namespace zaya::app {
namespace {

using reasoning::Cost;
using reasoning::Generator;
using reasoning::Job;
using reasoning::Machine;
using reasoning::Run;
using reasoning::Trace;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Result<std::vector<Trace>> finish(Generator& generator, std::vector<Job> jobs) {
  const size_t count = jobs.size();
  for (Job& job : jobs) ZAYA_RETURN_IF_ERROR(generator.submit(std::move(job)));
  std::vector<Trace> traces;
  while (traces.size() < count) {
    for (reasoning::Event& event : generator.wait(0.1)) {
      if (event.kind != reasoning::Event::Kind::done) continue;
      if (event.trace->end == reasoning::End::failed) return Status(Code::io_error, event.trace->failure);
      traces.push_back(std::move(*event.trace));
    }
  }
  return traces;
}

struct Measured {
  Machine machine;
  int64_t question_tokens = 0;
};

// One prompt of some 200 tokens, then a round's width of short rollouts together.
Result<Measured> measure(const Run& run, Generator& generator) {
  constexpr int64_t kTokens = 24;
  Measured measured;
  std::string filler;
  for (int i = 0; i < 40; ++i) filler += fmt::format("{} + {} = {}. ", i, i + 1, 2 * i + 1);
  std::vector<Job> first(1);
  first[0].prompt = run.prompts().rollout(filler);
  first[0].thinking_budget = 1;
  ZAYA_ASSIGN(const std::vector<Trace> prompt, finish(generator, std::move(first)));
  measured.machine.prefill_rate = static_cast<double>(prompt[0].prompt_tokens - prompt[0].cached_prompt_tokens) /
                                  std::max(1e-6, prompt[0].prefill_seconds);

  const int64_t width = std::min(run.settings().population, generator.capacity());
  std::vector<Job> round(static_cast<size_t>(width));
  for (int64_t i = 0; i < width; ++i) {
    Job& job = round[static_cast<size_t>(i)];
    job.id = i;
    job.prompt = run.prompts().rollout(run.problem());
    job.sampling = run.settings().sampling;
    job.seed = static_cast<uint64_t>(i);
    job.thinking_budget = kTokens;
  }
  const double begin = seconds_now();
  ZAYA_ASSIGN(const std::vector<Trace> rollouts, finish(generator, std::move(round)));
  double tokens = 0, prefill = 0;
  for (const Trace& trace : rollouts) {
    tokens += static_cast<double>(trace.new_tokens);
    prefill = std::max(prefill, trace.prefill_seconds);
    measured.question_tokens = std::max(measured.question_tokens, trace.prompt_tokens);
  }
  measured.machine.decode_rate = tokens / std::max(1e-6, seconds_now() - begin - prefill);
  return measured;
}

std::string time_text(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

int estimate(const Run& run, Generator& generator, const engine::Service* service, bool json) {
  Result<Measured> measured = measure(run, generator);
  if (!measured.ok()) return fail(measured.status());
  Machine& machine = measured->machine;
  if (service != nullptr) {
    const auto& config = service->engine().model().config();
    machine.bytes_per_token =
        config.num_layers() * 2 * config.num_kv_heads * config.head_dim * static_cast<int64_t>(sizeof(float));
  }
  constexpr int64_t kAnswer = 500;
  text::Json cases = text::Json::array();
  if (!json) {
    fmt::print("measured: prompts {:.0f} tok/s, {} candidates together {:.1f} tok/s; the question has {} tokens\n",
               machine.prefill_rate, run.settings().population, machine.decode_rate, measured->question_tokens);
    fmt::print("{:>14} {:>12} {:>14} {:>14} {:>10} {:>10} {:>10}\n", "used of β", "new tokens", "prompt tokens",
               "after sharing", "prompts", "new", "memory");
  }
  for (double fraction : {0.25, 0.5, 1.0}) {
    const Cost cost = reasoning::estimate_cost(run, machine, fraction, measured->question_tokens, kAnswer);
    cases.push_back({{"fraction_of_beta", fraction},
                     {"candidates", cost.candidates},
                     {"new_tokens", cost.new_tokens},
                     {"prompt_tokens", cost.prompt_tokens},
                     {"computed_prompt_tokens", cost.computed_prompt_tokens},
                     {"longest_sequence", cost.longest_sequence},
                     {"prefill_seconds", cost.prefill_seconds},
                     {"decode_seconds", cost.decode_seconds},
                     {"memory_bytes", cost.memory_bytes}});
    if (json) continue;
    fmt::print("{:>12.0f} % {:>12} {:>14} {:>14} {:>10} {:>10} {:>10}\n", fraction * 100, cost.new_tokens,
               cost.prompt_tokens, cost.computed_prompt_tokens, time_text(cost.prefill_seconds),
               time_text(cost.decode_seconds),
               cost.memory_bytes > 0 ? fmt::format("{:.0f} MB", static_cast<double>(cost.memory_bytes) / 1e6) : "–");
  }
  if (json) {
    fmt::print("{}\n", json_text({{"prefill_tokens_per_second", machine.prefill_rate},
                                  {"decode_tokens_per_second", machine.decode_rate},
                                  {"question_tokens", measured->question_tokens},
                                  {"cases", cases}}));
  }
  return kFine;
}

}  // namespace zaya::app
