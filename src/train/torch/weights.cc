#include "train/torch/weights.h"

#include <fmt/format.h>
#include <torch/utils.h>

#include <cmath>
#include <map>
#include <span>

#include "base/file.h"
#include "checkpoint/names.h"
#include "checkpoint/safetensors_writer.h"

namespace zaya::train {
namespace {

using checkpoint::DType;

class Visitor {
 public:
  Visitor(Weights& weights, const Architecture& architecture) : weights_(weights), architecture_(architecture) {}

  std::vector<NamedParameter> list() {
    const checkpoint::ModelConfig& config = architecture_.model;
    weights_.layers.resize(static_cast<size_t>(config.num_layers()));
    add("model.embed_tokens.weight", ParameterKind::embedding, weights_.embedding);
    add("model.input_hidden_states_scale", ParameterKind::vector, weights_.input_scale);
    add("model.input_hidden_states_bias", ParameterKind::vector, weights_.input_bias);
    for (size_t i = 0; i < weights_.layers.size(); ++i) {
      prefix_ = fmt::format("model.layers.{}.", i);
      layer(weights_.layers[i], i == 0);
    }
    prefix_.clear();
    add("model.norm.weight", ParameterKind::vector, weights_.norm);
    if (!config.tie_embeddings) add("lm_head.weight", ParameterKind::embedding, weights_.head);
    if (config.lm_head_bias) add("lm_head.bias", ParameterKind::vector, weights_.head_bias);
    return std::move(list_);
  }

 private:
  void add(const std::string& name, ParameterKind kind, Tensor& tensor) {
    list_.push_back({prefix_ + name, kind, &tensor});
  }

  void projection(const std::string& name, Tensor& weight, Tensor& bias) {
    add(name + ".weight", ParameterKind::matrix, weight);
    if (architecture_.model.attention_bias) add(name + ".bias", ParameterKind::vector, bias);
  }

  void merge(const std::string& name, MergeWeights& merge) {
    add(name + "hidden_states_scale", ParameterKind::vector, merge.branch_scale);
    add(name + "hidden_states_bias", ParameterKind::vector, merge.branch_bias);
    add(name + "residual_scale", ParameterKind::vector, merge.residual_scale);
    add(name + "residual_bias", ParameterKind::vector, merge.residual_bias);
  }

  void layer(LayerWeights& w, bool first) {
    const std::string qkv = "self_attn.qkv_proj.", gate = "mlp.gate.", mlp = gate + "router_mlp.";
    add("input_layernorm.weight", ParameterKind::vector, w.input_norm);
    projection(qkv + "q_proj", w.q, w.q_bias);
    projection(qkv + "k_proj", w.k, w.k_bias);
    projection(qkv + "v_proj_current", w.v_current, w.v_current_bias);
    projection(qkv + "v_proj_delayed", w.v_delayed, w.v_delayed_bias);
    if (architecture_.attention == AttentionKind::cca) {
      add(qkv + "conv_qk_depthwise.weight", ParameterKind::convolution, w.depthwise);
      add(qkv + "conv_qk_depthwise.bias", ParameterKind::vector, w.depthwise_bias);
      add(qkv + "conv_qk_grouped.weight", ParameterKind::convolution, w.grouped);
      add(qkv + "conv_qk_grouped.bias", ParameterKind::vector, w.grouped_bias);
    }
    add("self_attn.qk_norm.temp", ParameterKind::vector, w.temp);
    projection("self_attn.o_proj", w.o, w.o_bias);
    merge("post_attention_residual_scale.", w.after_attention);
    add("post_attention_layernorm.weight", ParameterKind::vector, w.expert_norm);
    if (architecture_.router == RouterKind::mlp) {
      add(gate + "down_proj.weight", ParameterKind::matrix, w.router_down);
      add(gate + "down_proj.bias", ParameterKind::vector, w.router_down_bias);
      if (!first) add(gate + "router_states_scale", ParameterKind::vector, w.router_state_scale);
      add(mlp + "norm.weight", ParameterKind::vector, w.router_norm);
      add(mlp + "fc1.weight", ParameterKind::matrix, w.router_fc1);
      add(mlp + "fc1.bias", ParameterKind::vector, w.router_fc1_bias);
      add(mlp + "fc2.weight", ParameterKind::matrix, w.router_fc2);
      add(mlp + "fc2.bias", ParameterKind::vector, w.router_fc2_bias);
    }
    add(mlp + "out_proj.weight", ParameterKind::embedding, w.router_out);
    add(gate + "balancing_biases", ParameterKind::balancing, w.balancing_biases);
    add("mlp.experts.gate_up_proj", ParameterKind::matrix, w.gate_up);
    add("mlp.experts.down_proj", ParameterKind::matrix, w.down);
    merge("post_mlp_residual_scale.", w.after_experts);
  }

