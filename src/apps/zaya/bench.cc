// zaya bench: tokens per second beside what the machine could do, all measured in one run.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "apps/zaya/common.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/verbs.h"
#include "checkpoint/synthetic.h"
#include "cpu/bandwidth.h"
#include "model/model.h"
#include "ops/cpu/peak.h"
#include "ops/packed/layout.h"

namespace zaya::app {
namespace {

struct Options {
  ModelOptions model;
  std::string synthetic;
  std::vector<int64_t> prompts{512}, parallel{1}, contexts{0};
  int64_t tokens = 32, chunk = 2048;
  int repeat = 3;
  bool json = false;
};

// One line of the result.
struct Figure {
  std::string what;
  std::vector<double> rates;  // tokens per second, one per repetition
  double bytes = 0;           // read per step, on average
  double flops = 0;           // per token
  double steps_per_token = 0;

  double median() const {
    std::vector<double> sorted = rates;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
  double lowest() const { return *std::min_element(rates.begin(), rates.end()); }
  double highest() const { return *std::max_element(rates.begin(), rates.end()); }
};

double matrix_bytes(const ops::Matrix& m) {
  return static_cast<double>(ops::is_packed(m.type) ? ops::packed_bytes(m.type, m.rows, m.cols)
                                                    : m.rows * m.cols * static_cast<int64_t>(ops::weight_size(m.type)));
}
double matrix_weights(const ops::Matrix& m) { return static_cast<double>(m.rows * m.cols); }

class Bench {
 public:
  Bench(model::Model& model, const Options& options) : model_(model), options_(options) {}

  Result<Figure> prefill(int64_t tokens) {
    Figure figure{.what = fmt::format("prompt of {}", tokens), .steps_per_token = 1.0 / static_cast<double>(tokens)};
    for (int i = 0; i <= options_.repeat; ++i) {  // the first one warms up
      model::SequenceState sequence = model_.new_sequence();
      const double start = now();
      ZAYA_RETURN_IF_ERROR(feed(sequence, tokens));
      if (i > 0) figure.rates.push_back(static_cast<double>(tokens) / (now() - start));
    }
    figure.flops = 2 * (layer_weights() + matrix_weights(model_.weights().head.exact) / static_cast<double>(tokens)) +
                   attention_flops(static_cast<double>(tokens) / 2);
    return figure;
  }

  // `parallel` sequences, each `context` tokens long, one token each per step.
  Result<Figure> decode(int64_t parallel, int64_t context) {
    Figure figure{
        .what = fmt::format("decode, {} sequence{}, {} tokens of context", parallel, parallel == 1 ? "" : "s", context),
        .steps_per_token = 1.0 / static_cast<double>(parallel)};
    std::vector<model::SequenceState> sequences;
    for (int64_t i = 0; i < parallel; ++i) {
      if (i == 0 || context == 0) {
        sequences.push_back(model_.new_sequence());
        if (context > 0) ZAYA_RETURN_IF_ERROR(feed(sequences.back(), context));
      } else {
        model::SequenceState fork = sequences[0].fork();
        sequences.push_back(std::move(fork));
      }
    }
    double bytes = 0;
    int64_t steps = 0;
    for (int i = 0; i <= options_.repeat; ++i) {
      const int64_t count = i == 0 ? 2 : options_.tokens;
      const double start = now();
      for (int64_t step = 0; step < count; ++step) {
        std::vector<int32_t> tokens(static_cast<size_t>(parallel));
        std::vector<model::TokenRun> runs;
        for (size_t s = 0; s < sequences.size(); ++s) {
          tokens[s] = next_token();
          runs.push_back({&sequences[s], std::span(&tokens[s], 1), model::Logits::last});
        }
        double experts = 0;
        ZAYA_RETURN_IF_ERROR(model_.forward(runs, logits_, [&](const model::LayerTrace& trace) {
          std::set<int32_t> touched(trace.choice.begin(), trace.choice.end());
          touched.erase(static_cast<int32_t>(model_.config().num_experts));
          experts += static_cast<double>(touched.size());
        }));
        if (i > 0) {
          bytes += step_bytes(experts) +
                   cache_bytes(static_cast<double>(sequences[0].length())) * static_cast<double>(parallel);
          ++steps;
        }
      }
      if (i > 0) figure.rates.push_back(static_cast<double>(count * parallel) / (now() - start));
    }
    figure.bytes = bytes / static_cast<double>(steps);
    figure.flops = 2 * (layer_weights() + matrix_weights(model_.weights().head.exact)) +
                   attention_flops(static_cast<double>(context));
    return figure;
  }

