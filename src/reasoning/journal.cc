#include "reasoning/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "nlohmann/json.hpp"
#include "reasoning/settings_json.h"

namespace zaya::reasoning {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLongestLine = size_t{64} << 20;

Status failed(const char* what, const std::filesystem::path& path) {
  return Status(Code::io_error, fmt::format("{} {}: {}", what, path.string(), std::strerror(errno)));
}

template <class T>
T number_at(const Json& json, const char* key, T fallback) {
  const auto found = json.find(key);
  if (found == json.end()) return fallback;
  if (std::is_floating_point_v<T> ? !found->is_number() : !found->is_number_integer()) return fallback;
  return found->get<T>();
}

std::string text_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const Json& object_at(const Json& json, const char* key) {
  static const Json kEmpty = Json::object();
  const auto found = json.find(key);
  return found != json.end() && found->is_object() ? *found : kEmpty;
}

bool truth_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_boolean() && found->get<bool>();
}

Segment segment_at(const Json& json, const char* key) {
  const Json& from = object_at(json, key);
  Segment segment{.text = text_at(from, "text"), .is_tail = true};
  const auto tokens = from.find("tokens");
  if (tokens == from.end() || !tokens->is_array()) return segment;
  for (const Json& token : *tokens) {
    if (!token.is_number_integer()) continue;
    const int64_t id = token.get<int64_t>();
    if (id >= 0 && id <= text::kMaxTokenId) segment.tokens.push_back(static_cast<text::TokenId>(id));
  }
  return segment;
}

Text side_at(const Json& json, const char* key) {
  const Json& from = object_at(json, key);
  return {.text = text_at(from, "text"),
          .count = std::clamp<int64_t>(number_at<int64_t>(from, "tokens", 0), 0, int64_t{1} << 32),
          .estimated = truth_at(from, "estimated")};
}

int64_t count_at(const Json& json, const char* key) {
  return std::clamp<int64_t>(number_at<int64_t>(json, key, 0), 0, int64_t{1} << 32);
}

SavedTrace saved_trace(const Json& json) {
  SavedTrace saved;
  saved.round = number_at<int64_t>(json, "round", -1);
  saved.index = number_at<int64_t>(json, "candidate", -1);
  Trace& trace = saved.trace;
  const std::string end = text_at(json, "end");
  trace.end = End::failed;
  for (End value : {End::stop, End::length, End::cancelled}) {
    if (end == name_of(value)) trace.end = value;
  }
  trace.closed = truth_at(json, "closed");
  trace.failure = text_at(json, "failure");
  trace.endpoint = text_at(json, "endpoint");
  trace.reasoning = side_at(json, "reasoning");
  trace.answer = side_at(json, "final");
  trace.new_tokens = count_at(json, "new_tokens");
  trace.prompt_tokens = count_at(json, "prompt_tokens");
  trace.cached_prompt_tokens = count_at(json, "cached_prompt_tokens");
  trace.wasted_tokens = count_at(json, "wasted_tokens");
  trace.attempts = number_at<int64_t>(json, "attempts", 1);
  const Json& seconds = object_at(json, "seconds");
  trace.queue_seconds = number_at<double>(seconds, "queue", 0);
  trace.prefill_seconds = number_at<double>(seconds, "prefill", 0);
  trace.decode_seconds = number_at<double>(seconds, "decode", 0);
  saved.tail = segment_at(json, "tail");
  saved.head = segment_at(json, "head");
  if (const auto answer = json.find("answer"); answer != json.end() && answer->is_string()) {
    saved.answer = answer->get<std::string>();
  }
  return saved;
}

Status read_line(const Json& json, bool first, SavedRun& saved) {
  const std::string event = text_at(json, "event");
  if (first != (event == "run")) {
    return Status(Code::malformed, first ? "is not the beginning of a journal" : "is the beginning of another journal");
  }
  saved.seconds = std::max(saved.seconds, number_at<double>(json, "at", 0));
  if (event == "run") {
    if (number_at<int64_t>(json, "version", 0) != 1) {
      return Status(Code::unsupported, "is of another version of journals", "this program writes and reads version 1");
    }
    ZAYA_ASSIGN(saved.settings, settings_from_json(object_at(json, "settings")));
    saved.id = text_at(json, "id");
    saved.problem = text_at(json, "problem");
    saved.prompts = text_at(json, "prompts");
    saved.model = text_at(json, "model");
    saved.generator = object_at(json, "generator").dump(-1, ' ', false, Json::error_handler_t::replace);
  } else if (event == "trace") {
    SavedTrace trace = saved_trace(json);
    const std::vector<int64_t> widths = saved.settings.round_widths();
    if (trace.round < 0 || trace.round >= static_cast<int64_t>(widths.size()) || trace.index < 0 ||
        trace.index >= widths[static_cast<size_t>(trace.round)]) {
      return Status(Code::malformed, fmt::format("names candidate {} of round {}, which the settings do not have",
                                                 trace.index, trace.round));
    }
    saved.traces.push_back(std::move(trace));
  } else if (event == "resume") {
    ++saved.sessions;
  } else if (event == "result") {
    saved.result = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    const std::string stopped = text_at(json, "stopped");
    saved.complete = stopped == name_of(Stopped::complete) || stopped == name_of(Stopped::decided);
  }
  return Status();
}

