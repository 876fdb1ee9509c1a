#include "train/data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "gym/gym.h"
#include "gym/rng.h"
#include "train/packing.h"

namespace zaya::train {
namespace {

// A pool fills about this many batches: enough for packing to waste little, few enough that examples stay fresh.
constexpr int64_t kBatchesPerPool = 16;
constexpr int64_t kExamplesPerDraw = 64;
constexpr size_t kLongestLine = size_t{16} << 20;

// Draws examples by number: the same number gives the same example, in any order.
class Source {
 public:
  virtual ~Source() = default;
  virtual Result<std::optional<Example>> draw(int64_t number) const = 0;
};

class GymSource : public Source {
 public:
  static Result<std::unique_ptr<Source>> make(const SourceRecipe& recipe, const Encoder& encoder, uint64_t seed,
                                              std::vector<std::string>& kinds) {
    auto source = std::make_unique<GymSource>(recipe, encoder, seed);
    double total = 0;
    const auto add = [&](const gym::Environment& environment, double weight) {
      const std::string name(environment.name());
      auto kind = std::find(kinds.begin(), kinds.end(), name);
      if (kind == kinds.end()) kind = kinds.insert(kinds.end(), name);
      total += weight;
      source->choices_.push_back({&environment, total, static_cast<int32_t>(kind - kinds.begin())});
    };
    for (const auto& [name, weight] : recipe.environments) {
      const gym::Environment* environment = gym::find_environment(name);
      if (environment == nullptr) {
        return Status(Code::invalid_argument, fmt::format("the gym has no environment \"{}\"", name),
                      "zaya gym list names them");
      }
      add(*environment, weight);
    }
    if (recipe.environments.empty()) {
      for (const gym::Environment* environment : gym::environments()) add(*environment, 1);
    }
    if (!(total > 0)) return Status(Code::invalid_argument, "the weights of the environments add up to nothing");
    return std::unique_ptr<Source>(std::move(source));
  }

  GymSource(const SourceRecipe& recipe, const Encoder& encoder, uint64_t seed)
      : recipe_(recipe), encoder_(encoder), seed_(seed) {}

  Result<std::optional<Example>> draw(int64_t number) const override {
    gym::Rng rng(seed_ ^ gym::mix64(static_cast<uint64_t>(number) + 1));
    const double at = static_cast<double>(rng.next() >> 11) * 0x1p-53 * choices_.back().up_to;
    const auto choice =
        std::find_if(choices_.begin(), choices_.end() - 1, [&](const Choice& c) { return at < c.up_to; });
    const int highest = std::min(recipe_.highest, choice->environment->max_useful_difficulty());
    const int difficulty = rng.small(std::min(recipe_.lowest, highest), highest);
    const gym::Problem problem = gym::make_problem(*choice->environment, gym::Split::train, rng.next(), difficulty);
    std::optional<Example> example;
    if (recipe_.form == SourceRecipe::Form::text) {
      const std::string gap = problem.trace.empty() ? "" : problem.trace + "\n";
      example = encoder_.text(fmt::format("{}\n{}\\boxed{{{}}}", problem.prompt, gap, problem.answer));
    } else {
      const std::string answer =
          recipe_.think ? gym::assistant_text(problem) : fmt::format("\\boxed{{{}}}", problem.answer);
      const text::Json messages = {{{"role", "user"}, {"content", problem.prompt}},
                                   {{"role", "assistant"}, {"content", answer}}};
      ZAYA_ASSIGN(example, encoder_.chat(messages));
    }
    if (example) example->kind = choice->kind;
    return example;
  }

 private:
  struct Choice {
    const gym::Environment* environment;
    double up_to;  // the sum of the weights up to this one
    int32_t kind;
  };
  const SourceRecipe& recipe_;
  const Encoder& encoder_;
  uint64_t seed_;
  std::vector<Choice> choices_;
};

// Conversations of a file, one a line, in a new order each time around.
class LinesSource : public Source {
 public:
  static Result<std::unique_ptr<Source>> make(const SourceRecipe& recipe, const Encoder& encoder, uint64_t seed,
                                              std::vector<std::string>& kinds) {
    auto source = std::make_unique<LinesSource>(encoder, seed, static_cast<int32_t>(kinds.size()));
    kinds.push_back(recipe.path.stem().string());
    std::ifstream file(recipe.path);
    if (!file) return Status(Code::not_found, fmt::format("cannot read {}", recipe.path.string()));
    size_t number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const auto wrong = [&](const std::string& what) {
        return Status(Code::malformed, fmt::format("{}:{}: {}", recipe.path.string(), number, what),
                      "{\"messages\": [{\"role\": …, \"content\": …}, …]}");
      };
      if (line.size() > kLongestLine) return wrong("the line is too long");
      text::Json json = text::Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!json.is_object() || !json.contains("messages")) return wrong("not an object with messages");
      if (json.contains("loss") && json["loss"] != "last assistant" && json["loss"] != "all") {
        return wrong("loss is neither \"last assistant\" nor \"all\"");
      }
      const auto encoded = encoder.chat(json["messages"]);
      if (!encoded.ok()) return wrong(encoded.status().message());
      if (!*encoded) {
        ++source->too_long_;
        continue;
      }
      Example example = **encoded;
      example.kind = source->kind_;
      if (json.contains("loss") && json["loss"] == "all") {
        std::fill(example.loss.begin() + 1, example.loss.end(), uint8_t{1});
      }
      source->examples_.push_back(std::move(example));
    }
    if (source->examples_.empty()) {
      return Status(Code::invalid_argument, fmt::format("{} holds no example that fits", recipe.path.string()));
    }
    return std::unique_ptr<Source>(std::move(source));
  }