 private:
  static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  int32_t next_token() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int32_t>((random_ >> 33) % static_cast<uint64_t>(model_.config().vocab_size));
  }

  Status feed(model::SequenceState& sequence, int64_t count) {
    for (int64_t done = 0; done < count;) {
      const int64_t step = std::min(options_.chunk, count - done);
      std::vector<int32_t> tokens(static_cast<size_t>(step));
      for (int32_t& token : tokens) token = next_token();
      done += step;
      const model::TokenRun run{&sequence, tokens, done == count ? model::Logits::last : model::Logits::none};
      ZAYA_RETURN_IF_ERROR(model_.forward({&run, 1}, logits_));
    }
    return Status();
  }

  // What one step reads when it touches this many experts in all layers together. An embedding row is nothing beside
  // it.
  double step_bytes(double experts) const {
    const model::Weights& w = model_.weights();
    const double exact = matrix_bytes(w.head.exact) / static_cast<double>(w.head.exact.rows);
    double bytes = w.head.coarse.data == nullptr
                       ? matrix_bytes(w.head.exact)
                       : matrix_bytes(w.head.coarse) + exact * static_cast<double>(model_.exact_head_rows());
    for (const model::LayerWeights& l : w.layers) {
      for (const ops::Matrix* m : {&l.q, &l.k, &l.value_current, &l.value_delayed, &l.output, &l.router.down,
                                   &l.router.fc1, &l.router.fc2, &l.router.out}) {
        bytes += matrix_bytes(*m);
      }
    }
    const ops::Expert& e = w.layers[0].experts[0];
    return bytes + experts * (matrix_bytes(e.gate) + matrix_bytes(e.up) + matrix_bytes(e.down));
  }

  double cache_bytes(double length) const {
    return static_cast<double>(model_.page_bytes()) / static_cast<double>(ops::kPageTokens) * length;
  }

  // Weights that one token is multiplied with, without the head.
  double layer_weights() const {
    double weights = 0;
    const auto top_k = static_cast<double>(model_.config().experts_per_token);
    for (const model::LayerWeights& l : model_.weights().layers) {
      for (const ops::Matrix* m : {&l.q, &l.k, &l.value_current, &l.value_delayed, &l.output, &l.router.down,
                                   &l.router.fc1, &l.router.fc2, &l.router.out}) {
        weights += matrix_weights(*m);
      }
      weights += top_k * 3 * matrix_weights(l.experts[0].gate);
      weights += static_cast<double>(l.cca_shape.channels() * l.cca_shape.conv_time1 * l.cca_shape.head_dim);
    }
    return weights;
  }

  // Scores and weighted values over `context` positions, all layers.
  double attention_flops(double context) const {
    const checkpoint::ModelConfig& c = model_.config();
    return 4.0 * static_cast<double>(c.q_width() * c.num_layers()) * context;
  }