// The length of the whole lines of `content`.
size_t whole_lines(std::string_view content) {
  const size_t last = content.rfind('\n');
  return last == std::string_view::npos ? 0 : last + 1;
}

}  // namespace

Result<Journal> Journal::create(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) {
    if (errno == EEXIST) {
      return Status(Code::invalid_argument, fmt::format("{} is there already", path.string()),
                    "go on with it by --resume, or name another file");
    }
    return failed("cannot create", path);
  }
  Journal journal(file, path);
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) return failed("cannot lock", path);
  return journal;
}

Result<Journal> Journal::reopen(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC);
  if (file < 0) return failed("cannot open", path);
  Journal journal(file, path);
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    return Status(Code::invalid_argument, fmt::format("{} is being written by another process", path.string()));
  }
  struct stat info {};
  if (::fstat(file, &info) != 0) return failed("cannot read", path);
  // The last line is whole when it ends; a torn one is taken away, back to the line break before it.
  off_t end = info.st_size;
  std::string block(4096, '\0');
  while (end > 0) {
    const off_t from = std::max<off_t>(0, end - static_cast<off_t>(block.size()));
    const ssize_t count = ::pread(file, block.data(), static_cast<size_t>(end - from), from);
    if (count != end - from) return failed("cannot read", path);
    const size_t whole = whole_lines(std::string_view(block.data(), static_cast<size_t>(count)));
    end = from + static_cast<off_t>(whole);
    if (whole > 0) break;
  }
  if (end != info.st_size && ::ftruncate(file, end) != 0) return failed("cannot shorten", path);
  return journal;
}

Journal::Journal(Journal&& other) noexcept : file_(std::exchange(other.file_, -1)), path_(std::move(other.path_)) {}

Journal::~Journal() {
  if (file_ >= 0) ::close(file_);
}

Status Journal::append(const std::string& line) {
  const std::string whole = line + "\n";
  size_t written = 0;
  while (written < whole.size()) {
    const ssize_t count = ::write(file_, whole.data() + written, whole.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("cannot write", path_);
    written += static_cast<size_t>(count);
  }
  return Status();
}

Result<SavedRun> parse_journal(std::string_view content) {
  content = content.substr(0, whole_lines(content));
  if (content.empty()) return Status(Code::malformed, "the journal has no whole line");
  SavedRun saved;
  for (int64_t number = 1; !content.empty(); ++number) {
    const size_t end = content.find('\n');
    const std::string_view line = content.substr(0, end);
    content.remove_prefix(end + 1);
    if (line.size() > kLongestLine) return Status(Code::out_of_range, fmt::format("line {} is too long", number));
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) return Status(Code::malformed, fmt::format("line {} is no JSON object", number));
    if (Status status = read_line(json, number == 1, saved); !status.ok()) {
      return status.with_context(fmt::format("line {}", number));
    }
  }
  return saved;
}

Result<SavedRun> read_journal(const std::filesystem::path& path) {
  ZAYA_ASSIGN(const std::string content, read_file(path, size_t{4} << 30));
  Result<SavedRun> saved = parse_journal(content);
  return saved.ok() ? std::move(saved) : Result<SavedRun>(saved.status().with_context(path.string()));
}

Result<Run> restore_run(const SavedRun& saved, Run::Decode decode) {
  ZAYA_ASSIGN(Prompts prompts, Prompts::parse(saved.prompts, "of the journal"));
  ZAYA_ASSIGN(Run run, Run::create(saved.problem, saved.settings, std::move(prompts), std::move(decode)));
  for (const SavedTrace& trace : saved.traces) {
    if (trace.trace.end == End::cancelled || trace.trace.end == End::failed) continue;
    run.restore(run.id_of(trace.round, trace.index), trace.trace, trace.tail, trace.head);
  }
  return run;
}

}  // namespace zaya::reasoning
