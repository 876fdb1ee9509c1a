#include "apps/zaya/bench_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "checkpoint/synthetic.h"
#include "ops/packed/coarse.h"

namespace zaya::app {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double weights_of(const ops::Matrix& m) { return static_cast<double>(m.rows * m.cols); }

// Weights that one token is multiplied with, without the head.
double layer_weights(const model::Model& model) {
  double weights = 0;
  const auto top_k = static_cast<double>(model.config().experts_per_token);
  for (const model::LayerWeights& l : model.weights().layers) {
    for (const ops::Matrix* m : shared_matrices(l)) weights += weights_of(*m);
    weights += top_k * 3 * weights_of(l.experts[0].gate);
  }
  return weights;
}

// Scores and weighted values over the positions that a query at `position` sees.
double attention_ops(const model::Model& model, double position) {
  double ops = 0;
  for (const model::LayerWeights& l : model.weights().layers) {
    const auto window = static_cast<double>(l.cca_shape.sliding_window);
    ops += 4.0 * static_cast<double>(l.cca_shape.q_width()) * (window > 0 ? std::min(window, position) : position);
  }
  return ops;
}

// Keys and values that `count` new tokens of a sequence read together, when it is `length` long afterwards: all of
// them see the same ones.
double cache_bytes(const model::Model& model, int64_t length, int64_t count) {
  const double position = static_cast<double>(model.page_bytes()) / static_cast<double>(ops::kPageTokens) /
                          static_cast<double>(model.weights().layers.size());
  double bytes = 0;
  for (const model::LayerWeights& l : model.weights().layers) {
    const int64_t window = l.cca_shape.sliding_window;
    bytes += position * static_cast<double>(window > 0 ? std::min(window + count - 1, length) : length);
  }
  return bytes;
}

// What every step reads but for experts and the head: matrices, and the vectors of norms and residual scales.
double shared_bytes(const model::Model& model) {
  double bytes = 0;
  for (const model::LayerWeights& l : model.weights().layers) {
    for (const ops::Matrix* m : shared_matrices(l)) bytes += matrix_bytes(*m);
    bytes += 10.0 * static_cast<double>(model.config().hidden_size) * sizeof(float);
  }
  return bytes;
}

// The head in the last step: whole, or its coarse copy with the rows that were multiplied exactly.
double head_bytes(const model::Model& model) {
  const ops::Head& head = model.weights().head;
  const double exact = matrix_bytes(head.exact);
  if (head.coarse.data == nullptr) return exact;
  const double rows = static_cast<double>(head.exact.rows), floats = rows * 2 * sizeof(float);
  return static_cast<double>(ops::coarse_bytes(head.exact.rows, head.exact.cols)) + floats +
         std::min(exact, exact / rows * static_cast<double>(model.exact_head_rows()));
}

}  // namespace

Spread Spread::of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

double matrix_bytes(const ops::Matrix& m) {
  const double factors = m.row_scale != nullptr ? static_cast<double>(m.rows) * sizeof(float) : 0;
  return factors + static_cast<double>(ops::is_packed(m.type)
                                           ? ops::packed_bytes(m.type, m.rows, m.cols)
                                           : m.rows * m.cols * static_cast<int64_t>(ops::weight_size(m.type)));
}

std::vector<const ops::Matrix*> shared_matrices(const model::LayerWeights& l) {
  return {&l.q,           &l.k,           &l.value_current, &l.value_delayed, &l.output,
          &l.cca.grouped, &l.router.down, &l.router.fc1,    &l.router.fc2,    &l.router.out};
}

Result<std::unique_ptr<CeilingProbe>> CeilingProbe::make(int threads, cpu::Isa isa) {
  std::unique_ptr<CeilingProbe> probe(new CeilingProbe(threads, isa));
  ZAYA_ASSIGN(probe->bandwidth_, cpu::BandwidthProbe::make(probe->team_));
  return probe;
}

Ceilings CeilingProbe::measure() {
  return {.read = bandwidth_.measure(team_), .peaks = ops::arithmetic_peaks(team_, isa_, 3)};
}

Ceilings between(const Ceilings& before, const Ceilings& after) {
  Ceilings mean = before;
  mean.read = (before.read + after.read) / 2;
  for (size_t i = 0; i < mean.peaks.size(); ++i) {
    mean.peaks[i].op_per_s = (before.peaks[i].op_per_s + after.peaks[i].op_per_s) / 2;
  }
  return mean;
}

Spread Figure::rate() const {
  std::vector<double> values;
  for (const Repeat& r : repeats) values.push_back(r.tokens_per_second);
  return Spread::of(std::move(values));
}

Spread Figure::read_share() const {
  std::vector<double> values;
  for (const Repeat& r : repeats) values.push_back(r.tokens_per_second * bytes_per_token / r.ceilings.read);
  return Spread::of(std::move(values));
}

Spread Figure::peak_share(size_t peak) const {
  std::vector<double> values;
  for (const Repeat& r : repeats) {
    values.push_back(r.tokens_per_second * ops_per_token / r.ceilings.peaks[peak].op_per_s);
  }
  return Spread::of(std::move(values));
}

std::string scaled(double value) {
  constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T"};
  size_t prefix = 0;
  for (; value >= 1000 && prefix + 1 < std::size(kPrefixes); ++prefix) value /= 1000;
  return fmt::format("{:.3g} {}", value, kPrefixes[prefix]);
}

void add_synthetic(CLI::App& verb, std::string& shape) {
  verb.add_option(
      "--synthetic", shape,
      "Random weights of this shape instead of a model: 8b, 74b or tiny (q4 unless --format says otherwise)");
}

