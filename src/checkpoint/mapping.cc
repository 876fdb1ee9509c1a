#include "checkpoint/mapping.h"

#include <fmt/format.h>

#include <cstring>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "checkpoint/names.h"

namespace zaya::checkpoint {
namespace {

using Kind = NameTarget::Kind;
using Problem = TensorProblem::Kind;

constexpr const char* head_name = "lm_head.weight";
constexpr const char* embedding_name = "model.embed_tokens.weight";

// Rows `first` to `first + rows` of a tensor whose rows have `columns` elements, as a matrix of its own.
Tensor slice_rows(const Tensor& tensor, int64_t first, int64_t rows, int64_t columns) {
  Tensor slice;
  slice.name = tensor.name;
  slice.dtype = tensor.dtype;
  slice.dtype_name = tensor.dtype_name;
  slice.shape = {rows, columns};
  const size_t row_bytes = static_cast<size_t>(columns) * dtype_size(tensor.dtype);
  slice.data = tensor.data.subspan(static_cast<size_t>(first) * row_bytes, static_cast<size_t>(rows) * row_bytes);
  return slice;
}

class Mapper {
 public:
  Mapper(ModelConfig& config, const std::vector<const Tensor*>& files) : config_(config), files_(files) {}

  Mapping map() {
    settle_head();
    const std::vector<ExpectedTensor> expected = expected_tensors(config_);
    for (const ExpectedTensor& tensor : expected) expected_.emplace(tensor.name, &tensor);
    for (const Tensor* file : files_) place(*file);
    for (const auto& [file, target] : scales_) attach_scale(*file, target);
    check_scales();
    report_missing(expected);
    return std::move(result_);
  }

 private:
  // Decides what a stored head means under a config that ties it to the embedding.
  void settle_head() {
    if (!config_.tie_embeddings) return;
    const Tensor* head = nullptr;
    const Tensor* embedding = nullptr;
    for (const Tensor* file : files_) {
      if (file->name == head_name) head = file;
      if (file->name == embedding_name) embedding = file;
    }
    if (head == nullptr) return;
    if (embedding == nullptr) {
      result_.notes.push_back(
          fmt::format("{} is absent; {} serves as both, since the config ties them", embedding_name, head_name));
      stand_in_ = head;
      return;
    }
    const bool equal = head->dtype == embedding->dtype && head->data.size() == embedding->data.size() &&
                       std::memcmp(head->data.data(), embedding->data.data(), head->data.size()) == 0;
    if (equal) {
      ignored_head_ = head;
      result_.notes.push_back(
          fmt::format("{} is a copy of the embedding, to which the config ties it; not used", head_name));
    } else {
      config_.tie_embeddings = false;
      result_.notes.push_back(
          fmt::format("{} differs from the embedding although the config ties them; both are used", head_name));
    }
  }

  void problem(Problem kind, const std::string& name, Code code, std::string message, std::string hint = {}) {
    result_.problems.push_back({kind, name, Status(code, std::move(message), std::move(hint))});
  }

