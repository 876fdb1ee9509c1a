#include "checkpoint/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>

#include "base/file.h"
#include "checkpoint/mapping.h"
#include "checkpoint/names.h"
#include "checkpoint/shards.h"

namespace zaya::checkpoint {
namespace {

constexpr size_t max_config_bytes = size_t{4} << 20;
// Sentences of one kind that are written out; the rest is counted.
constexpr size_t max_sentences = 100;
constexpr size_t piece_bytes = size_t{4} << 20;  // a multiple of every element size

const char* problem_name(TensorProblem::Kind kind) {
  switch (kind) {
    case TensorProblem::Kind::missing: return "missing";
    case TensorProblem::Kind::unexpected: return "unexpected";
    case TensorProblem::Kind::wrong_shape: return "wrong shape";
    case TensorProblem::Kind::wrong_dtype: return "wrong dtype";
    case TensorProblem::Kind::duplicate: return "duplicate";
    case TensorProblem::Kind::scale: return "bad factors";
  }
  return "";
}

void say(std::vector<std::string>& list, std::string sentence) {
  if (list.size() < max_sentences) list.push_back(std::move(sentence));
}

// The scan's work list: pieces of tensors, taken by the threads one after another.
class Scan {
 public:
  Scan(const std::vector<const Tensor*>& tensors, std::vector<TensorReport>& reports)
      : tensors_(tensors), reports_(reports) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!is_float(tensors[i]->dtype)) continue;
      reports[i].statistics.emplace();
      total_ += static_cast<int64_t>(tensors[i]->data.size());
      for (size_t at = 0; at < tensors[i]->data.size(); at += piece_bytes) pieces_.push_back({i, at});
    }
  }

  // True when everything was read.
  bool run(int threads, const InspectProgress& progress) {
    std::vector<std::thread> team;
    running_ = 1;  // this thread, until the team stands
    for (int i = 0; i < threads; ++i) {
      try {
        const std::lock_guard lock(mutex_);
        team.emplace_back([this] { work(); });
        ++running_;
      } catch (const std::system_error&) {
        break;  // no more threads to be had: those that started do the work
      }
    }
    if (team.empty()) {
      work();
    } else {
      const std::lock_guard lock(mutex_);
      --running_;
    }
    {
      std::unique_lock lock(mutex_);
      while (!ended_.wait_for(lock, std::chrono::milliseconds(100), [this] { return running_ == 0; })) {
        const int64_t done = done_;
        lock.unlock();
        if (progress && !progress(done, total_)) stop_ = true;
        lock.lock();
      }
    }
    for (std::thread& thread : team) thread.join();
    if (progress && !stop_) progress(done_, total_);
    return !stop_;
  }

 private:
  struct Piece {
    size_t tensor;
    size_t offset;
  };

  void work() {
    for (size_t i = next_++; i < pieces_.size() && !stop_; i = next_++) {
      const Piece& piece = pieces_[i];
      const auto data = tensors_[piece.tensor]->data.subspan(piece.offset);
      const auto bytes = data.first(std::min(data.size(), piece_bytes));
      const Statistics part = measure(tensors_[piece.tensor]->dtype, bytes);
      MappedFile::release(bytes);
      const std::lock_guard lock(mutex_);
      reports_[piece.tensor].statistics->add(part);
      done_ += static_cast<int64_t>(bytes.size());
    }
    const std::lock_guard lock(mutex_);
    if (--running_ == 0) ended_.notify_all();
  }

  const std::vector<const Tensor*>& tensors_;
  std::vector<TensorReport>& reports_;
  std::vector<Piece> pieces_;
  int64_t total_ = 0;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;  // guards the reports' statistics, done_ and running_
  std::condition_variable ended_;
  int64_t done_ = 0;
  int running_ = 0;
};

// Figures that a trained weight cannot have.
void judge(Report& report) {
  for (const TensorReport& tensor : report.tensors) {
    if (!tensor.statistics) continue;
    const Statistics& figures = *tensor.statistics;
    if (figures.nan + figures.inf > 0) {
      say(report.warnings, fmt::format("tensor {} holds {} NaN and {} infinite values among {}", tensor.name,
                                       figures.nan, figures.inf, figures.count));
    } else if (tensor.shape.size() >= 2 && figures.count > 1 && figures.min == figures.max &&
               tensor.canonical.find("factors of") == std::string::npos) {
      say(report.warnings, fmt::format("every value of tensor {} is {}", tensor.name, figures.min));
    }
  }
}

// Native layers, as far as the names alone tell.
int64_t layers_from_names(const std::vector<const Tensor*>& tensors, Layout layout) {
  int64_t last = -1;
  for (const Tensor* tensor : tensors) {
    // resolve_name with the largest layer count accepts every index; the canonical name then holds the native one.
    const NameTarget target = resolve_name(layout, tensor->name, ConfigLimits::layers);
    if (!target.canonical.starts_with("model.layers.") || tensor->name.starts_with("model.res_scale")) continue;
    last = std::max<int64_t>(last, std::atoll(target.canonical.c_str() + std::string_view("model.layers.").size()));
  }
  return last + 1;
}

