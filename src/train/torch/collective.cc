#include "train/torch/collective.h"

#include <fmt/format.h>

// The precompiled headers of a libtorch with gloo define the macro that its header asks for; gloo_names/ has the rest.
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

namespace zaya::train {
namespace {

// The first of the variables that is set to a number.
std::optional<int> number_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    int value = 0;
    const std::string_view view = text;
    const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
    if (error == std::errc() && end == view.data() + view.size()) return value;
  }
  return std::nullopt;
}

class Alone : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void sum(std::vector<torch::Tensor>&) override {}
  void barrier() override {}
};

class Group : public Collective {
 public:
  Group(int rank, int size, c10::intrusive_ptr<c10d::Backend> backend)
      : rank_(rank), size_(size), backend_(std::move(backend)) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  // One message for all of them.
  void sum(std::vector<torch::Tensor>& tensors) override {
    std::vector<torch::Tensor> flat;
    for (const torch::Tensor& tensor : tensors) flat.push_back(tensor.reshape({-1}));
    std::vector<torch::Tensor> message = {torch::cat(flat)};
    backend_->allreduce(message)->wait();
    int64_t first = 0;
    for (torch::Tensor& tensor : tensors) {
      tensor.copy_(message[0].narrow(0, first, tensor.numel()).view(tensor.sizes()));
      first += tensor.numel();
    }
  }

  void barrier() override { backend_->barrier()->wait(); }

 private:
  int rank_, size_;
  c10::intrusive_ptr<c10d::Backend> backend_;
};

}  // namespace

Result<std::unique_ptr<Collective>> Collective::from_environment(torch::Device device) {
  const int size = number_of({"WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS"}).value_or(1);
  const int rank = number_of({"RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"}).value_or(0);
  if (size <= 1) return std::unique_ptr<Collective>(std::make_unique<Alone>());
  if (rank < 0 || rank >= size) {
    return Status(Code::invalid_argument, fmt::format("rank {} of {} processes", rank, size), "see RANK, WORLD_SIZE");
  }
  const char* host = std::getenv("MASTER_ADDR");
  const auto port = number_of({"MASTER_PORT"});
  if (host == nullptr || !port || *port < 1 || *port > 65535) {
    return Status(Code::invalid_argument, fmt::format("{} processes, but MASTER_ADDR or MASTER_PORT is missing", size),
                  "torchrun sets them; elsewhere, name the first process's host and a free port");
  }
  try {
    // torchrun's own agent keeps the store for its children.
    const char* agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
    c10d::TCPStoreOptions options;
    options.port = static_cast<std::uint16_t>(*port);
    options.isServer = rank == 0 && !(agent != nullptr && std::string_view(agent) == "True");
    options.numWorkers = options.isServer ? std::optional<size_t>(static_cast<size_t>(size)) : std::nullopt;
    options.waitWorkers = false;
    c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::TCPStore>(host, options);
    c10::intrusive_ptr<c10d::Backend> backend;
    if (device.is_cuda()) {
#ifdef USE_C10D_NCCL
      backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size);
#else
      return Status(Code::unsupported, "this libtorch was built without NCCL or RCCL");
#endif
    } else {
#ifdef USE_C10D_GLOO
      auto gloo = c10d::ProcessGroupGloo::Options::create(std::chrono::minutes(30));
      gloo->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice(/*lazyInit=*/false));
      backend = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, gloo);
#else
      return Status(Code::unsupported, "this build has no gloo");
#endif
    }
    return std::unique_ptr<Collective>(std::make_unique<Group>(rank, size, std::move(backend)));
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return Status(Code::io_error, "the processes did not find each other: " + text.substr(0, text.find('\n')));
  }
}

}  // namespace zaya::train
