#include "checkpoint/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/synthetic.h"

namespace zaya::checkpoint {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ZAYA1-8B's values in native keys.
json native_8b() {
  json config = {{"model_type", "zaya"},
                 {"vocab_size", 262272},
                 {"hidden_size", 2048},
                 {"num_hidden_layers", 40},
                 {"num_attention_heads", 8},
                 {"num_key_value_heads", 2},
                 {"head_dim", 128},
                 {"hidden_act", "silu"},
                 {"max_position_embeddings", 131072},
                 {"rms_norm_eps", 1e-5},
                 {"tie_word_embeddings", true},
                 {"moe_intermediate_size", 2048},
                 {"num_experts", 16},
                 {"num_experts_per_tok", 1},
                 {"router_hidden_size", 256},
                 {"cca_time0", 2},
                 {"cca_time1", 2},
                 {"attention_bias", false},
                 {"lm_head_bias", false},
                 {"sliding_window", nullptr},
                 {"pad_token_id", 0},
                 {"bos_token_id", 2},
                 {"eos_token_id", 106},
                 {"dtype", "bfloat16"}};
  config["layer_types"] = std::vector<std::string>(40, "hybrid");
  config["rope_parameters"] = {
      {"rope_type", "default"},  // the stray scalar of published files
      {"hybrid", {{"rope_type", "default"}, {"rope_theta", 5e6}, {"partial_rotary_factor", 0.5}}},
      {"hybrid_sliding", {{"rope_type", "default"}, {"rope_theta", 1e4}, {"partial_rotary_factor", 0.5}}}};
  return config;
}

// The same network in the original keys, as scalars.
json original_8b() {
  return {{"activation_func", "swiglu"},
          {"add_bias_linear", false},
          {"attention_bias", false},
          {"bos_token_id", 2},
          {"cca", true},
          {"dtype", "bfloat16"},
          {"eos_token_id", 106},
          {"ffn_hidden_size", 4096},
          {"gated_linear_unit", true},
          {"hidden_size", 2048},
          {"head_dim", 128},
          {"kv_channels", 128},
          {"lm_head_bias", false},
          {"max_position_embeddings", 131072},
          {"model_type", "zaya"},
          {"moe_router_topk", 1},
          {"norm_epsilon", 1e-5},
          {"normalization", "RMSNorm"},
          {"num_attention_heads", 8},
          {"num_experts", 16},
          {"num_hidden_layers", 80},
          {"num_key_value_heads", 2},
          {"num_query_groups", 2},
          {"pad_token_id", 0},
          {"partial_rotary_factor", 0.5},
          {"residual_in_fp32", true},
          {"rope_scaling", false},
          {"rope_theta", 5000000},
          {"scale_residual_merge", true},
          {"sliding_window", nullptr},
          {"vocab_size", 262272},
          {"zaya_mlp_expansion", 256},
          {"zaya_use_eda", true},
          {"zaya_use_mod", true}};
}

std::vector<int64_t> repeated(int times, std::vector<int64_t> pattern) {
  std::vector<int64_t> list;
  for (int i = 0; i < times; ++i) list.insert(list.end(), pattern.begin(), pattern.end());
  return list;
}

// The per-half-layer lists of the base models.
json original_lists() {
  json config = original_8b();
  for (const char* key : {"num_experts", "head_dim", "num_query_groups", "ffn_hidden_size"}) config.erase(key);
  config["zaya_layers"] = json::array();
  for (int i = 0; i < 40; ++i) {
    config["zaya_layers"].push_back("a");
    config["zaya_layers"].push_back(16);
  }
  config["cca_num_q_heads"] = repeated(40, {8, 0});
  config["num_query_groups_list"] = repeated(40, {2, 0});
  config["ffn_hidden_size_list"] = repeated(60, {0, 4096});  // longer than the network, as published
  config["zaya_mlp_expansion"] = repeated(40, {0, 256});
  config["num_attention_heads"] = 16;
  config["num_hidden_layers"] = 120;  // the list counts
  config["kv_channels"] = nullptr;
  return config;
}

ModelConfig parse(const json& config, std::vector<std::string>* notes = nullptr) {
  auto parsed = parse_config(config.dump(), notes);
  EXPECT_TRUE(parsed.ok()) << parsed.status().to_string();
  return parsed.ok() ? *parsed : ModelConfig();
}

void expect_refused(const json& config, Code code, const std::string& part) {
  const auto parsed = parse_config(config.dump());
  ASSERT_FALSE(parsed.ok()) << part;
  EXPECT_EQ(parsed.status().code(), code) << parsed.status().to_string();
  EXPECT_THAT(parsed.status().message(), HasSubstr(part));
  EXPECT_THAT(parsed.status().message(), HasSubstr("config.json: "));
}

json with(json config, const char* key, json value) {
  config[key] = std::move(value);
  return config;
}
json without(json config, const char* key) {
  config.erase(key);
  return config;
}

TEST(Config, NativeKeys) {
  std::vector<std::string> notes;
  const ModelConfig config = parse(native_8b(), &notes);
  EXPECT_THAT(notes, ElementsAre());
  ModelConfig expected = *shape_named("8b");
  expected.stated_dtype = "bfloat16";
  EXPECT_EQ(config, expected);
  EXPECT_EQ(config.conv_channels(), 1280);
  EXPECT_EQ(config.conv_history(), 2);
  EXPECT_EQ(config.router_classes(), 17);
}

TEST(Config, OriginalScalarsDescribeTheSameNetwork) {
  ModelConfig config = parse(original_8b());
  EXPECT_EQ(config.layout, Layout::original);
  config.layout = Layout::native;
  ModelConfig expected = *shape_named("8b");
  expected.stated_dtype = "bfloat16";
  EXPECT_EQ(config, expected);
}

TEST(Config, OriginalListsDescribeTheSameNetwork) {
  std::vector<std::string> notes;
  const ModelConfig lists = parse(original_lists(), &notes);
  EXPECT_EQ(lists, parse(original_8b()));
  EXPECT_THAT(notes, ::testing::Contains(HasSubstr("num_hidden_layers is 120 but the layer list has 80")));
}

TEST(Config, OriginalWindowsGainTheQuerysOwnPosition) {
  json config = original_8b();
  config["num_hidden_layers"] = 4;
  config["swa_layers"] = {4096, 0, 0, 0};
  config["swa_rotary_base"] = 10000;
  const ModelConfig parsed = parse(config);
  ASSERT_EQ(parsed.num_layers(), 2);
  EXPECT_EQ(parsed.layers[0], (LayerConfig{4097, 1e4, 64}));
  EXPECT_EQ(parsed.layers[1], (LayerConfig{0, 5e6, 64}));
  EXPECT_EQ(parse(with(config, "swa_layers", {4096, 0})).layers, parsed.layers);  // one entry per native layer
  expect_refused(with(config, "swa_layers", {4096, 0, 0}), Code::malformed, "swa_layers must list 4 half-layers");
  expect_refused(with(config, "swa_layers", {-1, 0, 0, 0}), Code::out_of_range, "swa_layers[0] is -1");
  expect_refused(without(config, "swa_rotary_base"), Code::malformed, "swa_rotary_base is missing");
  expect_refused(with(config, "sliding_window", 4096), Code::malformed,
                 "sliding_window is 4096 but swa_layers asks for 4097");
}

TEST(Config, NativeWindows) {
  json config = native_8b();
  config["num_hidden_layers"] = 3;
  config["layer_types"] = {"hybrid_sliding", "hybrid", "hybrid_sliding"};
  expect_refused(config, Code::malformed, "sliding_window is not stated");
  config["sliding_window"] = 4097;
  const ModelConfig parsed = parse(config);
  EXPECT_EQ(parsed.layers[0], (LayerConfig{4097, 1e4, 64}));
  EXPECT_EQ(parsed.layers[1], (LayerConfig{0, 5e6, 64}));
  EXPECT_EQ(parsed.layers[2], parsed.layers[0]);
  expect_refused(with(config, "sliding_window", 0), Code::out_of_range, "sliding_window is 0");
  json lacking = config;
  lacking["rope_parameters"].erase("hybrid_sliding");
  expect_refused(lacking, Code::malformed, "no entry for the hybrid_sliding layers");
  expect_refused(with(config, "layer_types", {"hybrid"}), Code::malformed, "layer_types must list 3 layers");
  expect_refused(with(config, "layer_types", {"hybrid", "mamba", "hybrid"}), Code::unsupported,
                 "layer_types[1] is \"mamba\"");
  expect_refused(with(config, "layer_types", {"hybrid", 1, "hybrid"}), Code::unsupported, "layer_types[1] is 1");
}

TEST(Config, SizesThatAreZeroNegativeAbsurdOrNoIntegers) {
  struct Bound {
    const char* key;
    int64_t highest;
  };
  const std::vector<Bound> native = {{"vocab_size", 1 << 24},
                                     {"hidden_size", 65536},
                                     {"num_hidden_layers", 1024},
                                     {"num_attention_heads", 4096},
                                     {"num_key_value_heads", 4096},
                                     {"head_dim", 1024},
                                     {"num_experts", 4096},
                                     {"num_experts_per_tok", 16},
                                     {"moe_intermediate_size", 262144},
                                     {"router_hidden_size", 65536},
                                     {"cca_time0", 16},
                                     {"cca_time1", 16},
                                     {"max_position_embeddings", 1 << 27}};
  for (const auto& [key, highest] : native) {
    for (const int64_t bad : {int64_t{0}, int64_t{-1}, highest + 1, int64_t{1} << 40, INT64_MIN}) {
      expect_refused(with(native_8b(), key, bad), Code::out_of_range, std::string(key) + " is " + std::to_string(bad));
    }
    expect_refused(with(native_8b(), key, UINT64_MAX), Code::out_of_range,
                   std::string(key) + " is 18446744073709551615");
    for (const json& bad : {json(2.0), json("8"), json(true), json::array({8}), json::object(), json(1e300)}) {
      expect_refused(with(native_8b(), key, bad), Code::malformed, std::string(key) + " must be an integer");
    }
  }
  for (const char* key :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_query_groups", "head_dim",
        "num_experts", "moe_router_topk", "ffn_hidden_size", "zaya_mlp_expansion", "max_position_embeddings"}) {
    expect_refused(with(original_8b(), key, 0), Code::out_of_range, std::string(key) + " is 0");
    expect_refused(with(original_8b(), key, -3), Code::out_of_range, std::string(key) + " is -3");
    expect_refused(with(original_8b(), key, int64_t{1} << 50), Code::out_of_range, key);
    expect_refused(with(original_8b(), key, 1.5), Code::malformed, std::string(key) + " must be an integer");
  }
  for (const char* key : {"rms_norm_eps"}) {
    for (const json& bad : {json(0), json(-1e-5), json(2)}) {
      expect_refused(with(native_8b(), key, bad), Code::out_of_range, key);
    }
    expect_refused(with(native_8b(), key, "1e-5"), Code::malformed, "must be a number");
  }
}

