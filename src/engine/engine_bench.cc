// What serving costs, on the embedded model with its context widened to 8,192 tokens: what a second turn and forks
// save, how many requests share a step, what the cache file and sampling cost. docs/engine.md has the figures.
// Run it from the source directory. One thread, so that the CPU time beside the time is the whole cost.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <random>

#include "base/file.h"
#include "engine/engine.h"
#include "ops/backend.h"

namespace zaya::engine {
namespace {

namespace fs = std::filesystem;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::unique_ptr<Engine> nano(const EngineOptions& options = {}) {
  const fs::path from = "models/nano", to = fs::temp_directory_path() / "zaya_nano_8192";
  fs::create_directories(to);
  std::string config = *read_file(from / "config.json");
  const std::string context = "\"max_position_embeddings\": ";
  config.replace(config.find(context + "2048"), context.size() + 4, context + "8192");
  (void)write_file(to / "config.json", config);
  fs::copy_file(from / "model.safetensors", to / "model.safetensors", fs::copy_options::overwrite_existing);
  auto backend = *ops::make_backend("cpu", {.threads = 1, .activations = ops::Activations::f32});
  auto model = model::Model::load(*checkpoint::Checkpoint::open(to), std::move(backend));
  return std::make_unique<Engine>(std::move(model).value(), *text::Tokenizer::load(from / "tokenizer.json"), options);
}

Request request_of(int64_t tokens, int64_t max_tokens, int seed) {
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  Request request;
  for (int64_t i = 0; i < tokens; ++i) request.prompt.push_back(static_cast<text::TokenId>(10 + random() % 600));
  request.max_tokens = max_tokens;
  request.sampling.seed = 1;
  return request;
}

// Time to the first token of a conversation's second turn, beside the first one's; are their logits what an engine
// without a cache computes?
void second_turn(benchmark::State& state) {
  const auto engine = nano(), uncached = nano({.prefix_cache = false});
  double first_seconds = 0, second_seconds = 0, equal = 1;
  for (auto _ : state) {
    (void)engine->configure({});  // empties the cache
    Request request = request_of(state.range(0), 32, 1);
    const Outcome first = *engine->generate(request);
    request.prompt.insert(request.prompt.end(), first.tokens.begin(), first.tokens.end());
    const Request more = request_of(16, 1, 2);
    request.prompt.insert(request.prompt.end(), more.prompt.begin(), more.prompt.end());
    request.sampling.top_logprobs = 100;
    std::vector<float> said[2];
    double seconds[2];
    for (Engine* e : {engine.get(), uncached.get()}) {
      const size_t i = e == uncached.get();
      const Outcome outcome = *e->generate(request, [&](const Event& event) {
        for (const TokenLogprob& logprob : event.sampled.top) said[i].push_back(logprob.logprob);
      });
      seconds[i] = outcome.prefill_seconds;
    }
    first_seconds += first.prefill_seconds;
    second_seconds += seconds[0];
    if (said[0] != said[1]) equal = 0;
  }
  const double runs = static_cast<double>(state.iterations());
  state.counters["first_ms"] = 1000 * first_seconds / runs;
  state.counters["second_ms"] = 1000 * second_seconds / runs;
  state.counters["times"] = first_seconds / second_seconds;
  state.counters["equal"] = equal;
}
BENCHMARK(second_turn)->Arg(1000)->Arg(4000)->Iterations(3)->Unit(benchmark::kMillisecond);

// Sixteen answers of 32 tokens to one prompt, all submitted at once.
void forks(benchmark::State& state) {
  const auto engine = nano({.prefix_cache = state.range(1) != 0});
  double computed = 0, hits = 0;
  for (auto _ : state) {
    (void)engine->configure(engine->options());
    const EngineStats before = engine->stats();
    for (int64_t i = 0; i < state.range(0); ++i) {
      Request request = request_of(2000, 32, 1);
      request.sampling.seed = static_cast<uint64_t>(i);
      (void)engine->submit(std::move(request));
    }
    while (!engine->idle()) engine->step();
    const EngineStats after = engine->stats();
    computed = static_cast<double>(after.computed_tokens - before.computed_tokens);
    hits = static_cast<double>(after.cached_prompt_tokens - before.cached_prompt_tokens) /
           static_cast<double>(after.prompt_tokens - before.prompt_tokens);
  }
  state.counters["computed"] = computed;
  state.counters["hit_rate"] = hits;
}
BENCHMARK(forks)->Args({1, 1})->Args({16, 1})->Args({16, 0})->Iterations(1)->Unit(benchmark::kMillisecond);

// Requests of 100 + 100 tokens, so many at once.
void together(benchmark::State& state) {
  const auto engine = nano();
  int64_t tokens = 0, seed = 0;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) (void)engine->submit(request_of(100, 100, static_cast<int>(seed++)));
    while (!engine->idle()) engine->step();
    tokens += 100 * state.range(0);
  }
  state.counters["new_tokens/s"] = benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}
