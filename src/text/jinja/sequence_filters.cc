#include "text/jinja/sequence_filters.h"

#include <algorithm>
#include <numeric>

#include "text/jinja/attributes.h"
#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

bool given(const Value& value) { return !value.is_missing() && !value.is_none(); }

// "a.b.0": the path of attributes and items that the filters' attribute arguments name.
class Path {
 public:
  explicit Path(const Value& attribute) {
    if (!given(attribute)) return;
    if (!attribute.is_string()) {
      parts_.push_back(attribute);
      return;
    }
    const std::string_view text = attribute.text();
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find('.', begin), text.size());
      const std::string part(text.substr(begin, end - begin));
      const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
      parts_.push_back(digits ? Value::integer(parse_integer(part, 10).value_or(0)) : Value::string(part));
      begin = end + 1;
    }
  }

  // `fallback`, unless missing or none, stands for what is undefined on the way.
  Value follow(Value item, const Value& fallback = {}) const {
    for (const Value& part : parts_) {
      item = get_item(item, part);
      if (given(fallback) && item.is_undefined()) item = fallback;
    }
    return item;
  }

 private:
  std::vector<Value> parts_;
};

Value ignore_case(const Value& value) {
  if (!value.is_string()) return value;
  spend_text(value.text().size());
  return Value::string(lower(value.text()));
}

// The positions of `keys` in ascending order; equal ones keep their order, also in reverse.
std::vector<size_t> sorted_order(const std::vector<Value>& keys, bool descending) {
  std::vector<size_t> positions(keys.size());
  std::iota(positions.begin(), positions.end(), size_t{0});
  std::stable_sort(positions.begin(), positions.end(), [&](size_t a, size_t b) {
    return descending ? order(keys[b], keys[a], "<") == -1 : order(keys[a], keys[b], "<") == -1;
  });
  return positions;
}

// The argument `reverse`, which Python wants to be an integer or a boolean.
bool is_reverse(const Value& value) { return !value.is_missing() && require_integer(value) != 0; }

Value pick(const std::vector<Value>& items, const std::vector<size_t>& positions) {
  std::vector<Value> picked;
  picked.reserve(items.size());
  for (const size_t position : positions) picked.push_back(items[position]);
  return Value::list(std::move(picked));
}

Value minimum_or_maximum(const char* name, bool maximum, const Value& input, Arguments& arguments) {
  const auto bound = bind(name, arguments, {"case_sensitive", "attribute"}, 0);
  const Path path(bound[1]);
  auto iterator = iterate(input);
  Value item, best, best_key;
  while (iterator->next(item)) {
    Value key = path.follow(item);
    if (!truthy(bound[0])) key = ignore_case(key);
    const bool better =
        best.is_missing() || (maximum ? order(key, best_key, ">") == 1 : order(key, best_key, "<") == -1);
    if (!better) continue;
    best = item;
    best_key = std::move(key);
  }
  return best.is_missing() ? Value::undefined("No aggregated item, sequence was empty.") : best;
}

Value select_or_reject(Interpreter& interpreter, const Value& input, Arguments& arguments, bool keep,
                       bool by_attribute) {
  if (!truthy(input)) return generator([](Value&) { return false; });
  // Like Python's generators, this looks at its arguments when the first item is due.
  return generator([&interpreter, iterator = Ref<IteratorObject>(), input, keep, by_attribute,
                    arguments = std::move(arguments)](Value& item) mutable {
    auto& positional = arguments.positional;
    if (by_attribute && positional.empty()) fail("Missing parameter for attribute name");
    if (!iterator) iterator = iterate(input);
    const size_t test_at = by_attribute ? 1 : 0;
    const Path path(by_attribute ? positional[0] : Value());
    while (iterator->next(item)) {
      const Value subject = path.follow(item);
      bool passes;
      if (positional.size() > test_at) {
        Arguments rest{{positional.begin() + static_cast<ptrdiff_t>(test_at) + 1, positional.end()},
                       arguments.keywords};
        passes = interpreter.call_test(positional[test_at], subject, rest);
      } else {
        passes = truthy(subject);
      }
      if (passes == keep) return true;
    }
    return false;
  });
}

}  // namespace

