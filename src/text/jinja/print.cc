#include "text/jinja/print.h"

#include <algorithm>

#include "text/jinja/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"
#include "text/jinja/number.h"
#include "text/jinja/objects.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// Python's own recursion ends at about this depth.
constexpr int kMaxDepth = 200;
constexpr char kHex[] = "0123456789abcdef";

void append_hex(std::string& text, uint32_t value, int digits) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) text += kHex[(value >> shift) & 15];
}

// A text under construction that may not grow beyond what a string may hold.
class Writer {
 public:
  void add(std::string_view text) {
    pending_ += text.size();
    if (pending_ > 4096) {
      spend_text(pending_);
      check_text_size(text_.size() + text.size());
      pending_ = 0;
    }
    text_ += text;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  size_t pending_ = 0;
};

void write_repr(Writer& out, const Value& value, int depth);

void write_items(Writer& out, const std::vector<Value>& items, int depth) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) out.add(", ");
    write_repr(out, items[i], depth);
  }
}

void write_dict(Writer& out, const DictObject& dict, int depth) {
  out.add("{");
  bool first = true;
  for (const auto& [key, item] : dict.entries()) {
    if (!first) out.add(", ");
    first = false;
    write_repr(out, key, depth);
    out.add(": ");
    write_repr(out, item, depth);
  }
  out.add("}");
}

void write_other(Writer& out, const Value& value, int depth) {
  if (const auto* range = value.as<RangeObject>()) {
    out.add("range(" + std::to_string(range->start) + ", " + std::to_string(range->stop) +
            (range->step == 1 ? "" : ", " + std::to_string(range->step)) + ")");
  } else if (const auto* view = value.as<ViewObject>()) {
    out.add(view->type_name());
    out.add("([");
    for (size_t i = 0; i < view->dict.as_dict().size(); ++i) {
      if (i) out.add(", ");
      write_repr(out, view->at(i), depth);
    }
    out.add("])");
  } else if (const auto* object = value.as<NamespaceObject>()) {
    out.add("<Namespace {");
    bool first = true;
    for (const auto& [name, item] : object->attributes()) {
      if (!first) out.add(", ");
      first = false;
      out.add(repr_text(name) + ": ");
      write_repr(out, item, depth);
    }
    out.add("}>");
  } else if (const auto* macro = value.as<MacroObject>()) {
    const std::string& name = macro->callable().name;
    out.add("<Macro " + (name.empty() ? "anonymous" : repr_text(name)) + ">");
  } else if (auto* loop = value.as<LoopObject>()) {
    out.add("<LoopContext " + std::to_string(loop->attribute("index")->as_integer()) + "/" +
            std::to_string(loop->length()) + ">");
  } else {  // Python prints an address here, which no template can rely on
    out.add("<" + std::string(value.as_other().type_name()) + " object>");
  }
}

void write_repr(Writer& out, const Value& value, int depth) {
  if (depth > kMaxDepth) fail_limit("values nested too deeply to be printed");
  spend(1);
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined: out.add("Undefined"); return;
    case Kind::none: out.add("None"); return;
    case Kind::boolean: out.add(value.as_integer() ? "True" : "False"); return;
    case Kind::integer: out.add(std::to_string(value.as_integer())); return;
    case Kind::floating: out.add(float_text(value.as_double())); return;
    case Kind::string: {
      const std::string text = repr_text(value.text());
      out.add(value.as_string().markup ? "Markup(" + text + ")" : text);
      return;
    }
    case Kind::list:
      out.add("[");
      write_items(out, value.items(), depth + 1);
      out.add("]");
      return;
    case Kind::tuple:
      out.add("(");
      write_items(out, value.items(), depth + 1);
      out.add(value.items().size() == 1 ? ",)" : ")");
      return;
    case Kind::dict: write_dict(out, value.as_dict(), depth + 1); return;
    case Kind::other: write_other(out, value, depth + 1); return;
  }
}

// ---- JSON ----

