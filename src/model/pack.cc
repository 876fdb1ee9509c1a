#include "model/pack.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/file.h"
#include "checkpoint/packed.h"
#include "checkpoint/safetensors_writer.h"
#include "model/weight_source.h"
#include "model/weights.h"
#include "ops/packed/coarse.h"
#include "ops/packed/codec.h"

namespace zaya::model {
namespace {

using checkpoint::DType;
using checkpoint::TensorDeclaration;

// Whether a matrix is packed at all: a router in FP32 is not (CheckpointSource).
bool is_kept(const checkpoint::Checkpoint& from, const std::string& name) {
  const checkpoint::Tensor* tensor = from.find(name);
  return class_of(name) == TensorClass::router && tensor != nullptr && tensor->dtype == DType::f32;
}

// The list of tensors: packed matrices in the order in which the model asks for them, then everything else in that
// order. A packed matrix has a multiple of 64 bytes, so all of them are aligned, as reading them in place wants it.
class Declaring final : public WeightSource {
 public:
  Declaring(const checkpoint::Checkpoint& from, Preset preset, WeightMemory& memory)
      : WeightSource(memory, Preset::as_stored), from_(from), wanted_(preset), head_(head_name(from.config())) {}

  ops::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) override {
    if (is_kept(from_, name)) {
      others_.push_back({name, DType::f32, {rows, cols}});
    } else {
      const ops::WeightType type = format_of(wanted_, class_of(name));
      packed_.push_back({name + "." + ops::weight_type_name(type), DType::u8, {ops::packed_bytes(type, rows, cols)}});
      others_.push_back({name + ".row_scale", DType::f32, {rows}});
      if (name == head_ && type == ops::WeightType::q8) {
        packed_.push_back({coarse_name(name), DType::u8, {ops::coarse_bytes(rows, cols)}});
        others_.push_back({coarse_name(name, "column_scale"), DType::f32, {cols}});
        others_.push_back({coarse_name(name, "row_scale"), DType::f32, {rows}});
        others_.push_back({coarse_name(name, "error"), DType::f32, {rows}});
      }
    }
    return {};
  }

  std::vector<float> values(const std::string& name, int64_t elements) override {
    others_.push_back({name, DType::f32, {elements}});
    return std::vector<float>(static_cast<size_t>(elements));
  }

  std::vector<TensorDeclaration> tensors() const {
    std::vector<TensorDeclaration> all = packed_;
    all.insert(all.end(), others_.begin(), others_.end());
    return all;
  }

 private:
  const checkpoint::Checkpoint& from_;
  Preset wanted_;
  std::vector<TensorDeclaration> packed_, others_;
  const std::string head_;
};

// Packs each tensor as the model asks for it, and writes it; what is not packed (a few MB) waits for finish().
class Writing final : public WeightSource {
 public:
  Writing(const checkpoint::Checkpoint& from, Preset preset, int threads, checkpoint::SafetensorsWriter& writer,
          const PackProgress& progress, const Importance* importance, WeightMemory& memory)
      : WeightSource(memory, Preset::as_stored),
        from_(from),
        head_(head_name(from.config())),
        source_(checkpoint_source(from, preset, threads, packed_, importance)),
        team_(threads),
        writer_(writer),
        progress_(progress) {}

  ops::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) override {
    if (!status().ok()) return {};
    const ops::Matrix matrix = source_->matrix(name, rows, cols);
    if (!source_->status().ok()) return fail(source_->status()), ops::Matrix{};
    if (ops::is_packed(matrix.type)) {
      const int64_t bytes = ops::packed_bytes(matrix.type, rows, cols);
      append({matrix.data, static_cast<size_t>(bytes)});
      keep_for_later(std::span(matrix.row_scale, static_cast<size_t>(rows)));
      measure(name, matrix, bytes);
      if (name == head_ && matrix.type == ops::WeightType::q8) append_coarse(matrix);
    } else {
      keep_for_later({reinterpret_cast<const float*>(matrix.data), static_cast<size_t>(rows * cols)});
    }
    packed_.floats.clear();
    packed_.pages.clear();
    from_.release(name);
    return {};
  }

  std::vector<float> values(const std::string& name, int64_t elements) override {
    if (!status().ok()) return {};
    std::vector<float> values = source_->values(name, elements);
    if (!source_->status().ok()) fail(source_->status());
    keep_for_later(values);
    return values;
  }

  // What was kept, behind the packed matrices.
  Status finish() {
    append(std::as_bytes(std::span(later_)));
    return status();
  }

  std::vector<PackedClass> classes;

 private:
  void append_coarse(const ops::Matrix& exact) {
    std::vector<std::byte> copy(static_cast<size_t>(ops::coarse_bytes(exact.rows, exact.cols)));
    const CoarseFloats floats = coarsen(exact, team_, copy.data());
    append(copy);
    for (const std::vector<float>* some : {&floats.column_scale, &floats.row_scale, &floats.error}) {
      keep_for_later(*some);
    }
  }

  void keep_for_later(std::span<const float> values) { later_.insert(later_.end(), values.begin(), values.end()); }

  void append(std::span<const std::byte> bytes) {
    if (!status().ok()) return;
    if (Status written = writer_.append(bytes); !written.ok()) return fail(std::move(written));
    done_ += static_cast<int64_t>(bytes.size());
    if (progress_ && !progress_(done_, writer_.data_bytes())) fail(Status(Code::cancelled, "packing was stopped"));
  }