  void place(const Tensor& file) {
    if (&file == ignored_head_) {
      result_.canonical_of[file.name] = "(copy of the embedding)";
      return;
    }
    NameTarget target = resolve_name(config_.layout, file.name, config_.num_layers());
    if (&file == stand_in_) target.canonical = embedding_name;
    if (target.kind == Kind::harmless) {
      result_.canonical_of[file.name] = "(not used)";
      result_.notes.push_back(fmt::format("tensor {} is not used", file.name));
      return;
    }
    if (target.scale) {
      scales_.emplace_back(&file, std::move(target));
      return;
    }
    const int64_t experts = config_.num_experts, width = config_.expert_width, hidden = config_.hidden_size;
    switch (target.kind) {
      case Kind::tensor: return place_one(file, target.canonical);
      case Kind::expert_gate_up:
        if (!expected_.contains(target.canonical + ".gate")) return unexpected(file);
        if (!check(file, {2 * width, hidden}, true)) return seen(target.canonical + ".gate", target.canonical + ".up");
        return place_gate_up(file, 0, target.canonical);
      case Kind::stack_gate_up:
        if (!expected_.contains(target.canonical + ".0.gate")) return unexpected(file);
        if (!check(file, {experts, 2 * width, hidden}, true)) return seen_stack(target.canonical, {".gate", ".up"});
        for (int64_t expert = 0; expert < experts; ++expert) {
          place_gate_up(file, expert, fmt::format("{}.{}", target.canonical, expert));
        }
        result_.canonical_of[file.name] = fmt::format("{}.{{0…{}}}.{{gate, up}}", target.canonical, experts - 1);
        return;
      case Kind::stack_down:
        if (!expected_.contains(target.canonical + ".0.down")) return unexpected(file);
        if (!check(file, {experts, hidden, width}, true)) return seen_stack(target.canonical, {".down"});
        for (int64_t expert = 0; expert < experts; ++expert) {
          insert(file, fmt::format("{}.{}.down", target.canonical, expert),
                 slice_rows(file, expert * hidden, hidden, width));
        }
        result_.canonical_of[file.name] = fmt::format("{}.{{0…{}}}.down", target.canonical, experts - 1);
        return;
      case Kind::unknown:
      case Kind::harmless: return unexpected(file);
    }
  }

  void place_one(const Tensor& file, const std::string& canonical) {
    const auto at = expected_.find(canonical);
    if (at == expected_.end()) return unexpected(file);
    result_.canonical_of[file.name] = canonical;
    unstacked_ |= at->second->expert;
    if (check(file, at->second->shape, at->second->expert)) {
      insert(file, canonical, file);
    } else {
      seen(canonical);
    }
  }

  // The two halves of expert number `index` of a [.., 2I, H] tensor: gate rows first.
  void place_gate_up(const Tensor& file, int64_t index, const std::string& expert) {
    const int64_t width = config_.expert_width, hidden = config_.hidden_size;
    insert(file, expert + ".gate", slice_rows(file, index * 2 * width, width, hidden));
    insert(file, expert + ".up", slice_rows(file, (index * 2 + 1) * width, width, hidden));
    result_.canonical_of[file.name] = expert + ".{gate, up}";
  }

  void insert(const Tensor& file, const std::string& canonical, Tensor tensor) {
    const auto [at, is_new] = result_.tensors.emplace(canonical, std::move(tensor));
    if (!is_new) {
      problem(Problem::duplicate, file.name, Code::malformed,
              fmt::format("tensors {} and {} both hold {}", at->second.name, file.name, canonical));
    }
  }

  // True when dtype and shape are right; otherwise the problem is recorded.
  bool check(const Tensor& file, const std::vector<int64_t>& shape, bool expert) {
    if (file.shape != shape) {
      problem(Problem::wrong_shape, file.name, Code::malformed,
              fmt::format("expected {} for {}, found {}", shape_text(shape), file.name, shape_text(file.shape)),
              "config.json and the weights do not belong together");
      return false;
    }
    if (!is_float(file.dtype) || (file.dtype == DType::f8_e4m3 && !expert)) {
      problem(Problem::wrong_dtype, file.name, Code::unsupported,
              fmt::format("expected F32, BF16{} for {}, found {}", expert ? ", F16 or F8_E4M3" : " or F16", file.name,
                          file.dtype_name));
      return false;
    }
    return true;
  }

  void unexpected(const Tensor& file) {
    std::string hint;
    if (file.name.ends_with("_scale_inv") || file.name.ends_with("weight_packed")) {
      hint = "this quantisation is not supported: use the BF16 or the FP8-Experts files";
    } else if (file.name.ends_with(".bias")) {
      hint = "config.json says that there are no such biases";
    }
    problem(Problem::unexpected, file.name, Code::malformed,
            fmt::format("unknown tensor {} ({}, {}): a {}-layout model of {} layers and {} experts has none of this "
                        "name",
                        file.name, file.dtype_name, shape_text(file.shape), layout_name(config_.layout),
                        config_.num_layers(), config_.num_experts),
            std::move(hint));
  }

