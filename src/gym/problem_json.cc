#include "gym/problem_json.h"

#include <nlohmann/json.hpp>

namespace zaya::gym {
namespace {

using Json = nlohmann::ordered_json;

Status read_text(const Json& json, const char* key, bool needed, std::string& out) {
  const auto found = json.find(key);
  if (found == json.end() && !needed) return Status();
  if (found == json.end() || !found->is_string()) {
    return Status(Code::malformed, std::string("a problem needs the text \"") + key + "\"");
  }
  out = found->get<std::string>();
  return Status();
}

}  // namespace

std::string problem_json(const Problem& problem) {
  const Json json = {{"environment", problem.environment},
                     {"seed", problem.seed},
                     {"difficulty", problem.difficulty},
                     {"split", name_of(problem.split)},
                     {"prompt", problem.prompt},
                     {"answer", problem.answer},
                     {"trace", problem.trace}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Problem> parse_problem(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Status(Code::malformed, "a problem is one JSON object");
  Problem problem;
  std::string split;
  ZAYA_RETURN_IF_ERROR(read_text(json, "environment", true, problem.environment));
  ZAYA_RETURN_IF_ERROR(read_text(json, "prompt", true, problem.prompt));
  ZAYA_RETURN_IF_ERROR(read_text(json, "answer", true, problem.answer));
  ZAYA_RETURN_IF_ERROR(read_text(json, "trace", false, problem.trace));
  ZAYA_RETURN_IF_ERROR(read_text(json, "split", false, split));
  if (!split.empty()) {
    const auto parsed = parse_split(split);
    if (!parsed) return Status(Code::malformed, "\"split\" is neither \"train\" nor \"held_out\"");
    problem.split = *parsed;
  }
  if (const auto seed = json.find("seed"); seed != json.end()) {
    if (!seed->is_number_unsigned()) return Status(Code::malformed, "\"seed\" is no whole number of 0 or more");
    problem.seed = seed->get<uint64_t>();
  }
  if (const auto difficulty = json.find("difficulty"); difficulty != json.end()) {
    if (!difficulty->is_number_unsigned() || difficulty->get<uint64_t>() > 1000000) {
      return Status(Code::malformed, "\"difficulty\" is no whole number from 0 to 1000000");
    }
    problem.difficulty = difficulty->get<int>();
  }
  return problem;
}

}  // namespace zaya::gym
