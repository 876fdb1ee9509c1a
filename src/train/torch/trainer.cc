// run: a recipe from its first step, or from where it was stopped, to its last.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <numeric>
#include <thread>

#include "base/file.h"
#include "train/data.h"
#include "train/progress.h"
#include "train/recipe.h"
#include "train/torch/collective.h"
#include "train/torch/commands.h"
#include "train/torch/guard.h"
#include "train/torch/network.h"
#include "train/torch/on_threads.h"
#include "train/torch/optimizer.h"
#include "train/torch/state.h"
#include "train/torch/weights.h"

namespace zaya::train {
namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t stop_requested = 0;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// What happened since the last line of the log.
struct Window {
  double loss = 0, targets = 0, norm = 0;
  int64_t tokens = 0, steps = 0;
  double seconds = 0, operations = 0;
  std::vector<double> kind_loss, kind_targets;
  std::vector<Tensor> loads;  // per layer [E + 1] FP64

  // Per layer: the entropy of the experts' loads as a share of its maximum, ln E.
  std::vector<double> entropies() const {
    std::vector<double> result;
    for (const Tensor& load : loads) {
      const Tensor experts = load.narrow(0, 0, load.size(0) - 1);
      const Tensor p = experts / experts.sum().clamp_min(1);
      const double entropy = -at::xlogy(p, p).sum().item<double>();
      const auto classes = static_cast<double>(experts.size(0));
      result.push_back(classes > 1 ? entropy / std::log(classes) : 1);
    }
    return result;
  }
};

// The tokens of a batch come in multiples of this: oneDNN makes code for each new shape.
constexpr int64_t kTokenMultiple = 64;

// One thread of a process with batches of its own. Its weights are the model's memory, with gradients apart: threads
// then meet once a step instead of in every operation, which is what lets them run beside other programs.
struct Worker {
  Weights weights;
  std::vector<Tensor> loads;  // per layer [E + 1] FP64
  Tensor kind_loss, kind_targets;
  Status status;

  void clear(const Architecture& architecture, int64_t kinds) {
    const auto f64 = torch::TensorOptions().dtype(torch::kFloat64);
    loads.clear();
    for (size_t i = 0; i < weights.layers.size(); ++i) {
      loads.push_back(torch::zeros({architecture.model.router_classes()}, f64));
    }
    kind_loss = torch::zeros({kinds}, f64);
    kind_targets = torch::zeros({kinds}, f64);
  }
};

class Trainer {
 public:
  Trainer(Recipe recipe, const RunOptions& options) : recipe_(std::move(recipe)), options_(options) {}

  Status run() {
    prepare(1);
    ZAYA_ASSIGN(collective_, Collective::from_environment(torch::kCPU));
    ZAYA_RETURN_IF_ERROR(open());
    std::signal(SIGINT, [](int) { stop_requested = 1; });
    std::signal(SIGTERM, [](int) { stop_requested = 1; });
    progress_line_ = std::make_unique<ProgressLine>(progress_.step, recipe_.total_steps());
    while (progress_.stage < recipe_.stages.size()) {
      const Stage& stage = recipe_.stages[progress_.stage];
      ZAYA_RETURN_IF_ERROR(run_stage(stage));
      if (progress_.stage_step < stage.steps) return Status();  // stopped
      ZAYA_RETURN_IF_ERROR(write_model(recipe_.out / stage.name));
      progress_.stage += 1;
      progress_.stage_step = 0;
      progress_.data = {};
      ZAYA_RETURN_IF_ERROR(save());
      if (stage.name == options_.until) break;
    }
    return Status();
  }