BENCHMARK(together)->Arg(1)->Arg(4)->Arg(16)->Arg(64)->Iterations(1)->Unit(benchmark::kMillisecond);

// The longest time between two tokens of an answer while a prompt of 6,000 tokens goes through, beside the time
// without.
void beside_a_long_prompt(benchmark::State& state) {
  const auto engine = nano({.mixed_step_seconds = static_cast<double>(state.range(0)) / 1000});
  double longest = 0, prefill = 0;
  for (auto _ : state) {
    double last = 0;
    bool book_done = false;
    longest = 0;
    const auto speaking = *engine->submit(request_of(20, 2000, 3), [&](const Event&) {
      const double time = now();
      if (last != 0 && !book_done) longest = std::max(longest, time - last);
      last = time;
    });
    for (int i = 0; i < 10; ++i) engine->step();
    longest = 0;
    const auto book = *engine->submit(request_of(6000, 1, 4));
    while (!book->done()) engine->step();
    book_done = true;
    prefill = book->outcome().prefill_seconds;
    speaking->request_cancel();
    while (!engine->idle()) engine->step();
  }
  state.counters["longest_gap_ms"] = 1000 * longest;
  state.counters["prefill_ms"] = 1000 * prefill;
}
BENCHMARK(beside_a_long_prompt)->Arg(50)->Arg(250)->Arg(100000)->Iterations(1)->Unit(benchmark::kMillisecond);

void cache_file(benchmark::State& state) {
  const auto engine = nano();
  (void)engine->generate(request_of(8000, 10, 1));
  const fs::path path = fs::temp_directory_path() / "zaya_bench_cache";
  double save = 0, load = 0;
  for (auto _ : state) {
    const double start = now();
    (void)engine->save_cache(path);
    save = now() - start;
    (void)engine->load_cache(path);
    load = now() - start - save;
  }
  const double megabytes = static_cast<double>(fs::file_size(path)) / 1e6;
  state.counters["MB"] = megabytes;
  state.counters["save_MB/s"] = megabytes / save;
  state.counters["load_MB/s"] = megabytes / load;
  fs::remove(path);
}
BENCHMARK(cache_file)->Iterations(3)->Unit(benchmark::kMillisecond);

// One token's choice from 262,147 logits.
void sampling(benchmark::State& state, const SamplingParams& params) {
  std::mt19937_64 random(1);
  std::vector<float> logits(262147);
  for (float& logit : logits) {  // about normal, deviation 1
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>(random() >> 40) / 0x1p24f - 0.5f;
    logit = sum * 1.73f;
  }
  for (size_t i = 0; i < 20; ++i) logits[i * 1000] = 20 - static_cast<float>(i) / 2;
  Sampler sampler(params, static_cast<int64_t>(logits.size()));
  for (auto _ : state) benchmark::DoNotOptimize(sampler.sample(logits)->token);
}
BENCHMARK_CAPTURE(sampling, greedy, SamplingParams{.temperature = 0})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sampling, all, SamplingParams{.seed = 1})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sampling, top_p, SamplingParams{.top_p = 0.95, .seed = 1})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sampling, logprobs, SamplingParams{.temperature = 0, .top_logprobs = 5})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace zaya::engine
