// How deep expressions may nest: the parser, the analysis and the interpreter recurse over them.
#pragma once

#include <algorithm>
#include <memory>

#include "text/jinja/ast.h"
#include "text/jinja/error.h"

namespace zaya::text::jinja {

// Brackets, statements and chains of operators nest this deeply at most. jinja2 itself gives up at about 60 brackets or
// 250 operators, where Python's recursion ends.
inline constexpr int kMaxNesting = 120;
inline constexpr int kMaxExpressionDepth = 400;

// `parent` now holds `child`.
template <class T>
std::unique_ptr<T> with_depth(std::unique_ptr<T> parent, int child_depth) {
  parent->depth = std::max(parent->depth, child_depth + 1);
  if (parent->depth > kMaxExpressionDepth) fail_limit("an expression nests too deeply", parent->line);
  return parent;
}

inline int depth_of(const ExpressionPtr& expression) { return expression ? expression->depth : 0; }

}  // namespace zaya::text::jinja
