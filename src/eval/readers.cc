// Files of problems: JSON lines, arrays, CSV.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "base/file.h"
#include "eval/item_forms.h"
#include "eval/items.h"

namespace zaya::eval {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLongestLine = size_t{256} << 20;  // a problem with all its private tests
constexpr size_t kNotes = 5;                        // lines that are named one by one

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

class Collector {
 public:
  explicit Collector(std::string name, int64_t limit) : name_(std::move(name)), limit_(limit) {}

  bool full() const { return limit_ > 0 && static_cast<int64_t>(set_.items.size()) >= limit_; }

  void take(const Json& json, int64_t number, const char* unit) {
    Item item;
    std::vector<std::string> notes;
    if (Status status = read_item(json, item, notes); !status.ok()) {
      left_out(fmt::format("{} {} {}", unit, number, status.message()));
      return;
    }
    for (const std::string& note : notes) ++said_[note];
    item.id = name_ + "/" + (item.id.empty() ? std::to_string(number) : item.id.substr(0, 200));
    for (int64_t copy = 2; !ids_.insert(item.id).second; ++copy) {
      const size_t mark = copy == 2 ? item.id.size() : item.id.rfind('#');
      item.id = item.id.substr(0, mark) + "#" + std::to_string(copy);
    }
    set_.items.push_back(std::move(item));
  }

  void left_out(const std::string& why) {
    if (first_.empty()) first_ = why;
    if (++skipped_ <= kNotes) set_.notes.push_back(fmt::format("{}: {}: left out", name_, why));
  }

  Result<ItemSet> finish() {
    if (skipped_ > kNotes) set_.notes.push_back(fmt::format("{}: {} more left out", name_, skipped_ - kNotes));
    for (const auto& [note, count] : said_) {
      set_.notes.push_back(fmt::format("{}: of {} problems: {}", name_, count, note));
    }
    if (set_.items.empty()) {
      return Status(Code::malformed,
                    fmt::format("{}: nothing in it is understood{}", name_, first_.empty() ? "" : "; " + first_),
                    "docs/eval.md lists the forms of problem files");
    }
    return std::move(set_);
  }

 private:
  std::string name_, first_;
  int64_t limit_;
  size_t skipped_ = 0;
  ItemSet set_;
  std::set<std::string> ids_;
  std::map<std::string, int64_t> said_;
};

// RFC 4180: quoted fields may hold commas, line breaks and doubled quotes. False at the end, or where a quote stays
// open.
bool csv_row(std::string_view& rest, std::vector<std::string>& row) {
  row.clear();
  if (rest.empty()) return false;
  std::string field;
  while (true) {
    if (!rest.empty() && rest[0] == '"') {
      rest.remove_prefix(1);
      while (true) {
        const size_t quote = rest.find('"');
        if (quote == std::string_view::npos) return false;
        field += rest.substr(0, quote);
        rest.remove_prefix(quote + 1);
        if (rest.empty() || rest[0] != '"') break;
        field += '"';
        rest.remove_prefix(1);
      }
    }
    const size_t end = std::min(rest.find_first_of(",\r\n"), rest.size());
    field += rest.substr(0, end);
    rest.remove_prefix(end);
    row.push_back(std::exchange(field, {}));
    if (rest.empty()) return true;
    const char next = rest[0];
    rest.remove_prefix(1);
    if (next == ',') continue;
    if (next == '\r' && !rest.empty() && rest[0] == '\n') rest.remove_prefix(1);
    return true;
  }
}

void read_csv(std::string_view content, Collector& collector) {
  if (content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
  std::vector<std::string> names, row;
  if (!csv_row(content, names)) return;
  for (int64_t number = 1; !content.empty() && !collector.full(); ++number) {
    if (!csv_row(content, row)) return collector.left_out(fmt::format("row {} has a quote that does not end", number));
    if (row.size() == 1 && row[0].empty()) continue;
    Json json = Json::object();
    for (size_t i = 0; i < std::min(row.size(), names.size()); ++i) json[names[i]] = row[i];
    collector.take(json, number, "row");
  }
}

// One line of JSON lines.
void read_line(std::string_view line, int64_t number, Collector& collector) {
  if (is_blank(line)) return;
  const Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded()) return collector.left_out(fmt::format("line {} is no JSON", number));
  collector.take(json, number, "line");
}

bool is_array(std::string_view content) {
  const size_t first = content.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && content[first] == '[';
}

}  // namespace

Result<ItemSet> parse_items(std::string_view content, const std::string& name, bool csv, int64_t limit) {
  Collector collector(name, limit);
  if (csv) {
    read_csv(content, collector);
  } else if (is_array(content)) {
    const Json json = Json::parse(content, nullptr, false);
    if (!json.is_array()) return Status(Code::malformed, name + ": begins like a JSON array, and is none");
    for (size_t i = 0; i < json.size() && !collector.full(); ++i) {
      collector.take(json[i], static_cast<int64_t>(i) + 1, "entry");
    }
  } else {
    for (int64_t number = 1; !content.empty() && !collector.full(); ++number) {
      const size_t end = std::min(content.find('\n'), content.size());
      read_line(content.substr(0, end), number, collector);
      content.remove_prefix(std::min(end + 1, content.size()));
    }
  }
  return collector.finish();
}

Result<ItemSet> read_items(const std::filesystem::path& path, int64_t limit) {
  const std::string name = path.stem().string();
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  const bool csv = plain_name(path.extension().string()) == ".csv";
  // Small files whole; large ones, which are JSON lines, line by line.
  constexpr uintmax_t kWhole = uintmax_t{64} << 20;
  if (error || csv || size <= kWhole) {
    ZAYA_ASSIGN(const std::string content, read_file(path, kLongestLine));
    return parse_items(content, name, csv, limit);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status(Code::io_error, fmt::format("cannot read {}", path.string()));
  Collector collector(name, limit);
  std::string line;
  char c = 0;
  for (int64_t number = 1; !collector.full() && file; ++number) {
    line.clear();
    while (file.get(c) && c != '\n') {
      if (line.size() < kLongestLine) line += c;
    }
    if (line.size() >= kLongestLine) {
      collector.left_out(fmt::format("line {} is longer than {} MB", number, kLongestLine >> 20));
    } else {
      read_line(line, number, collector);
    }
  }
  return collector.finish();
}

}  // namespace zaya::eval