TEST(Config, ManyExpertsInManyLayers) {
  json config = native_8b();
  config["num_hidden_layers"] = 1024;
  config["layer_types"] = nullptr;
  config["num_experts"] = 64;
  parse(config);
  expect_refused(with(config, "num_experts", 65), Code::out_of_range, "1024 layers × 65 experts");
}

TEST(Config, RelationsBetweenSizes) {
  expect_refused(with(native_8b(), "num_attention_heads", 7), Code::malformed, "7 query heads are not a multiple of 2");
  json odd = native_8b();
  odd["num_attention_heads"] = 3;
  odd["num_key_value_heads"] = 1;
  odd["head_dim"] = 7;
  odd["rope_parameters"]["hybrid"]["partial_rotary_factor"] = 0.3;
  expect_refused(odd, Code::malformed, "1 key/value heads × head_dim 7 is odd");
  expect_refused(with(original_8b(), "ffn_hidden_size", 4097), Code::malformed, "ffn_hidden_size is 4097");
  expect_refused(with(original_8b(), "num_hidden_layers", 79), Code::malformed, "79 half-layers");
}

TEST(Config, RequiredKeys) {
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_experts",
                          "moe_intermediate_size"}) {
    expect_refused(without(native_8b(), key), Code::malformed, std::string(key) + " is missing");
    expect_refused(with(native_8b(), key, nullptr), Code::malformed, std::string(key) + " is missing");
  }
  for (const char* key : {"rope_theta", "max_position_embeddings", "num_hidden_layers", "num_experts"}) {
    expect_refused(without(original_8b(), key), Code::malformed, std::string(key) + " is missing");
  }
  json headless = original_8b();
  headless.erase("head_dim");
  headless.erase("kv_channels");
  expect_refused(headless, Code::malformed, "head_dim (or kv_channels) is missing");
  expect_refused(json::object(), Code::malformed, "no key of a ZAYA1 model's");
}

