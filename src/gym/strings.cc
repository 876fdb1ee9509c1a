// Words of capital letters. They are random, and capitals, so that a small tokenizer can keep each letter one token
// while it merges the words of the prompts.
#include <algorithm>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

std::string word(Rng& rng, int length, int alphabet) {
  std::string text;
  for (int i = 0; i < length; ++i) text += static_cast<char>('A' + rng.small(0, alphabet - 1));
  return text;
}

// One edit of `text`, as an order.
std::string edit(Rng& rng, std::string& text, int difficulty) {
  const int kinds = difficulty == 0 ? 3 : difficulty == 1 ? 5 : 7;
  const size_t size = text.size();
  switch (rng.small(0, kinds - 1)) {
    case 0: std::reverse(text.begin(), text.end()); return "Reverse it.";
    case 1: {
      const char letter = rng.pick(text), other = static_cast<char>('A' + rng.small(0, 25));
      std::replace(text.begin(), text.end(), letter, other);
      return cat("Replace ", letter, " by ", other, ".");
    }
    case 2: {
      const char letter = static_cast<char>('A' + rng.small(0, 25));
      if (rng.coin()) {
        text += letter;
        return cat("Put ", letter, " at the end.");
      }
      text.insert(text.begin(), letter);
      return cat("Put ", letter, " at the start.");
    }
    case 3: {
      const size_t by = 1 + rng.below(3);
      const bool left = rng.coin();
      const size_t turn = by % size;
      std::rotate(text.begin(), text.begin() + static_cast<int64_t>(left ? turn : (size - turn) % size), text.end());
      return cat("Rotate it ", left ? "left" : "right", " by ", by, ".");
    }
    case 4: std::swap(text.front(), text.back()); return "Swap the ends.";
    case 5: {
      const char letter = rng.pick(text);
      if (std::count(text.begin(), text.end(), letter) == static_cast<int64_t>(size)) {
        std::reverse(text.begin(), text.end());
        return "Reverse it.";
      }
      std::erase(text, letter);
      return cat("Remove ", letter, ".");
    }
    default: std::sort(text.begin(), text.end()); return "Sort it.";
  }
}

// The word after each edit, one per line.
Draft draw_string_edit(Rng& rng, int difficulty) {
  const int extra = rng.small(0, 2);
  std::string text = word(rng, 3 + std::min(difficulty, 4) + extra, 26);
  std::string prompt = cat("Start with ", text, ".");
  Lines lines;
  for (int i = 0; i < 1 + (difficulty + 1) / 2; ++i) {
    prompt += ' ' + edit(rng, text, difficulty);
    lines.add(text);
  }
  return {prompt, text, lines.take()};
}

// Each letter followed by how many of the wanted kind there have been.
Draft draw_letter_count(Rng& rng, int difficulty) {
  const int extra = rng.small(0, 2);
  const std::string text = word(rng, 4 + 3 * difficulty + extra, 3 + difficulty);
  const char wanted = rng.chance(8) ? static_cast<char>('A' + rng.small(0, 3 + difficulty)) : rng.pick(text);
  int count = 0;
  std::string line;
  for (const char letter : text) {
    count += letter == wanted ? 1 : 0;
    line += cat(line.empty() ? "" : " ", letter, count);
  }
  return {cat("How many ", wanted, " are in ", text, "?"), std::to_string(count), line};
}

// The brackets that must still come, after each that is read.
Draft draw_bracket_close(Rng& rng, int difficulty) {
  constexpr std::string_view kOpen = "([<", kClose = ")]>";  // no braces: they close boxes
  const size_t length = static_cast<size_t>(6 + 2 * difficulty);
  std::string text, missing;  // `missing` in the order in which it must come
  Lines lines;
  while (text.size() < length || missing.empty()) {
    if (!missing.empty() && rng.chance(difficulty < 3 ? 3 : 2)) {
      text += missing.front();
      missing.erase(missing.begin());
    } else {
      const size_t kind = rng.below(difficulty == 0 ? 2 : 3);
      text += kOpen[kind];
      missing.insert(missing.begin(), kClose[kind]);
    }
    lines.add(text.back(), ' ', missing.empty() ? "none" : missing);
  }
  return {cat("Complete the brackets: ", text, " Answer with the missing ones."), missing, lines.take()};
}

}  // namespace

void add_strings(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"string_edit", "A word after reversing, replacing, rotating …",
       "letters: 3-5, then one more per step; edits: 1, 2, 2, 3 …; kinds of edits: 3, 5, 7", 7, draw_string_edit,
       same_text},
      {"letter_count", "How often a letter occurs", "letters: 4-6, then three more per step; the alphabet", 6,
       draw_letter_count, same_integer},
      {"bracket_close", "The brackets that are still open", "brackets: 6, then two more per step; a third kind", 6,
       draw_bracket_close, same_text},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