  // Tensors that are there but wrong must not be reported as missing as well.
  void seen(const std::string& first, const std::string& second = {}) {
    seen_.insert(first);
    if (!second.empty()) seen_.insert(second);
  }
  void seen_stack(const std::string& experts, std::initializer_list<const char*> parts) {
    for (int64_t expert = 0; expert < config_.num_experts; ++expert) {
      for (const char* part : parts) seen_.insert(fmt::format("{}.{}{}", experts, expert, part));
    }
  }

  // Spreads a tensor of factors over `count` matrices of `rows` rows: one factor per row, per matrix, or one in all.
  // Null (with a problem) when its dtype or shape fits none of these.
  const std::vector<float>* read_scale(const Tensor& file, int64_t count, int64_t rows) {
    std::vector<int64_t> shape = file.shape;
    while (!shape.empty() && shape.back() == 1) shape.pop_back();
    if (count == 1 && !shape.empty() && shape.front() == 1) shape.erase(shape.begin());
    const bool per_row = count == 1 ? shape == std::vector{rows} : shape == std::vector{count, rows};
    const bool per_matrix = count > 1 && shape == std::vector{count};
    // One row per matrix makes [count, 1] mean both; the sizes agree, so the reading does not matter.
    if (!is_float(file.dtype) || file.dtype == DType::f8_e4m3) {
      problem(Problem::scale, file.name, Code::unsupported,
              fmt::format("expected F32, BF16 or F16 for the factors {}, found {}", file.name, file.dtype_name));
      return nullptr;
    }
    if (!per_row && !per_matrix && !(shape.empty() && file.elements() == 1)) {
      const std::string wanted = count == 1 ? fmt::format("{} × 1", rows) : fmt::format("{} × {} × 1", count, rows);
      problem(Problem::scale, file.name, Code::malformed,
              fmt::format("expected {} (one per row) or one factor for {}, found {}", wanted, file.name,
                          shape_text(file.shape)));
      return nullptr;
    }
    const std::vector<float> given = to_f32(file);
    const auto total = static_cast<size_t>(count * rows);
    auto spread = std::make_unique<std::vector<float>>(total);
    const size_t repeat = total / given.size();
    for (size_t i = 0; i < total; ++i) (*spread)[i] = given[i / repeat];
    result_.scales.push_back(std::move(spread));
    return result_.scales.back().get();
  }