TEST(Config, AssumedValuesAreNoted) {
  json config = native_8b();
  for (const char* key : {"rope_parameters", "eos_token_id", "max_position_embeddings", "rms_norm_eps", "cca_time0"}) {
    config.erase(key);
  }
  std::vector<std::string> notes;
  const ModelConfig parsed = parse(config, &notes);
  EXPECT_EQ(parsed.layers[0], (LayerConfig{0, 5e6, 64}));
  EXPECT_TRUE(parsed.eos_tokens.empty());
  for (const char* part : {"max_position_embeddings is not stated; 131072", "rope_theta is not stated; 5000000",
                           "partial_rotary_factor is not stated; 0.5", "eos_token_id is not stated", "cca_time0"}) {
    EXPECT_THAT(notes, ::testing::Contains(HasSubstr(part)));
  }
}

TEST(Config, RotaryDimensionsAreCutAsPythonDoes) {
  json config = native_8b();
  auto& rope = config["rope_parameters"]["hybrid"];
  const auto dims = [&](int head_dim, double factor) {
    config["head_dim"] = head_dim;
    rope["partial_rotary_factor"] = factor;
    return parse(config).layers[0].rotary_dims;
  };
  EXPECT_EQ(dims(128, 0.5), 64);
  EXPECT_EQ(dims(128, 1), 128);
  EXPECT_EQ(dims(128, 0), 0);
  EXPECT_EQ(dims(10, 0.25), 2);    // 2.5
  EXPECT_EQ(dims(100, 0.29), 28);  // int(100 * 0.29) is 28 in double arithmetic
  rope["partial_rotary_factor"] = 0.25;
  config["head_dim"] = 12;
  expect_refused(config, Code::unsupported, "gives 3 rotary dimensions; an even number is needed");
  rope["partial_rotary_factor"] = 1.5;
  expect_refused(config, Code::out_of_range, "partial_rotary_factor is 1.5");
  rope["partial_rotary_factor"] = -0.5;
  expect_refused(config, Code::out_of_range, "partial_rotary_factor is -0.5");
}

