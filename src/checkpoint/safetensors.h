// The safetensors format: 8 bytes little-endian header length, a JSON header, one data buffer.
// https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/tensor.h"

namespace zaya::checkpoint {

// The format's own limit on the header.
inline constexpr size_t max_header_bytes = 100'000'000;

struct Safetensors {
  std::vector<Tensor> tensors;                  // in the order of their data; spans point into the parsed bytes
  std::map<std::string, std::string> metadata;  // "__metadata__"
  size_t data_offset = 0;                       // where the buffer starts in the file
};

// Parses one file's bytes; `label` (the file's name) starts every error. Refused: a header that is longer than the file
// or than max_header_bytes, anything but the documented JSON, repeated names, unknown dtypes, negative or overflowing
// shapes, offsets that disagree with dtype × shape, leave the buffer, overlap, or leave a hole anywhere in it.
// Reads only the header, never the data. Memory: a small multiple of the header's size.
Result<Safetensors> parse_safetensors(std::span<const std::byte> file, const std::string& label);

}  // namespace zaya::checkpoint
