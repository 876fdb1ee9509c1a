#include "train/architecture.h"

namespace zaya::train {

double forward_products(const Architecture& architecture) {
  const checkpoint::ModelConfig& c = architecture.model;
  const auto h = static_cast<double>(c.hidden_size), r = static_cast<double>(c.router_width);
  const auto classes = static_cast<double>(c.router_classes()), q = static_cast<double>(c.q_width());
  double layer = h * (q + 2 * static_cast<double>(c.kv_width())) + q * h;
  if (architecture.attention == AttentionKind::cca) {
    layer += static_cast<double>(c.conv_channels() * (c.conv_time0 + c.head_dim * c.conv_time1));
  }
  layer += architecture.router == RouterKind::mlp ? h * r + 2 * r * r + r * classes : h * classes;
  layer += static_cast<double>(c.experts_per_token) * 3 * h * static_cast<double>(c.expert_width);
  return layer * static_cast<double>(c.num_layers());
}

double head_products(const Architecture& architecture) {
  return static_cast<double>(architecture.model.hidden_size) * static_cast<double>(architecture.model.vocab_size);
}

double attention_products(const Architecture& architecture, int64_t length) {
  const auto n = static_cast<double>(length);
  return n * (n + 1) / 2 * 2 * static_cast<double>(architecture.model.q_width() * architecture.model.num_layers());
}

}  // namespace zaya::train