TEST(Config, RopeParameters) {
  json config = native_8b();
  config["rope_parameters"]["hybrid"].erase("partial_rotary_factor");
  EXPECT_EQ(parse(config).layers[0].rotary_dims, 128);  // transformers' value
  EXPECT_EQ(parse(with(config, "partial_rotary_factor", 0.5)).layers[0].rotary_dims, 64);
  config["rope_parameters"]["hybrid"].erase("rope_theta");
  expect_refused(config, Code::malformed, "rope_theta is missing");
  EXPECT_EQ(parse(with(config, "rope_theta", 7e5)).layers[0].rope_theta, 7e5);
  EXPECT_EQ(
      parse(with(config, "rope_parameters", {{"rope_theta", 3e4}, {"rope_type", "default"}})).layers[5].rope_theta,
      3e4);
  expect_refused(with(config, "rope_parameters", 3), Code::malformed, "rope_parameters must be an object");
  config = native_8b();
  config["rope_parameters"]["hybrid"]["rope_type"] = "yarn";
  expect_refused(config, Code::unsupported, "rope_type is \"yarn\"");
  config = native_8b();
  config["rope_parameters"]["hybrid"]["rope_theta"] = 0;
  expect_refused(config, Code::out_of_range, "rope_theta is 0");
  expect_refused(with(original_8b(), "rope_scaling", {{"rope_type", "linear"}, {"factor", 2}}), Code::unsupported,
                 "rope_scaling is an object");
  const json repeated_theta = {{"rope_type", "default"}, {"rope_theta", 5e6}};
  EXPECT_EQ(parse(with(original_8b(), "rope_parameters", repeated_theta)).layers[0].rope_theta, 5e6);
  expect_refused(with(with(original_8b(), "rope_parameters", repeated_theta), "rope_theta", 1e6), Code::malformed,
                 "rope_theta is 1000000.0, but rope_parameters says 5000000.0");
  expect_refused(with(original_8b(), "rope_theta", -1), Code::out_of_range, "rope_theta is -1");
}

