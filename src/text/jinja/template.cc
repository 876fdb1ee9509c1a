#include "text/jinja/template.h"

#include <new>

#include "text/jinja/error.h"
#include "text/jinja/from_json.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"
#include "text/jinja/scopes.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// The largest template seen in a model repository has about 30 kB.
constexpr size_t kMaxSource = size_t{2} << 20;

Status to_status(const Error& error, const std::string& name, int running_line) {
  const int line = error.line > 0 ? error.line : running_line;
  const std::string place = name + (line > 0 ? ", line " + std::to_string(line) : "");
  if (error.raised_by_template) return Status(error.code, error.message, "raised by " + place);
  return Status(error.code, place + ": " + error.message, error.hint);
}

// Runs `work`; turns what it throws into a Status. `line` says where the work stands.
template <class T, class Work, class Line>
Result<T> guarded(const std::string& name, Work&& work, Line&& line) {
  try {
    return Result<T>(work());
  } catch (const Error& error) {
    return to_status(error, name, line());
  } catch (const std::bad_alloc&) {
    return Status(Code::resource_exhausted, name + ": out of memory");
  } catch (const std::exception& error) {
    return Status(Code::invalid_argument, name + ": " + error.what());
  }
}

}  // namespace

Template::Template() = default;
Template::~Template() = default;

Result<std::shared_ptr<const Template>> Template::parse(std::string source, std::string name) {
  if (source.size() > kMaxSource) {
    return Status(Code::out_of_range, name + " has " + std::to_string(source.size()) + " bytes, more than the " +
                                          std::to_string(kMaxSource) + " a template may have");
  }
  if (!valid_utf8(source)) return Status(Code::malformed, name + " is not valid UTF-8");
  return guarded<std::shared_ptr<const Template>>(
      name,
      [&] {
        auto root = parse_template(source);
        resolve_scopes(*root);
        std::shared_ptr<Template> result(new Template());
        result->name_ = name;
        result->root_ = std::move(root);
        return std::shared_ptr<const Template>(std::move(result));
      },
      [] { return 0; });
}

Result<std::string> Template::render(const nlohmann::ordered_json& variables, const RenderOptions& options) const {
  if (!variables.is_object()) return Status(Code::invalid_argument, name_ + ": the variables must be a JSON object");
  int line = 0;
  return guarded<std::string>(
      name_,
      [&] {
        Meter meter(options.limits);
        const MeterScope scope(&meter);
        Interpreter interpreter(*root_, from_json(variables), options);
        try {
          return interpreter.run();
        } catch (...) {
          line = interpreter.line();
          throw;
        }
      },
      [&] { return line; });
}

}  // namespace zaya::text::jinja
