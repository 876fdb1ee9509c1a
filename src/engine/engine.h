// Runs requests on a model: each step takes the new tokens of many sequences (a chunk of a prompt here, one token of an
// answer there) through one forward pass. docs/engine.md tells the whole story.
//
// A request waits in the queue, then runs: first its prompt goes through, in chunks, starting behind what the prefix
// tree has of it; then one token per step. When memory runs short the cache shrinks, and when that does not suffice the
// youngest request gives its memory up and queues again, with everything it has said so far; its tokens stay the same.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/generation.h"
#include "engine/prefix_tree.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace zaya::engine {

struct EngineOptions {
  // Prompt tokens in one step. A chunk is what a cancel waits for, and what one step's activations must hold.
  int64_t prefill_chunk = 512;
  // Beside answers in progress the chunk shrinks, as measured speed asks, so that a step takes about this long; it
  // never gets smaller than kSmallestChunk.
  double mixed_step_seconds = 0.25;
  int64_t max_running = 64;  // requests that share steps; the others queue

  int64_t memory_bytes = 0;  // for keys, values, states and the prefix cache; 0 = found from what is available
  bool prefix_cache = true;
};

inline constexpr int64_t kSmallestChunk = 32;

struct EngineStats {
  int64_t queued = 0, running = 0;
  int64_t preempted = 0;
  int64_t prompt_tokens = 0, cached_prompt_tokens = 0;  // of requests that got a place
  int64_t steps = 0, computed_tokens = 0;
  int64_t evicted_nodes = 0;
  int64_t batch_tokens_last = 0, batch_runs_last = 0;
  int64_t memory_limit = 0, memory_used = 0, cache_bytes = 0, cache_nodes = 0;
};

class Engine {
 public:
  // The options are valid ones: those of configure().
  Engine(std::unique_ptr<model::Model> model, text::Tokenizer tokenizer, const EngineOptions& options = {});

  const model::Model& model() const { return *model_; }
  const text::Tokenizer& tokenizer() const { return tokenizer_; }
  const EngineOptions& options() const { return options_; }

  // Changes the options of an idle engine; the prefix cache is emptied. invalid_argument: options that make no sense, a
  // budget that holds no request.
  Status configure(const EngineOptions& options);

  // Ids that the tokenizer has and the model can score; rows of a padded embedding beyond them are never sampled.
  int64_t vocabulary() const { return vocabulary_; }

  // Tokens that a request can have, prompt and answer: the model's context, or what the memory budget holds.
  int64_t capacity() const { return capacity_; }

  // Queues a request. Errors: invalid_argument (empty prompt, sampling fields), out_of_range (unknown token, prompt
  // longer than the context), resource_exhausted (prompt larger than the memory budget). The sink is called from
  // step(), on its thread, once per new token.
  Result<std::shared_ptr<Generation>> submit(Request request, EventSink sink = {});

  // The two halves of submit(): the checks, which any thread may do at any time, and the queueing.
  Result<std::shared_ptr<Generation>> prepare(Request request, EventSink sink = {}) const;
  void enqueue(std::shared_ptr<Generation> generation);

  // One forward pass over as many unfinished requests as fit, then one token for each whose prompt is through. Requests
  // that fail end with Finish::failed; the others go on.
  void step();

  bool idle() const { return waiting_.empty() && running_.empty(); }

  // Submits one request and steps until it is done (other requests make progress meanwhile).
  Result<Outcome> generate(Request request, EventSink sink = {});

  EngineStats stats() const;

  // The prefix cache in a file (prefix_file.h), for an idle engine. Loading adds nothing to a cache that is in use; on
  // failure there is no cache, and the status says why.
  Status save_cache(const std::filesystem::path& path) const;
  Status load_cache(const std::filesystem::path& path);

 private:
  // A request, waiting or running.
  struct Work {
    std::shared_ptr<Generation> generation;
    int64_t arrival = 0;                // order of submission
    std::vector<text::TokenId> tokens;  // the prompt and what was said so far

    // Running, and not waiting for another one's prefix any more: what the model has seen of the tokens.
    std::optional<model::SequenceState> sequence;
    PrefixTree::Node* node = nullptr;  // of the sequence's full pages, while all of them are in the tree
    int64_t shared_pages = 0;          // before it has a sequence: those that others who run will give it

    int64_t passed_over = 0, last_served = 0;  // as in PrefillClaim
    int64_t memory_failures = 0;
    bool counted = false;                               // in the statistics of prompts
    double submitted = 0, placed = 0, first_token = 0;  // seconds on the steady clock; 0 = not yet

    int64_t length() const { return static_cast<int64_t>(tokens.size()); }
    int64_t unseen() const { return length() - sequence->length(); }
    bool in_prefill() const { return sequence.has_value() && unseen() > 1; }
  };
  using Works = std::list<Work>;

  // One request's part of a step.
  struct Part {
    Works::iterator work;
    int64_t count = 0;  // tokens
    std::vector<model::Capture> captures;
  };
  using Parts = std::vector<Part>;

  // engine.cc
  void drop_cancelled();
  void admit();
  void start_ready();
  bool must_wait_for_prefix(const Work& work) const;
  int64_t prefill_budget(bool beside_decode) const;
  Parts plan();
  Status forward(Parts& parts);
  void sample(Work& work, std::span<const float> logits);

  // engine_memory.cc
  int64_t memory_used() const;
  int64_t in_use_bytes() const;  // of requests; the rest is the cache's and can go
  int64_t need_of(const Part& part) const;
  int64_t need_until_answer(const Work& work) const;
  bool make_room(int64_t bytes);
  void fit_into_memory(Parts& parts);
  void preempt(Works::iterator work);
  void forward_failed(Parts& parts, const Status& status);

  void resume_from_cache(Work& work);
  void plan_captures(Part& part) const;
  void store_captures(Part& part);
  void store(Work& work, int64_t length, model::Snapshot&& snapshot);
  void release(Works::iterator work);

  std::unique_ptr<model::Model> model_;
  text::Tokenizer tokenizer_;
  EngineOptions options_;
  int64_t vocabulary_;
  int64_t memory_limit_ = 0;
  int64_t capacity_ = 0;

  PrefixTree tree_;
  Works waiting_, running_;  // both by arrival
  std::vector<float> logits_;
  int64_t arrivals_ = 0;
  double seconds_per_token_ = 0;  // of late, in steps with prompts; 0 = not measured
  EngineStats stats_;
};

}  // namespace zaya::engine