  LinesSource(const Encoder& encoder, uint64_t seed, int32_t kind) : encoder_(encoder), seed_(seed), kind_(kind) {}

  Result<std::optional<Example>> draw(int64_t number) const override {
    const auto count = static_cast<int64_t>(examples_.size());
    const int64_t epoch = number / count;
    if (epoch != epoch_ || order_.empty()) {
      order_.resize(examples_.size());
      std::iota(order_.begin(), order_.end(), size_t{0});
      gym::Rng rng(seed_ ^ gym::mix64(static_cast<uint64_t>(epoch) + 1));
      for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng.below(i)]);
      epoch_ = epoch;
    }
    return std::optional<Example>(examples_[order_[static_cast<size_t>(number % count)]]);
  }

 private:
  const Encoder& encoder_;
  uint64_t seed_;
  int32_t kind_;
  int64_t too_long_ = 0;
  std::vector<Example> examples_;
  mutable int64_t epoch_ = -1;
  mutable std::vector<size_t> order_;
};

class Stream : public DataStream {
 public:
  Stream(const Stage& stage, uint64_t seed, Encoder encoder)
      : stage_(stage), seed_(seed), encoder_(std::move(encoder)) {}

  Status add_sources() {
    for (size_t i = 0; i < stage_.sources.size(); ++i) {
      const SourceRecipe& recipe = stage_.sources[i];
      const uint64_t seed = gym::mix64(seed_ + i * 0x9e3779b97f4a7c15u + 1);
      const auto make = recipe.kind == SourceRecipe::Kind::gym ? GymSource::make : LinesSource::make;
      ZAYA_ASSIGN(std::unique_ptr<Source> source, make(recipe, encoder_, seed, kinds_));
      sources_.push_back(std::move(source));
    }
    position_.drawn.assign(sources_.size(), 0);
    return Status();
  }

  Result<ExampleBatch> next() override {
    if (!filled_) ZAYA_RETURN_IF_ERROR(fill());
    if (position_.batch >= static_cast<int64_t>(batches_.size())) {
      ++position_.pool;
      position_.batch = 0;
      position_.drawn = drawn_;
      ZAYA_RETURN_IF_ERROR(fill());
    }
    ExampleBatch batch;
    for (const size_t index : batches_[static_cast<size_t>(position_.batch)]) batch.push_back(pool_[index]);
    ++position_.batch;
    return batch;
  }

  const DataPosition& position() const override { return position_; }

  Status seek(const DataPosition& position) override {
    if (position.drawn.size() != sources_.size() || position.pool < 0 || position.batch < 0) {
      return Status(Code::invalid_argument, "the position belongs to a stage with other sources");
    }
    position_ = position;
    filled_ = false;
    return Status();
  }

  const std::vector<std::string>& kinds() const override { return kinds_; }
  int64_t dropped() const override { return dropped_; }

 private:
  // Draws pool number position_.pool and packs it.
  Status fill() {
    pool_.clear();
    drawn_ = position_.drawn;
    int64_t tokens = 0, refused = 0;
    const int64_t wanted = stage_.batch_tokens * kBatchesPerPool;
    while (tokens < wanted) {
      for (int64_t i = 0; i < kExamplesPerDraw; ++i) {
        const size_t s = most_behind();
        ZAYA_ASSIGN(std::optional<Example> example, sources_[s]->draw(drawn_[s]++));
        if (!example) {
          ++dropped_;
          if (++refused > 100'000) return Status(Code::invalid_argument, "hardly any example fits run.context");
          continue;
        }
        tokens += static_cast<int64_t>(example->tokens.size());
        pool_.push_back(*std::move(example));
      }
    }
    std::vector<int64_t> lengths;
    for (const Example& example : pool_) lengths.push_back(static_cast<int64_t>(example.tokens.size()));
    batches_ = pack(lengths, stage_.batch_tokens);
    gym::Rng rng(gym::mix64(seed_ ^ gym::mix64(static_cast<uint64_t>(position_.pool) + 7)));
    for (size_t i = batches_.size(); i > 1; --i) std::swap(batches_[i - 1], batches_[rng.below(i)]);
    filled_ = true;
    return Status();
  }

  // The source that has given least for its weight.
  size_t most_behind() const {
    size_t best = 0;
    double least = INFINITY;
    for (size_t s = 0; s < sources_.size(); ++s) {
      const double weight = stage_.sources[s].weight;
      if (!(weight > 0)) continue;
      const double given = static_cast<double>(drawn_[s] + 1) / weight;
      if (given < least) {
        least = given;
        best = s;
      }
    }
    return best;
  }

  const Stage& stage_;
  uint64_t seed_;
  Encoder encoder_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<std::string> kinds_;
  DataPosition position_;
  bool filled_ = false;
  std::vector<int64_t> drawn_;  // as position_.drawn will be after this pool
  std::vector<Example> pool_;
  std::vector<std::vector<size_t>> batches_;
  int64_t dropped_ = 0;
};

}  // namespace

Result<std::unique_ptr<DataStream>> DataStream::open(const Stage& stage, const Recipe& recipe, uint64_t seed) {
  ZAYA_ASSIGN(Encoder encoder, Encoder::load(recipe.tokenizer, recipe.context, stage.loss_on_all));
  auto stream = std::make_unique<Stream>(stage, seed, std::move(encoder));
  ZAYA_RETURN_IF_ERROR(stream->add_sources());
  return std::unique_ptr<DataStream>(std::move(stream));
}

}  // namespace zaya::train
