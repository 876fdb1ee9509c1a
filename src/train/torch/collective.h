// Data parallelism: the same program on several processes, each with its share of every global batch.
#pragma once

#include <torch/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace zaya::train {

// The processes of a run. Launched by torchrun, MPI or Slurm, they find each other through torch's env:// rendezvous:
// RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (Slurm's and Open MPI's own rank variables serve where these lack).
// Without them there is one process, and everything here does nothing.
class Collective {
 public:
  // gloo on CPUs; NCCL (RCCL) where libtorch was built with it and the device is a GPU.
  static Result<std::unique_ptr<Collective>> from_environment(torch::Device device);
  virtual ~Collective() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Sums each tensor over the processes, in place.
  virtual void sum(std::vector<torch::Tensor>& tensors) = 0;
  virtual void barrier() = 0;
};

}  // namespace zaya::train
