// A generator for tests: what it says is a function of the job, and when it says it is drawn from a seed.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "reasoning/generator.h"

namespace zaya::reasoning {

// Tokens are bytes: a token's id is its character.
class ScriptedGenerator : public Generator {
 public:
  // What a job's model would write if nothing stopped it: its reasoning, then its answer.
  struct Script {
    std::string reasoning, answer;
    bool fails = false;
  };
  std::function<Script(const Job&)> script;
  std::mt19937 random{1};      // order in which jobs end
  int64_t room = 1000;         // capacity()
  std::vector<Job> submitted;  // in order
  std::vector<int64_t> cancelled;
  int64_t most_running = 0;

  static std::vector<text::TokenId> tokens_of(std::string_view text) { return {text.begin(), text.end()}; }

  Status submit(Job job) override {
    submitted.push_back(job);
    running_[job.id] = std::move(job);
    most_running = std::max(most_running, static_cast<int64_t>(running_.size()));
    return Status();
  }

  void cancel(int64_t id) override { cancelled.push_back(id); }

  std::vector<Event> wait(double) override {
    if (running_.empty()) return {};
    std::vector<Event> events;
    for (int64_t id : cancelled) {
      if (running_.erase(id) == 0) continue;
      auto trace = std::make_shared<Trace>();
      trace->end = End::cancelled;
      events.push_back({.job = id, .kind = Event::Kind::done, .trace = std::move(trace)});
    }
    if (!events.empty()) return events;
    auto it = running_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random() % running_.size()));
    const Job job = it->second;
    running_.erase(it);
    events.push_back({.job = job.id, .kind = Event::Kind::started});
    events.push_back({.job = job.id, .kind = Event::Kind::done, .trace = std::make_shared<Trace>(play(job))});
    return events;
  }

  // A model that keeps to its budgets, as generators must.
  Trace play(const Job& job) const {
    const Script script_of_job = script(job);
    Trace trace;
    if (script_of_job.fails) {
      trace.end = End::failed;
      trace.failure = "scripted";
      return trace;
    }
    trace.prompt_tokens = static_cast<int64_t>(job.prompt.text().size());
    int64_t left = job.max_new_tokens < 0 ? INT64_MAX : job.max_new_tokens;
    const auto take = [&](const std::string& text, int64_t budget) {
      const size_t length = std::min({text.size(), static_cast<size_t>(budget), static_cast<size_t>(left)});
      left -= static_cast<int64_t>(length);
      trace.new_tokens += static_cast<int64_t>(length);
      const std::string taken = text.substr(0, length);
      return Text{.text = taken, .tokens = tokens_of(taken), .count = static_cast<int64_t>(length)};
    };
    trace.reasoning = take(script_of_job.reasoning, job.thinking_budget);
    trace.closed = trace.reasoning.text.size() == script_of_job.reasoning.size();
    trace.end = trace.closed ? End::stop : End::length;
    if (job.answer_budget == 0 || (!trace.closed && job.close == Close::stop)) return trace;
    trace.answer = take(script_of_job.answer, job.answer_budget);
    trace.end = trace.answer.text.size() == script_of_job.answer.size() ? End::stop : End::length;
    return trace;
  }

  int64_t capacity() const override { return room; }
  std::string decode(std::span<const text::TokenId> tokens) const override { return {tokens.begin(), tokens.end()}; }
  std::string describe() const override { return R"({"kind":"scripted"})"; }

 private:
  std::map<int64_t, Job> running_;
};

}  // namespace zaya::reasoning