Value filter_batch(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("batch", arguments, {"linecount", "fill_with"}, 1);
  return generator([iterator = Ref<IteratorObject>(), input, bound, held = Value()](Value& line) mutable {
    if (!iterator) iterator = iterate(input);
    const Value& size = bound[0];
    std::vector<Value> items;
    Value item;
    if (!held.is_missing()) items.push_back(std::exchange(held, Value()));
    while (iterator->next(item)) {
      if (equal(Value::integer(static_cast<int64_t>(items.size())), size)) {
        held = item;
        line = Value::list(std::move(items));
        return true;
      }
      items.push_back(item);
    }
    if (items.empty()) return false;
    if (given(bound[1])) {
      const int64_t room = require_integer(size) - static_cast<int64_t>(items.size());
      if (room > 0) {
        const Value filling = apply(Binary::Operator::multiply, Value::list({bound[1]}), Value::integer(room));
        items.insert(items.end(), filling.items().begin(), filling.items().end());
      }
    }
    line = Value::list(std::move(items));
    return true;
  });
}

Value filter_dictsort(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}, 0);
  const std::string by = bound[1].is_missing() ? "key" : bound[1].is_string() ? bound[1].text() : "";
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  require_defined(input);
  if (!input.is(Kind::dict)) fail("'" + std::string(type_name(input)) + "' object has no attribute 'items'");
  std::vector<Value> items, keys;
  for (const auto& [key, value] : input.as_dict().entries()) {
    items.push_back(Value::tuple({key, value}));
    const Value& sort_key = by == "key" ? key : value;
    keys.push_back(truthy(bound[0]) ? sort_key : ignore_case(sort_key));
  }
  return pick(items, sorted_order(keys, is_reverse(bound[2])));
}

Value filter_first(Interpreter&, const Value& input, Arguments& arguments) {
  bind("first", arguments, {}, 0);
  Value item;
  return iterate(input)->next(item) ? item : Value::undefined("No first item, sequence was empty.");
}

Value filter_last(Interpreter&, const Value& input, Arguments& arguments) {
  bind("last", arguments, {}, 0);
  const auto iterator = reverse(input);
  if (!iterator) fail("'" + std::string(type_name(input)) + "' object is not reversible");
  Value item;
  return iterator->next(item) ? item : Value::undefined("No last item, sequence was empty.");
}

Value filter_items(Interpreter&, const Value& input, Arguments& arguments) {
  bind("items", arguments, {}, 0);
  return generator([input, position = size_t{0}](Value& item) mutable {
    if (input.is_undefined()) return false;
    if (!input.is(Kind::dict)) fail("Can only get item pairs from a mapping.");
    const auto& entries = input.as_dict().entries();
    if (position == entries.size()) return false;
    item = Value::tuple({entries[position].first, entries[position].second});
    ++position;
    return true;
  });
}

Value filter_join(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("join", arguments, {"d", "attribute"}, 0);
  const Path path(bound[1]);
  const std::string separator = bound[0].is_missing() ? "" : to_text(bound[0]);
  Joiner joiner(separator);
  auto iterator = iterate(input);
  Value item;
  while (iterator->next(item)) {
    const Value part = path.follow(item);
    if (part.is_string()) {
      joiner.add(part.text());
    } else {
      joiner.add(to_text(part));
    }
  }
  return Value::string(joiner.take());
}

Value filter_length(Interpreter&, const Value& input, Arguments& arguments) {
  bind("length", arguments, {}, 0);
  return Value::integer(static_cast<int64_t>(require_length(input)));
}

Value filter_list(Interpreter&, const Value& input, Arguments& arguments) {
  bind("list", arguments, {}, 0);
  return Value::list(to_vector(input));
}

Value filter_map(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  if (!truthy(input)) return generator([](Value&) { return false; });
  Value attribute, fallback;
  bool by_attribute = false;
  std::string unexpected;
  if (arguments.positional.empty()) {
    for (const auto& [name, value] : arguments.keywords) {
      if (name == "attribute") {
        attribute = value;
        by_attribute = true;
      } else if (name == "default") {
        fallback = value;
      } else {
        unexpected = name;
      }
    }
  }
  return generator([&interpreter, iterator = Ref<IteratorObject>(), input, attribute, fallback, by_attribute,
                    unexpected, arguments = std::move(arguments)](Value& item) mutable {
    if (!by_attribute && arguments.positional.empty()) fail("map requires a filter argument");
    if (by_attribute && !unexpected.empty()) fail("Unexpected keyword argument '" + unexpected + "'");
    if (!iterator) iterator = iterate(input);
    Value next;
    if (!iterator->next(next)) return false;
    if (by_attribute) {
      item = Path(attribute).follow(next, fallback);
    } else {
      Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.keywords};
      item = interpreter.call_filter(arguments.positional[0], next, rest);
    }
    return true;
  });
}

