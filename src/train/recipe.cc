#include "train/recipe.h"

#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "base/file.h"

namespace zaya::train {
namespace {

// Reads the keys of one table. The first mistake is kept; finish() also reports keys that nobody read.
class Reader {
 public:
  Reader(const toml::table& table, std::string name, Status& status)
      : table_(table), name_(std::move(name)), status_(status) {}

  void number(const char* key, int64_t& value, int64_t low, int64_t high) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto given = node->value_exact<int64_t>();
    if (!given || *given < low || *given > high) {
      return fail(key, fmt::format("must be a whole number from {} to {}", low, high));
    }
    value = *given;
  }

  void number(const char* key, int& value, int low, int high) {
    int64_t wide = value;
    number(key, wide, int64_t{low}, int64_t{high});
    value = static_cast<int>(wide);
  }

  void number(const char* key, double& value, double low, double high) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto given = node->value<double>();
    if (!given || node->is_boolean() || !(*given >= low && *given <= high)) {
      return fail(key, fmt::format("must be a number from {} to {}", low, high));
    }
    value = *given;
  }

  void flag(const char* key, bool& value) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto given = node->value_exact<bool>();
    if (!given) return fail(key, "must be true or false");
    value = *given;
  }

  void text(const char* key, std::string& value) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto given = node->value_exact<std::string>();
    if (!given) return fail(key, "must be a string");
    value = *given;
  }

  // One of several words; the index of the one given.
  template <class Enum>
  void choice(const char* key, Enum& value, std::initializer_list<const char*> words) {
    std::string given;
    text(key, given);
    if (given.empty()) return;
    int index = 0;
    for (const char* word : words) {
      if (given == word) {
        value = static_cast<Enum>(index);
        return;
      }
      ++index;
    }
    fail(key, fmt::format("is none of: {}", fmt::join(words, ", ")));
  }

  const toml::node* find(const char* key) {
    known_.insert(key);
    return table_.get(key);
  }

  void fail(std::string_view key, const std::string& what) {
    if (status_.ok()) status_ = Status(Code::invalid_argument, fmt::format("recipe: {}.{} {}", name_, key, what));
  }

  void finish() {
    for (const auto& [key, node] : table_) {
      if (!known_.contains(std::string(key.str()))) fail(key.str(), "is no key that recipes have");
    }
  }

  const std::string& name() const { return name_; }

 private:
  const toml::table& table_;
  std::string name_;
  Status& status_;
  std::set<std::string> known_;
};

const toml::table& table_at(const toml::table& root, const char* key) {
  static const toml::table none;
  const toml::table* found = root.get_as<toml::table>(key);
  return found == nullptr ? none : *found;
}

void read_model(Reader& reader, const std::filesystem::path& base, Recipe& recipe) {
  checkpoint::ModelConfig& config = recipe.architecture.model;
  using Limits = checkpoint::ConfigLimits;
  int64_t layers = 6;
  checkpoint::LayerConfig layer{.sliding_window = 0, .rope_theta = 1e4, .rotary_dims = 0};
  double rotary = 0.5;
  config.hidden_size = 128;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.num_experts = 4;
  config.expert_width = 256;
  config.router_width = 32;
  config.max_positions = 2048;
  std::string start, tokenizer;
  reader.text("start", start);
  reader.text("tokenizer", tokenizer);
  reader.number("hidden", config.hidden_size, 1, Limits::hidden_size);
  reader.number("layers", layers, 1, Limits::layers);
  reader.number("heads", config.num_heads, 1, Limits::heads);
  reader.number("kv_heads", config.num_kv_heads, 1, Limits::heads);
  reader.number("head_dim", config.head_dim, 2, Limits::head_dim);
  reader.number("experts", config.num_experts, 1, Limits::experts);
  reader.number("experts_per_token", config.experts_per_token, 1, config.num_experts);
  reader.number("expert_width", config.expert_width, 1, Limits::expert_width);
  reader.number("router_width", config.router_width, 1, Limits::router_width);
  reader.number("positions", config.max_positions, 1, Limits::positions);
  reader.number("rope_theta", layer.rope_theta, 1, 1e12);
  reader.number("rotary", rotary, 0, 1);
  reader.number("embedding_deviation", recipe.embedding_deviation, 0, 10);
  reader.choice("attention", recipe.architecture.attention, {"cca", "gqa"});
  reader.choice("router", recipe.architecture.router, {"mlp", "linear"});
  reader.flag("residual_scaling", recipe.architecture.residual_scaling);
  layer.rotary_dims = static_cast<int64_t>(static_cast<double>(config.head_dim) * rotary);
  if (layer.rotary_dims % 2 != 0) reader.fail("rotary", "must make an even number of dimensions rotate");
  if (config.num_heads % config.num_kv_heads != 0) reader.fail("heads", "must be a multiple of kv_heads");
  if (config.kv_width() % 2 != 0) reader.fail("head_dim", "times kv_heads must be even");
  config.layers.assign(static_cast<size_t>(layers), layer);
  if (!start.empty()) recipe.start = base / start;
  if (tokenizer.empty()) reader.fail("tokenizer", "is missing: a folder with tokenizer.json and a chat template");
  recipe.tokenizer = base / tokenizer;
  reader.finish();
}

