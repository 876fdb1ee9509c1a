// Tokens to a tree, by the grammar of jinja2 with the extensions that chat templates have: loop controls and
// generation.
#pragma once

#include <memory>
#include <string_view>

#include "text/jinja/ast.h"

namespace zaya::text::jinja {

// Throws Error: malformed or unsupported, with the line; resource_exhausted when it nests too deeply.
// The tree's scopes are not filled yet (scopes.h). `source` is valid UTF-8.
std::unique_ptr<TemplateNode> parse_template(std::string_view source);

}  // namespace zaya::text::jinja