TEST(Config, VariantsThatAreNotImplemented) {
  expect_refused(with(native_8b(), "hidden_act", "gelu"), Code::unsupported, "hidden_act is \"gelu\"");
  expect_refused(with(native_8b(), "model_type", "llama"), Code::unsupported, "model_type is \"llama\"");
  expect_refused(with(original_8b(), "activation_func", "relu"), Code::unsupported, "activation_func is \"relu\"");
  for (const char* key : {"cca", "zaya_use_mod", "zaya_use_eda", "scale_residual_merge", "gated_linear_unit"}) {
    expect_refused(with(original_8b(), key, false), Code::unsupported, std::string(key) + " is false");
  }
  for (const char* key : {"add_bias_linear", "clamp_temp"}) {
    expect_refused(with(original_8b(), key, true), Code::unsupported, std::string(key) + " is true");
  }
  expect_refused(with(original_8b(), "cca", 1), Code::malformed, "cca must be true or false");
}

TEST(Config, ListsThatDisagree) {
  expect_refused(with(original_lists(), "cca_num_q_heads", {8, 0, 16, 0}), Code::unsupported, "lists both 8 and 16");
  expect_refused(with(original_lists(), "ffn_hidden_size_list", {0, 0}), Code::malformed, "lists no number above 0");
  expect_refused(with(original_lists(), "ffn_hidden_size_list", json::array()), Code::malformed, "lists no number");
  expect_refused(with(original_lists(), "zaya_layers", {"a", 16, "a", 8}), Code::unsupported, "lists 16 and 8 experts");
  expect_refused(with(original_lists(), "zaya_layers", {16, "a"}), Code::unsupported, "zaya_layers[0] is 16");
  expect_refused(with(original_lists(), "zaya_layers", {"a", "a"}), Code::malformed,
                 "zaya_layers[1] must be an integer");
  expect_refused(with(original_lists(), "zaya_layers", {"a"}), Code::malformed, "1 half-layers");
  expect_refused(with(original_lists(), "zaya_layers", json::array()), Code::malformed, "zaya_layers must list");
  expect_refused(with(original_lists(), "num_experts", 8), Code::malformed,
                 "num_experts is 8 but the layer list has 16");
}

TEST(Config, TokenIds) {
  json config = native_8b();
  config["eos_token_id"] = {1, 106, 1};
  config["bos_token_id"] = nullptr;
  config["pad_token_id"] = -1;
  std::vector<std::string> notes;
  ModelConfig parsed = parse(config, &notes);
  EXPECT_THAT(parsed.eos_tokens, ElementsAre(1, 106));
  EXPECT_FALSE(parsed.bos_token.has_value());
  EXPECT_FALSE(parsed.pad_token.has_value());
  EXPECT_THAT(notes, ElementsAre(HasSubstr("pad_token_id is -1")));
  expect_refused(with(config, "eos_token_id", "106"), Code::malformed, "eos_token_id must be an integer");
  expect_refused(with(config, "eos_token_id", {1, -5}), Code::out_of_range, "eos_token_id is -5");
  expect_refused(with(config, "eos_token_id", std::vector<int>(2000, 1)), Code::out_of_range, "over 1024 ids");

  ASSERT_TRUE(merge_generation_config(R"({"eos_token_id": [106, 107]})", parsed).ok());
  EXPECT_THAT(parsed.eos_tokens, ElementsAre(1, 106, 107));
  ASSERT_TRUE(merge_generation_config(R"({"temperature": 1.0})", parsed).ok());
  EXPECT_FALSE(merge_generation_config(R"({"eos_token_id": 1.5})", parsed).ok());
  EXPECT_FALSE(merge_generation_config("nonsense", parsed).ok());
}