void write_json_string(Writer& out, std::string_view text, bool ensure_ascii) {
  spend_text(text.size());
  std::string escaped = "\"";
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    const char32_t c = next_code_point(text, offset);
    switch (c) {
      case '"': escaped += "\\\""; break;
      case '\\': escaped += "\\\\"; break;
      case '\n': escaped += "\\n"; break;
      case '\r': escaped += "\\r"; break;
      case '\t': escaped += "\\t"; break;
      case '\f': escaped += "\\f"; break;
      case '\b': escaped += "\\b"; break;
      default:
        if (c < 0x20 || (ensure_ascii && c > 0x7E && c < 0x10000)) {
          escaped += "\\u";
          append_hex(escaped, c, 4);
        } else if (ensure_ascii && c >= 0x10000) {
          escaped += "\\u";
          append_hex(escaped, 0xD800 + ((c - 0x10000) >> 10), 4);
          escaped += "\\u";
          append_hex(escaped, 0xDC00 + ((c - 0x10000) & 0x3FF), 4);
        } else {
          escaped += text.substr(begin, offset - begin);
        }
    }
  }
  escaped += '"';
  out.add(escaped);
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value, int depth) {
    if (depth > kMaxDepth) fail_limit("values nested too deeply for tojson");
    spend(1);
    switch (value.kind()) {
      case Kind::list:
      case Kind::tuple: return write_list(value.items(), depth);
      case Kind::dict: return write_dict(value.as_dict(), depth);
      case Kind::string: return write_json_string(out_, value.text(), style_.ensure_ascii);
      case Kind::none:
      case Kind::boolean:
      case Kind::integer:
      case Kind::floating: return out_.add(scalar(value));
      default: fail("Object of type " + std::string(type_name(value)) + " is not JSON serializable");
    }
  }

  std::string take() { return out_.take(); }

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is(Kind::boolean)) return value.as_integer() ? "true" : "false";
    if (value.is(Kind::integer)) return std::to_string(value.as_integer());
    const double d = value.as_double();
    if (d != d) return "NaN";
    if (d - d != 0) return d < 0 ? "-Infinity" : "Infinity";
    return float_text(d);
  }

  void new_line(int depth) {
    if (!style_.pretty) return;
    out_.add("\n");
    for (int i = 0; i < depth; ++i) out_.add(style_.indent);
  }

  void write_list(const std::vector<Value>& items, int depth) {
    if (items.empty()) return out_.add("[]");
    out_.add("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) out_.add(style_.item_separator);
      new_line(depth + 1);
      write(items[i], depth + 1);
    }
    new_line(depth);
    out_.add("]");
  }

  void write_dict(const DictObject& dict, int depth) {
    if (dict.size() == 0) return out_.add("{}");
    std::vector<const DictObject::Entry*> entries;
    for (const auto& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto* a, const auto* b) { return order(a->first, b->first, "<") == -1; });
    }
    out_.add("{");
    bool first = true;
    for (const auto* entry : entries) {
      const Value& key = entry->first;
      if (!key.is_string() && !key.is_number() && !key.is_none()) {
        fail("keys must be str, int, float, bool or None, not " + std::string(type_name(key)));
      }
      if (!first) out_.add(style_.item_separator);
      first = false;
      new_line(depth + 1);
      write_json_string(out_, key.is_string() ? key.text() : scalar(key), style_.ensure_ascii);
      out_.add(style_.key_separator);
      write(entry->second, depth + 1);
    }
    new_line(depth);
    out_.add("}");
  }

  const JsonStyle& style_;
  Writer out_;
};

}  // namespace

std::string repr_text(std::string_view text) {
  spend_text(text.size());
  const bool double_quotes = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string result(1, quote);
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    const char32_t c = next_code_point(text, offset);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      result += '\\';
      result += static_cast<char>(c);
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\r') {
      result += "\\r";
    } else if (c == '\t') {
      result += "\\t";
    } else if (is_printable(c)) {
      result += text.substr(begin, offset - begin);
    } else {
      const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
      result += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
      append_hex(result, c, digits);
    }
  }
  return result + quote;
}

std::string repr(const Value& value) {
  Writer out;
  write_repr(out, value, 0);
  return out.take();
}

std::string to_text(const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is_undefined() || value.is_missing()) return "";
  return repr(value);
}

Value to_string_value(const Value& value) { return value.is_string() ? value : Value::string(to_text(value)); }

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace zaya::text::jinja
