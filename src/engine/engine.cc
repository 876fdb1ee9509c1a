#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>

#include "engine/memory.h"
#include "engine/prefill_share.h"

namespace zaya::engine {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int64_t common_prefix(std::span<const text::TokenId> a, std::span<const text::TokenId> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

Engine::Engine(std::unique_ptr<model::Model> model, text::Tokenizer tokenizer, const EngineOptions& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      vocabulary_(std::min<int64_t>(tokenizer_.size(), model_->config().vocab_size)) {
  const Status status = configure(options);
  assert(status.ok());
  (void)status;
}

Status Engine::configure(const EngineOptions& options) {
  if (!idle()) return Status(Code::invalid_argument, "the engine has requests; its options cannot change now");
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    return value >= least ? Status()
                          : Status(Code::invalid_argument, fmt::format("{} is {}; at least {}", name, value, least));
  };
  ZAYA_RETURN_IF_ERROR(at_least("prefill_chunk", options.prefill_chunk, 1));
  ZAYA_RETURN_IF_ERROR(at_least("max_running", options.max_running, 1));
  ZAYA_RETURN_IF_ERROR(at_least("memory_bytes", options.memory_bytes, 0));

  // A request alone needs its pages, one more while it copies a shared one, its state, and that of a capture or two.
  const int64_t page = model_->page_bytes(), reserve = page + 3 * model_->state_shape().snapshot_bytes();
  if (options.memory_bytes != 0 && options.memory_bytes < reserve + page) {
    return Status(Code::invalid_argument,
                  fmt::format("{} bytes hold no request: {} tokens of this model take {} bytes", options.memory_bytes,
                              ops::kPageTokens, reserve + page),
                  "give the engine more memory");
  }
  options_ = options;
  memory_limit_ =
      options.memory_bytes != 0 ? options.memory_bytes : std::max(automatic_budget(*model_), reserve + page);
  capacity_ = std::min(model_->config().max_positions, (memory_limit_ - reserve) / page * ops::kPageTokens);
  tree_.clear();
  return Status();
}

Result<std::shared_ptr<Generation>> Engine::prepare(Request request, EventSink sink) const {
  if (request.prompt.empty())
    return Status(Code::invalid_argument, "the prompt is empty", "a prompt needs at least one token");
  ZAYA_RETURN_IF_ERROR(request.sampling.validate(vocabulary_));
  const int64_t context = model_->config().max_positions, length = static_cast<int64_t>(request.prompt.size());
  if (length > context) {
    return Status(Code::out_of_range,
                  fmt::format("the prompt has {} tokens; the model's context is {}", length, context),
                  "shorten the prompt or start a new conversation");
  }
  if (length > capacity_) {
    return Status(Code::resource_exhausted,
                  fmt::format("the prompt has {} tokens; the memory budget holds {}", length, capacity_),
                  "shorten the prompt or give the engine more memory");
  }
  for (text::TokenId token : request.prompt) {
    if (token < 0 || token >= model_->config().vocab_size) {
      return Status(
          Code::out_of_range,
          fmt::format("the prompt holds token {}; the model's vocabulary has {}", token, model_->config().vocab_size),
          "the tokenizer may belong to another model");
    }
  }
  return std::make_shared<Generation>(std::move(request), tokenizer_, vocabulary_, capacity_ - length, std::move(sink));
}

void Engine::enqueue(std::shared_ptr<Generation> generation) {
  if (generation->done()) return;
  Work work;
  work.tokens = generation->request().prompt;
  work.generation = std::move(generation);
  work.arrival = arrivals_++;
  work.submitted = now();
  waiting_.push_back(std::move(work));
}

Result<std::shared_ptr<Generation>> Engine::submit(Request request, EventSink sink) {
  ZAYA_ASSIGN(std::shared_ptr<Generation> generation, prepare(std::move(request), std::move(sink)));
  enqueue(generation);
  return generation;
}

void Engine::drop_cancelled() {
  for (auto work = waiting_.begin(); work != waiting_.end();) {
    const auto next = std::next(work);
    if (work->generation->cancel_requested()) {
      work->generation->end(Finish::cancelled);
      waiting_.erase(work);
    }
    work = next;
  }
  for (auto work = running_.begin(); work != running_.end();) {
    const auto next = std::next(work);
    if (work->generation->cancel_requested()) {
      work->generation->end(Finish::cancelled);
      release(work);
    }
    work = next;
  }
}

// In order of arrival, while there is room for the whole prompt and a page of each answer. Whoever stands first waits
// until it fits: nobody overtakes, so nobody starves.
void Engine::admit() {
  int64_t promised = 0;
  for (const Work& work : running_) promised += need_until_answer(work);
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < options_.max_running) {
    Work& next = waiting_.front();
    next.shared_pages = 0;
    if (options_.prefix_cache) {
      for (const Work& other : running_) {
        const int64_t shared = std::min(common_prefix(next.tokens, other.tokens), next.length() - 1);
        next.shared_pages = std::max(next.shared_pages, shared / ops::kPageTokens);
      }
    }
    const int64_t need = need_until_answer(next);
    if (!running_.empty() && in_use_bytes() + promised + need > memory_limit_) return;
    promised += need;
    if (next.placed == 0) {
      next.placed = now();
      next.generation->outcome().queue_seconds = next.placed - next.submitted;
    }
    // A preempted request may be older than some that run.
    const auto place =
        std::find_if(running_.begin(), running_.end(), [&](const Work& other) { return other.arrival > next.arrival; });
    running_.splice(place, waiting_, waiting_.begin());
  }
}

// Whether somebody is computing more of this prompt than the tree holds, and will have it there soon.
bool Engine::must_wait_for_prefix(const Work& work) const {
  if (!options_.prefix_cache) return false;
  const std::span<const text::TokenId> wanted = std::span(work.tokens).first(work.tokens.size() - 1);
  std::optional<int64_t> stored;
  for (const Work& other : running_) {
    if (!other.in_prefill() || other.node == nullptr) continue;
    const int64_t shared = common_prefix(wanted, other.tokens);
    const int64_t prompt_end = static_cast<int64_t>(other.generation->request().prompt.size()) - 1;
    const int64_t provided = prompt_end <= shared ? prompt_end : shared / ops::kPageTokens * ops::kPageTokens;
    if (provided <= other.sequence->length()) continue;  // it is there, or could not be kept
    if (!stored.has_value()) stored = tree_.length_of(wanted);
    if (provided > *stored) return true;
  }
  return false;
}

void Engine::start_ready() {
  for (Work& work : running_) {
    if (!work.sequence.has_value() && !must_wait_for_prefix(work)) resume_from_cache(work);
  }
}

int64_t Engine::prefill_budget(bool beside_decode) const {
  if (!beside_decode) return options_.prefill_chunk;
  if (seconds_per_token_ == 0) return std::min(options_.prefill_chunk, kSmallestChunk);  // until it is measured
  const double tokens = options_.mixed_step_seconds / seconds_per_token_;
  if (!(tokens < static_cast<double>(options_.prefill_chunk))) return options_.prefill_chunk;
  return std::min(options_.prefill_chunk, std::max(kSmallestChunk, static_cast<int64_t>(tokens)));
}

Engine::Parts Engine::plan() {
  std::vector<PrefillClaim> claims;
  bool beside_decode = false;
  for (const Work& work : running_) {
    if (work.in_prefill()) claims.push_back({work.unseen(), work.passed_over, work.last_served});
    if (work.sequence.has_value() && work.unseen() == 1) beside_decode = true;
  }
  const std::vector<int64_t> shares = share_prefill(claims, prefill_budget(beside_decode));
  Parts parts;
  auto share = shares.begin();
  for (auto work = running_.begin(); work != running_.end(); ++work) {
    if (!work->sequence.has_value()) continue;
    Part part{.work = work, .count = work->in_prefill() ? *share++ : 1};
    work->passed_over = part.count > 0 ? 0 : work->passed_over + 1;
    if (part.count == 0) continue;
    work->last_served = stats_.steps + 1;
    plan_captures(part);
    parts.push_back(std::move(part));
  }
  return parts;
}

Status Engine::forward(Parts& parts) {
  std::vector<model::TokenRun> runs;
  int64_t tokens = 0, prompt_tokens = 0;
  for (Part& part : parts) {
    Work& work = *part.work;
    const size_t seen = static_cast<size_t>(work.sequence->length()), count = static_cast<size_t>(part.count);
    runs.push_back({.sequence = &*work.sequence,
                    .tokens = std::span(work.tokens).subspan(seen, count),
                    .logits = part.count == work.unseen() ? model::Logits::last : model::Logits::none,
                    .captures = part.captures});
    tokens += part.count;
    if (part.count > 1) prompt_tokens += part.count;
  }
  const double begin = now();
  ZAYA_RETURN_IF_ERROR(model_->forward(runs, logits_));
  if (prompt_tokens >= kSmallestChunk) {
    const double seconds = (now() - begin) / static_cast<double>(tokens);
    seconds_per_token_ = seconds_per_token_ == 0 ? seconds : 0.8 * seconds_per_token_ + 0.2 * seconds;
  }
  ++stats_.steps;
  stats_.computed_tokens += tokens;
  stats_.batch_tokens_last = tokens;
  stats_.batch_runs_last = static_cast<int64_t>(runs.size());
  return Status();
}

void Engine::sample(Work& work, std::span<const float> logits) {
  const text::TokenId token = work.generation->next(logits);
  const double time = now();
  Outcome& outcome = work.generation->outcome();
  if (work.first_token == 0) work.first_token = time;
  outcome.prefill_seconds = work.first_token - work.placed;
  outcome.decode_seconds = time - work.first_token;
  work.tokens.push_back(token);
}

void Engine::step() {
  drop_cancelled();
  admit();
  start_ready();
  Parts parts = plan();
  fit_into_memory(parts);
  if (parts.empty()) return;
  if (const Status status = forward(parts); !status.ok()) return forward_failed(parts, status);

  const size_t width = static_cast<size_t>(model_->config().vocab_size);
  std::span<const float> rows = logits_;
  for (Part& part : parts) {
    store_captures(part);
    if (part.work->unseen() > 0) continue;
    sample(*part.work, rows.first(width));
    rows = rows.subspan(width);
    if (part.work->generation->done()) release(part.work);
  }
}

Result<Outcome> Engine::generate(Request request, EventSink sink) {
  ZAYA_ASSIGN(const std::shared_ptr<Generation> generation, submit(std::move(request), std::move(sink)));
  while (!generation->done()) step();
  if (generation->outcome().finish == Finish::failed) return generation->outcome().failure;
  return generation->outcome();
}

EngineStats Engine::stats() const {
  EngineStats stats = stats_;
  stats.queued = static_cast<int64_t>(waiting_.size());
  stats.running = static_cast<int64_t>(running_.size());
  stats.memory_limit = memory_limit_;
  stats.memory_used = memory_used();
  stats.cache_bytes = stats.memory_used - in_use_bytes();
  stats.cache_nodes = tree_.nodes();
  return stats;
}

}  // namespace zaya::engine