  Weights& weights_;
  const Architecture& architecture_;
  std::string prefix_;
  std::vector<NamedParameter> list_;
};

using Shapes = std::map<std::string, std::vector<int64_t>>;

// The shapes of the file's tensors, experts stacked.
Shapes file_shapes(const Architecture& architecture) {
  const checkpoint::ModelConfig& config = architecture.model;
  Shapes shapes;
  for (const checkpoint::ExpectedTensor& tensor : checkpoint::expected_tensors(config)) {
    if (!tensor.expert) {
      shapes[tensor.name] = tensor.shape;
      if (architecture.router == RouterKind::linear && tensor.name.ends_with("router_mlp.out_proj.weight")) {
        shapes[tensor.name][1] = config.hidden_size;
      }
      continue;
    }
    const bool gate = tensor.name.ends_with("experts.0.gate");
    if (!gate && !tensor.name.ends_with("experts.0.down")) continue;
    shapes[checkpoint::file_name(checkpoint::Layout::native, tensor.name, config.num_layers())] = {
        config.num_experts, tensor.shape[0] * (gate ? 2 : 1), tensor.shape[1]};
  }
  return shapes;
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

Status copy_into(const checkpoint::Checkpoint& checkpoint, const std::string& name, Tensor to) {
  const checkpoint::Tensor* from = checkpoint.find(name);
  if (from == nullptr) return Status(Code::not_found, fmt::format("the checkpoint has no {}", name));
  std::vector<float> values = checkpoint::to_f32(*from);
  to.copy_(torch::from_blob(values.data(), to.sizes(), torch::kFloat32));
  checkpoint.release(name);
  return Status();
}

}  // namespace

std::vector<NamedParameter> parameters(Weights& weights, const Architecture& architecture) {
  return Visitor(weights, architecture).list();
}

std::vector<int64_t> parameter_shape(const Architecture& architecture, const std::string& name) {
  const Shapes shapes = file_shapes(architecture);
  const auto found = shapes.find(name);
  return found == shapes.end() ? std::vector<int64_t>() : found->second;
}

Weights initial_weights(const Architecture& architecture, uint64_t seed, double embedding_deviation) {
  const torch::NoGradGuard no_grad;
  torch::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const Shapes shapes = file_shapes(architecture);
  const double to_stream = 1 / std::sqrt(2.0 * static_cast<double>(architecture.model.num_layers()));
  Weights weights;
  for (const NamedParameter& parameter : parameters(weights, architecture)) {
    const std::vector<int64_t>& shape = shapes.at(parameter.name);
    const std::string& name = parameter.name;
    Tensor value = torch::zeros(shape, torch::kFloat32);
    switch (parameter.kind) {
      case ParameterKind::vector:
        if (!name.ends_with("bias")) value.fill_(1);
        break;
      case ParameterKind::balancing: value[-1] = -1; break;
      default: {
        // What one output sums over: the last dimension, or both dimensions of a convolution's kernel.
        int64_t inputs = shape.back();
        if (parameter.kind == ParameterKind::convolution) inputs *= shape[1];
        double deviation = 1 / std::sqrt(static_cast<double>(inputs));
        if (name.ends_with("embed_tokens.weight")) deviation = embedding_deviation;
        if (name.ends_with("o_proj.weight") || name.ends_with("experts.down_proj")) deviation *= to_stream;
        value.normal_(0, deviation, generator);
      }
    }
    *parameter.tensor = value;
  }
  return weights;
}

Result<Weights> load_weights(const checkpoint::Checkpoint& checkpoint) {
  const torch::NoGradGuard no_grad;
  const Architecture architecture{.model = checkpoint.config()};
  const checkpoint::ModelConfig& config = architecture.model;
  const Shapes shapes = file_shapes(architecture);
  Weights weights;
  for (const NamedParameter& parameter : parameters(weights, architecture)) {
    *parameter.tensor = torch::empty(shapes.at(parameter.name), torch::kFloat32);
    const size_t cut = parameter.name.find("mlp.experts.");
    if (cut == std::string::npos) {
      ZAYA_RETURN_IF_ERROR(copy_into(checkpoint, parameter.name, *parameter.tensor));
      continue;
    }
    const std::string experts = parameter.name.substr(0, cut) + "mlp.experts.";
    for (int64_t e = 0; e < config.num_experts; ++e) {
      const std::string expert = fmt::format("{}{}.", experts, e);
      Tensor to = (*parameter.tensor)[e];
      if (parameter.name.ends_with("down_proj")) {
        ZAYA_RETURN_IF_ERROR(copy_into(checkpoint, expert + "down", to));
      } else {
        ZAYA_RETURN_IF_ERROR(copy_into(checkpoint, expert + "gate", to.narrow(0, 0, config.expert_width)));
        ZAYA_RETURN_IF_ERROR(
            copy_into(checkpoint, expert + "up", to.narrow(0, config.expert_width, config.expert_width)));
      }
    }
  }
  return weights;
}

Status save_tensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors, bool bf16,
                    const std::map<std::string, std::string>& metadata) {
  const torch::NoGradGuard no_grad;
  std::vector<checkpoint::TensorDeclaration> declarations;
  for (const NamedTensor& entry : tensors) {
    declarations.push_back({entry.name, bf16 ? DType::bf16 : DType::f32, entry.tensor.sizes().vec()});
  }
  ZAYA_ASSIGN(auto writer, checkpoint::SafetensorsWriter::create(path, declarations, metadata));
  for (const NamedTensor& entry : tensors) {
    const Tensor stored =
        entry.tensor.detach().to(torch::kCPU).to(bf16 ? torch::kBFloat16 : torch::kFloat32).contiguous();
    ZAYA_RETURN_IF_ERROR(writer.append(bytes_of(stored)));
  }
  return writer.finish();
}

Status save_checkpoint(const std::filesystem::path& directory, const Architecture& architecture, Weights& weights,
                       bool bf16) {
  if (!architecture.is_zaya()) {
    return Status(Code::invalid_argument, "a network without CCA or with the linear router is no ZAYA1 checkpoint",
                  "ablations are for their logs");
  }
  checkpoint::ModelConfig config = architecture.model;
  config.layout = checkpoint::Layout::native;
  config.stated_dtype = bf16 ? "bfloat16" : "float32";
  ZAYA_ASSIGN(const std::string text, checkpoint::native_config_json(config));
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Status(Code::io_error, fmt::format("cannot make {}: {}", directory.string(), error.message()));
  std::vector<NamedTensor> tensors;
  for (const NamedParameter& parameter : parameters(weights, architecture)) {
    tensors.push_back({parameter.name, *parameter.tensor});
  }
  ZAYA_RETURN_IF_ERROR(save_tensors(directory / "model.safetensors", tensors, bf16, {{"format", "pt"}}));
  return write_file(directory / "config.json", text);
}

void require_gradients(Weights& weights, const Architecture& architecture) {
  for (const NamedParameter& parameter : parameters(weights, architecture)) {
    const bool merge = parameter.name.find("residual_scale.") != std::string::npos ||
                       parameter.name.find("input_hidden_states_") != std::string::npos;
    const bool fixed = parameter.kind == ParameterKind::balancing || (merge && !architecture.residual_scaling);
    parameter.tensor->set_requires_grad(!fixed);
  }
}

}  // namespace zaya::train
