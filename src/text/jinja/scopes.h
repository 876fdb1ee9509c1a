// Which variable a name means: decided before the template runs, as jinja2 does.
//
// Bodies of for, macro, call, block set, filter, with and generation are scopes: what they set stays inside. A name
// that a scope sets starts there with the value it has outside; a name that no scope around sets is looked up among the
// render's variables when the scope is entered. if is no scope. One consequence is worth knowing, and templates rely on
// it: a name that the template sets only further down is undefined before, even if the caller passed a variable so
// named, unless the template itself (not a loop in it) read it before.
#pragma once

#include "text/jinja/ast.h"

namespace zaya::text::jinja {

// Fills the slots, scopes and functions of the tree, and finds its filters and tests. Throws Error (malformed,
// unsupported) for filters and tests that are unknown, unless an if around decides whether they run.
void resolve_scopes(TemplateNode& root);

}  // namespace zaya::text::jinja
