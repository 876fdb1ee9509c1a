#include "text/jinja/from_json.h"

#include <limits>

#include "text/jinja/error.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 500;

Value string_value(const std::string& text) {
  if (!valid_utf8(text)) fail("a text among the variables is not valid UTF-8");
  return Value::string(text);
}

Value convert(const Json& json, int depth) {
  if (depth > kMaxDepth) fail_limit("the variables nest more than " + std::to_string(kMaxDepth) + " deep");
  switch (json.type()) {
    case Json::value_t::boolean: return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer: return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail_unsupported("the integer " + std::to_string(number) + " of more than 64 bits among the variables");
      }
      return Value::integer(static_cast<int64_t>(number));
    }
    case Json::value_t::number_float: return Value::floating(json.get<double>());
    case Json::value_t::string: return string_value(json.get_ref<const std::string&>());
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(convert(item, depth + 1));
      return Value::list(std::move(items));
    }
    case Json::value_t::object: {
      auto dict = make_ref<DictObject>();
      for (const auto& [key, item] : json.items()) dict->set(string_value(key), convert(item, depth + 1));
      return Value::dict(dict);
    }
    default: return Value::none();
  }
}

}  // namespace

Value from_json(const Json& json) { return convert(json, 0); }

}  // namespace zaya::text::jinja