  model::Model& model_;
  const Options& options_;
  std::vector<float> logits_;
  uint64_t random_ = 42;
};

Result<std::unique_ptr<model::Model>> load(const Options& options) {
  const LoadOptions& given = options.model.load;
  if (!options.synthetic.empty()) {
    ZAYA_ASSIGN(const checkpoint::ModelConfig config, checkpoint::shape_named(options.synthetic));
    ZAYA_ASSIGN(auto backend, make_backend(given, /*packed=*/true));
    ZAYA_ASSIGN(const model::Options how, model_options(given, /*packed=*/true));
    return model::Model::random(config, how, 1, std::move(backend));
  }
  ZAYA_ASSIGN(const std::filesystem::path directory, model_directory(options.model.model));
  return open_model(directory, given);
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const std::unique_ptr<model::Model> model, load(options));
  const int threads = model->backend().threads();
  double bandwidth = 0;
  std::vector<ops::Peak> peaks;
  {
    cpu::ThreadTeam team(threads);
    ZAYA_ASSIGN(bandwidth, cpu::read_bandwidth(team));
    for (const ops::Peak& peak : {ops::vector_peak(team, cpu::best_isa()), ops::tile_peak(team, cpu::best_isa())}) {
      if (peak.flop_per_s > 0) peaks.push_back(peak);
    }
  }
  Bench bench(*model, options);
  std::vector<Figure> figures;
  for (int64_t prompt : options.prompts) {
    if (prompt <= 0) continue;
    ZAYA_ASSIGN(figures.emplace_back(), bench.prefill(prompt));
  }
  for (int64_t context : options.contexts) {
    for (int64_t parallel : options.parallel) {
      if (parallel <= 0) continue;
      ZAYA_ASSIGN(figures.emplace_back(), bench.decode(parallel, context));
    }
  }

  if (options.json) {
    text::Json result{{"backend", model->backend().name()},
                      {"threads", threads},
                      {"format", options.model.load.format},
                      {"read_bandwidth", bandwidth}};
    for (const ops::Peak& peak : peaks) result["peaks"][peak.name] = peak.flop_per_s;
    for (const Figure& f : figures) {
      result["figures"].push_back({{"what", f.what},
                                   {"tokens_per_second", f.median()},
                                   {"repeats", f.rates},
                                   {"bytes_per_second", f.bytes * f.median() * f.steps_per_token},
                                   {"flop_per_second", f.flops * f.median()}});
    }
    fmt::print("{}\n", json_text(result, 2));
    return Status();
  }
  fmt::print("{} · {} threads · weights {}\n", model->backend().name(), threads, options.model.load.format);
  fmt::print("read bandwidth {:.1f} GB/s", bandwidth / 1e9);
  for (const ops::Peak& peak : peaks) fmt::print(" · {} {:.2f} TFLOP/s", peak.name, peak.flop_per_s / 1e12);
  fmt::print("\n\n{:<48} {:>9}  {:>17}  {:>22}  {}\n", "", "tok/s", "lowest–highest", "read", "arithmetic");
  for (const Figure& f : figures) {
    const double read = f.bytes * f.median() * f.steps_per_token, flops = f.flops * f.median();
    std::string reading, computing;
    if (read > 0) reading = fmt::format("{:.1f} GB/s = {:.0f} %", read / 1e9, 100 * read / bandwidth);
    for (const ops::Peak& peak : peaks) {
      computing +=
          fmt::format("{}{:.0f} % of {}", computing.empty() ? "" : ", ", 100 * flops / peak.flop_per_s, peak.name);
    }
    fmt::print("{:<48} {:>9.1f}  {:>8.1f}–{:<8.1f}  {:>22}  {}\n", f.what, f.median(), f.lowest(), f.highest(), reading,
               computing);
  }
  return Status();
}

}  // namespace

Action add_bench(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.add_to(verb);
  verb.add_option(
      "--synthetic", options->synthetic,
      "Random weights of this shape instead of a model: 8b, 74b or tiny (q4 unless --format says otherwise)");
  verb.add_option("--prompt", options->prompts, "Lengths of prompts; 0 for none")->delimiter(',');
  verb.add_option("--parallel", options->parallel, "Numbers of sequences that decode together; 0 for none")
      ->delimiter(',');
  verb.add_option("--context", options->contexts, "Tokens in the cache before decoding")->delimiter(',');
  verb.add_option("--tokens", options->tokens, "Tokens to decode per repetition")->check(CLI::Range(1, 100000));
  verb.add_option("--chunk", options->chunk, "Prompt tokens per step")->check(CLI::Range(1, 100000));
  verb.add_option("--repeat", options->repeat, "Repetitions; the median is shown")->check(CLI::Range(1, 1000));
  verb.add_flag("--json", options->json, "Machine-readable");
  return [options] {
    if (!options->synthetic.empty() && options->model.load.format == "stored") options->model.load.format = "q4";
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
