#include "reasoning/settings_json.h"

namespace zaya::reasoning {
namespace {

using Json = nlohmann::ordered_json;

// One list of fields for both directions.
template <class Visitor, class S>
Status visit(S& settings, Visitor&& field) {
  ZAYA_RETURN_IF_ERROR(field("method", settings.method));
  ZAYA_RETURN_IF_ERROR(field("N", settings.population));
  ZAYA_RETURN_IF_ERROR(field("C", settings.aggregation_size));
  ZAYA_RETURN_IF_ERROR(field("T", settings.rounds));
  ZAYA_RETURN_IF_ERROR(field("beta", settings.thinking_budget));
  ZAYA_RETURN_IF_ERROR(field("tau", settings.tail_length));
  ZAYA_RETURN_IF_ERROR(field("final_budget", settings.final_budget));
  ZAYA_RETURN_IF_ERROR(field("temperature", settings.sampling.temperature));
  ZAYA_RETURN_IF_ERROR(field("top_p", settings.sampling.top_p));
  ZAYA_RETURN_IF_ERROR(field("top_k", settings.sampling.top_k));
  ZAYA_RETURN_IF_ERROR(field("min_p", settings.sampling.min_p));
  ZAYA_RETURN_IF_ERROR(field("seed", settings.seed));
  ZAYA_RETURN_IF_ERROR(field("tail_content", settings.tail_content));
  ZAYA_RETURN_IF_ERROR(field("close", settings.close));
  ZAYA_RETURN_IF_ERROR(field("answer_rounds", settings.answer_rounds));
  ZAYA_RETURN_IF_ERROR(field("tail_order", settings.tail_order));
  ZAYA_RETURN_IF_ERROR(field("carry", settings.carry));
  ZAYA_RETURN_IF_ERROR(field("choice", settings.choice));
  ZAYA_RETURN_IF_ERROR(field("head_length", settings.head_length));
  ZAYA_RETURN_IF_ERROR(field("widths", settings.widths));
  ZAYA_RETURN_IF_ERROR(field("answer_kind", settings.answer_kind));
  ZAYA_RETURN_IF_ERROR(field("max_new_tokens", settings.max_new_tokens));
  ZAYA_RETURN_IF_ERROR(field("max_seconds", settings.max_seconds));
  ZAYA_RETURN_IF_ERROR(field("max_rounds", settings.max_rounds));
  ZAYA_RETURN_IF_ERROR(field("early_stop", settings.early_stop));
  return field("overlap", settings.overlap);
}

struct Reader {
  const Json& json;

  template <class T>
  Status operator()(const char* key, T& value) const {
    const auto found = json.find(key);
    if (found == json.end()) return Status();
    const auto wrong = [&](const char* what) {
      return Status(Code::malformed, std::string("settings: ") + key + " is no " + what);
    };
    if constexpr (std::is_enum_v<T>) {
      if (!found->is_string()) return wrong("name");
      return parse_name(found->template get<std::string>(), value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!found->is_string()) return wrong("text");
      value = found->template get<std::string>();
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!found->is_boolean()) return wrong("truth value");
      value = found->template get<bool>();
    } else if constexpr (std::is_same_v<T, double>) {
      if (!found->is_number()) return wrong("number");
      value = found->template get<double>();
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      if (!found->is_array() || found->size() > 1024) return wrong("short list");
      value.clear();
      for (const Json& item : *found) {
        if (!item.is_number_integer()) return wrong("list of integers");
        value.push_back(item.template get<int64_t>());
      }
    } else {
      if (!found->is_number_integer()) return wrong("integer");
      value = found->template get<T>();
    }
    return Status();
  }
};

}  // namespace

Json settings_json(const Settings& settings) {
  Json json;
  const Status fine = visit(settings, [&](const char* key, const auto& value) {
    if constexpr (std::is_enum_v<std::decay_t<decltype(value)>>) {
      json[key] = name_of(value);
    } else {
      json[key] = value;
    }
    return Status();
  });
  assert(fine.ok());
  return json;
}

Result<Settings> settings_from_json(const Json& json) {
  Settings settings;
  if (!json.is_object()) return Status(Code::malformed, "the settings are no JSON object");
  ZAYA_RETURN_IF_ERROR(visit(settings, Reader{json}));
  settings.apply_method();
  ZAYA_RETURN_IF_ERROR(settings.validate());
  return settings;
}

}  // namespace zaya::reasoning