void read_run(Reader& reader, const std::filesystem::path& base, Recipe& recipe) {
  std::string out;
  auto seed = static_cast<int64_t>(recipe.seed);
  reader.text("out", out);
  reader.number("seed", seed, 0, int64_t{1} << 53);
  reader.number("context", recipe.context, 2, checkpoint::ConfigLimits::positions);
  reader.number("log_every", recipe.log_every, 1, 1'000'000);
  reader.number("save_every", recipe.save_every, 1, 1'000'000'000);
  reader.flag("bf16", recipe.bf16);
  reader.flag("fused", recipe.fused);
  reader.flag("checkpoint_layers", recipe.checkpoint_layers);
  reader.number("threads", recipe.threads, 0, 4096);
  if (out.empty()) reader.fail("out", "is missing: the folder that the run writes to");
  recipe.out = base / out;
  recipe.seed = static_cast<uint64_t>(seed);
  reader.finish();
}

void read_optimizer(Reader& reader, OptimizerRecipe& optimizer) {
  reader.number("muon_rate", optimizer.muon_rate, 0, 10);
  reader.number("adam_rate", optimizer.adam_rate, 0, 10);
  reader.number("balance_rate", optimizer.balance_rate, 0, 1);
  reader.number("muon_momentum", optimizer.muon_momentum, 0, 0.9999);
  reader.number("muon_decay", optimizer.muon_decay, 0, 10);
  reader.number("adam_beta1", optimizer.adam_beta1, 0, 0.9999);
  reader.number("adam_beta2", optimizer.adam_beta2, 0, 0.999999);
  reader.number("adam_decay", optimizer.adam_decay, 0, 10);
  reader.number("clip", optimizer.clip, 0, 1e6);
  reader.number("final_rate", optimizer.final_rate, 0, 1);
  reader.number("warmup", optimizer.warmup, 0, 1'000'000'000);
}

SourceRecipe read_source(Reader& reader, const toml::table& table, const std::filesystem::path& base) {
  SourceRecipe source;
  std::string path;
  reader.choice("kind", source.kind, {"gym", "jsonl"});
  reader.choice("form", source.form, {"text", "chat"});
  reader.number("weight", source.weight, 0, 1e9);
  reader.flag("think", source.think);
  reader.text("path", path);
  source.path = base / path;
  if (source.kind == SourceRecipe::Kind::jsonl && path.empty()) reader.fail("path", "is missing");
  if (const toml::node* node = reader.find("difficulty")) {
    const toml::array* range = node->as_array();
    const auto low = range != nullptr && range->size() == 2 ? (*range)[0].value_exact<int64_t>() : std::nullopt;
    const auto high = range != nullptr && range->size() == 2 ? (*range)[1].value_exact<int64_t>() : std::nullopt;
    if (!low || !high || *low < 0 || *high < *low || *high > 1'000'000) {
      reader.fail("difficulty", "must be [lowest, highest]");
    } else {
      source.lowest = static_cast<int>(*low);
      source.highest = static_cast<int>(*high);
    }
  }
  if (reader.find("environments") != nullptr) {
    const toml::table* weights = table.get_as<toml::table>("environments");
    if (weights == nullptr) reader.fail("environments", "must be a table of weights");
    for (const auto& [key, node] : weights != nullptr ? *weights : toml::table()) {
      const auto weight = node.value<double>();
      if (!weight || !(*weight >= 0 && *weight <= 1e9)) {
        reader.fail("environments", "must be a table of weights");
      } else {
        source.environments[std::string(key.str())] = *weight;
      }
    }
  }
  reader.finish();
  return source;
}

Stage read_stage(const toml::table& table, size_t index, const std::filesystem::path& base, Status& status) {
  Reader reader(table, fmt::format("stage[{}]", index), status);
  Stage stage;
  stage.name = fmt::format("stage{}", index + 1);
  int64_t tokens = 0;
  reader.text("name", stage.name);
  reader.number("tokens", tokens, 1, int64_t{1} << 50);
  reader.number("steps", stage.steps, 1, int64_t{1} << 40);
  reader.number("batch_tokens", stage.batch_tokens, 2, int64_t{1} << 30);
  reader.number("accumulate", stage.accumulate, 1, 1 << 20);
  reader.flag("loss_on_all", stage.loss_on_all);
  read_optimizer(reader, stage.optimizer);
  if ((tokens == 0) == (stage.steps == 0)) reader.fail("tokens", "or steps must be given, and not both");
  if (stage.steps == 0) stage.steps = std::max<int64_t>(1, tokens / (stage.batch_tokens * stage.accumulate));
  reader.find("source");
  const toml::array* sources = table.get_as<toml::array>("source");
  if (sources == nullptr || sources->empty()) reader.fail("source", "is missing: [[stage.source]]");
  for (size_t i = 0; sources != nullptr && i < sources->size(); ++i) {
    const toml::table* source = (*sources)[i].as_table();
    if (source == nullptr) {
      reader.fail("source", "must be tables: [[stage.source]]");
      break;
    }
    Reader inner(*source, fmt::format("{}.source[{}]", reader.name(), i), status);
    stage.sources.push_back(read_source(inner, *source, base));
  }
  reader.finish();
  return stage;
}

// "run.seed=2" into the table; an array's element is named by its number: "stage.0.steps=10".
Status apply_override(toml::table& root, const std::string& assignment) {
  const auto misuse = [&](const std::string& what) {
    return Status(Code::invalid_argument, fmt::format("--set {}: {}", assignment, what), "as in --set run.seed=2");
  };
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) return misuse("no value");
  toml::parse_result parsed = toml::parse(fmt::format("value = {}", assignment.substr(equals + 1)));
  if (!parsed) parsed = toml::parse(fmt::format("value = \"{}\"", assignment.substr(equals + 1)));
  if (!parsed) return misuse("not a TOML value");
  const std::string keys = assignment.substr(0, equals);
  toml::node* at = &root;
  size_t begin = 0;
  while (true) {
    const size_t dot = keys.find('.', begin);
    const std::string key = keys.substr(begin, dot == std::string::npos ? dot : dot - begin);
    if (toml::array* array = at->as_array()) {
      const bool number = !key.empty() && key.size() < 6 && key.find_first_not_of("0123456789") == std::string::npos;
      const size_t index = number ? static_cast<size_t>(std::stoul(key)) : array->size();
      if (index >= array->size() || dot == std::string::npos) return misuse("no such element");
      at = array->get(index);
    } else if (toml::table* table = at->as_table()) {
      if (dot == std::string::npos) {
        const toml::table& given = parsed.table();
        given.get("value")->visit([&](const auto& node) { table->insert_or_assign(key, node); });
        return Status();
      }
      if (!table->contains(key)) table->insert(key, toml::table());
      at = table->get(key);
    } else {
      return misuse("no table of that name");
    }
    begin = dot + 1;
  }
}

}  // namespace