 private:
  Status open() {
    Architecture& architecture = recipe_.architecture;
    ZAYA_ASSIGN(const Encoder encoder, Encoder::load(recipe_.tokenizer, recipe_.context, false));
    if (recipe_.start) {
      ZAYA_ASSIGN(const auto checkpoint, checkpoint::Checkpoint::open(*recipe_.start));
      architecture.model = checkpoint.config();
      ZAYA_ASSIGN(weights_, load_weights(checkpoint));
      if (architecture.model.vocab_size < encoder.tokenizer().size()) {
        return Status(Code::invalid_argument, "the tokenizer has more tokens than the model's vocabulary");
      }
    } else {
      checkpoint::ModelConfig& model = architecture.model;
      model.vocab_size = (encoder.tokenizer().size() + 15) / 16 * 16;
      model.bos_token = encoder.tokenizer().id_of("<bos>");
      model.pad_token = encoder.tokenizer().id_of("<pad>");
      if (const auto end = encoder.tokenizer().id_of("<|im_end|>")) model.eos_tokens = {*end};
      weights_ = initial_weights(architecture, recipe_.seed, recipe_.embedding_deviation);
    }
    if (recipe_.context > architecture.model.max_positions) {
      return Status(Code::invalid_argument, "run.context exceeds the model's positions");
    }
    require_gradients(weights_, architecture);
    const auto threads = static_cast<size_t>(
        recipe_.threads > 0 ? recipe_.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
    optimizer_ = std::make_unique<Optimizer>(weights_, architecture, recipe_.bf16, threads);
    workers_.resize(threads);
    for (size_t w = 0; w < threads; ++w) {
      workers_[w].weights = weights_;
      if (w == 0) continue;
      for (const NamedParameter& p : parameters(workers_[w].weights, architecture)) {
        *p.tensor = p.tensor->detach().requires_grad_(p.tensor->requires_grad());
      }
    }
    std::error_code error;
    std::filesystem::create_directories(recipe_.out, error);
    if (error) return Status(Code::io_error, fmt::format("cannot make {}: {}", recipe_.out.string(), error.message()));
    if (std::filesystem::exists(state_path(), error)) {
      ZAYA_ASSIGN(progress_, load_state(state_path(), architecture, weights_, *optimizer_));
      if (progress_.stage >= recipe_.stages.size()) {
        if (collective_->rank() == 0) fmt::print(stderr, "the run is complete: {}\n", recipe_.out.string());
      }
    }
    if (collective_->rank() == 0) ZAYA_RETURN_IF_ERROR(open_log());
    collective_->barrier();
    int64_t count = 0;
    for (const NamedParameter& p : parameters(weights_, architecture)) count += p.tensor->numel();
    if (collective_->rank() == 0) {
      fmt::print(stderr, "{:.2f} M weights, {} steps{}\n", static_cast<double>(count) / 1e6, recipe_.total_steps(),
                 progress_.step > 0 ? fmt::format(", resumed after step {}", progress_.step) : "");
    }
    return Status();
  }

  // Lines of steps that the state does not know were written before a kill, and will be written again.
  Status open_log() {
    const std::filesystem::path path = recipe_.out / "log.jsonl";
    std::string kept;
    if (std::ifstream old(path); old && progress_.step > 0) {
      for (std::string line; std::getline(old, line);) {
        const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
        if (json.is_object() && json.value("step", int64_t{-1}) <= progress_.step) kept += line + "\n";
      }
    }
    ZAYA_RETURN_IF_ERROR(write_file(path, kept));
    log_.open(path, std::ios::app);
    return log_ ? Status() : Status(Code::io_error, fmt::format("cannot write {}", path.string()));
  }

  Status run_stage(const Stage& stage) {
    ZAYA_ASSIGN(const std::unique_ptr<DataStream> stream,
                DataStream::open(stage, recipe_, recipe_.seed * 1'000'003 + progress_.stage));
    if (!progress_.data.drawn.empty()) ZAYA_RETURN_IF_ERROR(stream->seek(progress_.data));
    window_ = {};
    Clock::time_point last = Clock::now();
    while (progress_.stage_step < stage.steps) {
      ZAYA_RETURN_IF_ERROR(step(stage, *stream));
      const double spent = seconds_since(last);
      last = Clock::now();
      progress_.seconds += spent;
      window_.seconds += spent;
      progress_.data = stream->position();
      const bool end = progress_.stage_step == stage.steps;
      if (progress_.step % recipe_.log_every == 0 || end) write_log(stage, *stream);
      const bool stop = stop_requested != 0 || (options_.stop_after > 0 && progress_.step >= options_.stop_after);
      if ((progress_.step % recipe_.save_every == 0 && !end) || stop) {
        ZAYA_RETURN_IF_ERROR(save());
        ZAYA_RETURN_IF_ERROR(write_model(recipe_.out / "latest"));
      }
      if (stop && !end) {
        if (collective_->rank() == 0)
          progress_line_->print(fmt::format("stopped after step {}; run again to go on", progress_.step));
        return Status();
      }
    }
    return Status();
  }

  Status step(const Stage& stage, DataStream& stream) {
    std::vector<ExampleBatch> batches;
    int64_t targets = 0, tokens = 0;
    for (int64_t i = 0; i < stage.accumulate; ++i) {
      ZAYA_ASSIGN(ExampleBatch batch, stream.next());
      for (const Example& example : batch) {
        tokens += static_cast<int64_t>(example.tokens.size());
        const int64_t counted = std::accumulate(example.loss.begin(), example.loss.end(), int64_t{0});
        targets += counted;
        window_.operations += operations_of(static_cast<int64_t>(example.tokens.size()), counted);
      }
      batches.push_back(std::move(batch));
    }
    const auto kinds = static_cast<int64_t>(stream.kinds().size());
    std::vector<const ExampleBatch*> mine;
    for (size_t i = 0; i < batches.size(); ++i) {
      if (static_cast<int>(i % static_cast<size_t>(collective_->size())) == collective_->rank())
        mine.push_back(&batches[i]);
    }
    // Batch i belongs to worker i mod workers; sums over workers are taken in their order, whoever was first.
    std::vector<std::thread> threads;
    for (size_t w = 0; w < workers_.size(); ++w) {
      workers_[w].clear(recipe_.architecture, kinds);
      threads.emplace_back([&, w] {
        workers_[w].status = guarded([&]() -> Status {
          for (size_t i = w; i < mine.size(); i += workers_.size()) forward_backward(workers_[w], *mine[i], targets);
          return Status();
        });
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (Worker& worker : workers_) ZAYA_RETURN_IF_ERROR(worker.status);
    gather_gradients();
    Tensor &kind_loss = workers_[0].kind_loss, &kind_targets = workers_[0].kind_targets;
    std::vector<Tensor>& loads = workers_[0].loads;
    share(loads, kind_loss, kind_targets);

    const double factor = rate_factor(progress_.stage_step, stage.steps, stage.optimizer);
    window_.norm += optimizer_->step(stage.optimizer, factor);
    optimizer_->balance(loads, stage.optimizer.balance_rate);
    ++progress_.step;
    ++progress_.stage_step;
    progress_.tokens += tokens;

    window_.tokens += tokens;
    ++window_.steps;
    window_.loss += kind_loss.sum().item<double>();
    window_.targets += kind_targets.sum().item<double>();
    window_.kind_loss.resize(static_cast<size_t>(kinds));
    window_.kind_targets.resize(static_cast<size_t>(kinds));
    for (int64_t k = 0; k < kinds; ++k) {
      window_.kind_loss[static_cast<size_t>(k)] += kind_loss[k].item<double>();
      window_.kind_targets[static_cast<size_t>(k)] += kind_targets[k].item<double>();
    }
    window_.loads.resize(loads.size());
    for (size_t i = 0; i < loads.size(); ++i) {
      window_.loads[i] = window_.loads[i].defined() ? window_.loads[i] + loads[i] : loads[i];
    }
    if (!std::isfinite(window_.loss)) {
      return Status(Code::out_of_range, fmt::format("the loss of step {} is not finite", progress_.step),
                    "smaller learning rates, or a smaller clip");
    }
    return Status();
  }

  // Floating-point operations of one document's passes, forward and backward, that the formulas ask for.
  double operations_of(int64_t length, int64_t targets) const {
    const Architecture& a = recipe_.architecture;
    return 6 * (forward_products(a) * static_cast<double>(length) + head_products(a) * static_cast<double>(targets) +
                attention_products(a, length));
  }

  void forward_backward(Worker& worker, const ExampleBatch& examples, int64_t targets) {
    std::vector<std::vector<int32_t>> documents;
    std::vector<std::vector<uint8_t>> loss;
    std::vector<int64_t> kinds;
    for (const Example& example : examples) {
      documents.push_back(example.tokens);
      loss.push_back(example.loss);
      kinds.insert(kinds.end(),
                   static_cast<size_t>(std::accumulate(example.loss.begin(), example.loss.end(), int64_t{0})),
                   example.kind);
    }
    const Compute compute{.bf16 = recipe_.bf16, .fused = recipe_.fused, .checkpoint_layers = recipe_.checkpoint_layers};
    const Batch batch = make_batch(documents, loss, kTokenMultiple);
    const ForwardResult pass = forward(worker.weights, recipe_.architecture, batch, compute);
    for (size_t i = 0; i < worker.loads.size(); ++i) worker.loads[i] += pass.loads[i];
    if (batch.targets.size(0) == 0) return;
    Tensor losses;
    const Tensor sum = loss_sum(worker.weights, recipe_.architecture, pass.hidden, batch, compute, &losses);
    (sum / static_cast<double>(targets)).backward();
    const Tensor index = torch::tensor(kinds, torch::kInt64);
    worker.kind_loss.index_add_(0, index, losses.to(torch::kFloat64));
    worker.kind_targets.index_add_(0, index, torch::ones_like(losses, torch::kFloat64));
  }

  // Adds everything that the workers summed up to the first one's, whose weights are the model's own.
  void gather_gradients() {
    const auto own = parameters(weights_, recipe_.architecture);
    for (size_t w = 1; w < workers_.size(); ++w) {
      const auto others = parameters(workers_[w].weights, recipe_.architecture);
      on_threads(workers_.size(), own.size(), [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          const Tensor& gradient = others[i].tensor->grad();
          if (!gradient.defined()) continue;
          Tensor& sum = own[i].tensor->mutable_grad();
          if (sum.defined()) {
            sum.add_(gradient);
          } else {
            sum = gradient;
          }
          others[i].tensor->mutable_grad().reset();
        }
      });
      for (size_t i = 0; i < workers_[0].loads.size(); ++i) workers_[0].loads[i] += workers_[w].loads[i];
      workers_[0].kind_loss += workers_[w].kind_loss;
      workers_[0].kind_targets += workers_[w].kind_targets;
    }
  }

  // Everything that the processes add up. Without a gradient of its own a process gives zeros.
  void share(std::vector<Tensor>& loads, Tensor& kind_loss, Tensor& kind_targets) {
    if (collective_->size() == 1) return;
    std::vector<Tensor> gradients, counts = loads;
    for (const NamedParameter& p : parameters(weights_, recipe_.architecture)) {
      if (!p.tensor->requires_grad()) continue;
      if (!p.tensor->grad().defined()) p.tensor->mutable_grad() = torch::zeros_like(*p.tensor);
      gradients.push_back(p.tensor->grad());
    }
    collective_->sum(gradients);
    counts.push_back(kind_loss);
    counts.push_back(kind_targets);
    collective_->sum(counts);
  }

  void write_log(const Stage& stage, const DataStream& stream) {
    if (window_.steps == 0) return;
    const std::vector<double> entropies = window_.entropies();
    const double loss = window_.loss / std::max(1.0, window_.targets);
    const double mean =
        std::accumulate(entropies.begin(), entropies.end(), 0.0) / static_cast<double>(entropies.size());
    const double speed = static_cast<double>(window_.tokens) / std::max(1e-9, window_.seconds);
    nlohmann::ordered_json line = {
        {"step", progress_.step},
        {"stage", stage.name},
        {"tokens", progress_.tokens},
        {"loss", loss},
        {"rate", rate_factor(progress_.stage_step - 1, stage.steps, stage.optimizer)},
        {"gradient_norm", window_.norm / static_cast<double>(window_.steps)},
        {"entropy", mean},
        {"lowest_entropy", *std::min_element(entropies.begin(), entropies.end())},
        {"tokens_per_second", speed},
        {"gflops", window_.operations / std::max(1e-9, window_.seconds) / 1e9},
        {"seconds", progress_.seconds},
        {"dropped", stream.dropped()},
    };
    for (size_t k = 0; k < window_.kind_loss.size(); ++k) {
      if (window_.kind_targets[k] > 0)
        line["losses"][stream.kinds()[k]] = window_.kind_loss[k] / window_.kind_targets[k];
    }
    if (collective_->rank() == 0) {
      log_ << line.dump() << std::endl;
      if (!options_.quiet) {
        progress_line_->print(fmt::format("{} step {} loss {:.4f} entropy {:.3f} {:.0f} tok/s {:.0f} s", stage.name,
                                          progress_.step, loss, mean, speed, progress_.seconds));
      }
      progress_line_->update(stage.name, progress_.step, fmt::format("loss {:.4f} · {:.0f} tok/s", loss, speed));
    }
    window_ = {};
  }

  std::filesystem::path state_path() const { return recipe_.out / "state.safetensors"; }

  Status save() {
    if (collective_->rank() == 0) {
      ZAYA_RETURN_IF_ERROR(save_state(state_path(), recipe_.architecture, weights_, *optimizer_, progress_));
    }
    collective_->barrier();
    return Status();
  }

  // A model that everything else here can run: weights in BF16, with the tokenizer and the template.
  Status write_model(const std::filesystem::path& folder) {
    if (collective_->rank() != 0 || !recipe_.architecture.is_zaya()) return Status();
    ZAYA_RETURN_IF_ERROR(save_checkpoint(folder, recipe_.architecture, weights_, true));
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json",
                             "special_tokens_map.json"}) {
      std::error_code error;
      if (!std::filesystem::exists(recipe_.tokenizer / name, error)) continue;
      ZAYA_ASSIGN(const std::string content, read_file(recipe_.tokenizer / name));
      ZAYA_RETURN_IF_ERROR(write_file(folder / name, content));
    }
    return Status();
  }

  Recipe recipe_;
  const RunOptions& options_;
  std::unique_ptr<Collective> collective_;
  Weights weights_;
  std::vector<Worker> workers_;
  std::unique_ptr<Optimizer> optimizer_;
  Progress progress_;
  Window window_;
  std::ofstream log_;
  std::unique_ptr<ProgressLine> progress_line_;
};

}  // namespace

Status run_recipe(const RunOptions& options) {
  return guarded([&]() -> Status {
    ZAYA_ASSIGN(Recipe recipe, load_recipe(options.recipe, options.overrides));
    return Trainer(std::move(recipe), options).run();
  });
}

}  // namespace zaya::train
