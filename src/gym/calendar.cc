// Weekdays and dates, in years of 365 days.
#include <algorithm>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

constexpr std::string_view kDays[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
constexpr std::string_view kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                        "July",    "August",   "September", "October", "November", "December"};
constexpr int kLengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

struct Date {
  int month = 0, day = 1;  // months from 0, days from 1
};
std::string text_of(Date date) { return cat(kMonths[date.month], ' ', date.day); }

// "12=1*7+5", then the days one by one: "Wednesday 1".
int step_weekday(Lines& lines, int day, int count, bool back) {
  const int rest = count % 7;
  if (count >= 7) lines.add(count, '=', count / 7, "*7+", rest);
  if (rest == 0) lines.add(kDays[day], " 0");
  for (int i = 1; i <= rest; ++i) {
    day = (day + (back ? 6 : 1)) % 7;
    lines.add(kDays[day], ' ', i);
  }
  return day;
}

Draft weekday_question(Rng& rng, int largest, bool both_ways) {
  const int day = rng.small(0, 6), count = rng.small(1, largest);
  const bool back = both_ways && rng.coin();
  Lines lines;
  const int result = step_weekday(lines, day, count, back);
  return {cat("Which weekday is ", count, " days ", back ? "before " : "after ", kDays[day], "?"),
          std::string(kDays[result]), lines.take()};
}

// Takes the days to each month's end off: "31-25=6: 20-6=14".
Date step_date(Lines& lines, Date date, int count) {
  while (date.day + count > kLengths[date.month]) {
    const int to_end = kLengths[date.month] - date.day;
    lines.add(kMonths[date.month], ' ', kLengths[date.month], '-', date.day, '=', to_end, ": ", count, '-', to_end, '=',
              count - to_end);
    count -= to_end;
    date = {date.month + 1, 0};
  }
  lines.add(kMonths[date.month], ' ', date.day, '+', count, '=', date.day + count);
  date.day += count;
  return date;
}

Draft date_question(Rng& rng, int largest) {
  Date date;
  const int count = rng.small(2, largest);
  date.month = rng.small(0, 10 - largest / 28);
  date.day = rng.small(1, kLengths[date.month]);
  Lines lines;
  const Date result = step_date(lines, date, count);
  return {cat("Which date is ", count, " days after ", text_of(date), "?"), text_of(result), lines.take()};
}

// Days from one date to a later one: to the end of the month, then whole months, then the days of the last.
int days_between(Lines& lines, Date from, Date to) {
  if (from.month == to.month) {
    lines.add(to.day, '-', from.day, '=', to.day - from.day);
    return to.day - from.day;
  }
  int total = kLengths[from.month] - from.day;
  lines.add(kMonths[from.month], ' ', kLengths[from.month], '-', from.day, '=', total);
  for (int month = from.month + 1; month < to.month; ++month) {
    lines.add(kMonths[month], ' ', total, '+', kLengths[month], '=', total + kLengths[month]);
    total += kLengths[month];
  }
  lines.add(kMonths[to.month], ' ', total, '+', to.day, '=', total + to.day);
  return total + to.day;
}

Draft between_question(Rng& rng, int months, bool weekday) {
  Date from, to;
  from.month = rng.small(0, 11 - months);
  from.day = rng.small(1, kLengths[from.month]);
  to.month = from.month + rng.small(weekday ? 0 : 1, months);
  to.day = rng.small(1, kLengths[to.month]);
  if (to.month == from.month && to.day < from.day) std::swap(to.day, from.day);
  if (to.month == from.month && to.day == from.day) from.day > 1 ? --from.day : ++to.day;
  Lines lines;
  const int count = days_between(lines, from, to);
  if (!weekday) {
    return {cat("How many days are from ", text_of(from), " to ", text_of(to), "?"), std::to_string(count),
            lines.take()};
  }
  const int day = rng.small(0, 6);
  const int result = step_weekday(lines, day, count, false);
  return {cat(text_of(from), " is a ", kDays[day], ". Which weekday is ", text_of(to), "?"), std::string(kDays[result]),
          lines.take()};
}

Draft draw_calendar(Rng& rng, int difficulty) {
  if (difficulty == 0) return weekday_question(rng, 20, false);
  if (difficulty == 1) return weekday_question(rng, 99, true);
  const int months = difficulty < 4 ? 1 : difficulty == 4 ? 2 : 4;
  switch (rng.small(0, difficulty == 2 ? 1 : 2)) {
    case 0: return date_question(rng, difficulty < 4 ? 40 : 30 * months);
    case 1: return between_question(rng, months, false);
    default: return between_question(rng, months, true);
  }
}

// A number, a weekday (three letters are enough), or a date in either order.
bool verify_calendar(const Problem& problem, std::string_view answer) {
  const auto read = [](std::string_view text, std::string& name, std::vector<int64_t>& numbers) {
    const std::string small = lower(tidied(text));
    numbers = integers_in(small, true, 3);
    std::string word;
    for (const char c : small + ' ') {
      if (c >= 'a' && c <= 'z') {
        word += c;
        continue;
      }
      const bool filler = word == "days" || word == "day" || word == "of" || word == "the" || word == "st" ||
                          word == "nd" || word == "rd" || word == "th";  // "23 days", "the 5th of March"
      if (!filler) name += word;
      word.clear();
    }
  };
  std::string wanted_name, given_name;
  std::vector<int64_t> wanted, given;
  read(problem.answer, wanted_name, wanted);
  read(answer, given_name, given);
  if (wanted.empty() && wanted_name.empty()) return false;
  const bool same_name = given_name == wanted_name || (given_name.size() >= 3 && wanted_name.starts_with(given_name));
  return same_name && given == wanted && given_name.empty() == wanted_name.empty();
}

}  // namespace

void add_calendar(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"calendar", "Weekdays and dates",
       "weekday after up to 20 days; up to 99 days, before too; dates; weekdays of dates; more months", 5,
       draw_calendar, verify_calendar},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