  void measure(const std::string& name, const ops::Matrix& matrix, int64_t bytes) {
    const checkpoint::Tensor& original = *from_.find(name);
    const int64_t blocks = ops::blocks_of(matrix.rows);
    std::vector<double> signal(static_cast<size_t>(blocks)), noise(static_cast<size_t>(blocks));
    team_.parallel_for(blocks, 1, [&](int64_t begin, int64_t end, int) {
      std::vector<float> row(static_cast<size_t>(matrix.cols));
      const int64_t row_bytes = matrix.cols * static_cast<int64_t>(checkpoint::dtype_size(original.dtype));
      for (int64_t r = begin * ops::kBlockRows; r < std::min(matrix.rows, end * ops::kBlockRows); ++r) {
        checkpoint::convert_to_f32(original.dtype, original.data.data() + r * row_bytes, matrix.cols, row.data());
        const float factor = original.row_scale.empty() ? 1.0f : original.row_scale[static_cast<size_t>(r)];
        const auto b = static_cast<size_t>(r / ops::kBlockRows);
        for (int64_t c = 0; c < matrix.cols; ++c) {
          const double w = row[static_cast<size_t>(c)] * factor, error = w - matrix.at(r, c);
          signal[b] += w * w;
          noise[b] += error * error;
        }
      }
    });
    const TensorClass tensor_class = class_of(name);
    auto found = std::find_if(classes.begin(), classes.end(),
                              [&](const PackedClass& c) { return c.tensor_class == tensor_class; });
    if (found == classes.end()) {
      found = classes.insert(classes.end(), {.tensor_class = tensor_class, .type = matrix.type});
    }
    found->weights += matrix.rows * matrix.cols;
    found->bytes += bytes;
    for (double s : signal) found->signal += s;
    for (double n : noise) found->noise += n;
  }

  const checkpoint::Checkpoint& from_;
  const std::string head_;
  WeightMemory packed_;
  std::unique_ptr<WeightSource> source_;
  cpu::ThreadTeam team_;
  checkpoint::SafetensorsWriter& writer_;
  const PackProgress& progress_;
  int64_t done_ = 0;
  std::vector<float> later_;
};

// Tokenizer, templates, generation settings: every small file that is no weights.
Status copy_small_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  constexpr uintmax_t kSmall = uintmax_t{64} << 20;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(from, error)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file(error) || entry.file_size(error) > kSmall || name == "config.json" ||
        name.find(".safetensors") != name.npos) {
      continue;
    }
    std::filesystem::copy_file(entry.path(), to / name, std::filesystem::copy_options::overwrite_existing, error);
    if (error) return Status(Code::io_error, fmt::format("cannot copy {}: {}", name, error.message()));
  }
  return Status();
}

}  // namespace

double PackedClass::decibels() const {
  return noise > 0 ? 10 * std::log10(signal / noise) : std::numeric_limits<double>::infinity();
}

Result<PackReport> pack(const checkpoint::Checkpoint& checkpoint, Preset preset, const std::filesystem::path& out,
                        int threads, const PackProgress& progress, const Importance* importance) {
  if (preset == Preset::as_stored) return Status(Code::invalid_argument, "choose a format to pack to: bf16, q8 or q4");
  std::error_code error;
  if (std::filesystem::exists(out / "model.safetensors", error) ||
      std::filesystem::exists(out / "model.safetensors.index.json", error)) {
    return Status(Code::invalid_argument, fmt::format("{} already holds weights", out.string()),
                  "choose a new directory");
  }
  std::filesystem::create_directories(out, error);
  if (error) return Status(Code::io_error, fmt::format("cannot make {}: {}", out.string(), error.message()));

  WeightMemory memory;
  Declaring declared(checkpoint, preset, memory);
  ZAYA_RETURN_IF_ERROR(Weights::load(checkpoint.config(), declared).status());
  memory.floats.clear();
  int64_t total = 0;
  ZAYA_RETURN_IF_ERROR(checkpoint::safetensors_header(declared.tensors(), {}, &total).status());
  if (const auto space = std::filesystem::space(out, error);
      !error && space.available < static_cast<uintmax_t>(total)) {
    return Status(Code::resource_exhausted, fmt::format("the packed model needs {:.2f} GB, {} has {:.2f} GB free",
                                                        static_cast<double>(total) / 1e9, out.string(),
                                                        static_cast<double>(space.available) / 1e9));
  }
  ZAYA_ASSIGN(checkpoint::SafetensorsWriter writer,
              checkpoint::SafetensorsWriter::create(
                  out / "model.safetensors", declared.tensors(),
                  {{"zaya.packed", checkpoint::kPackedVersion}, {"zaya.preset", preset_name(preset)}}));
  Writing writing(checkpoint, preset, threads, writer, progress, importance, memory);
  ZAYA_RETURN_IF_ERROR(Weights::load(checkpoint.config(), writing).status());
  ZAYA_RETURN_IF_ERROR(writing.finish());

  ZAYA_ASSIGN(const std::string config, checkpoint::native_config_json(checkpoint.config()));
  ZAYA_RETURN_IF_ERROR(write_file(out / "config.json", config));
  ZAYA_RETURN_IF_ERROR(copy_small_files(checkpoint.directory(), out));
  ZAYA_RETURN_IF_ERROR(writer.finish());
  return PackReport{.classes = std::move(writing.classes), .bytes = writer.data_bytes()};
}

}  // namespace zaya::model
