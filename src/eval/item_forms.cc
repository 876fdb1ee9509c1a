#include "eval/item_forms.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>

#include "reasoning/answers.h"
#include "reasoning/subsets.h"

namespace zaya::eval {
std::string plain_name(std::string_view name) {
  std::string plain;
  for (char c : name) {
    if (c != ' ' && c != '_' && c != '-') plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return plain;
}

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostTests = 2000;
constexpr size_t kMostChoices = 10;

// One object's fields by their plain names.
class Fields {
 public:
  explicit Fields(const Json& json) {
    for (const auto& [name, value] : json.items()) fields_.emplace(plain_name(name), &value);
  }

  const Json* find(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      const auto found = fields_.find(name);
      if (found != fields_.end() && !found->second->is_null()) return found->second;
    }
    return nullptr;
  }

  // A text, or a number written out; nothing when it is absent, empty or something else.
  std::optional<std::string> text(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      const Json* found = find({name});
      if (found == nullptr) continue;
      std::string text;
      if (found->is_string()) text = found->get<std::string>();
      if (found->is_number()) text = found->dump();
      if (!text.empty()) return text;
    }
    return std::nullopt;
  }

 private:
  std::map<std::string, const Json*> fields_;
};

std::string trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return "";
  return std::string(text.substr(from, text.find_last_not_of(" \t\r\n") + 1 - from));
}

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

Status not_understood(std::string why) { return Status(Code::malformed, std::move(why)); }

// Choices as "(A) …", and the letter that is right.
Status make_options(Item& item, const std::string& question, const std::vector<std::string>& choices, size_t right) {
  item.judge = Judge::option;
  item.prompt = trimmed(question) + "\n";
  for (size_t i = 0; i < choices.size(); ++i) {
    item.prompt += fmt::format("\n({}) {}", static_cast<char>('A' + i), trimmed(choices[i]));
  }
  item.prompt += "\n\nThe answer is the letter of the right choice.";
  item.expected = std::string(1, static_cast<char>('A' + right));
  return Status();
}

// GPQA: the right answer stands apart, so the order is ours to draw.
Status read_gpqa(const Fields& fields, const std::string& question, Item& item) {
  std::vector<std::string> choices{*fields.text({"correctanswer"})};
  for (const char* name : {"incorrectanswer1", "incorrectanswer2", "incorrectanswer3"}) {
    const auto wrong = fields.text({name});
    if (!wrong.has_value()) return not_understood("has a correct answer, but not three incorrect ones");
    choices.push_back(*wrong);
  }
  // Fisher and Yates, from numbers that the question names.
  std::array<size_t, 4> order{0, 1, 2, 3};
  const uint64_t seed = hash_of(question);
  for (size_t i = 3; i > 0; --i) std::swap(order[i], order[reasoning::mix(seed, 0x67707161, i) % (i + 1)]);
  std::vector<std::string> shown;
  for (size_t i : order) shown.push_back(choices[i]);
  return make_options(item, question, shown,
                      static_cast<size_t>(std::find(order.begin(), order.end(), size_t{0}) - order.begin()));
}

Status read_choices(const Fields& fields, const Json& listed, const std::string& question, Item& item) {
  std::vector<std::string> choices;
  const auto take = [&](const Json& choice) {
    if (choice.is_string()) choices.push_back(choice.get<std::string>());
    if (choice.is_number()) choices.push_back(choice.dump());
  };
  // A list; an object of letters; or {"text": […], "label": […]}.
  const Json* list = &listed;
  if (listed.is_object() && listed.contains("text")) list = &listed["text"];
  if (!list->is_array() && !list->is_object()) return not_understood("its choices are no list");
  for (const auto& choice : *list) take(choice);
  if (choices.size() < 2 || choices.size() > kMostChoices || choices.size() != list->size()) {
    return not_understood(fmt::format("{} of its {} choices are texts; 2 to {} are understood", choices.size(),
                                      list->size(), kMostChoices));
  }
  const Json* given = fields.find({"answer", "correctanswer", "answerkey", "label", "answeridx", "correct", "target"});
  if (given == nullptr) return not_understood("has choices, but no answer");
  size_t right = choices.size();
  if (given->is_number_integer()) {
    const int64_t index = given->get<int64_t>();
    if (index >= 0) right = static_cast<size_t>(index);
  } else if (given->is_string()) {
    const std::string text = trimmed(given->get<std::string>());
    const auto letter = reasoning::extract_answer(text, reasoning::AnswerKind::option);
    const auto same = std::find(choices.begin(), choices.end(), text);
    if (same != choices.end()) {
      right = static_cast<size_t>(same - choices.begin());
    } else if (letter.has_value() && !letter->empty() && text.size() <= 16) {
      right = static_cast<size_t>((*letter)[0] - 'A');
    }
  }
  if (right >= choices.size()) return not_understood("its answer is none of its choices");
  return make_options(item, question, choices, right);
}

// Tests come as a list, or as a text that holds one.
Status read_tests(const Json* given, std::vector<CodeTest>& tests, bool& packed) {
  packed = false;
  if (given == nullptr) return Status();
  Json parsed;
  if (given->is_string()) {
    const std::string& text = given->get_ref<const std::string&>();
    if (trimmed(text.substr(0, 64)).empty()) return Status();
    parsed = Json::parse(text, nullptr, false);
    if (parsed.is_discarded()) {
      packed = true;
      return Status();
    }
    given = &parsed;
  }
  if (!given->is_array()) return not_understood("its test cases are no list");
  for (const Json& test : *given) {
    if (!test.is_object() || tests.size() >= kMostTests) return not_understood("has a test that is none, or too many");
    const Fields fields(test);
    const Json *input = fields.find({"input"}), *output = fields.find({"output", "expectedoutput"});
    if (input == nullptr || output == nullptr || !input->is_string() || !output->is_string()) {
      return not_understood("has a test without input or output");
    }
    const std::string type = fields.text({"testtype", "type"}).value_or("stdin");
    tests.push_back({input->get<std::string>(), output->get<std::string>(), type == "functional"});
  }
  return Status();
}

