#include "model/formats.h"

#include <string>

namespace zaya::model {

TensorClass class_of(std::string_view name) {
  if (name.find(".mlp.experts.") != name.npos) return TensorClass::expert;
  if (name.find(".mlp.gate.") != name.npos) return TensorClass::router;
  if (name.find(".self_attn.") != name.npos) return TensorClass::attention;
  return TensorClass::head;
}

const char* preset_name(Preset preset) {
  switch (preset) {
    case Preset::as_stored: return "stored";
    case Preset::bf16: return "bf16";
    case Preset::q8: return "q8";
    case Preset::q4: return "q4";
  }
  return "unknown";
}

Result<Preset> preset_named(std::string_view name) {
  for (Preset preset : {Preset::as_stored, Preset::bf16, Preset::q8, Preset::q4}) {
    if (name == preset_name(preset)) return preset;
  }
  return Status(Code::invalid_argument, "there is no format named \"" + std::string(name) + "\"",
                "use stored, bf16, q8 or q4");
}

ops::WeightType format_of(Preset preset, TensorClass tensor_class) {
  if (preset == Preset::bf16 || tensor_class == TensorClass::router) return ops::WeightType::b16;
  if (preset == Preset::q4 && tensor_class == TensorClass::expert) return ops::WeightType::q4;
  return ops::WeightType::q8;
}

}  // namespace zaya::model
