// A run as a file: one JSON object a line, written as things happen, so that a run that was killed goes on where it
// was.
//
//   run      the problem, all settings, the prompt templates, what generates        (first line)
//   start    a candidate begins: its parents, seed, budgets and prompt
//   trace    what it brought: texts, the tail that goes on, counts, times, the answer as read
//   votes    a round is complete: its answers and who gave them
//   resume   the file was opened again
//   result   the answer, and why the run ended
//
// Each line is one write(), so a killed process leaves at most one torn line, the last, which reading drops.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "reasoning/run.h"

namespace zaya::reasoning {

class Journal {
 public:
  // A new file; invalid_argument when there is one already.
  static Result<Journal> create(const std::filesystem::path& path);
  // An existing one, without its torn last line. Errors: invalid_argument when another process writes it.
  static Result<Journal> reopen(const std::filesystem::path& path);

  Journal(Journal&& other) noexcept;
  Journal& operator=(Journal&&) = delete;
  ~Journal();

  // `line` without its line break.
  Status append(const std::string& line);

 private:
  Journal(int file, std::filesystem::path path) : file_(file), path_(std::move(path)) {}
  int file_ = -1;
  std::filesystem::path path_;
};

// Lines, without line breaks. `at`: seconds since the run began.
std::string run_line(const Run& run, const std::string& id, const std::string& created, const std::string& generator,
                     const std::string& model);
std::string start_line(const Run& run, const Job& job, double at);
std::string trace_line(const Run& run, int64_t id, double at);
std::string votes_line(const Run& run, int64_t round, double at);
std::string resume_line(double at);
std::string result_line(const Run& run, const RunResult& result, double at);

// What a journal holds.
struct SavedTrace {
  int64_t round = 0, index = 0;
  Trace trace;  // texts and counts; of the tokens only the tail's are kept
  Segment tail, head;
  std::optional<std::string> answer;
};
struct SavedRun {
  std::string id, problem, prompts, model, generator;
  Settings settings;
  std::vector<SavedTrace> traces;
  std::string result;     // the last result line; empty = the run did not end
  bool complete = false;  // … and it ended because there was nothing left to do
  double seconds = 0;     // of the last line
  int64_t sessions = 1;
};

// Errors: io_error, not_found; malformed with the line's number; out_of_range for lines above 64 MB.
Result<SavedRun> read_journal(const std::filesystem::path& path);
// The same for a journal in memory (tests, fuzzing).
Result<SavedRun> parse_journal(std::string_view content);

// A run in the state that the journal describes: cancelled and failed traces are to be made again.
Result<Run> restore_run(const SavedRun& saved, Run::Decode decode);

}  // namespace zaya::reasoning