// The method that the starter code leaves open.
std::string function_of(const Fields& fields, const std::string& starter) {
  if (const Json* metadata = fields.find({"metadata"}); metadata != nullptr) {
    const Json parsed = metadata->is_string() ? Json::parse(metadata->get<std::string>(), nullptr, false) : *metadata;
    if (parsed.is_object()) {
      if (const auto name = Fields(parsed).text({"funcname", "fnname"}); name.has_value()) return *name;
    }
  }
  const size_t at = starter.rfind("def ");
  if (at == std::string::npos) return "";
  const size_t open = starter.find('(', at);
  return open == std::string::npos ? "" : trimmed(std::string_view(starter).substr(at + 4, open - at - 4));
}

bool is_identifier(std::string_view name) {
  return !name.empty() && name.size() <= 200 && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; });
}

Status read_code(const Fields& fields, const std::string& question, Item& item, std::vector<std::string>& notes) {
  std::vector<CodeTest> tests;
  bool packed_public = false, packed_private = false;
  ZAYA_RETURN_IF_ERROR(read_tests(fields.find({"publictestcases", "publictests"}), tests, packed_public));
  ZAYA_RETURN_IF_ERROR(
      read_tests(fields.find({"privatetestcases", "privatetests", "testcases", "tests"}), tests, packed_private));
  if (packed_private || packed_public) {
    notes.push_back(
        "its private tests are packed, so only the public ones judge (tools/eval/unpack_livecodebench.py unpacks a "
        "file)");
  }
  if (tests.empty()) return not_understood("has no test that can be read");
  const std::string starter = fields.text({"startercode"}).value_or("");
  item.judge = Judge::code;
  item.prompt = trimmed(question);
  if (std::any_of(tests.begin(), tests.end(), [](const CodeTest& test) { return test.functional; })) {
    item.function = function_of(fields, starter);
    if (!is_identifier(item.function)) return not_understood("has functional tests, but names no function");
  }
  if (trimmed(starter).empty()) {
    item.prompt +=
        "\n\nWrite a Python 3 program that reads the input from standard input and prints the output. Give the whole "
        "program in one ```python block.";
  } else {
    item.prompt += fmt::format(
        "\n\nComplete this Python 3 code, and give all of it in one ```python block.\n\n```python\n{}\n```", starter);
  }
  item.tests = std::make_shared<const std::vector<CodeTest>>(std::move(tests));
  return Status();
}

// The answer of "problem + answer".
std::optional<std::string> expected_answer(const Fields& fields) {
  auto answer = fields.text({"answer", "shortanswer", "finalanswer", "expectedanswer", "groundtruth", "target"});
  if (answer.has_value()) {
    // GSM8K's answers are solutions that end in "#### 42".
    if (const size_t mark = answer->rfind("####"); mark != std::string::npos) return trimmed(answer->substr(mark + 4));
    if (answer->find("\\boxed") == std::string::npos) return trimmed(*answer);
  } else {
    answer = fields.text({"solution"});
    if (!answer.has_value()) return std::nullopt;
  }
  return reasoning::extract_answer(*answer, reasoning::AnswerKind::boxed);
}

// The one user's message of a conversation.
std::optional<std::string> message_text(const Json& messages) {
  if (!messages.is_array() || messages.size() != 1 || !messages[0].is_object()) return std::nullopt;
  const Fields fields(messages[0]);
  return fields.text({"role"}).value_or("") == "user" ? fields.text({"content"}) : std::nullopt;
}

}  // namespace

Status read_item(const Json& json, Item& item, std::vector<std::string>& notes) {
  if (!json.is_object()) return not_understood("is no JSON object");
  const Fields fields(json);
  item.id = fields.text({"id", "questionid", "problemid", "recordid", "uniqueid", "problemidx", "idx", "taskid"})
                .value_or("");
  item.group =
      fields.text({"group", "highleveldomain", "category", "subject", "domain", "difficulty", "level"}).value_or("");
  auto question = fields.text({"questioncontent", "problem", "question", "prompt", "query", "problemstatement"});
  if (const Json* messages = fields.find({"messages"}); messages != nullptr && !question.has_value()) {
    question = message_text(*messages);
    if (!question.has_value()) return not_understood("its messages are not just one of a user");
  }
  if (!question.has_value() || trimmed(*question).empty()) return not_understood("has no problem, question or prompt");
  if (fields.find({"publictestcases", "privatetestcases", "publictests", "privatetests"}) != nullptr) {
    return read_code(fields, *question, item, notes);
  }
  if (fields.text({"correctanswer"}).has_value() && fields.find({"incorrectanswer1"}) != nullptr) {
    return read_gpqa(fields, *question, item);
  }
  if (const Json* choices = fields.find({"choices", "options"}); choices != nullptr) {
    return read_choices(fields, *choices, *question, item);
  }
  const auto answer = expected_answer(fields);
  if (!answer.has_value() || answer->empty()) return not_understood("has no answer, choices or tests");
  item.prompt = trimmed(*question);
  item.expected = *answer;
  return Status();
}

}  // namespace zaya::eval