  void attach_scale(const Tensor& file, const NameTarget& target) {
    const int64_t experts = config_.num_experts, width = config_.expert_width, hidden = config_.hidden_size;
    result_.canonical_of[file.name] = "(row factors of " + target.canonical + ")";
    const auto attach = [&](const std::string& canonical, const std::vector<float>* factors, int64_t first,
                            int64_t rows) {
      const auto at = result_.tensors.find(canonical);
      if (factors == nullptr || at == result_.tensors.end()) return;
      if (at->second.dtype != DType::f8_e4m3) {
        problem(Problem::scale, file.name, Code::malformed,
                fmt::format("{} gives factors for {}, which is {} and not F8_E4M3", file.name, at->second.name,
                            at->second.dtype_name));
      } else if (!at->second.row_scale.empty()) {
        problem(Problem::duplicate, file.name, Code::malformed,
                fmt::format("{} gives a second set of factors for {}", file.name, at->second.name));
      } else {
        at->second.row_scale = std::span(*factors).subspan(static_cast<size_t>(first), static_cast<size_t>(rows));
      }
    };
    const std::string first = target.kind == Kind::tensor           ? target.canonical
                              : target.kind == Kind::expert_gate_up ? target.canonical + ".gate"
                              : target.kind == Kind::stack_gate_up  ? target.canonical + ".0.gate"
                                                                    : target.canonical + ".0.down";
    if (!expected_.contains(first)) return unexpected(file);
    switch (target.kind) {
      case Kind::tensor: {
        const int64_t rows = expected_.at(target.canonical)->shape[0];
        return attach(target.canonical, read_scale(file, 1, rows), 0, rows);
      }
      case Kind::expert_gate_up: {
        const std::vector<float>* factors = read_scale(file, 1, 2 * width);
        attach(target.canonical + ".gate", factors, 0, width);
        return attach(target.canonical + ".up", factors, width, width);
      }
      case Kind::stack_gate_up: {
        const std::vector<float>* factors = read_scale(file, experts, 2 * width);
        for (int64_t expert = 0; expert < experts; ++expert) {
          attach(fmt::format("{}.{}.gate", target.canonical, expert), factors, 2 * expert * width, width);
          attach(fmt::format("{}.{}.up", target.canonical, expert), factors, (2 * expert + 1) * width, width);
        }
        return;
      }
      case Kind::stack_down: {
        const std::vector<float>* factors = read_scale(file, experts, hidden);
        for (int64_t expert = 0; expert < experts; ++expert) {
          attach(fmt::format("{}.{}.down", target.canonical, expert), factors, expert * hidden, hidden);
        }
        return;
      }
      case Kind::unknown:
      case Kind::harmless: return;
    }
  }

  // FP8 without factors is meaningless: the published ranges go far beyond ±448 and below 2^-9.
  void check_scales() {
    std::set<std::string_view> reported;
    for (const auto& [canonical, tensor] : result_.tensors) {
      if (tensor.dtype != DType::f8_e4m3 || !tensor.row_scale.empty() || !reported.insert(tensor.name).second) continue;
      if (has_bad_scale(tensor.name)) continue;
      problem(Problem::scale, tensor.name, Code::not_found,
              fmt::format("tensor {} is F8_E4M3 but has no factors ({}_scale)", tensor.name,
                          tensor.name.ends_with(".weight") ? tensor.name : tensor.name + ".weight"));
    }
  }
  bool has_bad_scale(const std::string& name) const {
    for (const TensorProblem& found : result_.problems) {
      if (found.kind == Problem::scale && found.name.starts_with(name)) return true;
    }
    return false;
  }

  void report_missing(const std::vector<ExpectedTensor>& expected) {
    std::set<std::string> reported;
    for (const ExpectedTensor& tensor : expected) {
      if (result_.tensors.contains(tensor.name) || seen_.contains(tensor.name)) continue;
      const std::string name = file_name(config_.layout, tensor.name, config_.num_layers(), !unstacked_);
      if (!reported.insert(name).second) continue;
      std::vector<int64_t> shape = tensor.shape;
      if (tensor.expert && (config_.layout == Layout::original || !unstacked_)) {
        if (!tensor.name.ends_with(".down")) shape[0] *= 2;
        if (config_.layout == Layout::native) shape.insert(shape.begin(), config_.num_experts);
      }
      problem(Problem::missing, name, Code::not_found,
              fmt::format("tensor {} ({}) is missing", name, shape_text(shape)),
              "the files are incomplete, or config.json belongs to another model");
    }
  }

  ModelConfig& config_;
  const std::vector<const Tensor*>& files_;
  Mapping result_;
  std::unordered_map<std::string, const ExpectedTensor*> expected_;
  std::vector<std::pair<const Tensor*, NameTarget>> scales_;
  std::set<std::string, std::less<>> seen_;
  const Tensor* stand_in_ = nullptr;      // the head that serves as embedding
  const Tensor* ignored_head_ = nullptr;  // the head that repeats the embedding
  bool unstacked_ = false;                // experts came as single matrices
};

}  // namespace

Mapping map_tensors(ModelConfig& config, const std::vector<const Tensor*>& files) {
  return Mapper(config, files).map();
}

}  // namespace zaya::checkpoint