void read_config(const std::filesystem::path& directory, Report& report) {
  const auto text = read_file(directory / "config.json", max_config_bytes);
  if (!text.ok()) return say(report.errors, text.status().to_string());
  auto config = parse_config(*text, &report.notes, report.layout);
  if (!config.ok()) return say(report.errors, config.status().to_string());
  report.config = std::move(config).value();
  if (report.layout && report.config->layout != *report.layout) {
    say(report.errors, fmt::format("config.json has the keys of the {} layout, but the tensors are named as in the {} "
                                   "one",
                                   layout_name(report.config->layout), layout_name(*report.layout)));
    report.config->layout = *report.layout;
  }
  std::error_code error;
  if (!std::filesystem::exists(directory / "generation_config.json", error)) return;
  const auto generation = read_file(directory / "generation_config.json", max_config_bytes);
  const Status status =
      generation.ok() ? merge_generation_config(*generation, *report.config, &report.notes) : generation.status();
  if (!status.ok()) say(report.errors, status.to_string());
}

void apply_mapping(const std::vector<const Tensor*>& tensors, Report& report) {
  const Mapping mapping = map_tensors(*report.config, tensors);
  for (const std::string& note : mapping.notes) say(report.notes, note);
  std::unordered_map<std::string, const char*> problems;
  size_t unsaid = 0;
  for (const TensorProblem& problem : mapping.problems) {
    if (problem.kind == TensorProblem::Kind::missing) report.missing.push_back(problem.name);
    problems.emplace(problem.name, problem_name(problem.kind));
    report.errors.size() < max_sentences ? say(report.errors, problem.status.to_string()) : void(++unsaid);
  }
  if (unsaid > 0) report.errors.push_back(fmt::format("and {} more of these", unsaid));
  for (TensorReport& tensor : report.tensors) {
    if (const auto at = mapping.canonical_of.find(tensor.name); at != mapping.canonical_of.end()) {
      tensor.canonical = at->second;
    }
    if (const auto at = problems.find(tensor.name); at != problems.end()) tensor.problem = at->second;
  }
}

// Without a config the names alone say where tensors belong.
void name_tensors(const std::vector<const Tensor*>& tensors, Report& report) {
  if (!report.layout) return;
  const int64_t layers = layers_from_names(tensors, *report.layout);
  for (TensorReport& tensor : report.tensors) {
    const NameTarget target = resolve_name(*report.layout, tensor.name, layers);
    tensor.canonical = target.scale ? "(row factors of " + target.canonical + ")" : target.canonical;
    if (target.kind == NameTarget::Kind::harmless) tensor.canonical = "(not used)";
    if (target.kind == NameTarget::Kind::unknown) tensor.problem = "unexpected";
  }
}

}  // namespace

Report inspect(const std::filesystem::path& directory, const InspectOptions& options, const InspectProgress& progress) {
  Report report;
  report.directory = directory;
  std::vector<Status> problems;
  const Shards shards = open_shards(directory, problems);
  for (const Status& problem : problems) say(report.errors, problem.to_string());
  for (const std::string& note : shards.notes) say(report.notes, note);

  std::vector<const Tensor*> tensors;
  LayoutEvidence evidence;
  for (const Shard& shard : shards.shards) {
    report.file_bytes += static_cast<int64_t>(shard.file.bytes().size());
    for (const Tensor& tensor : shard.content.tensors) {
      tensors.push_back(&tensor);
      evidence.see(tensor.name);
      const auto bytes = static_cast<int64_t>(tensor.data.size());
      report.tensor_bytes += bytes;
      report.tensors.push_back({tensor.name, {}, tensor.dtype_name, tensor.shape, bytes, shard.name, {}, {}});
    }
  }
  report.layout = evidence.verdict();
  if (!report.layout && !tensors.empty()) say(report.errors, "the tensor names show neither ZAYA1 layout");
  read_config(directory, report);
  if (report.config && report.layout && !tensors.empty()) {
    apply_mapping(tensors, report);
  } else {
    name_tensors(tensors, report);
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string& canonical = report.tensors[i].canonical;
    if (!canonical.empty() && canonical.front() != '(') report.parameters += tensors[i]->elements();
  }

  if (options.scan && !tensors.empty()) {
    const int processors = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 8);
    const int threads = options.threads > 0 ? std::min(options.threads, 64) : processors;
    report.scanned = Scan(tensors, report.tensors).run(threads, progress);
    if (!report.scanned) {
      for (TensorReport& tensor : report.tensors) tensor.statistics.reset();
      say(report.notes, "the scan of the weights was stopped early");
    }
    judge(report);
  }
  return report;
}

}  // namespace zaya::checkpoint
