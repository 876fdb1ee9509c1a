#include "eval/many_runs.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>

#include "reasoning/journal.h"

namespace zaya::eval {
namespace {

using reasoning::Candidate;
using reasoning::End;
using reasoning::Event;
using reasoning::Job;
using reasoning::Journal;
using reasoning::Run;
using reasoning::Trace;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Jobs are named by their run's number and their own id in it.
constexpr int kIdBits = 24;

struct Active {
  Active(PendingRun&& pending, int64_t given) : tag(pending.tag), number(given), run(std::move(pending.run)) {}
  int64_t tag, number;
  Run run;
  std::optional<Journal> journal;
  double begin = now(), before = 0;
  std::set<int64_t> running;          // ids within the run
  std::map<int64_t, int64_t> tokens;  // … and what they have so far
  std::set<int64_t> cancelled;
  std::vector<bool> voted;
  std::string failure;
  double at() const { return before + now() - begin; }
};

class Driver {
 public:
  Driver(reasoning::Generator& generator, const ManyRunsOptions& options)
      : generator_(generator), options_(options), most_(std::min(options.parallel, generator.capacity())) {
    if (most_ < 1) most_ = 1;
  }

  Result<bool> drive(const std::function<Result<std::optional<PendingRun>>()>& next,
                     const std::function<Status(FinishedRun)>& done) {
    bool more = true, stopped = false;
    while (true) {
      if (!stopped && options_.stop.stop_requested()) {
        stopped = true;
        for (auto& [number, active] : active_) {
          active->run.stop(reasoning::Stopped::interrupted);
          for (int64_t id : active->running) cancel(*active, id);
        }
      }
      for (auto& [number, active] : active_) ZAYA_RETURN_IF_ERROR(start(*active));
      while (!stopped && more && in_flight_ < most_) {
        ZAYA_ASSIGN(std::optional<PendingRun> pending, next());
        more = pending.has_value();
        if (more) ZAYA_RETURN_IF_ERROR(open(std::move(*pending)));
      }
      ZAYA_RETURN_IF_ERROR(close_finished(done, stopped));
      if (active_.empty()) {
        if (stopped) return false;
        if (!more) return true;
        continue;
      }
      for (Event& event : generator_.wait(0.1)) ZAYA_RETURN_IF_ERROR(take(event));
      if (options_.on_tick) {
        int64_t tokens = 0;
        for (const auto& [number, active] : active_) {
          tokens += active->run.new_tokens();
          for (const auto& [id, count] : active->tokens) tokens += count;
        }
        options_.on_tick(tokens);
      }
    }
  }

 private:
  Status write(Active& active, const std::string& line) {
    return active.journal.has_value() ? active.journal->append(line) : Status();
  }

  void cancel(Active& active, int64_t id) {
    if (active.cancelled.insert(id).second) generator_.cancel(active.number << kIdBits | id);
  }

  Status open(PendingRun pending) {
    const std::filesystem::path path = pending.journal;
    const int64_t number = count_++;
    auto active = std::make_unique<Active>(std::move(pending), number);
    if (!path.empty()) {
      std::error_code error;
      if (std::filesystem::exists(path, error)) {
        ZAYA_ASSIGN(Journal journal, Journal::reopen(path));
        active->journal.emplace(std::move(journal));
        // An empty one was torn in its first line.
        if (Result<reasoning::SavedRun> saved = reasoning::read_journal(path); saved.ok()) {
          ZAYA_ASSIGN(Run run, reasoning::restore_run(*saved, [this](std::span<const text::TokenId> tokens) {
                        return generator_.decode(tokens);
                      }));
          active->run = std::move(run);
          active->before = saved->seconds;
          ZAYA_RETURN_IF_ERROR(write(*active, reasoning::resume_line(active->at())));
        } else {
          ZAYA_RETURN_IF_ERROR(
              write(*active, reasoning::run_line(active->run, path.stem().string(), "", generator_.describe(), "")));
        }
      } else {
        ZAYA_ASSIGN(Journal journal, Journal::create(path));
        active->journal.emplace(std::move(journal));
        ZAYA_RETURN_IF_ERROR(
            write(*active, reasoning::run_line(active->run, path.stem().string(), "", generator_.describe(), "")));
      }
    }
    active->voted.resize(active->run.rounds().size());
    Active& opened = *active_.emplace(number, std::move(active)).first->second;
    ZAYA_RETURN_IF_ERROR(note_rounds(opened));
    return start(opened);
  }