TEST(Config, KeysOfBothLayouts) {
  json both = native_8b();
  both.update(original_8b());
  both["num_hidden_layers"] = 40;
  std::vector<std::string> notes;
  EXPECT_EQ(parse(both, &notes).layout, Layout::native);
  EXPECT_THAT(notes, ::testing::Contains(HasSubstr("keys of both layouts")));
  both.erase("rope_parameters");
  const auto original = parse_config(both.dump(), nullptr, Layout::original);
  ASSERT_TRUE(original.ok()) << original.status().to_string();
  EXPECT_EQ(original->layout, Layout::original);
  EXPECT_EQ(original->num_layers(), 20);
}

TEST(Config, Quantisation) {
  json config = native_8b();
  config["quantization_config"] = {
      {"quant_method", "compressed-tensors"},
      {"format", "float-quantized"},
      {"config_groups", {{"group_0", {{"weights", {{"num_bits", 8}, {"type", "float"}, {"strategy", "channel"}}}}}}}};
  parse(config);
  config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = 4;
  expect_refused(config, Code::unsupported, "not 8 bits");
  config["quantization_config"]["quant_method"] = "gptq";
  expect_refused(config, Code::unsupported, "quant_method \"gptq\"");
  config["quantization_config"] = 3;
  expect_refused(config, Code::unsupported, "quant_method \"\"");
}

TEST(Config, TextThatIsNoConfig) {
  for (const char* text : {"", "{", "[]", "1", "null", "{\"a\":1,\"a\":2}", "\xff", "{\"a\":NaN}"}) {
    const auto parsed = parse_config(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().code(), Code::malformed) << text;
  }
  EXPECT_THAT(parse_config("{\"vocab_size\":1,\"vocab_size\":2}").status().message(), HasSubstr("stands twice"));
  EXPECT_THAT(parse_config("{\"a\":" + std::string(100000, '[')).status().message(), HasSubstr("32 nested levels"));
  EXPECT_EQ(parse_config(std::string(5 << 20, ' ')).status().code(), Code::out_of_range);
}

TEST(Config, WritesWhatItReads) {
  for (const char* name : {"8b", "74b", "tiny"}) {
    const ModelConfig config = *shape_named(name);
    const auto text = native_config_json(config);
    ASSERT_TRUE(text.ok());
    std::vector<std::string> notes;
    const auto parsed = parse_config(*text, &notes);
    ASSERT_TRUE(parsed.ok()) << parsed.status().to_string();
    EXPECT_EQ(*parsed, config);
    EXPECT_THAT(notes, ElementsAre());
  }
  // Every even rotary size survives the way through a factor.
  ModelConfig config = *shape_named("tiny");
  config.layers.resize(1);
  config.eos_tokens = {1, 2};
  for (config.head_dim = 2; config.head_dim <= 130; config.head_dim += 2) {
    for (int64_t dims = 0; dims <= config.head_dim; dims += 2) {
      config.layers[0].rotary_dims = dims;
      ASSERT_EQ(*parse_config(*native_config_json(config)), config) << config.head_dim << " " << dims;
    }
  }
  config.layers = {{0, 1e4, 2}, {0, 1e5, 2}};
  EXPECT_FALSE(native_config_json(config).ok());
}

}  // namespace
}  // namespace zaya::checkpoint
