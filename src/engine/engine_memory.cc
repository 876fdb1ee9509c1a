// The engine's memory: what fits into a step, who gives way, and what goes into and comes out of the prefix tree.
#include <algorithm>

#include "engine/engine.h"
#include "engine/model_facts.h"
#include "engine/prefix_file.h"

namespace zaya::engine {
namespace {

// Steps that may fail for want of memory before a request is given up.
constexpr int64_t kMostMemoryFailures = 3;

int64_t pages_of(int64_t tokens) { return (tokens + ops::kPageTokens - 1) / ops::kPageTokens; }

}  // namespace

int64_t Engine::memory_used() const {
  const int64_t sequences =
      std::count_if(running_.begin(), running_.end(), [](const Work& work) { return work.sequence.has_value(); });
  return model_->page_pool().live() * model_->page_bytes() +
         (sequences + tree_.nodes()) * model_->state_shape().snapshot_bytes();
}

int64_t Engine::in_use_bytes() const {
  const int64_t sequences =
      std::count_if(running_.begin(), running_.end(), [](const Work& work) { return work.sequence.has_value(); });
  return model_->page_pool().in_use() * model_->page_bytes() + sequences * model_->state_shape().snapshot_bytes();
}

int64_t Engine::need_of(const Part& part) const {
  return part.work->sequence->pages_for(part.count) * model_->page_bytes() +
         static_cast<int64_t>(part.captures.size()) * model_->state_shape().snapshot_bytes();
}

// What is still to be allocated until the prompt is through and a page of the answer is there.
int64_t Engine::need_until_answer(const Work& work) const {
  const int64_t held =
      work.sequence.has_value() ? static_cast<int64_t>(work.sequence->pages().size()) : work.shared_pages;
  const int64_t state = work.sequence.has_value() ? 0 : model_->state_shape().snapshot_bytes();
  return std::max<int64_t>(0, pages_of(work.length() + 1) - held + 1) * model_->page_bytes() + state;
}

bool Engine::make_room(int64_t bytes) {
  while (memory_used() + bytes > memory_limit_) {
    if (!tree_.evict()) return false;
    ++stats_.evicted_nodes;
  }
  return true;
}

// Gives way in this order: the cache, the wish for snapshots, the youngest requests. The oldest one that runs is never
// sent back, so there is always progress.
void Engine::fit_into_memory(Parts& parts) {
  for (;;) {
    int64_t need = 0;
    bool captures = false;
    for (const Part& part : parts) {
      need += need_of(part);
      captures = captures || !part.captures.empty();
    }
    if (parts.empty() || make_room(need)) return;
    if (captures) {
      for (Part& part : parts) part.captures.clear();
      continue;
    }
    const auto youngest =
        std::find_if(running_.rbegin(), running_.rend(), [](const Work& work) { return work.sequence.has_value(); });
    const auto victim = std::prev(youngest.base());
    const auto holders =
        std::count_if(running_.begin(), running_.end(), [](const Work& work) { return work.sequence.has_value(); });
    std::erase_if(parts, [&](const Part& part) { return part.work == victim; });
    if (holders > 1) {
      preempt(victim);
    } else {
      victim->generation->end(Finish::failed,
                              Status(Code::resource_exhausted, "the request has outgrown the engine's memory",
                                     "shorten it or give the engine more memory"));
      release(victim);
    }
  }
}

// Its full pages stay in the tree as long as there is room for them, so that coming back may cost little.
void Engine::preempt(Works::iterator work) {
  work->sequence.reset();
  work->node = nullptr;
  work->passed_over = 0;
  ++stats_.preempted;
  const auto place =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const Work& other) { return other.arrival > work->arrival; });
  waiting_.splice(place, running_, work);
}

