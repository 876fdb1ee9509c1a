// Whether an answer is right.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "eval/items.h"
#include "eval/sandbox.h"
#include "reasoning/answers.h"

namespace zaya::eval {

struct JudgeOptions {
  SandboxLimits limits;            // of each test
  std::string python = "python3";  // what runs code: a path, or a name in /usr/local/bin, /usr/bin or /bin
};

// How answers to an item are read, unless the user says otherwise.
reasoning::AnswerKind answer_kind_of(Judge judge);

// `text`: what the model wrote behind its reasoning; `answer`: as reasoning::Run read it from there, or from the
// reasoning where nothing came behind it. Code runs in the sandbox, test after test, up to the first that fails; that
// blocks for as long as it takes. `why` (may be null): what was wrong, for code.
bool is_right(const Item& item, std::string_view text, const std::optional<std::string>& answer,
              const JudgeOptions& options = {}, std::string* why = nullptr);

// Whether a program's output is what a test expects: equal line by line up to white space at the ends, or word by word
// with numbers compared as numbers (1e-9 relative).
bool same_output(std::string_view got, std::string_view expected);

}  // namespace zaya::eval
