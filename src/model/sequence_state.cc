#include "model/sequence_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <new>

namespace zaya::model {
namespace {

int64_t pages_of(int64_t positions) { return (positions + ops::kPageTokens - 1) / ops::kPageTokens; }

}  // namespace

StateShape::StateShape(const checkpoint::ModelConfig& config, ops::KvType type)
    : layers(config.num_layers()),
      num_kv_heads(config.num_kv_heads),
      head_dim(config.head_dim),
      max_positions(config.max_positions),
      kv_type(type),
      channels(config.conv_channels()),
      history_floats(config.conv_history() * config.conv_channels()),
      delayed_floats(config.kv_width() / 2) {}

SequenceState::SequenceState(std::shared_ptr<const StateShape> shape,
                             std::shared_ptr<const std::vector<float>> initial_delayed, std::shared_ptr<PagePool> pool)
    : shape_(std::move(shape)), initial_delayed_(std::move(initial_delayed)), pool_(std::move(pool)) {
  reset();
}

void SequenceState::reset() {
  length_ = claimed_ = 0;
  uses_.clear();
  pages_.clear();
  state_.history.assign(static_cast<size_t>(shape_->layers * shape_->history_floats), 0.0f);
  state_.delayed = *initial_delayed_;
}

int64_t SequenceState::bytes() const {
  return static_cast<int64_t>(uses_.size()) * shape_->page_bytes() + shape_->snapshot_bytes();
}

void SequenceState::append(std::shared_ptr<Page> page) {
  pages_.push_back(reinterpret_cast<float*>(page->data()));
  uses_.emplace_back(std::move(page));
}

void SequenceState::resume(int64_t length, std::span<const std::shared_ptr<Page>> pages, const Snapshot& snapshot) {
  assert(static_cast<int64_t>(pages.size()) == pages_of(length));
  uses_.clear();
  pages_.clear();
  for (const std::shared_ptr<Page>& page : pages) append(page);
  length_ = claimed_ = length;
  state_ = snapshot;
}

void SequenceState::share_page(size_t index, std::shared_ptr<Page> page) {
  assert(static_cast<int64_t>(index + 1) * ops::kPageTokens <= length_);
  pages_[index] = reinterpret_cast<float*>(page->data());
  uses_[index] = PageUse(std::move(page));
}

SequenceState SequenceState::fork() const {
  SequenceState copy(shape_, initial_delayed_, pool_);
  const int64_t filled = pages_of(length_);  // pages reserved beyond are ours
  for (int64_t i = 0; i < filled; ++i) copy.append(uses_[static_cast<size_t>(i)].page());
  copy.length_ = copy.claimed_ = length_;
  copy.state_ = state_;
  return copy;
}

bool SequenceState::must_copy() const {
  const int64_t offset = length_ % ops::kPageTokens;
  if (offset == 0 || claimed_ > length_) return false;
  return uses_[static_cast<size_t>(length_ / ops::kPageTokens)].page()->claimed > offset;
}

int64_t SequenceState::pages_for(int64_t count) const {
  if (count <= 0) return 0;
  return std::max<int64_t>(0, pages_of(length_ + count) - static_cast<int64_t>(uses_.size())) + (must_copy() ? 1 : 0);
}

Status SequenceState::reserve(int64_t count) {
  if (count < 0 || count > shape_->max_positions - length_) {
    return Status(
        Code::out_of_range,
        fmt::format("{} tokens do not fit behind {}: the model's context is {}", count, length_, shape_->max_positions),
        "shorten the prompt or start a new conversation");
  }
  if (count == 0) return Status();
  const auto allocate = [&]() -> Result<std::shared_ptr<Page>> {
    if (std::shared_ptr<Page> page = pool_->allocate()) return page;
    return Status(Code::resource_exhausted, fmt::format("no memory for keys and values at token {}", length_),
                  "use a shorter context or fewer sequences");
  };
  if (must_copy()) {
    const size_t last = static_cast<size_t>(length_ / ops::kPageTokens);
    ZAYA_ASSIGN(std::shared_ptr<Page> page, allocate());
    page->copy(*uses_[last].page());
    pages_[last] = reinterpret_cast<float*>(page->data());
    uses_[last] = PageUse(std::move(page));
  }
  const int64_t end = length_ + count;
  while (static_cast<int64_t>(uses_.size()) < pages_of(end)) {
    ZAYA_ASSIGN(std::shared_ptr<Page> page, allocate());
    append(std::move(page));
  }
  for (int64_t i = length_ / ops::kPageTokens; i < pages_of(end); ++i) {
    int64_t& claimed = uses_[static_cast<size_t>(i)].page()->claimed;
    claimed = std::max(claimed, std::min(ops::kPageTokens, end - i * ops::kPageTokens));
  }
  claimed_ = std::max(claimed_, end);
  return Status();
}

ops::Run SequenceState::layer_run(int64_t layer, int64_t first_row, int64_t count) {
  ops::Run run;
  run.first_row = first_row;
  run.count = count;
  run.start = length_;
  run.cache.pages = pages_;
  run.cache.first_plane = layer * 2 * shape_->num_kv_heads;
  run.cache.num_kv_heads = shape_->num_kv_heads;
  run.cache.head_dim = shape_->head_dim;
  run.cache.type = shape_->kv_type;
  run.cache.plane_stride = pool_->plane_stride();
  run.conv_history = state_.history.data() + layer * shape_->history_floats;
  run.delayed_value = state_.delayed.data() + layer * shape_->delayed_floats;
  return run;
}

void SequenceState::capture(int64_t layer, int64_t after, const float* c0, const float* value_delayed,
                            Snapshot& into) const {
  into.history.resize(state_.history.size());
  into.delayed.resize(state_.delayed.size());
  const int64_t channels = shape_->channels, rows = shape_->history_floats / channels;
  const int64_t kept = std::max<int64_t>(0, rows - after);  // of the history so far, its newest
  const float* old = state_.history.data() + layer * shape_->history_floats;
  float* history = into.history.data() + layer * shape_->history_floats;
  std::copy_n(old + (rows - kept) * channels, kept * channels, history);
  std::copy_n(c0 + (after - (rows - kept)) * channels, (rows - kept) * channels, history + kept * channels);
  std::copy_n(value_delayed + (after - 1) * shape_->delayed_floats, shape_->delayed_floats,
              into.delayed.data() + layer * shape_->delayed_floats);
}

}  // namespace zaya::model
