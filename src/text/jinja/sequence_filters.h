// Filters over iterables; filters.cc lists all filters.
#pragma once

#include "text/jinja/ast.h"

namespace zaya::text::jinja {

Value filter_batch(Interpreter&, const Value& input, Arguments& arguments);
Value filter_dictsort(Interpreter&, const Value& input, Arguments& arguments);
Value filter_first(Interpreter&, const Value& input, Arguments& arguments);
Value filter_items(Interpreter&, const Value& input, Arguments& arguments);
Value filter_join(Interpreter&, const Value& input, Arguments& arguments);
Value filter_last(Interpreter&, const Value& input, Arguments& arguments);
Value filter_length(Interpreter&, const Value& input, Arguments& arguments);
Value filter_list(Interpreter&, const Value& input, Arguments& arguments);
Value filter_map(Interpreter&, const Value& input, Arguments& arguments);
Value filter_max(Interpreter&, const Value& input, Arguments& arguments);
Value filter_min(Interpreter&, const Value& input, Arguments& arguments);
Value filter_reject(Interpreter&, const Value& input, Arguments& arguments);
Value filter_rejectattr(Interpreter&, const Value& input, Arguments& arguments);
Value filter_reverse(Interpreter&, const Value& input, Arguments& arguments);
Value filter_select(Interpreter&, const Value& input, Arguments& arguments);
Value filter_selectattr(Interpreter&, const Value& input, Arguments& arguments);
Value filter_slice(Interpreter&, const Value& input, Arguments& arguments);
Value filter_sort(Interpreter&, const Value& input, Arguments& arguments);
Value filter_sum(Interpreter&, const Value& input, Arguments& arguments);
Value filter_unique(Interpreter&, const Value& input, Arguments& arguments);

}  // namespace zaya::text::jinja
