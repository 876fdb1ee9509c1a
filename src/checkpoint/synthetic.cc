#include "checkpoint/synthetic.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "base/file.h"
#include "checkpoint/formats.h"
#include "checkpoint/names.h"
#include "checkpoint/safetensors_writer.h"

namespace zaya::checkpoint {
namespace {

constexpr size_t table_size = 4096;                 // 12 bits of randomness choose a value
constexpr size_t piece_values = size_t{1} << 20;    // generated at a time
constexpr int64_t spare_bytes = int64_t{64} << 20;  // left free on the disk

// The distribution of one tensor's values.
struct Recipe {
  double mean = 0, deviation = 0;
  bool skip_class_last = false;  // the last value is −1
};

Recipe recipe_for(std::string_view name, const std::vector<int64_t>& shape) {
  const auto ends = [name](std::string_view suffix) { return name.ends_with(suffix); };
  if (ends("balancing_biases")) return {0, 0.01, true};
  if (ends("qk_norm.temp")) return {2, 0.25};
  if (ends("norm.weight") || ends("_scale")) return {1, 0.05};
  if (ends("bias")) return {0, 0.02};
  // What one output sums over: all dimensions but the first.
  int64_t inputs = 1;
  for (size_t i = 1; i < shape.size(); ++i) inputs *= shape[i];
  // A stack of experts counts them first.
  if (name.find(".mlp.experts.") != name.npos && shape.size() == 3) inputs = shape[2];
  return {0, 1 / std::sqrt(static_cast<double>(inputs))};
}

// The standard normal's quantile function: bisection on erfc, once per table entry.
double normal_quantile(double probability) {
  double low = -8, high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

const std::array<float, table_size>& quantiles() {
  static const std::array<float, table_size> table = [] {
    std::array<float, table_size> values;
    for (size_t i = 0; i < table_size; ++i) {
      values[i] = static_cast<float>(normal_quantile((static_cast<double>(i) + 0.5) / table_size));
    }
    return values;
  }();
  return table;
}

// The nearest FP8 code, by looking at all of them: used for table entries only.
uint8_t nearest_f8(float value) {
  uint8_t best = 0;
  float distance = std::numeric_limits<float>::infinity();
  for (int code = 0; code < 256; ++code) {
    const float difference = std::fabs(f8_e4m3_to_f32(static_cast<uint8_t>(code)) - value);
    if (difference < distance) {
      distance = difference;
      best = static_cast<uint8_t>(code);
    }
  }
  return best;
}

// FP8 experts are stored with this deviation (their largest value, 3.7 times that, stays below 448), and factors of
// σ / 64 bring them back to σ.
constexpr float f8_units = 64;

template <class Stored>
Stored encode(float value, DType dtype) {
  if constexpr (sizeof(Stored) == 4) return std::bit_cast<Stored>(value);
  if constexpr (sizeof(Stored) == 2) return dtype == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
  if constexpr (sizeof(Stored) == 1) return nearest_f8(value);
}

// SplitMix64's output function: a good hash of a counter, about a nanosecond for four values.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Fills `out` with values number `first` and on (a multiple of 4) of the stream that `key` names.
template <class Stored>
void fill(const std::array<Stored, table_size>& table, uint64_t key, uint64_t first, std::span<Stored> out) {
  size_t i = 0;
  for (uint64_t counter = first / 4; i + 4 <= out.size(); i += 4, ++counter) {
    const uint64_t random = mix(key + counter);
    out[i] = table[random & 0xfff];
    out[i + 1] = table[random >> 16 & 0xfff];
    out[i + 2] = table[random >> 32 & 0xfff];
    out[i + 3] = table[random >> 48 & 0xfff];
  }
  const uint64_t random = mix(key + (first + i) / 4);
  for (size_t rest = 0; i < out.size(); ++i, ++rest) out[i] = table[random >> (16 * rest) & 0xfff];
}

uint64_t key_of(std::string_view name, uint64_t seed) {
  uint64_t key = mix(seed);
  for (const char c : name) key = mix(key ^ static_cast<uint8_t>(c));
  return key;
}

int64_t byte_count(const TensorDeclaration& tensor) {
  int64_t bytes = static_cast<int64_t>(dtype_size(tensor.dtype));
  for (int64_t size : tensor.shape) bytes *= size;
  return bytes;
}

// The tensors as files hold them: experts stacked, FP8 stacks followed by their factors.
std::vector<TensorDeclaration> file_tensors(const ModelConfig& config, DType dtype) {
  std::vector<TensorDeclaration> result;
  const DType plain = dtype == DType::f8_e4m3 ? DType::bf16 : dtype;
  for (ExpectedTensor& tensor : expected_tensors(config)) {
    if (!tensor.expert) {
      result.push_back({std::move(tensor.name), plain, std::move(tensor.shape)});
      continue;
    }
    const bool gate = tensor.name.ends_with("experts.0.gate");
    if (!gate && !tensor.name.ends_with("experts.0.down")) continue;  // the stack is declared with its first expert
    std::vector<int64_t> shape = {config.num_experts, tensor.shape[0] * (gate ? 2 : 1), tensor.shape[1]};
    const std::string name = file_name(Layout::native, tensor.name, config.num_layers());
    result.push_back({name, dtype, shape});
    if (dtype == DType::f8_e4m3) result.push_back({name + ".weight_scale", DType::f32, {shape[0], shape[1], 1}});
  }
  return result;
}

// Cuts the list into shards of at most `limit` bytes, or one tensor.
std::vector<std::vector<TensorDeclaration>> cut(std::vector<TensorDeclaration> tensors, int64_t limit) {
  std::vector<std::vector<TensorDeclaration>> shards;
  int64_t filled = 0;
  for (TensorDeclaration& tensor : tensors) {
    const int64_t bytes = byte_count(tensor);
    if (shards.empty() || filled + bytes > limit) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

class Writer {
 public:
  Writer(const std::filesystem::path& directory, const SyntheticOptions& options, const SyntheticProgress& progress,
         int64_t total)
      : directory_(directory), options_(options), progress_(progress), total_(total) {}

  // Removes the files again unless keep() was called.
  ~Writer() {
    std::error_code error;
    for (const auto& path : written_) std::filesystem::remove(path, error);
  }
  void keep() { written_.clear(); }

  Status write_shard(const std::string& name, const std::vector<TensorDeclaration>& tensors) {
    ZAYA_ASSIGN(SafetensorsWriter file, SafetensorsWriter::create(directory_ / name, tensors, {{"format", "pt"}}));
    for (const TensorDeclaration& tensor : tensors) {
      switch (dtype_size(tensor.dtype)) {
        case 4: ZAYA_RETURN_IF_ERROR(write_tensor<uint32_t>(file, tensor)); break;
        case 2: ZAYA_RETURN_IF_ERROR(write_tensor<uint16_t>(file, tensor)); break;
        default: ZAYA_RETURN_IF_ERROR(write_tensor<uint8_t>(file, tensor)); break;
      }
    }
    ZAYA_RETURN_IF_ERROR(file.finish());
    written_.push_back(directory_ / name);
    return Status();
  }

  Status write_text(const std::string& name, const std::string& text) {
    ZAYA_RETURN_IF_ERROR(write_file(directory_ / name, text));
    written_.push_back(directory_ / name);
    return Status();
  }

 private:
  template <class Stored>
  Status write_tensor(SafetensorsWriter& file, const TensorDeclaration& tensor) {
    Recipe recipe = recipe_for(tensor.name, tensor.shape);
    if (tensor.dtype == DType::f8_e4m3) {
      recipe.deviation = f8_units;
    } else if (tensor.name.ends_with(".weight_scale")) {
      // The stack's own deviation, in units; both stacks are [E, rows, inputs] with these inputs.
      recipe = {f8_deviation_ / static_cast<double>(f8_units), 0};
    }
    if (tensor.dtype == DType::f8_e4m3) f8_deviation_ = recipe_for(tensor.name, tensor.shape).deviation;

    std::array<Stored, table_size> table;
    for (size_t i = 0; i < table_size; ++i) {
      const double value = recipe.mean + recipe.deviation * static_cast<double>(quantiles()[i]);
      table[i] = encode<Stored>(static_cast<float>(value), tensor.dtype);
    }
    const uint64_t key = key_of(tensor.name, options_.seed);
    const auto values = static_cast<uint64_t>(byte_count(tensor)) / sizeof(Stored);
    std::vector<Stored> piece;
    for (uint64_t first = 0; first < values; first += piece.size()) {
      piece.resize(static_cast<size_t>(std::min<uint64_t>(piece_values, values - first)));
      fill<Stored>(table, key, first, piece);
      if (recipe.skip_class_last && first + piece.size() == values) piece.back() = encode<Stored>(-1.0f, tensor.dtype);
      ZAYA_RETURN_IF_ERROR(file.append(std::as_bytes(std::span(piece))));
      done_ += static_cast<int64_t>(piece.size() * sizeof(Stored));
      if (progress_ && !progress_(done_, total_)) return Status(Code::cancelled, "writing was stopped");
    }
    return Status();
  }

  std::filesystem::path directory_;
  const SyntheticOptions& options_;
  const SyntheticProgress& progress_;
  int64_t total_ = 0, done_ = 0;
  double f8_deviation_ = 1;
  std::vector<std::filesystem::path> written_;
};

Status prepare_directory(const std::filesystem::path& directory, int64_t bytes) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return Status(Code::io_error, fmt::format("cannot make {}: {}", directory.string(), error.message()));
  }
  auto entry = std::filesystem::directory_iterator(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::filesystem::path name = entry->path().filename();
    if (name.extension() == ".safetensors" || name == "config.json") {
      return Status(Code::invalid_argument, fmt::format("{} already holds {}", directory.string(), name.string()),
                    "give an empty directory");
    }
  }
  const auto space = std::filesystem::space(directory, error);
  if (error) {
    return Status(Code::io_error,
                  fmt::format("cannot ask for the room on {}: {}", directory.string(), error.message()));
  }
  if (space.available < static_cast<uintmax_t>(bytes + spare_bytes)) {
    return Status(Code::resource_exhausted,
                  fmt::format("the model takes {:.1f} GB, but {} has room for {:.1f} GB",
                              static_cast<double>(bytes + spare_bytes) / 1e9, directory.string(),
                              static_cast<double>(space.available) / 1e9),
                  "free some, or give a directory on another disk");
  }
  return Status();
}

}  // namespace

Status write_synthetic(const ModelConfig& shape, const std::filesystem::path& directory,
                       const SyntheticOptions& options, const SyntheticProgress& progress) {
  if (!is_float(options.dtype) || options.shard_bytes < 1) {
    return Status(Code::invalid_argument, "a synthetic checkpoint needs a float dtype and a positive shard size");
  }
  ModelConfig config = shape;
  config.layout = Layout::native;
  config.stated_dtype = options.dtype == DType::f32 ? "float32" : options.dtype == DType::f16 ? "float16" : "bfloat16";
  ZAYA_ASSIGN(const std::string config_text, native_config_json(config));
  // A shape that cannot be read back is not worth writing; this also bounds every product below.
  if (const auto parsed = parse_config(config_text); !parsed.ok()) return parsed.status();

  std::vector<TensorDeclaration> tensors = file_tensors(config, options.dtype);
  int64_t total = 0;
  for (const TensorDeclaration& tensor : tensors) total += byte_count(tensor);
  const auto shards = cut(std::move(tensors), options.shard_bytes);
  ZAYA_RETURN_IF_ERROR(prepare_directory(directory, total));

  Writer writer(directory, options, progress, total);
  nlohmann::ordered_json index;
  index["metadata"] = {{"total_size", total}};
  nlohmann::json weight_map = nlohmann::json::object();  // sorted, as other writers have it
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1 ? "model.safetensors"
                                                : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    ZAYA_RETURN_IF_ERROR(writer.write_shard(name, shards[i]));
    for (const TensorDeclaration& tensor : shards[i]) weight_map[tensor.name] = name;
  }
  if (shards.size() > 1) {
    index["weight_map"] = std::move(weight_map);
    ZAYA_RETURN_IF_ERROR(writer.write_text("model.safetensors.index.json", index.dump(2) + "\n"));
  }
  ZAYA_RETURN_IF_ERROR(writer.write_text("config.json", config_text));
  writer.keep();
  return Status();
}

Result<ModelConfig> shape_named(std::string_view name) {
  ModelConfig config;
  config.bos_token = 2;
  config.pad_token = 0;
  config.eos_tokens = {106};
  const LayerConfig full = {.sliding_window = 0, .rope_theta = 5e6, .rotary_dims = 64};
  const LayerConfig window = {.sliding_window = 4097, .rope_theta = 1e4, .rotary_dims = 64};
  if (name == "8b") {
    config.vocab_size = 262272;
    config.hidden_size = 2048;
    config.num_heads = 8;
    config.num_kv_heads = 2;
    config.head_dim = 128;
    config.num_experts = 16;
    config.expert_width = 2048;
    config.router_width = 256;
    config.max_positions = 131072;
    config.layers.assign(40, full);
    return config;
  }
  if (name == "74b") {
    config.vocab_size = 262272;
    config.hidden_size = 4096;
    config.num_heads = 16;
    config.num_kv_heads = 2;
    config.head_dim = 128;
    config.num_experts = 24;
    config.expert_width = 4096;
    config.router_width = 256;
    config.max_positions = 131072;
    for (int i = 0; i < 60; ++i) config.layers.push_back(i % 2 == 0 ? window : full);
    return config;
  }
  if (name == "tiny") {
    config.vocab_size = 512;
    config.hidden_size = 64;
    config.num_heads = 4;
    config.num_kv_heads = 2;
    config.head_dim = 16;
    config.num_experts = 4;
    config.expert_width = 96;
    config.router_width = 16;
    config.max_positions = 1024;
    config.layers = {{.sliding_window = 9, .rope_theta = 1e4, .rotary_dims = 8},
                     {.sliding_window = 0, .rope_theta = 5e6, .rotary_dims = 8}};
    return config;
  }
  return Status(Code::invalid_argument, fmt::format("no shape is named \"{}\"", std::string(name)),
                "8b, 74b and tiny are");
}

}  // namespace zaya::checkpoint
