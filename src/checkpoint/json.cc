#include "checkpoint/json.h"

#include <fmt/format.h>

#include <set>
#include <utility>
#include <vector>

namespace zaya::checkpoint {
namespace {

using nlohmann::json;

// Looks at every event before a tree is built: syntax, depth, repeated keys.
class Inspector : public nlohmann::json_sax<json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }

  bool start_object(size_t) override {
    keys_.emplace_back();
    return enter();
  }
  bool key(string_t& name) override {
    if (keys_.back().insert(name).second) return true;
    return refuse(fmt::format("the key \"{}\" stands twice in one object", name.substr(0, 200)));
  }
  bool end_object() override {
    keys_.pop_back();
    --depth_;
    return true;
  }
  bool start_array(size_t) override { return enter(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const json::exception& error) override {
    // The library's sentence starts with "[json.exception…] parse error at line …: "; what follows is for people.
    std::string_view text = error.what();
    if (const size_t at = text.find("] "); at != text.npos) text.remove_prefix(at + 2);
    return refuse(fmt::format("near byte {}: {}", position, text.substr(0, 200)));
  }

  const std::string& problem() const { return problem_; }

 private:
  bool enter() {
    if (++depth_ > max_json_depth) return refuse(fmt::format("more than {} nested levels", max_json_depth));
    return true;
  }
  bool refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  std::vector<std::set<std::string>> keys_;  // of the objects that are open
  int depth_ = 0;
  std::string problem_;
};

}  // namespace

Result<json> parse_json_object(std::string_view text, const std::string& label) {
  Inspector inspector;
  if (!json::sax_parse(text, &inspector)) {
    return Status(Code::malformed, fmt::format("{} is not valid JSON: {}", label, inspector.problem()));
  }
  json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return Status(Code::malformed, fmt::format("{} must hold one JSON object", label));
  return root;
}

}  // namespace zaya::checkpoint
