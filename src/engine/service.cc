#include "engine/service.h"

#include <fmt/format.h>

#include <algorithm>

namespace zaya::engine {

const Outcome& Ticket::wait() const {
  done_.wait(false, std::memory_order_acquire);
  return generation_->outcome();
}

Result<std::unique_ptr<Service>> Service::start(std::shared_ptr<Engine> engine, ServiceOptions options) {
  if (engine == nullptr) return Status(Code::invalid_argument, "the service needs an engine");
  if (options.max_queue < 1) {
    return Status(Code::invalid_argument, fmt::format("max_queue is {}; it must be at least 1", options.max_queue));
  }
  EngineOptions engine_options = options.engine;
  engine_options.memory_bytes = options.memory_bytes;
  engine_options.prefix_cache = options.prefix_cache;
  ZAYA_RETURN_IF_ERROR(engine->configure(engine_options));
  std::unique_ptr<Service> service(new Service(std::move(engine), std::move(options)));
  service->load_cache();
  service->publish();
  service->thread_ = std::thread([self = service.get()] { self->run(); });
  return service;
}

Service::Service(std::shared_ptr<Engine> engine, ServiceOptions options)
    : engine_(std::move(engine)), options_(std::move(options)) {}

Service::~Service() { (void)drain(0); }

Result<std::shared_ptr<Ticket>> Service::submit(Request request, EventSink on_event, DoneSink on_done) {
  ZAYA_ASSIGN(std::shared_ptr<Generation> generation, engine_->prepare(std::move(request), std::move(on_event)));
  auto ticket = std::make_shared<Ticket>(std::move(generation));
  {
    const std::lock_guard lock(mutex_);
    if (draining_ || stats_.queued + static_cast<int64_t>(inbox_.size()) >= options_.max_queue) {
      ++stats_.refused;
      return draining_ ? Status(Code::resource_exhausted, "the service is shutting down", "send the request elsewhere")
                       : Status(Code::resource_exhausted,
                                fmt::format("{} requests are waiting already", options_.max_queue), "try again later");
    }
    inbox_.push_back({ticket, std::move(on_done)});
  }
  changed_.notify_one();
  return ticket;
}

ServiceStats Service::stats() const {
  const std::lock_guard lock(mutex_);
  ServiceStats stats = stats_;
  stats.queued += static_cast<int64_t>(inbox_.size());
  return stats;
}

Status Service::drain(double seconds) {
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    if (seconds < 1e9) {
      deadline_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                         std::chrono::duration<double>(seconds));
    }
  }
  changed_.notify_one();
  std::call_once(joined_, [this] { thread_.join(); });
  return saved_;
}

// Moves what was submitted into the engine, waiting for it when there is nothing else to do. False: it is over.
bool Service::take_new_work() {
  std::vector<Entry> taken;
  bool cancel_all = false;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !inbox_.empty() || draining_ || !entries_.empty(); });
    taken.swap(inbox_);
    stats_.queued += static_cast<int64_t>(taken.size());
    cancel_all = deadline_.has_value() && std::chrono::steady_clock::now() >= *deadline_;
  }
  for (Entry& entry : taken) {
    engine_->enqueue(entry.ticket->generation_);
    entries_.push_back(std::move(entry));
  }
  if (cancel_all) {
    for (Entry& entry : entries_) entry.ticket->cancel();
  }
  return !entries_.empty();
}

void Service::settle_finished() {
  std::list<Entry> finished;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if (entry->ticket->generation_->done()) finished.splice(finished.end(), entries_, entry);
    entry = next;
  }
  for (Entry& entry : finished) {
    const Outcome& outcome = entry.ticket->generation_->outcome();
    {
      const std::lock_guard lock(mutex_);
      switch (outcome.finish) {
        case Finish::cancelled: ++stats_.cancelled; break;
        case Finish::failed: ++stats_.failed; break;
        default: ++stats_.finished;
      }
      stats_.new_tokens += static_cast<int64_t>(outcome.tokens.size());
    }
    if (entry.on_done) entry.on_done(outcome);
    entry.ticket->done_.store(true, std::memory_order_release);
    entry.ticket->done_.notify_all();
  }
}

void Service::load_cache() {
  if (options_.cache_file.empty() || !options_.prefix_cache) return;
  const Status status = engine_->load_cache(options_.cache_file);
  if (status.ok()) {
    stats_.cache_note = fmt::format("{} nodes from {}", engine_->stats().cache_nodes, options_.cache_file.string());
  } else if (status.code() == Code::not_found) {
    stats_.cache_note = "starts empty";
  } else {
    stats_.cache_note = "starts empty: " + status.to_string();
  }
}

void Service::publish() {
  const EngineStats engine = engine_->stats();
  const std::lock_guard lock(mutex_);
  stats_.queued = engine.queued;
  stats_.running = engine.running;
  stats_.preempted = engine.preempted;
  stats_.prompt_tokens = engine.prompt_tokens;
  stats_.cached_prompt_tokens = engine.cached_prompt_tokens;
  stats_.steps = engine.steps;
  stats_.computed_tokens = engine.computed_tokens;
  stats_.evicted_nodes = engine.evicted_nodes;
  stats_.batch_tokens_last = engine.batch_tokens_last;
  stats_.batch_runs_last = engine.batch_runs_last;
  stats_.memory_limit = engine.memory_limit;
  stats_.memory_used = engine.memory_used;
  stats_.cache_bytes = engine.cache_bytes;
  stats_.cache_nodes = engine.cache_nodes;
}

void Service::run() {
  while (take_new_work()) {
    engine_->step();
    publish();
    settle_finished();
  }
  if (!options_.cache_file.empty() && options_.prefix_cache) saved_ = engine_->save_cache(options_.cache_file);
}

}  // namespace zaya::engine
