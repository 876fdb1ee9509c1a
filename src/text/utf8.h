// UTF-8: reading, repairing, and the two character classes that added tokens ask for.
#pragma once

#include <string>
#include <string_view>

namespace zaya::text {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

struct DecodedCharacter {
  char32_t value;  // kReplacementCharacter when ill-formed
  int length;      // bytes; for ill-formed text those of the maximal subpart (Unicode, section 3.9)
  bool valid;
};

// The first character of a non-empty text.
DecodedCharacter decode_utf8(std::string_view text);

// The first character of non-empty text known to be valid; moves `position` behind it.
inline char32_t next_valid_utf8(const char* text, size_t& position) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[position + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return position += 1, lead;
  char32_t value;
  if (lead < 0xE0) {
    value = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    position += 2;
  } else if (lead < 0xF0) {
    value = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    position += 3;
  } else {
    value = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    position += 4;
  }
  return value;
}

// The last character of a non-empty valid text.
char32_t last_valid_utf8(std::string_view text);

void append_utf8(std::string& out, char32_t character);

bool is_valid_utf8(std::string_view text);

// `text` with each maximal ill-formed subpart replaced by U+FFFD, as Python's bytes.decode("utf-8", "replace") does.
std::string replace_invalid_utf8(std::string_view text);

// Valid text for a terminal: control characters (C0, DEL, C1) but tab and newline become U+FFFD, so that what a model
// writes, or was made to repeat, moves no cursor, sets no title and makes the terminal answer nothing.
std::string replace_controls(std::string_view text);

// Unicode's White_Space.
bool is_white_space(char32_t character);

// A character of a word as Unicode's regular expressions see it (UTS 18, annex C, \w): alphabetic, marks, decimal
// digits, connecting punctuation and the join controls.
bool is_word_character(char32_t character);

}  // namespace zaya::text
