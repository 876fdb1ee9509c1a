#include "text/jinja/globals.h"

#include <ctime>

#include "text/jinja/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace zaya::text::jinja {
namespace {

Value make_range(Interpreter&, Arguments& arguments) {
  const std::vector<Value> given = bind_positional("range", arguments, 1, 3);
  int64_t start = 0, stop = require_integer(given[0]), step = 1;
  if (!given[1].is_missing()) {
    start = stop;
    stop = require_integer(given[1]);
  }
  if (!given[2].is_missing()) step = require_integer(given[2]);
  return Value::other(make_ref<RangeObject>(start, stop, step));
}

// dict(mapping or pairs, name=…)
Ref<DictObject> build_dict(Arguments& arguments) {
  if (arguments.positional.size() > 1) fail("dict expected at most 1 argument");
  auto dict = make_ref<DictObject>();
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::dict)) {
      for (const auto& [key, value] : source.as_dict().entries()) dict->set(key, value);
    } else {
      auto iterator = iterate(source);
      Value pair;
      while (iterator->next(pair)) {
        if (!iterable(pair)) fail("cannot convert dictionary update sequence element to a sequence");
        const std::vector<Value> parts = to_vector(pair);
        if (parts.size() != 2) {
          fail("dictionary update sequence element has length " + std::to_string(parts.size()) + "; 2 is required");
        }
        dict->set(parts[0], parts[1]);
      }
    }
  }
  for (auto& [name, value] : arguments.keywords) dict->set(Value::string(name), value);
  return dict;
}

Value make_dict(Interpreter&, Arguments& arguments) { return Value::dict(build_dict(arguments)); }

Value make_namespace(Interpreter& interpreter, Arguments& arguments) {
  const auto dict = build_dict(arguments);
  auto space = make_ref<NamespaceObject>(interpreter);
  for (const auto& [key, value] : dict->entries()) {
    if (key.is_string()) space->set(key.text(), value);  // others cannot be read
  }
  return Value::other(space);
}

Value make_cycler(Interpreter&, Arguments& arguments) {
  if (!arguments.keywords.empty()) fail("cycler() takes no keyword arguments");
  if (arguments.positional.empty()) fail("at least one item has to be provided");
  return Value::other(make_ref<CyclerObject>(std::move(arguments.positional)));
}

Value make_joiner(Interpreter&, Arguments& arguments) {
  const std::vector<Value> given = bind("joiner", arguments, {"sep"}, 0);
  return Value::other(make_ref<JoinerObject>(given[0].is_missing() ? Value::string(", ") : given[0]));
}

Value raise_exception(Interpreter& interpreter, Arguments& arguments) {
  const std::vector<Value> given = bind("raise_exception", arguments, {"message"}, 1);
  throw Error{Code::invalid_argument, to_text(given[0]), interpreter.line(), "", true};
}

Value strftime_now(Interpreter& interpreter, Arguments& arguments) {
  const std::vector<Value> given = bind("strftime_now", arguments, {"format"}, 1);
  if (!given[0].is_string()) fail("strftime() argument 1 must be str, not " + std::string(type_name(given[0])));
  std::tm now{};
  if (interpreter.options().now) {
    now = interpreter.options().now();
  } else {
    const std::time_t seconds = std::time(nullptr);
    localtime_r(&seconds, &now);
  }
  const std::string& format = given[0].text();
  if (format.size() > 4096) fail_limit("a format of strftime_now of more than 4096 bytes");
  if (format.find('\0') != std::string::npos) fail("embedded null character");
  std::string buffer(64 * format.size() + 64, '\0');
  // A mark in front tells an empty result from one that did not fit.
  const size_t size = std::strftime(buffer.data(), buffer.size(), ("|" + format).c_str(), &now);
  if (size == 0) fail_limit("strftime_now prints too much");
  return Value::string(buffer.substr(1, size - 1));
}

}  // namespace

Value find_global(std::string_view name) {
  static constexpr std::pair<const char*, FunctionObject::Function> kGlobals[] = {
      {"range", make_range},          {"dict", make_dict},     {"namespace", make_namespace},
      {"cycler", make_cycler},        {"joiner", make_joiner}, {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
  };
  for (const auto& [global, function] : kGlobals) {
    if (name == global) return Value::other(make_ref<FunctionObject>(global, function));
  }
  // jinja2's other two; a template that only mentions them runs.
  if (name == "lipsum" || name == "self") return Value::undefined("'" + std::string(name) + "' is not supported");
  return {};
}

}  // namespace zaya::text::jinja
