#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace zaya::server {

void Histogram::add(double seconds) {
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  microseconds_.fetch_add(static_cast<int64_t>(seconds * 1e6), std::memory_order_relaxed);
}

double Histogram::mean() const {
  int64_t total = 0;
  for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
  return total == 0
             ? 0
             : static_cast<double>(microseconds_.load(std::memory_order_relaxed)) / 1e6 / static_cast<double>(total);
}

void Histogram::write(std::string& out, const char* name, const char* help) const {
  auto to = std::back_inserter(out);
  fmt::format_to(to, "# HELP {0} {1}\n# TYPE {0} histogram\n", name, help);
  int64_t total = 0;
  for (size_t i = 0; i < kBounds.size(); ++i) {
    total += counts_[i].load(std::memory_order_relaxed);
    fmt::format_to(to, "{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], total);
  }
  total += counts_.back().load(std::memory_order_relaxed);
  fmt::format_to(to, "{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2:.6f}\n{0}_count {1}\n", name, total,
                 static_cast<double>(microseconds_.load(std::memory_order_relaxed)) / 1e6);
}

void Metrics::count(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{route, status}];
}

std::string Metrics::text(const engine::ServiceStats& engine, const HttpStats& http) const {
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(
      to, "# HELP zaya_requests_total Requests answered, by route and status.\n# TYPE zaya_requests_total counter\n");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, count] : requests_) {
      fmt::format_to(to, "zaya_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first, key.second, count);
    }
  }
  const auto one = [&](const char* name, const char* type, const char* help, int64_t value) {
    fmt::format_to(to, "# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type, value);
  };
  const auto counter = [&](const char* name, const char* help, int64_t value) { one(name, "counter", help, value); };
  const auto gauge = [&](const char* name, const char* help, int64_t value) { one(name, "gauge", help, value); };
  first_token.write(out, "zaya_time_to_first_token_seconds", "From a request's arrival to its first token.");
  between_tokens.write(out, "zaya_time_between_tokens_seconds", "From one token of an answer to the next.");
  whole_request.write(out, "zaya_request_seconds", "From a request's arrival to its answer's end.");
  gauge("zaya_requests_answering", "Requests that are being answered.", running);

  counter("zaya_prompt_tokens_total", "Prompt tokens of requests that got a place.", engine.prompt_tokens);
  counter("zaya_cached_prompt_tokens_total", "Of these, found in the prefix cache.", engine.cached_prompt_tokens);
  counter("zaya_new_tokens_total", "Tokens generated.", engine.new_tokens);
  counter("zaya_computed_tokens_total", "Tokens that went through the model.", engine.computed_tokens);
  counter("zaya_engine_steps_total", "Forward passes.", engine.steps);
  counter("zaya_choices_finished_total", "Choices that came to their end.", engine.finished);
  counter("zaya_choices_cancelled_total", "Choices that were cancelled.", engine.cancelled);
  counter("zaya_choices_failed_total", "Choices that failed.", engine.failed);
  counter("zaya_choices_refused_total", "Choices refused because the queue was full.", engine.refused);
  counter("zaya_preemptions_total", "Times a choice gave up its memory and was queued again.", engine.preempted);
  counter("zaya_cache_evicted_nodes_total", "Nodes given up by the prefix cache to make room.", engine.evicted_nodes);
  gauge("zaya_choices_queued", "Choices waiting for a place.", engine.queued);
  gauge("zaya_choices_running", "Choices in prefill or decode.", engine.running);
  gauge("zaya_batch_tokens", "Tokens of the last step.", engine.batch_tokens_last);
  gauge("zaya_batch_choices", "Choices in the last step.", engine.batch_runs_last);
  gauge("zaya_memory_limit_bytes", "Budget of keys, values and states.", engine.memory_limit);
  gauge("zaya_memory_used_bytes", "Of it, in use by choices and cache.", engine.memory_used);
  gauge("zaya_cache_bytes", "Held by the prefix cache alone.", engine.cache_bytes);
  gauge("zaya_cache_nodes", "Nodes of the prefix cache.", engine.cache_nodes);

  gauge("zaya_connections", "Open connections.", http.connections);
  counter("zaya_connections_total", "Connections accepted.", http.accepted);
  counter("zaya_connections_refused_total", "Connections beyond the limit.", http.refused);
  counter("zaya_http_timeouts_total", "Connections closed by a deadline.", http.timeouts);
  counter("zaya_http_malformed_total", "Connections closed for what they sent.", http.malformed);
  counter("zaya_clients_gone_total", "Clients that left before their answer's end.", http.gone);
  gauge("zaya_body_memory_bytes", "Memory reserved for bodies that are being read or handled.",
        http.body_memory_in_use);
  return out;
}

}  // namespace zaya::server
