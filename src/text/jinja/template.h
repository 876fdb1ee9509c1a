// A parsed Jinja template: the door to this folder.
//
// The language is the part of jinja2 3.1 that chat templates use, with jinja2's semantics down to Python's printing of
// values; docs of the parts: lexer.h (text and tags), ast.h (what can be said), scopes.h (which variable a name means),
// interpreter.h (what it does), value.h (what it works on), meter.h (what it may cost).
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "nlohmann/json.hpp"
#include "text/jinja/meter.h"

namespace zaya::text::jinja {

struct TemplateNode;

struct RenderOptions {
  Limits limits;
  // The local time that strftime_now prints; the system's when empty.
  std::function<std::tm()> now;
};

class Template {
 public:
  // `name` stands in error messages. Fails with malformed (and the line), unsupported, or resource_exhausted when
  // expressions nest too deeply.
  static Result<std::shared_ptr<const Template>> parse(std::string source, std::string name);
  ~Template();

  // `variables` is an object; it hides Jinja's globals of the same names. Threads may render one template at once.
  Result<std::string> render(const nlohmann::ordered_json& variables, const RenderOptions& options = {}) const;

 private:
  Template();

  std::string name_;
  std::unique_ptr<const TemplateNode> root_;
};

}  // namespace zaya::text::jinja
