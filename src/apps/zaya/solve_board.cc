#include "apps/zaya/solve_board.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "text/utf8.h"

namespace zaya::app {
namespace {

using reasoning::Candidate;
using reasoning::Run;

constexpr double kInterval = 0.1;

// `text` on one line of at most `width` characters; wider characters than one column are rare in what is shown.
std::string fitted(std::string_view text, size_t width) {
  const std::string valid = text::replace_controls(text);
  std::string out;
  size_t columns = 0;
  for (size_t i = 0; i < valid.size() && columns < width; ++columns) {
    char32_t c = text::next_valid_utf8(valid.data(), i);
    if (c == U'\n' || c == U'\t') c = U' ';
    text::append_utf8(out, c);
  }
  return out;
}

std::string bar(double share, int width) {
  const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * width + 0.5);
  std::string out;
  for (int i = 0; i < width; ++i) out += i < filled ? "█" : "░";
  return out;
}

std::string parents_text(const Candidate& candidate) {
  std::vector<int64_t> parents = candidate.parents;
  std::sort(parents.begin(), parents.end());
  std::string out;
  for (int64_t parent : parents) out += (out.empty() ? "←" : ",") + std::to_string(parent + 1);
  return out.size() > 14 ? fmt::format("←{} tails", parents.size()) : out;
}

std::string lane_line(const Run& run, const SolveProgress& progress, const Candidate& candidate, int width) {
  const int64_t id = run.id_of(candidate.round, candidate.index);
  const SolveProgress::Lane* lane = progress.lane(id);
  const double budget = static_cast<double>(run.settings().thinking_budget);
  std::string state, text;
  int64_t tokens = candidate.trace.new_tokens;
  switch (candidate.state) {
    case Candidate::State::waiting: state = "·"; break;
    case Candidate::State::running:
      state = lane != nullptr && lane->started ? "▶" : "…";
      tokens = lane != nullptr ? lane->tokens : 0;
      if (lane != nullptr) text = lane->last;
      break;
    case Candidate::State::done:
      state = candidate.trace.end == reasoning::End::failed      ? "!"
              : candidate.trace.end == reasoning::End::cancelled ? "×"
              : candidate.carried                                ? "="
                                                                 : "✓";
      text = candidate.answer.has_value() ? "→ " + *candidate.answer : candidate.trace.failure;
  }
  const std::string head = fmt::format("{} {:>3} {} {:>6} {:<14}", state, candidate.index + 1,
                                       bar(static_cast<double>(tokens) / budget, 12), tokens, parents_text(candidate));
  return head + " " + fitted(text, static_cast<size_t>(std::max(10, width - 44)));
}

std::string duration(double seconds) {
  if (seconds < 100) return fmt::format("{:.0f} s", seconds);
  if (seconds < 6000) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string votes_text(const Run& run, int64_t round) {
  std::string out;
  for (const auto& vote : run.votes(round)) {
    out += fmt::format("{}{} × {}", out.empty() ? "" : " · ", vote.candidates.size(), vote.answer);
    if (out.size() > 400) break;
  }
  return out;
}

}  // namespace

void SolveProgress::note(const reasoning::Event& event, double at) {
  if (event.kind == reasoning::Event::Kind::done) {
    lanes_.erase(event.job);
    return;
  }
  Lane& lane = lanes_[event.job];
  if (event.kind == reasoning::Event::Kind::restarted) lane = {};
  if (!lane.started) lane.begun = at;
  lane.started = true;
  lane.tokens = std::max(event.kind == reasoning::Event::Kind::text ? event.new_tokens : 0, lane.tokens);
  lane.last += event.text;
  constexpr size_t kShown = 200;
  if (lane.last.size() > 2 * kShown) {
    size_t from = lane.last.size() - kShown;
    while (from < lane.last.size() && (static_cast<unsigned char>(lane.last[from]) & 0xC0) == 0x80) ++from;
    lane.last.erase(0, from);
  }
}

const SolveProgress::Lane* SolveProgress::lane(int64_t id) const {
  const auto found = lanes_.find(id);
  return found == lanes_.end() ? nullptr : &found->second;
}

int64_t SolveProgress::running_tokens() const {
  int64_t sum = 0;
  for (const auto& [id, lane] : lanes_) sum += lane.tokens;
  return sum;
}

double SolveProgress::rate(const Run& run, double at) {
  history_.emplace_back(at, run.new_tokens() + running_tokens());
  constexpr double kSeconds = 5;
  while (history_.size() > 2 && history_.front().first < at - kSeconds) history_.erase(history_.begin());
  const auto& [begin, tokens] = history_.front();
  const double seconds = at - begin;
  return seconds > 0 ? std::max(0.0, static_cast<double>(history_.back().second - tokens) / seconds) : 0;
}

double seconds_left(const Run& run, const SolveProgress& progress, double rate) {
  int64_t done = 0, tokens = 0, all = 0;
  for (const auto& round : run.rounds()) {
    for (const Candidate& candidate : round) {
      ++all;
      if (candidate.state != Candidate::State::done) continue;
      ++done;
      tokens += candidate.trace.new_tokens;
    }
  }
  if (done == 0 || rate <= 0) return -1;
  const double left = static_cast<double>(tokens) / static_cast<double>(done) * static_cast<double>(all - done) -
                      static_cast<double>(progress.running_tokens());
  return std::max(0.0, left) / rate;
}

std::vector<std::string> SolveBoard::lines(const Run& run, SolveProgress& progress, double at, int width, int height) {
  std::vector<std::string> out;
  const double rate = progress.rate(run, at), left = seconds_left(run, progress, rate);
  const auto& settings = run.settings();
  out.push_back(
      fitted(fmt::format("{} · N {} · C {} · T {} · β {} · τ {} · {} new tokens · {:.0f} tok/s · {}{}",
                         name_of(settings.method), settings.population, settings.aggregation_size, settings.rounds,
                         settings.thinking_budget, settings.tail_length, run.new_tokens() + progress.running_tokens(),
                         rate, duration(at), left < 0 ? "" : " · about " + duration(left) + " left"),
             static_cast<size_t>(width)));
  // The round under way in full, those before it as their votes.
  size_t current = 0;
  while (current + 1 < run.rounds().size() &&
         std::all_of(run.rounds()[current].begin(), run.rounds()[current].end(),
                     [](const Candidate& c) { return c.state == Candidate::State::done; })) {
    ++current;
  }
  for (size_t round = 0; round < run.rounds().size(); ++round) {
    const auto& candidates = run.rounds()[round];
    const auto done = std::count_if(candidates.begin(), candidates.end(),
                                    [](const Candidate& c) { return c.state == Candidate::State::done; });
    const std::string votes = votes_text(run, static_cast<int64_t>(round));
    out.push_back(fitted(fmt::format("round {}{}  {}/{}  {}", round, round == 0 ? " rollouts " : " aggregate", done,
                                     candidates.size(), votes),
                         static_cast<size_t>(width)));
    if (round != current) continue;
    const int room = height - static_cast<int>(run.rounds().size()) - 2;
    int shown = 0;
    for (const Candidate& candidate : candidates) {
      if (shown == room && static_cast<int>(candidates.size()) > room) {
        out.push_back(fmt::format("    … {} more", static_cast<int>(candidates.size()) - shown));
        break;
      }
      out.push_back(lane_line(run, progress, candidate, width));
      ++shown;
    }
  }
  return out;
}

void SolveBoard::draw(const Run& run, SolveProgress& progress, double at, bool force) {
  if (!force && last_ >= 0 && at - last_ < kInterval) return;
  last_ = at;
  struct winsize size {};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
  const int width = known ? size.ws_col - 1 : 79, height = known ? size.ws_row - 1 : 24;
  std::string frame;
  if (drawn_ > 0) frame += fmt::format("\r\x1b[{}A", drawn_);
  const std::vector<std::string> picture = lines(run, progress, at, std::max(40, width), std::max(8, height));
  for (const std::string& line : picture) frame += line + "\x1b[K\n";
  frame += "\x1b[J";
  drawn_ = static_cast<int>(picture.size());
  std::fwrite(frame.data(), 1, frame.size(), stderr);
  std::fflush(stderr);
}

}  // namespace zaya::app