Result<std::unique_ptr<model::Model>> load_or_synthesise(const ModelOptions& options, const std::string& shape) {
  if (shape.empty()) {
    ZAYA_ASSIGN(const std::filesystem::path directory, model_directory(options.model));
    return open_model(directory, options.load);
  }
  LoadOptions given = options.load;
  if (given.format == "stored") given.format = "q4";
  ZAYA_ASSIGN(const checkpoint::ModelConfig config, checkpoint::shape_named(shape));
  ZAYA_ASSIGN(auto backend, make_backend(given, /*packed=*/true));
  ZAYA_ASSIGN(const model::Options how, model_options(given, /*packed=*/true));
  return model::Model::random(config, how, 1, std::move(backend));
}

Result<Figure> Bench::prefill(int64_t tokens) {
  const auto count = static_cast<double>(tokens);
  Figure figure{.what = fmt::format("prompt of {}", tokens), .tokens_per_step = std::min(tokens, options_.chunk)};
  Ceilings before;
  bytes_ = 0;
  for (int i = 0; i <= options_.repeat; ++i) {  // the first one warms up
    model::SequenceState sequence = model_.new_sequence();
    const double start = now();
    ZAYA_RETURN_IF_ERROR(feed(sequence, tokens));
    const double elapsed = now() - start;
    const Ceilings after = probe_.measure();
    if (i > 0) figure.repeats.push_back({count / elapsed, between(before, after)});
    before = after;
  }
  figure.bytes_per_token = bytes_ / count / (options_.repeat + 1);
  figure.ops_per_token = 2 * (layer_weights(model_) + weights_of(model_.weights().head.exact) / count);
  // The mean over the positions; windows make it less than that of the middle, by little.
  for (int part = 0; part < 8; ++part) figure.ops_per_token += attention_ops(model_, count * (part + 0.5) / 8) / 8;
  return figure;
}

Result<Figure> Bench::decode(int64_t parallel, int64_t context) {
  Figure figure{
      .what = fmt::format("decode, {} sequence{}, {} tokens of context", parallel, parallel == 1 ? "" : "s", context),
      .tokens_per_step = parallel};
  std::vector<model::SequenceState> sequences;
  for (int64_t i = 0; i < parallel; ++i) {
    if (i == 0 || context == 0) {
      sequences.push_back(model_.new_sequence());
      if (context > 0) ZAYA_RETURN_IF_ERROR(feed(sequences.back(), context));
    } else {
      sequences.push_back(sequences[0].fork());
    }
  }
  shared_ = parallel > 1 ? context : 0;
  Ceilings before;
  for (int i = 0; i <= options_.repeat; ++i) {
    if (i <= 1) bytes_ = 0;
    const int64_t count = i == 0 ? std::min<int64_t>(2, options_.tokens) : options_.tokens;
    const double start = now();
    for (int64_t s = 0; s < count; ++s) {
      std::vector<int32_t> tokens(static_cast<size_t>(parallel));
      std::vector<model::TokenRun> runs;
      for (size_t j = 0; j < sequences.size(); ++j) {
        tokens[j] = next_token();
        runs.push_back({&sequences[j], std::span(&tokens[j], 1), model::Logits::last});
      }
      ZAYA_RETURN_IF_ERROR(step(runs));
    }
    const double elapsed = now() - start;
    const Ceilings after = probe_.measure();
    if (i > 0) figure.repeats.push_back({static_cast<double>(count * parallel) / elapsed, between(before, after)});
    before = after;
  }
  figure.bytes_per_token = bytes_ / static_cast<double>(options_.repeat * options_.tokens * parallel);
  figure.ops_per_token = 2 * (layer_weights(model_) + weights_of(model_.weights().head.exact)) +
                         attention_ops(model_, static_cast<double>(sequences[0].length()));
  return figure;
}

int32_t Bench::next_token() {
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<int32_t>((random_ >> 33) % static_cast<uint64_t>(model_.config().vocab_size));
}

Status Bench::feed(model::SequenceState& sequence, int64_t count) {
  for (int64_t done = 0; done < count;) {
    const int64_t size = std::min(options_.chunk, count - done);
    std::vector<int32_t> tokens(static_cast<size_t>(size));
    for (int32_t& token : tokens) token = next_token();
    done += size;
    const model::TokenRun run{&sequence, tokens, done == count ? model::Logits::last : model::Logits::none};
    ZAYA_RETURN_IF_ERROR(step({&run, 1}));
  }
  return Status();
}

Status Bench::step(std::span<const model::TokenRun> runs) {
  const std::vector<model::LayerWeights>& layers = model_.weights().layers;
  std::vector<char> touched;
  double experts = 0;
  ZAYA_RETURN_IF_ERROR(model_.forward(runs, logits_, [&](const model::LayerTrace& trace) {
    const std::vector<ops::Expert>& of_layer = layers[static_cast<size_t>(trace.layer)].experts;
    touched.assign(of_layer.size() + 1, 0);  // the last one skips: it reads nothing
    for (int32_t choice : trace.choice) touched[static_cast<size_t>(choice)] = 1;
    for (size_t e = 0; e < of_layer.size(); ++e) {
      if (touched[e] == 0) continue;
      for (const ops::Matrix* m : {&of_layer[e].gate, &of_layer[e].up, &of_layer[e].down}) experts += matrix_bytes(*m);
    }
  }));
  bytes_ += shared_bytes(model_) + experts;
  if (!logits_.empty()) bytes_ += head_bytes(model_);
  for (const model::TokenRun& run : runs) {
    bytes_ += cache_bytes(model_, run.sequence->length(), static_cast<int64_t>(run.tokens.size()));
  }
  bytes_ -= static_cast<double>(runs.size() - 1) * (shared_ > 0 ? cache_bytes(model_, shared_, 1) : 0);
  return Status();
}

}  // namespace zaya::app