Value filter_max(Interpreter&, const Value& input, Arguments& arguments) {
  return minimum_or_maximum("max", true, input, arguments);
}
Value filter_min(Interpreter&, const Value& input, Arguments& arguments) {
  return minimum_or_maximum("min", false, input, arguments);
}

Value filter_select(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  return select_or_reject(interpreter, input, arguments, true, false);
}
Value filter_reject(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  return select_or_reject(interpreter, input, arguments, false, false);
}
Value filter_selectattr(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  return select_or_reject(interpreter, input, arguments, true, true);
}
Value filter_rejectattr(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  return select_or_reject(interpreter, input, arguments, false, true);
}

Value filter_reverse(Interpreter&, const Value& input, Arguments& arguments) {
  bind("reverse", arguments, {}, 0);
  if (input.is_string()) {
    return Value::string(slice(input.as_string(), Value(), Value(), Value::integer(-1)), input.as_string().markup);
  }
  if (auto iterator = reverse(input)) return Value::other(iterator);
  if (!iterable(input)) fail("argument must be iterable");
  std::vector<Value> items = to_vector(input);
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

Value filter_slice(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("slice", arguments, {"slices", "fill_with"}, 1);
  return generator([input, bound, slice = int64_t{0}, items = std::vector<Value>()](Value& part) mutable {
    const int64_t slices = require_integer(bound[0]);
    if (slices == 0) fail("integer division or modulo by zero");
    if (slice == 0) items = to_vector(input);
    if (slice >= slices) return false;
    const auto length = static_cast<int64_t>(items.size());
    const int64_t size = length / slices, longer = length % slices;
    const int64_t begin = slice * size + std::min(slice, longer);
    const int64_t end = begin + size + (slice < longer ? 1 : 0);
    std::vector<Value> piece(items.begin() + static_cast<ptrdiff_t>(begin),
                             items.begin() + static_cast<ptrdiff_t>(end));
    if (given(bound[1]) && slice >= longer) piece.push_back(bound[1]);
    ++slice;
    part = Value::list(std::move(piece));
    return true;
  });
}

Value filter_sort(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0);
  std::vector<Path> paths;
  if (bound[2].is_string()) {
    const std::string_view text = bound[2].text();
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      paths.emplace_back(Value::string(std::string(text.substr(begin, end - begin))));
      begin = end + 1;
    }
  } else {
    paths.emplace_back(bound[2]);
  }
  const std::vector<Value> items = to_vector(input);
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const Path& path : paths) {
      const Value part = path.follow(item);
      key.push_back(truthy(bound[1]) ? part : ignore_case(part));
    }
    keys.push_back(Value::list(std::move(key)));
  }
  return pick(items, sorted_order(keys, is_reverse(bound[0])));
}

Value filter_sum(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("sum", arguments, {"attribute", "start"}, 0);
  const Path path(bound[0]);
  Value sum = bound[1].is_missing() ? Value::integer(0) : bound[1];
  if (sum.is_string()) fail("sum() can't sum strings [use ''.join(seq) instead]");
  auto iterator = iterate(input);
  Value item;
  while (iterator->next(item)) sum = apply(Binary::Operator::add, sum, path.follow(item));
  return sum;
}

Value filter_unique(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("unique", arguments, {"case_sensitive", "attribute"}, 0);
  return generator(
      [iterator = Ref<IteratorObject>(), input, bound, seen = make_ref<DictObject>()](Value& item) mutable {
        if (!iterator) iterator = iterate(input);
        const Path path(bound[1]);
        while (iterator->next(item)) {
          Value key = path.follow(item);
          if (!truthy(bound[0])) key = ignore_case(key);
          if (seen->find(key)) continue;
          seen->set(key, Value::none());
          return true;
        }
        return false;
      });
}

}  // namespace zaya::text::jinja
