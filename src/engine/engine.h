// Runs requests on a model: each step takes the new tokens of every sequence at hand (a chunk of a prompt here, one
// token of an answer there) through one forward pass.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "base/status.h"
#include "engine/generation.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace zaya::engine {

struct EngineOptions {
  // Prompt tokens in one step. A chunk is what a cancel waits for, and what one step's activations must hold.
  int64_t prefill_chunk = 512;
  int64_t max_running = 64;  // requests that share steps; the others queue

  int64_t memory_bytes = 0;  // for keys, values, states and the prefix cache; 0 = found from what is available
  bool prefix_cache = true;
};

class Engine {
 public:
  Engine(std::unique_ptr<model::Model> model, text::Tokenizer tokenizer, EngineOptions options = {});

  const model::Model& model() const { return *model_; }
  const text::Tokenizer& tokenizer() const { return tokenizer_; }

  // Ids that the tokenizer has and the model can score; rows of a padded embedding beyond them are never sampled.
  int64_t vocabulary() const { return vocabulary_; }

  // Queues a request. Errors: invalid_argument (empty prompt, sampling fields), out_of_range (unknown token, prompt
  // longer than the context). The sink is called from step(), on its thread, once per new token.
  Result<std::shared_ptr<Generation>> submit(Request request, EventSink sink = {});

  // The two halves of submit(): the checks, which any thread may do at any time, and the queueing.
  Result<std::shared_ptr<Generation>> prepare(Request request, EventSink sink = {}) const;
  void enqueue(std::shared_ptr<Generation> generation);

  // One forward pass over all unfinished requests, then one token for each whose prompt is through. Requests that fail
  // end with Finish::failed; the others go on.
  void step();

  bool idle() const { return active_.empty(); }

  // Submits one request and steps until it is done (other requests make progress meanwhile).
  Result<Outcome> generate(Request request, EventSink sink = {});

 private:
  struct Active {
    std::shared_ptr<Generation> generation;
    model::SequenceState sequence;
    std::vector<text::TokenId> pending;   // tokens the model has not seen yet
    double started = 0, first_token = 0;  // seconds on the steady clock
  };

  // The next tokens of each active request, at most prefill_chunk prompt tokens in all.
  std::vector<model::TokenRun> plan(std::vector<Active*>& chosen);
  void fail_all(const std::vector<Active*>& chosen, const Status& status);

  std::unique_ptr<model::Model> model_;
  text::Tokenizer tokenizer_;
  EngineOptions options_;
  int64_t vocabulary_;
  std::list<Active> active_;
  std::vector<float> logits_;
};

}  // namespace zaya::engine
