#include <bit>
#include <cmath>
#include <cstring>

#include "model/weight_source.h"
#include "ops/packed/codec.h"

namespace zaya::model {
namespace {

// Marsaglia's xorshift64*, one per block so that blocks can be filled in any order.
class Bits {
 public:
  explicit Bits(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u | 1) {
    for (int i = 0; i < 4; ++i) next();
  }
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  // About normal: four uniforms' sum.
  float normal() {
    uint64_t bits = next();
    float sum = 0;
    for (int i = 0; i < 4; ++i, bits >>= 16) sum += static_cast<float>(bits & 0xffff);
    return (sum / 65536.0f - 2.0f) * 1.7320508f;
  }

 private:
  uint64_t state_;
};

class RandomSource final : public WeightSource {
 public:
  RandomSource(Preset preset, uint64_t seed, int threads, WeightMemory& memory)
      : WeightSource(memory, preset), seed_(seed), team_(threads) {}

  ops::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) override {
    const ops::WeightType type = format_of(preset_, class_of(name));
    std::byte* bytes = nullptr;
    float* row_scale = nullptr;
    const ops::Matrix matrix = packed(type, rows, cols, bytes, row_scale);
    if (matrix.data == nullptr) return matrix;
    const uint64_t tensor = ++tensors_ * 0x10001 + seed_;
    const bool centred = name.ends_with("out_proj.weight");
    const int64_t size = ops::block_bytes(type, cols);
    const float deviation = 1.0f / std::sqrt(static_cast<float>(cols));
    team_.parallel_for(ops::blocks_of(rows), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t b = begin; b < end; ++b) {
        Bits bits(tensor * 1000003 + static_cast<uint64_t>(b));
        const int64_t first = b * ops::kBlockRows, count = std::min(ops::kBlockRows, rows - first);
        if (type == ops::WeightType::b16) {
          normal_block(bits, centred, count, cols, deviation, bytes + b * size, row_scale + first);
        } else {
          random_codes(bits, type, count, cols, deviation, bytes + b * size, row_scale + first);
        }
      }
    });
    return matrix;
  }

 protected:
  // Norms and scales are one, biases zero.
  std::vector<float> values(const std::string& name, int64_t elements) override {
    const bool one = name.ends_with("norm.weight") || name.ends_with("_scale") || name.ends_with("temp");
    std::vector<float> result(static_cast<size_t>(elements), one ? 1.0f : 0.0f);
    if (name.find("conv_qk") != name.npos && name.ends_with("weight")) {
      Bits bits(seed_ + ++tensors_);
      for (float& v : result) v = bits.normal() * 0.1f;
    }
    if (name.ends_with("balancing_biases")) result.back() = -1;  // the skip class never wins, as in the released model
    return result;
  }

 private:
  // Rows without a mean, where asked: an activation function's positive mean must not favour one class for every token.
  static void normal_block(Bits& bits, bool centred, int64_t rows, int64_t cols, float deviation, std::byte* out,
                           float* row_scale) {
    std::vector<float> weights(static_cast<size_t>(rows * cols));
    for (float& w : weights) w = bits.normal() * deviation;
    for (int64_t r = 0; centred && r < rows; ++r) {
      float mean = 0;
      for (int64_t c = 0; c < cols; ++c) mean += weights[static_cast<size_t>(r * cols + c)];
      for (int64_t c = 0; c < cols; ++c) weights[static_cast<size_t>(r * cols + c)] -= mean / static_cast<float>(cols);
    }
    ops::pack_block(ops::WeightType::b16, weights.data(), rows, cols, nullptr, out, row_scale);
  }

  static void random_codes(Bits& bits, ops::WeightType type, int64_t rows, int64_t cols, float deviation,
                           std::byte* out, float* row_scale) {
    const int64_t size = ops::block_bytes(type, cols), super = ops::superblock_bytes(type);
    for (int64_t i = 0; i < size; i += 8) {
      const uint64_t word = bits.next();
      std::memcpy(out + i, &word, 8);
    }
    for (int64_t s = 0; s < size; s += super) {
      for (int64_t i = 0; i < ops::kScaleBytes; ++i) out[s + i] |= std::byte{0xf0};  // scales from 1 to 1.94
    }
    // The codes are even over their range: root mean squares of 69 for the table, 74 for a byte; 1.5 for the scale.
    const float rms = (type == ops::WeightType::q4 ? 69.0f : 74.0f) * 1.5f;
    for (int64_t r = 0; r < rows; ++r) row_scale[r] = deviation / rms;
  }

  uint64_t seed_;
  uint64_t tensors_ = 0;
  cpu::ThreadTeam team_;
};

}  // namespace

std::unique_ptr<WeightSource> random_source(Preset preset, uint64_t seed, int threads, WeightMemory& memory) {
  return std::make_unique<RandomSource>(preset, seed, threads, memory);
}

}  // namespace zaya::model
