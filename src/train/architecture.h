// What the trainer can vary about the network beyond a checkpoint's configuration: the parts that ablations take away.
#pragma once

#include "checkpoint/config.h"

namespace zaya::train {

enum class AttentionKind {
  cca,  // convolutions, mean terms and delayed values (docs/model.md, section 4)
  gqa,  // plain grouped-query attention on the same projections: the norm, `temp` and the rotary embedding stay
};

enum class RouterKind {
  mlp,     // down projection, state through depth, three-matrix MLP
  linear,  // one matrix from the normed stream to the classes
};

// Only the defaults are ZAYA1 and can be written as a checkpoint that others load.
struct Architecture {
  checkpoint::ModelConfig model;
  AttentionKind attention = AttentionKind::cca;
  RouterKind router = RouterKind::mlp;
  bool residual_scaling = true;  // false: scales stay one and biases zero

  bool is_zaya() const { return attention == AttentionKind::cca && router == RouterKind::mlp; }
};

// Multiply-adds of one token's forward pass, without attention and head; of one position of the head; and of the
// attention of one document of that length (what a causal mask leaves). The backward pass takes twice as many.
double forward_products(const Architecture& architecture);
double head_products(const Architecture& architecture);
double attention_products(const Architecture& architecture, int64_t length);

}  // namespace zaya::train
