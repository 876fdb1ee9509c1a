// Tensor names: which tensors a ModelConfig calls for, and how the two layouts spell them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"

namespace zaya::checkpoint {

// One tensor under its canonical name (checkpoint.h). Every tensor may be F32, BF16 or F16; expert matrices also
// F8_E4M3 with a factor per row.
struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
  bool expert = false;
};

// Everything that `config` calls for, in file order (globals, then layer by layer). The one place where shapes stand.
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// What a name in a file denotes.
struct NameTarget {
  enum class Kind {
    unknown,
    tensor,          // `canonical` is the canonical name (single expert matrices included)
    expert_gate_up,  // both halves of one expert [2I, H]; `canonical` is "model.layers.L.mlp.experts.E"
    stack_gate_up,   // all experts of a layer [E, 2I, H]; `canonical` is "model.layers.L.mlp.experts"
    stack_down,      // [E, H, I]; likewise
    harmless,        // computed at run time by whoever wrote it, e.g. rotary inv_freq
  };
  Kind kind = Kind::unknown;
  bool scale = false;  // it is the FP8 factor of that tensor, not the tensor
  std::string canonical;
};

// Reads a file's tensor name; `layers` is the number of native layers.
NameTarget resolve_name(Layout layout, std::string_view file_name, int64_t layers);

// How `layout` spells a canonical name. Experts come out as single matrices in the native layout
// ("….3.gate_proj.weight") unless `stacked`, and as linear_fc1 / linear_fc2 in the original one.
std::string file_name(Layout layout, std::string_view canonical, int64_t layers, bool stacked = true);

// The layout that a set of names shows: `model.norm.weight` or `model.final_norm.weight`, else names that only one of
// the two has. Nothing when there are none, or those of both.
template <class Names>
std::optional<Layout> layout_from_names(const Names& names);

// One name's evidence for layout_from_names.
struct LayoutEvidence {
  bool native_norm = false, original_norm = false, native_name = false, original_name = false;
  void see(std::string_view name);
  std::optional<Layout> verdict() const;
};

template <class Names>
std::optional<Layout> layout_from_names(const Names& names) {
  LayoutEvidence evidence;
  for (const auto& name : names) evidence.see(name);
  return evidence.verdict();
}

}  // namespace zaya::checkpoint