// The system refused memory although the budget had it. After that a sequence may be half way through a step, so all
// that took part are computed anew; whoever keeps failing is given up.
void Engine::forward_failed(Parts& parts, const Status& status) {
  for (Part& part : parts) {
    const bool memory = status.code() == Code::resource_exhausted;
    if (memory && ++part.work->memory_failures < kMostMemoryFailures) {
      preempt(part.work);
    } else {
      part.work->generation->end(Finish::failed, status);
      running_.erase(part.work);
    }
  }
  while (tree_.evict()) ++stats_.evicted_nodes;
}

// The last token is always computed: its logits are wanted.
void Engine::resume_from_cache(Work& work) {
  work.sequence.emplace(model_->new_sequence());
  PrefixTree::Node* node =
      options_.prefix_cache ? tree_.find(std::span(work.tokens).first(work.tokens.size() - 1)) : nullptr;
  const int64_t length = node != nullptr ? node->length : 0;
  if (length > 0) work.sequence->resume(length, PrefixTree::pages(node), node->snapshot);
  work.node = node == nullptr || length % ops::kPageTokens == 0 ? node : node->parent;
  if (work.counted) return;
  work.counted = true;
  work.generation->outcome().cached_prompt_tokens = length;
  stats_.prompt_tokens += work.length();
  stats_.cached_prompt_tokens += length;
}

// At page ends, and before the prompt's last token: who comes with the same prompt has only that one to compute.
void Engine::plan_captures(Part& part) const {
  const Work& work = *part.work;
  if (work.node == nullptr) return;
  const int64_t start = work.sequence->length(), end = start + part.count;
  const int64_t prompt_end = static_cast<int64_t>(work.generation->request().prompt.size()) - 1;
  for (int64_t position = start + 1; position <= end; ++position) {
    if (position % ops::kPageTokens == 0 || position == prompt_end)
      part.captures.push_back({.after = position - start});
  }
}

void Engine::store_captures(Part& part) {
  const int64_t start = part.work->sequence->length() - part.count;
  for (model::Capture& capture : part.captures) store(*part.work, start + capture.after, std::move(capture.snapshot));
  const int64_t stored = part.work->node == nullptr ? 0 : part.work->node->length;
  if (part.work->sequence->length() - stored >= ops::kPageTokens) part.work->node = nullptr;  // a page was not captured
}

void Engine::store(Work& work, int64_t length, model::Snapshot&& snapshot) {
  if (work.node == nullptr) return;
  const int64_t begin = work.node->length;
  const size_t page = static_cast<size_t>(begin / ops::kPageTokens);
  const auto tokens = std::span(work.tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(length - begin));
  const std::shared_ptr<model::Page>& own = work.sequence->pages()[page].page();
  PrefixTree::Node* node = tree_.insert(work.node, tokens, own, std::move(snapshot));
  if (length - begin < ops::kPageTokens) return;
  // Somebody else may have computed the same: one page will do. It also keeps the node in place while we run.
  if (node != nullptr && node->page != own) work.sequence->share_page(page, node->page);
  work.node = node;
}

// Ends a request's run: what it computed up to here is what the conversation's next turn begins with.
void Engine::release(Works::iterator work) {
  if (work->sequence.has_value() && work->node != nullptr) {
    const int64_t length = work->sequence->length();
    const bool answered = length >= static_cast<int64_t>(work->generation->request().prompt.size());
    if (answered && length % ops::kPageTokens != 0 && make_room(model_->state_shape().snapshot_bytes())) {
      store(*work, length, model::Snapshot(work->sequence->snapshot()));
    }
  }
  running_.erase(work);
}

Status Engine::save_cache(const std::filesystem::path& path) const {
  return save_prefixes(tree_, model_->state_shape(), fingerprint(*model_), path);
}

Status Engine::load_cache(const std::filesystem::path& path) {
  if (!idle()) return Status(Code::invalid_argument, "the engine has requests; its cache cannot change now");
  tree_.clear();
  return load_prefixes(tree_, model_->page_pool(), model_->state_shape(), fingerprint(*model_), path,
                       [this](int64_t bytes) { return memory_used() + bytes <= memory_limit_; });
}

}  // namespace zaya::engine
