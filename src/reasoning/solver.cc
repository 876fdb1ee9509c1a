#include "reasoning/solver.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

namespace zaya::reasoning {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Solver {
 public:
  Solver(Run& run, Generator& generator, Journal* journal, Observer* observer, const SolveOptions& options)
      : run_(run), generator_(generator), journal_(journal), observer_(observer), options_(options), begin_(now()) {}

  Result<RunResult> solve() {
    ZAYA_RETURN_IF_ERROR(check_context(run_.settings(), generator_.context()));
    ZAYA_RETURN_IF_ERROR(
        write(options_.resumed ? resume_line(at())
                               : run_line(run_, options_.id, options_.created, generator_.describe(), options_.model)));
    voted_.resize(run_.rounds().size());
    ZAYA_RETURN_IF_ERROR(note_rounds(!options_.resumed));
    while (true) {
      watch_limits();
      ZAYA_RETURN_IF_ERROR(start());
      if (running_.empty()) break;
      for (Event& event : generator_.wait(0.1)) ZAYA_RETURN_IF_ERROR(take(event));
      if (observer_ != nullptr) observer_->on_tick(run_);
    }
    const RunResult result = run_.result(options_.verifier);
    ZAYA_RETURN_IF_ERROR(write(result_line(run_, result, at())));
    if (result.candidate < 0 && result.new_tokens == 0 && !first_failure_.empty()) {
      return Status(Code::io_error, "no candidate brought anything: " + first_failure_);
    }
    return result;
  }

 private:
  double at() const { return options_.seconds_before + now() - begin_; }

  Status write(const std::string& line) {
    if (observer_ != nullptr) observer_->on_line(line);
    return journal_ != nullptr ? journal_->append(line) : Status();
  }

  void watch_limits() {
    const double limit = run_.settings().max_seconds;
    const bool late = limit >= 0 && at() >= limit;
    if (run_.stopped() == Stopped::no && (late || options_.stop.stop_requested())) {
      run_.stop(late ? Stopped::time : Stopped::interrupted);
      for (int64_t id : running_) cancel(id);
    }
    for (int64_t id : run_.needless()) cancel(id);
  }

  void cancel(int64_t id) {
    if (cancelled_.insert(id).second) generator_.cancel(id);
  }

  Status start() {
    const int64_t most =
        options_.parallel > 0 ? std::min(options_.parallel, generator_.capacity()) : generator_.capacity();
    const int64_t room = most - static_cast<int64_t>(running_.size());
    if (room <= 0) return Status();
    for (Job& job : run_.start(room)) {
      ZAYA_RETURN_IF_ERROR(write(start_line(run_, job, at())));
      const int64_t id = job.id;
      running_.insert(id);
      if (Status status = generator_.submit(std::move(job)); !status.ok()) {
        Trace trace;
        trace.end = End::failed;
        trace.failure = status.to_string();
        ZAYA_RETURN_IF_ERROR(finish(id, std::move(trace)));
      }
    }
    // Traces that were carried on are done without an event.
    return note_rounds(true);
  }

  Status take(Event& event) {
    if (running_.count(event.job) == 0) return Status();
    if (observer_ != nullptr) observer_->on_event(run_, event);
    if (event.kind != Event::Kind::done) return Status();
    return finish(event.job, event.trace != nullptr ? std::move(*event.trace) : Trace{.end = End::failed});
  }

  Status finish(int64_t id, Trace trace) {
    running_.erase(id);
    if (trace.end == End::failed && first_failure_.empty()) first_failure_ = trace.failure;
    run_.complete(id, std::move(trace));
    ZAYA_RETURN_IF_ERROR(write(trace_line(run_, id, at())));
    return note_rounds(true);
  }

  // Votes of rounds that have become complete. A round in which every candidate failed ends the run.
  Status note_rounds(bool say) {
    for (size_t round = 0; round < voted_.size(); ++round) {
      const auto& candidates = run_.rounds()[round];
      const auto all = [&](auto&& is) { return std::all_of(candidates.begin(), candidates.end(), is); };
      if (voted_[round] || !all([](const Candidate& c) { return c.state == Candidate::State::done; })) continue;
      voted_[round] = true;
      if (all([](const Candidate& c) { return c.trace.end == End::failed; })) run_.stop(Stopped::failed);
      if (say) ZAYA_RETURN_IF_ERROR(write(votes_line(run_, static_cast<int64_t>(round), at())));
    }
    return Status();
  }

  Run& run_;
  Generator& generator_;
  Journal* journal_;
  Observer* observer_;
  const SolveOptions& options_;
  const double begin_;
  std::set<int64_t> running_, cancelled_;
  std::vector<bool> voted_;
  std::string first_failure_;
};

}  // namespace

Status check_context(const Settings& settings, int64_t context) {
  if (context == 0 || settings.rounds == 0) return Status();
  const int64_t tails = settings.tails_read(settings.round_widths()[0]) * settings.tail_length;
  if (tails + settings.thinking_budget < context) return Status();
  return Status(Code::out_of_range,
                fmt::format("C·τ + β = {} + {} tokens do not fit the model's context of {}", tails,
                            settings.thinking_budget, context),
                "choose smaller settings, such as --preset tiny");
}

Result<RunResult> solve(Run& run, Generator& generator, Journal* journal, Observer* observer,
                        const SolveOptions& options) {
  return Solver(run, generator, journal, observer, options).solve();
}

}  // namespace zaya::reasoning
