// Any bytes as a safetensors file: parse them, touch both ends of every tensor, resolve every name.
#include <cstdint>
#include <cstdlib>

#include "checkpoint/names.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/statistics.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zaya::checkpoint;
  const auto file = std::as_bytes(std::span(data, size));
  const auto parsed = parse_safetensors(file, "fuzz");
  if (!parsed.ok()) return 0;
  size_t bytes = 0;
  unsigned sink = 0;
  for (const Tensor& tensor : parsed->tensors) {
    bytes += tensor.data.size();
    if (!tensor.data.empty()) {
      sink += static_cast<unsigned>(tensor.data.front()) + static_cast<unsigned>(tensor.data.back());
    }
    if (is_float(tensor.dtype) && to_f32(tensor).size() != static_cast<size_t>(tensor.elements())) std::abort();
    if (measure(tensor.dtype, tensor.data).count > tensor.elements()) std::abort();
    for (const Layout layout : {Layout::native, Layout::original}) resolve_name(layout, tensor.name, 40);
  }
  // Whatever was accepted covers the buffer exactly.
  if (bytes != size - parsed->data_offset) std::abort();
  return sink == 0xffffffffu ? 1 : 0;
}
