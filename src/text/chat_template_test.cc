#include "text/chat_template.h"

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace zaya::text {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path data(const std::string& name) { return fs::path(ZAYA_SOURCE_DIR) / "src/text/testdata/templates" / name; }

std::string must_read(const fs::path& path) {
  auto text = read_file(path);
  EXPECT_TRUE(text.ok()) << text.status().to_string();
  return text.ok() ? *text : "";
}

// The moment at which check_templates.py wrote the goldens: Friday, 14 March 2025, 15:09:26.
std::tm golden_now() {
  std::tm now{};
  now.tm_year = 125;
  now.tm_mon = 2;
  now.tm_mday = 14;
  now.tm_hour = 15;
  now.tm_min = 9;
  now.tm_sec = 26;
  now.tm_wday = 5;
  now.tm_yday = 72;
  return now;
}

jinja::RenderOptions golden_options() {
  jinja::RenderOptions options;
  options.now = golden_now;
  return options;
}

std::string shown(const Result<std::string>& result) {
  return result.ok() ? *result : std::string(code_name(result.status().code())) + ": " + result.status().to_string();
}

std::string render(const std::string& source, const Json& variables = Json::object()) {
  auto parsed = ChatTemplate::parse(source, "t");
  return parsed.ok() ? shown(parsed->render(variables, golden_options())) : shown(parsed.status());
}

// ---- against jinja2, by goldens ----

TEST(ChatTemplateGoldens, expressions_agree_with_jinja2) {
  const Json variables = Json::parse(must_read(data("expressions.variables.json")));
  const Json cases = Json::parse(must_read(data("expressions.golden.json")));
  ASSERT_GT(cases.size(), 400u);
  for (const Json& golden : cases) {
    const auto source = golden["template"].get<std::string>();
    auto parsed = jinja::Template::parse(source, "t");
    const Result<std::string> got = parsed.ok() ? (*parsed)->render(variables, golden_options()) : parsed.status();
    if (golden.contains("error")) {
      EXPECT_FALSE(got.ok()) << source << "\njinja2: " << golden["error"] << "\nours: " << shown(got);
    } else {
      EXPECT_TRUE(got.ok() && *got == golden["text"].get<std::string>())
          << source << "\njinja2: " << golden["text"] << "\nours:   " << Json(shown(got));
    }
  }
}

class TemplateGoldens : public ::testing::TestWithParam<const char*> {};

TEST_P(TemplateGoldens, conversations_agree_with_transformers) {
  const std::string name = GetParam();
  auto parsed = ChatTemplate::parse(must_read(data(name + ".jinja")), name);
  ASSERT_TRUE(parsed.ok()) << parsed.status().to_string();
  const Json cases = Json::parse(must_read(data(name + ".golden.json")));
  ASSERT_GE(cases.size(), 80u);
  for (const Json& golden : cases) {
    const Result<std::string> got = parsed->render(golden["variables"], golden_options());
    if (golden.contains("error")) {
      EXPECT_FALSE(got.ok()) << golden["name"] << "\ntransformers: " << golden["error"] << "\nours: " << shown(got);
    } else {
      EXPECT_TRUE(got.ok() && *got == golden["text"].get<std::string>())
          << golden["name"] << "\ntransformers: " << golden["text"] << "\nours:         " << Json(shown(got));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Own, TemplateGoldens,
                         ::testing::Values("zaya1_style", "plain_turns", "instructions", "macros", "tool_json"));

// ---- what a caller sees ----

TEST(ChatTemplate, fills_what_transformers_fills) {
  EXPECT_EQ(
      render("{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ messages }}{{ x is defined }}"),
      "TrueTrueFalse[]False");
  EXPECT_EQ(render("{{ tools }}{{ messages[0].role }}", {{"tools", {1}}, {"messages", {{{"role", "user"}}}}}),
            "[1]user");
}

TEST(ChatTemplate, finds_reasoning_under_all_its_names) {
  const std::string source =
      "{% for m in messages %}{{ m.reasoning_content }}/{{ m.thinking }}/{{ m.reasoning }};{% endfor %}";
  const Json messages = {{{"reasoning", "a"}},
                         {{"thinking", "b"}},
                         {{"reasoning_content", "c"}, {"reasoning", "d"}},
                         {{"reasoning_content", nullptr}, {"reasoning", "e"}},
                         {{"role", "user"}}};
  EXPECT_EQ(render(source, {{"messages", messages}}), "a/a/a;b/b/;c/c/d;e/e/e;//;");
}

TEST(ChatTemplate, reports_what_the_template_raises) {
  auto parsed = ChatTemplate::parse("\n{{ raise_exception('Roles must alternate') }}");
  ASSERT_TRUE(parsed.ok());
  const Status status = parsed->render(Json::object()).status();
  EXPECT_EQ(status.code(), Code::invalid_argument);
  EXPECT_EQ(status.message(), "Roles must alternate");
  EXPECT_THAT(status.hint(), HasSubstr("line 2"));
}

TEST(ChatTemplate, names_the_line_of_errors) {
  EXPECT_EQ(render("a\n{% if %}\n"), "malformed: t, line 2: Expected an expression, got the end of a block");
  EXPECT_EQ(render("a\n\n{{ x.y }}"), "invalid_argument: t, line 3: 'x' is undefined");
  EXPECT_EQ(render("{% for i in [1] %}\n{{ i + 'a' }}{% endfor %}"),
            "invalid_argument: t, line 2: unsupported operand type(s) for +: 'int' and 'str'");
}

TEST(ChatTemplate, names_what_it_lacks) {
  EXPECT_EQ(render("\n{% include 'x' %}"), "unsupported: t, line 2: the tag 'include' is not supported");
  EXPECT_EQ(render("{{ 'a' | urlize }}"), "unsupported: t, line 1: the filter 'urlize' is not supported");
  EXPECT_EQ(render("{% if true %}\n{{ 'a' | urlize }}{% endif %}"),
            "unsupported: t, line 2: the filter 'urlize' is not supported");
  EXPECT_EQ(render("{% if false %}{{ 'a' | urlize }}{% endif %}ok"), "ok");
  EXPECT_EQ(render("{% for x in [] recursive %}{% endfor %}"),
            "unsupported: t, line 1: a recursive for is not supported");
  EXPECT_EQ(render("{{ 2 ** 63 }}"), "unsupported: t, line 1: an integer of more than 64 bits is not supported");
  EXPECT_EQ(render("{{ 'é'.encode() }}"), "unsupported: t, line 1: this method of 'str' is not supported");
}

TEST(ChatTemplate, refuses_variables_that_are_no_text) {
  EXPECT_THAT(render("{{ x }}", {{"x", "\xff"}}), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(render("{{ x }}", {{"x", 18446744073709551615u}}), HasSubstr("18446744073709551615"));
  EXPECT_THAT(render("{{ x }}", Json::array()), HasSubstr("must be a JSON object"));
  EXPECT_THAT(render("\xff"), HasSubstr("not valid UTF-8"));
  Json deep = 1;
  for (int i = 0; i < 600; ++i) deep = Json::array({deep});
  EXPECT_THAT(render("{{ x }}", {{"x", deep}}), HasSubstr("500 deep"));
}

// ---- limits ----

std::string render_within(const std::string& source, jinja::Limits limits) {
  auto parsed = ChatTemplate::parse(source, "t");
  jinja::RenderOptions options;
  options.limits = limits;
  return parsed.ok() ? shown(parsed->render(Json::object(), options)) : shown(parsed.status());
}

TEST(ChatTemplateLimits, ends_loops_and_growth) {
  jinja::Limits limits;
  limits.steps = 100'000;
  EXPECT_THAT(render_within("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", limits),
              HasSubstr("resource_exhausted: t, line 1: the template ran for more than 100000 steps"));
  EXPECT_THAT(render_within("{{ [0] * 1000000000 }}", limits), HasSubstr("100000 steps"));
  EXPECT_THAT(render_within("{{ range(99999) | list | map('string') | join | length }}", limits),
              HasSubstr("100000 steps"));

  limits = {};
  limits.text_bytes = 1 << 20;
  for (const char* source :
       {"{{ 'a' * 10**9 }}",
        "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{{ ('a' * 10**6) | replace('a', 'b' * 10**6) }}", "{{ 'a'.center(10**12) }}",
        "{{ 'a' | indent(10**12, true) }}", "{{ 1 | tojson(indent=10**12) }}", "{{ (['a' * 10**5] * 100) | join }}",
        "{{ ('<' * 10**6) | e }}", "{{ 'ab'.join(['x' * 10**6, 'y' * 10**6]) }}", "{{ ['a' * 10**6] * 3 }}",
        "{{ '%s%s' % ('a' * 10**6, 'b' * 10**6) }}"}) {
    EXPECT_THAT(render_within(source, limits), HasSubstr("a text of more than 1048576 bytes")) << source;
  }
  EXPECT_THAT(render_within("{{ '%999999999d' % 1 }}{{ '{:>999999999}'.format(1) }}", limits), HasSubstr("width"));

  limits = {};
  limits.output_bytes = 1000;
  EXPECT_EQ(render_within("{{ 'x' * 1000 }}", limits), std::string(1000, 'x'));
  EXPECT_THAT(render_within("{{ 'x' * 999 }}ab", limits), HasSubstr("prints more than 1000 bytes"));

  limits = {};
  limits.live_bytes = 1 << 20;
  EXPECT_THAT(
      render_within(
          "{% set n = namespace(l=[]) %}{% for i in range(99) %}{% set n.l = n.l + ['x' * 50000 ~ i] %}{% endfor %}",
          limits),
      HasSubstr("values take more than 1048576 bytes"));
  // Values that nothing holds any more do not count.
  EXPECT_EQ(render_within("{% for i in range(999) %}{% set s = 'x' * 50000 ~ i %}{% endfor %}ok", limits), "ok");
}

TEST(ChatTemplateLimits, bounds_every_recursion) {
  EXPECT_THAT(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              HasSubstr("macros call each other more than 100 deep"));
  const auto repeated = [](const std::string& text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
  };
  for (const std::string& source :
       {"{{ " + repeated("(", 9999) + "1" + repeated(")", 9999) + " }}",
        "{{ " + repeated("[", 9999) + repeated("]", 9999) + " }}", "{{ 1" + repeated(" + 1", 9999) + " }}",
        "{{ " + repeated("-", 9999) + "1 }}", "{{ " + repeated("not ", 9999) + "1 }}",
        "{{ x" + repeated(".a", 9999) + " }}", "{{ 1" + repeated(" | string", 9999) + " }}",
        "{{ 1" + repeated(" if 1", 9999) + " }}", "{{ 1" + repeated(" if 1 else 1", 9999) + " }}",
        repeated("{% if 1 %}", 9999) + repeated("{% endif %}", 9999),
        "{{ " + repeated("f(", 9999) + repeated(")", 9999) + " }}"}) {
    EXPECT_THAT(render(source), HasSubstr("nests too deeply")) << source.substr(0, 40);
  }
  // Values that nest, without any nesting in the template.
  const std::string nest = "{% set n = namespace(a=[]) %}{% for i in range(50000) %}{% set n.a = [n.a] %}{% endfor %}";
  EXPECT_EQ(render(nest + "ok"), "ok");
  EXPECT_THAT(render(nest + "{{ n.a }}"), HasSubstr("too deeply"));
  EXPECT_THAT(render(nest + "{{ n.a | tojson }}"), HasSubstr("too deeply"));
  EXPECT_THAT(render(nest + "{{ n.a == [n.a] }}"), HasSubstr("too deeply"));
  EXPECT_THAT(render("{% set n = namespace(g=[1]) %}{% for i in range(9999) %}{% set n.g = n.g | map('string') %}{% "
                     "endfor %}{{ n.g | list }}"),
              HasSubstr("2000 deep"));
  EXPECT_EQ(render("{% set n = namespace() %}{% set n.me = n %}{{ n.me.me is defined }}"), "True");
  EXPECT_THAT(render("{% set n = namespace() %}{% set n.me = n %}{{ n }}"), HasSubstr("too deeply"));
  EXPECT_EQ(
      render(
          "{% set n = namespace(c=namespace()) %}{% for i in range(50000) %}{% set x = namespace() %}{% set c = n.c %}"
          "{% set c.next = x %}{% set n.c = x %}{% endfor %}ok"),
      "ok");
}

// ---- loading ----

class ChatTemplateLoad : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ("zaya_template_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string load_and_render(const Json& variables = Json::object()) {
    auto loaded = ChatTemplate::load(folder_);
    return loaded.ok() ? shown(loaded->render(variables)) : shown(loaded.status());
  }

  fs::path folder_;
};

TEST_F(ChatTemplateLoad, prefers_the_file_of_its_own) {
  write("chat_template.jinja", "file {{ bos_token }}{{ eos_token }}\n");
  write("tokenizer_config.json",
        R"({"chat_template": "config", "bos_token": "<b>", "eos_token": {"content": "<e>"}, "pad_token": null})");
  EXPECT_EQ(load_and_render(), "file <b><e>");
  EXPECT_EQ(load_and_render({{"bos_token", "mine"}}), "file mine<e>");
}

TEST_F(ChatTemplateLoad, reads_the_tokenizer_config) {
  write("tokenizer_config.json",
        R"({"chat_template": "config {{ unk_token }}{{ pad_token is defined }}", "pad_token": null})");
  write("special_tokens_map.json", R"({"unk_token": {"content": "<u>"}, "additional_special_tokens": []})");
  EXPECT_EQ(load_and_render(), "config <u>False");
}

TEST_F(ChatTemplateLoad, chooses_among_named_templates) {
  write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools {{ tools | length }}"}]})");
  EXPECT_EQ(load_and_render(), "plain");
  EXPECT_EQ(load_and_render({{"tools", {1, 2}}}), "tools 2");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_THAT(load_and_render(), HasSubstr("malformed"));
}

TEST_F(ChatTemplateLoad, says_what_is_missing_or_broken) {
  EXPECT_THAT(load_and_render(), HasSubstr("not_found"));
  EXPECT_THAT(load_and_render(), HasSubstr("holds no chat template"));
  write("tokenizer_config.json", "{}");
  EXPECT_THAT(load_and_render(), HasSubstr("not_found"));
  write("tokenizer_config.json", "{\"chat_template\": 5}");
  EXPECT_THAT(load_and_render(), HasSubstr("neither a string nor a list"));
  write("tokenizer_config.json", "[1");
  EXPECT_THAT(load_and_render(), HasSubstr("malformed"));
  write("tokenizer_config.json", "{\"chat_template\": \"{{ }}\"}");
  EXPECT_THAT(load_and_render(), HasSubstr("line 1"));
}

}  // namespace
}  // namespace zaya::text