int64_t Recipe::total_steps() const {
  int64_t total = 0;
  for (const Stage& stage : stages) total += stage.steps;
  return total;
}

Result<Recipe> parse_recipe(std::string_view toml, const std::filesystem::path& base,
                            const std::vector<std::string>& overrides) {
  toml::parse_result parsed = toml::parse(toml);
  if (!parsed) {
    return Status(Code::malformed, fmt::format("recipe, line {}: {}", parsed.error().source().begin.line,
                                               std::string(parsed.error().description())));
  }
  toml::table root = std::move(parsed).table();
  for (const std::string& assignment : overrides) ZAYA_RETURN_IF_ERROR(apply_override(root, assignment));

  Recipe recipe;
  Status status;
  Reader top(root, "recipe", status);
  for (const char* key : {"model", "run", "stage"}) top.find(key);
  top.finish();
  Reader model(table_at(root, "model"), "model", status);
  read_model(model, base, recipe);
  Reader run(table_at(root, "run"), "run", status);
  read_run(run, base, recipe);
  const toml::array* stages = root.get_as<toml::array>("stage");
  if (stages == nullptr || stages->empty()) top.fail("stage", "is missing: [[stage]]");
  for (size_t i = 0; stages != nullptr && i < stages->size(); ++i) {
    const toml::table* stage = (*stages)[i].as_table();
    if (stage == nullptr) {
      top.fail("stage", "must be tables: [[stage]]");
      break;
    }
    recipe.stages.push_back(read_stage(*stage, i, base, status));
    if (recipe.stages.back().batch_tokens < recipe.context) {
      top.fail("stage", "has batch_tokens below run.context, so that an example might fit in no batch");
    }
  }
  if (!status.ok()) return status;
  return recipe;
}

Result<Recipe> load_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  ZAYA_ASSIGN(const std::string text, read_file(path, size_t{1} << 20));
  return parse_recipe(text, path.parent_path(), overrides);
}

double rate_factor(int64_t step, int64_t steps, const OptimizerRecipe& recipe) {
  if (step < recipe.warmup) return static_cast<double>(step + 1) / static_cast<double>(recipe.warmup);
  const double x =
      static_cast<double>(step - recipe.warmup) / static_cast<double>(std::max<int64_t>(1, steps - recipe.warmup));
  return recipe.final_rate + (1 - recipe.final_rate) * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, x)));
}

}  // namespace zaya::train