  Status start(Active& active) {
    if (in_flight_ >= most_) return Status();
    for (Job& job : active.run.start(most_ - in_flight_)) {
      ZAYA_RETURN_IF_ERROR(write(active, reasoning::start_line(active.run, job, active.at())));
      const int64_t id = job.id;
      job.id |= active.number << kIdBits;
      active.running.insert(id);
      ++in_flight_;
      if (Status status = generator_.submit(std::move(job)); !status.ok()) {
        Trace trace;
        trace.end = End::failed;
        trace.failure = status.to_string();
        ZAYA_RETURN_IF_ERROR(finish(active, id, std::move(trace)));
      }
    }
    return note_rounds(active);
  }

  Status take(Event& event) {
    const auto found = active_.find(event.job >> kIdBits);
    if (found == active_.end()) return Status();
    Active& active = *found->second;
    const int64_t id = event.job & ((int64_t{1} << kIdBits) - 1);
    if (active.running.count(id) == 0) return Status();
    active.tokens[id] = event.new_tokens;
    if (event.kind != Event::Kind::done) return Status();
    return finish(active, id, event.trace != nullptr ? std::move(*event.trace) : Trace{.end = End::failed});
  }

  Status finish(Active& active, int64_t id, Trace trace) {
    active.running.erase(id);
    active.tokens.erase(id);
    --in_flight_;
    if (trace.end == End::failed && active.failure.empty()) active.failure = trace.failure;
    active.run.complete(id, std::move(trace));
    ZAYA_RETURN_IF_ERROR(write(active, reasoning::trace_line(active.run, id, active.at())));
    for (int64_t needless : active.run.needless()) cancel(active, needless);
    return note_rounds(active);
  }

  Status note_rounds(Active& active) {
    for (size_t round = 0; round < active.voted.size(); ++round) {
      const auto& candidates = active.run.rounds()[round];
      const auto all = [&](auto&& is) { return std::all_of(candidates.begin(), candidates.end(), is); };
      if (active.voted[round] || !all([](const Candidate& c) { return c.state == Candidate::State::done; })) continue;
      active.voted[round] = true;
      if (all([](const Candidate& c) { return c.trace.end == End::failed; })) {
        active.run.stop(reasoning::Stopped::failed);
      }
      ZAYA_RETURN_IF_ERROR(write(active, reasoning::votes_line(active.run, static_cast<int64_t>(round), active.at())));
    }
    return Status();
  }

  Status close_finished(const std::function<Status(FinishedRun)>& done, bool stopped) {
    for (auto it = active_.begin(); it != active_.end();) {
      Active& active = *it->second;
      if (!active.running.empty() || !active.run.over()) {
        ++it;
        continue;
      }
      const reasoning::RunResult result = active.run.result();
      ZAYA_RETURN_IF_ERROR(write(active, reasoning::result_line(active.run, result, active.at())));
      const bool nothing = result.candidate < 0 && result.new_tokens == 0;
      if (!stopped || result.stopped != reasoning::Stopped::interrupted) {
        ZAYA_RETURN_IF_ERROR(done({.tag = active.tag,
                                   .run = std::move(active.run),
                                   .seconds = active.at(),
                                   .failure = nothing ? active.failure : std::string()}));
      }
      it = active_.erase(it);
    }
    return Status();
  }

  reasoning::Generator& generator_;
  const ManyRunsOptions& options_;
  int64_t most_, in_flight_ = 0, count_ = 0;
  std::map<int64_t, std::unique_ptr<Active>> active_;  // older runs go first
};

}  // namespace

Result<bool> drive(reasoning::Generator& generator, const std::function<Result<std::optional<PendingRun>>()>& next,
                   const std::function<Status(FinishedRun)>& done, const ManyRunsOptions& options) {
  return Driver(generator, options).drive(next, done);
}

}  // namespace zaya::eval
