// An evaluation for people: report.md and the pictures it shows.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/evaluation.h"
#include "eval/summary.h"

namespace zaya::eval {

// The table that the report begins with, one row per strategy; also for a terminal.
std::string strategy_table(const Evaluation& evaluation, const Summary& summary);
std::string pair_table(const std::vector<PairSummary>& pairs);

std::string report_text(const Evaluation& evaluation, const Summary& summary, const std::vector<std::string>& pictures);

// Bars with intervals, one per row.
struct Bar {
  std::string label, note;  // the note stands under the label
  Share share;
};
std::string bars_svg(const std::string& title, const std::vector<Bar>& bars);

// Points with intervals, joined: accuracy by round, or by k, one line per series.
struct Series {
  std::string name;
  std::vector<double> x;
  std::vector<Share> y;
};
std::string lines_svg(const std::string& title, const std::string& x_label, const std::vector<Series>& series);

// Writes report.md, summary.json and the pictures into `directory`. Errors: io_error.
Status write_report(const Evaluation& evaluation, const std::filesystem::path& directory);

}  // namespace zaya::eval
