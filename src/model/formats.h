// Which format each class of weights takes: the presets of --format.
#pragma once

#include <string_view>

#include "base/status.h"
#include "ops/types.h"

namespace zaya::model {

enum class TensorClass { expert, attention, router, head };  // head: the embedding table and the output head

TensorClass class_of(std::string_view canonical_name);

// as_stored reads the checkpoint's own bytes. The others pack: bf16 and q8 everything alike; q4 the experts (57 % of
// what is read per token) at 4.5 bits, attention and head at 8.5. The router stays at 16 bits always: a flipped choice
// costs more than its 2 % of the bytes.
enum class Preset { as_stored, bf16, q8, q4 };

Result<Preset> preset_named(std::string_view name);
const char* preset_name(Preset preset);

// Only for a packing preset.
ops::WeightType format_of(Preset preset, TensorClass tensor_class);

}  // namespace zaya::model
