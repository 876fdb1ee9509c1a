#include "model/sequence_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

namespace zaya::model {

StateShape::StateShape(const checkpoint::ModelConfig& config, ops::KvType type)
    : layers(config.num_layers()),
      num_kv_heads(config.num_kv_heads),
      head_dim(config.head_dim),
      max_positions(config.max_positions),
      kv_type(type),
      history_floats(config.conv_history() * config.conv_channels()),
      delayed_floats(config.kv_width() / 2) {}

SequenceState::SequenceState(std::shared_ptr<const StateShape> shape,
                             std::shared_ptr<const std::vector<float>> initial_delayed)
    : shape_(std::move(shape)), initial_delayed_(std::move(initial_delayed)) {
  reset();
}

void SequenceState::reset() {
  length_ = 0;
  owned_pages_.clear();
  pages_.clear();
  history_.assign(static_cast<size_t>(shape_->layers * shape_->history_floats), 0.0f);
  delayed_ = *initial_delayed_;
}

int64_t SequenceState::bytes() const {
  return static_cast<int64_t>(owned_pages_.size()) * shape_->page_bytes() +
         static_cast<int64_t>((history_.size() + delayed_.size()) * sizeof(float));
}

Status SequenceState::reserve(int64_t count) {
  if (count < 0 || count > shape_->max_positions - length_) {
    return Status(
        Code::out_of_range,
        fmt::format("{} tokens do not fit behind {}: the model's context is {}", count, length_, shape_->max_positions),
        "shorten the prompt or start a new conversation");
  }
  const size_t needed = static_cast<size_t>((length_ + count + ops::kPageTokens - 1) / ops::kPageTokens);
  while (owned_pages_.size() < needed) {
    const size_t floats = static_cast<size_t>(shape_->layers * shape_->layer_page_floats());
    std::unique_ptr<float[]> page(new (std::nothrow) float[floats]);
    if (page == nullptr) {
      return Status(Code::resource_exhausted,
                    fmt::format("no memory for keys and values at token {}", owned_pages_.size() * ops::kPageTokens),
                    "use a shorter context or fewer sequences");
    }
    pages_.push_back(page.get());
    owned_pages_.push_back(std::move(page));
  }
  return Status();
}

Result<SequenceState> SequenceState::fork() const {
  SequenceState copy(shape_, initial_delayed_);
  ZAYA_RETURN_IF_ERROR(copy.reserve(length_));
  for (size_t i = 0; i < copy.pages_.size(); ++i) {
    std::copy_n(pages_[i], shape_->layers * shape_->layer_page_floats(), copy.pages_[i]);
  }
  copy.history_ = history_;
  copy.delayed_ = delayed_;
  copy.length_ = length_;
  return copy;
}

ops::Run SequenceState::layer_run(int64_t layer, int64_t first_row, int64_t count) {
  ops::Run run;
  run.first_row = first_row;
  run.count = count;
  run.start = length_;
  run.cache.pages = pages_;
  run.cache.layer_offset = layer * shape_->layer_page_floats();
  run.cache.num_kv_heads = shape_->num_kv_heads;
  run.cache.head_dim = shape_->head_dim;
  run.cache.type = shape_->kv_type;
  run.conv_history = history_.data() + layer * shape_->history_floats;
  run.delayed_value = delayed_.data() + layer * shape_->delayed_floats;
  return run;
}

}  // namespace zaya::model
