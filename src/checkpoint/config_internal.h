// Pieces that config.cc and config_original.cc share.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/config.h"
#include "checkpoint/config_reader.h"

namespace zaya::checkpoint {

// Everything but what both layouts spell alike, from the original layout's keys.
void parse_original(ConfigReader& reader, ModelConfig& config);

// The rotary part of a native layer of `type` ("hybrid" or "hybrid_sliding").
LayerConfig native_rope(ConfigReader& reader, const std::string& type, double default_theta, int64_t head_dim);

// A layer without a window that rotates int(head_dim × factor) dimensions, which must be even; zero means none.
LayerConfig make_rope(ConfigReader& reader, std::string_view owner, double theta, double factor, int64_t head_dim);

}  // namespace zaya::checkpoint
