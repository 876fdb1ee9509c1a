// The fast backend: a thread team, vectorised loops, weights read as they are stored.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "cpu/isa.h"
#include "cpu/pages.h"
#include "cpu/thread_team.h"
#include "ops/backend.h"
#include "ops/cpu/codes.h"
#include "ops/cpu/int8_tiles.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/tiles.h"

namespace zaya::ops {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads, cpu::Isa isa = cpu::best_isa(), Activations activations = Activations::f32);

  std::string name() const override;
  int threads() const override { return team_.size(); }
  std::string kernel_for(const Matrix& w, int64_t n) const override;
  std::string kernel_for_head(const Head& head, int64_t n) const override;

  void embed(const Matrix& embedding, std::span<const int32_t> tokens, const float* scale, const float* bias,
             float* out) override;
  void rms_norm(const float* x, int64_t n, int64_t width, const float* weight, double eps, float* out) override;
  using Backend::project;
  void project(std::span<const Projection> projections, const float* x, int64_t n) override;
  int64_t head(const Head& head, const float* x, int64_t n, float* logits) override;
  void cca(const CcaShape& shape, const CcaWeights& weights, std::span<const Run> runs, const float* c0,
           const float* value_current, const float* value_delayed, const float* cos, const float* sin,
           float* q_out) override;
  void attend(const CcaShape& shape, std::span<const Run> runs, const float* q, float* out) override;
  void merge(const ResidualScales& scales, const float* branch, int64_t n, int64_t width, float* residual) override;
  void merge_norm(const ResidualScales& scales, const float* branch, int64_t n, int64_t width, float* residual,
                  const float* weight, double eps, float* normed) override;
  void route(const RouterWeights& weights, const float* x, int64_t n, int64_t top_k, float* state, int32_t* choice,
             float* weight) override;
  void experts(std::span<const Expert> experts, const float* x, int64_t n, int64_t top_k, const int32_t* choice,
               const float* weight, float* out) override;

 private:
  using Body = std::function<void(int64_t begin, int64_t end, int worker)>;

  // Activations of a product: FP32, and in the form that the kernel asks for which will take them.
  struct Input {
    const float* x = nullptr;
    Bf16Tiles half = {};
    Int8Tiles bytes = {};
    const CodeColumns* codes = nullptr;
    int64_t across = 0;  // of codes, from one row to the next
  };

  // Which kernels take a product of this matrix with n rows of activations: tiles of bytes or of BF16, those for
  // activations as codes, else FP32's.
  bool on_int8_tiles(const Matrix& w, int64_t n) const {
    return int8_tiles_ != nullptr && bits_ == CodeBits::eight && has_codes(w) && n >= int8_tiles_->fewest_rows;
  }
  bool on_bf16_tiles(const Matrix& w, int64_t n) const {
    if (tiles_ == nullptr || !is_packed(w.type) || on_int8_tiles(w, n)) return false;
    return n >= (codes_ != nullptr && has_codes(w) ? tiles_->fewest_rows_beside_codes : tiles_->fewest_rows);
  }
  bool on_codes(const Matrix& w, int64_t n) const {
    return codes_ != nullptr && has_codes(w) && !on_int8_tiles(w, n) && !on_bf16_tiles(w, n);
  }
  bool on_tiles(const Matrix& w, int64_t n) const { return on_int8_tiles(w, n) || on_bf16_tiles(w, n); }
  static bool has_codes(const Matrix& w) { return w.type == WeightType::q4 || w.type == WeightType::q8; }

  // x [n, cols] as the input of products with matrices of w's type; valid until the next call for that type.
  struct InputBuffers {
    cpu::Buffer<uint16_t> half;
    cpu::Buffer<std::byte> bytes;
    cpu::Buffer<CodeColumns> codes;
  };
  Input input_for(const Matrix& w, const float* x, int64_t n);

  // Rounds x [n, cols], row i at x + i · stride, into the tiles that `to` has for products with w, if any, from `row`
  // and `col` on.
  void fill_tiles(const Matrix& w, const float* x, int64_t n, int64_t cols, int64_t stride, const Input& to,
                  int64_t row, int64_t col) const;

  // Weight rows that a product should be split at.
  int64_t row_unit(const Matrix& w, int64_t n) const;

  // One product inside a parallel region: rows [begin, end) of w against n rows of x; begin is a multiple of
  // row_unit(). Output row r goes to out[r - begin].
  void multiply(const Matrix& w, const float* bias, int64_t begin, int64_t end, const Input& x, int64_t n, float* out,
                int64_t out_stride, int worker);

  // A piece of a phase: weight rows [begin, end) of one matrix (of one expert), for `count` activation rows from `row`
  // on.
  struct Task {
    size_t matrix = 0;
    int64_t row = 0, count = 0;
    int64_t begin = 0, end = 0;
  };

  // Rows [0, rows[i]) of each matrix i as tasks for one row of activations: each worker's part in pieces that halve, so
  // that it reads long streams and still shares the last of it. Parts have equally many tasks, some of them empty.
  std::vector<Task> halving_tasks(std::span<const int64_t> rows, int64_t unit) const;

  // Spreads the tasks over the team; on the caller alone when all together are less than worth it.
  void run_tasks(const std::vector<Task>& tasks, int64_t work,
                 const std::function<void(const Task& task, int worker)>& body);

  // The head's first stage: logits [n, vocab], and for each token what a row's error is to be multiplied with.
  void coarse_logits(const Head& head, const float* x, int64_t n, float* logits, float* margin);
  // Its second: each task's rows of the exact matrix for one token, in place of their coarse logits. Returns how many.
  // `columns`: x as codes, where products of one row take these; else null.
  int64_t exact_logits(const Head& head, const std::vector<Task>& tasks, const float* x, const CodeColumns* columns,
                       float* logits);

  // parallel_for over `count` items of about `work` multiply-adds each, in multiples of `unit`; on the caller alone
  // when the whole is small.
  void spread(int64_t count, int64_t work, const Body& body, int64_t unit = kRowTile);

  // out = one row of rms_norm(), of which `squares` is the sum of squares.
  void normalise(const float* x, float squares, int64_t width, const float* weight, double eps, float* out) const;

  // Tokens that a worker takes through several small products at a time.
  static constexpr int64_t kBlockTokens = kSlabTokens;

  // A token of cca(), which takes all runs at once: its place in its run.
  struct ConvToken {
    const Run* run = nullptr;
    int64_t index = 0;
  };
  struct Cca;
  // All of cca() for the tokens [begin, end) of conv_tokens_ and one head; query heads come before key heads.
  void cca_block(const Cca& call, int64_t begin, int64_t end, int64_t head, int worker);

  // Tokens that follow each other in a run, and one KV head with its query heads: all read the same keys. Query and
  // result of the first token at `offset`, of the next ones a row later each.
  struct AttendItem {
    const LayerCache* cache = nullptr;
    int64_t kv_head = 0, position = 0, tokens = 0, offset = 0;
    int64_t partial = 0, pieces = 0;  // its first piece's place, and how many follow each other there

    int64_t first_seen(int64_t t, const CcaShape& s) const {
      return s.sliding_window > 0 ? std::max<int64_t>(0, position + t - s.sliding_window + 1) : 0;
    }
  };
  // What an item's tokens see of the positions from `first` on. Its result, rows being (token, query head): sums
  // [rows, dim], then each row's greatest score, then each row's total weight; at place `partial`, in multiples of what
  // one token takes.
  struct AttendPiece {
    size_t item = 0;
    int64_t first = 0, partial = 0;
  };
  // Computes pieces_ and puts them together to items_; `work` multiply-adds and `partials` places in all.
  void attend_pieces(const CcaShape& shape, const float* q, float* out, int64_t work, int64_t partials);
  void attend_piece(const CcaShape& shape, const AttendPiece& piece, const float* q, float* sums, int worker);
  // The same for an item of one token; `after` is the piece that the worker takes next, or null.
  void attend_piece_on_tiles(const CcaShape& shape, const AttendPiece& piece, const AttendPiece* after, const float* q,
                             float* sums, int worker);
  bool piece_on_tiles(const CcaShape& shape, const LayerCache& cache) const;

  // attend() for one run on tiles: several tokens, heads of whole tiles.
  void attend_on_tiles(const CcaShape& shape, const Run& run, const float* q, float* out);

  // The worker's scratch, at least `floats` long and 64-byte aligned; its content is lost.
  float* scratch(int worker, int64_t floats) { return scratch_[static_cast<size_t>(worker)].get(floats); }

  cpu::ThreadTeam team_;
  cpu::Isa isa_;
  const Kernels& kernels_;
  const TileKernels* tiles_;                          // or null
  const Int8TileKernels* int8_tiles_;                 // or null
  const CodeKernels* codes_;                          // or null
  CodeBits bits_;                                     // of its codes
  std::vector<cpu::Buffer<float>> scratch_, strips_;  // one of each per worker

  // Buffers of one call, kept so that a decode step allocates nothing.
  cpu::Buffer<float> router_, gathered_, gate_, down_;
  cpu::Buffer<LogitBounds> head_bounds_;
  cpu::Buffer<int8_t> coarse_codes_;
  cpu::Buffer<int32_t> coarse_sum_;
  cpu::Buffer<float> coarse_scale_, head_margin_, attend_partials_;
  std::vector<ConvToken> conv_tokens_;
  std::vector<AttendPiece> pieces_;
  std::vector<AttendItem> items_;
  std::array<InputBuffers, kWeightTypes> input_buffers_;
  cpu::Buffer<uint16_t> half_input_, half_gate_, half_keys_, half_values_;
  cpu::Buffer<std::byte> int8_input_, int8_gate_;
  cpu::Buffer<CodeColumns> code_input_, code_gate_;
};

}  // namespace zaya::ops
