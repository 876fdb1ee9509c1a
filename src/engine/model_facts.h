// What the engine wants to know of a loaded model beside its config.
#pragma once

#include <cstdint>

#include "model/model.h"

namespace zaya::engine {

// Bytes of weights that lie in a file's mapping: the system counts them as available memory, but they must stay.
int64_t mapped_weight_bytes(const model::Model& model);

// Tells models apart whose keys and values must not be mixed: of everything that decides them, shapes, formats, backend
// and instruction set, and of every weight matrix some elements. Reads a page or two of each matrix.
uint64_t fingerprint(const model::Model& model);

}  // namespace zaya::engine
