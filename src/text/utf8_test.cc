#include "text/utf8.h"

#include <gtest/gtest.h>

#include <vector>

namespace zaya::text {
namespace {

const std::string kR = "\xEF\xBF\xBD";

// The right-hand sides are what Python's bytes.decode("utf-8", "replace") gives; testdata/tokenizer has more of them.
TEST(Utf8, RepairsMaximalSubparts) {
  EXPECT_EQ(replace_invalid_utf8(""), "");
  EXPECT_EQ(replace_invalid_utf8("a\u00e9\u20ac\U0001F600"), "a\u00e9\u20ac\U0001F600");
  EXPECT_EQ(replace_invalid_utf8("\xFF"), kR);
  EXPECT_EQ(replace_invalid_utf8("\x80\x80"), kR + kR);
  EXPECT_EQ(replace_invalid_utf8("\xC0\x80"), kR + kR);
  EXPECT_EQ(replace_invalid_utf8("\xC3"), kR);
  EXPECT_EQ(replace_invalid_utf8("\xC3\xC3\xA9"), kR + "\u00e9");
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82"), kR);
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82"
                                 "a"),
            kR + "a");
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80\x80"), kR + kR + kR);
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), kR + kR + kR);  // a surrogate
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x98"), kR);
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\xF0\x9F\x98\x80"), kR + "\U0001F600");
  EXPECT_EQ(replace_invalid_utf8("\xF0\x80\x80\x80"), kR + kR + kR + kR);
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), kR + kR + kR + kR);  // above U+10FFFF
  EXPECT_EQ(replace_invalid_utf8("\xF8\x88\x80\x80\x80"), kR + kR + kR + kR + kR);
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE1\x80\x80\xF1\x80\x80"), kR + "\u1000" + kR);
}

TEST(Utf8, RepairedTextIsValid) {
  // All pairs of bytes between two letters.
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text = {'x', static_cast<char>(a), static_cast<char>(b), 'y'};
      const std::string repaired = replace_invalid_utf8(text);
      EXPECT_TRUE(is_valid_utf8(repaired));
      EXPECT_EQ(repaired == text, is_valid_utf8(text));
      EXPECT_EQ(repaired.front(), 'x');
      EXPECT_EQ(repaired.back(), 'y');
    }
  }
}

TEST(Utf8, EveryCharacterComesBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const DecodedCharacter decoded = decode_utf8(text);
    ASSERT_TRUE(decoded.valid);
    ASSERT_EQ(decoded.value, c);
    ASSERT_EQ(decoded.length, static_cast<int>(text.size()));
    size_t position = 0;
    ASSERT_EQ(next_valid_utf8(text.data(), position), c);
    ASSERT_EQ(position, text.size());
    ASSERT_EQ(last_valid_utf8("a" + text), c);
  }
}

TEST(Utf8, TerminalsGetNoControls) {
  EXPECT_EQ(replace_controls("é\t1\n的 😀"), "é\t1\n的 😀");
  EXPECT_EQ(replace_controls("\x1b[2J\r\x07\x7f"), "\uFFFD[2J\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(replace_controls("\xc2\x9b"
                             "31m\xc2\xa0"),
            "\uFFFD31m\xc2\xa0");  // C1's CSI; a no-break space stays
}

TEST(Utf8, WhiteSpace) {
  int count = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) count += is_white_space(c);
  EXPECT_EQ(count, 25);  // of Unicode's White_Space
  for (const char32_t c : {0x09, 0x20, 0x85, 0xA0, 0x2003, 0x2028, 0x3000}) EXPECT_TRUE(is_white_space(c));
  for (const char32_t c : {0x08, 0x1F, 0x200B, 0x180E, 0xFEFF}) EXPECT_FALSE(is_white_space(c));
}

TEST(Utf8, WordCharacters) {
  for (const char32_t c :
       {U'a', U'Z', U'0', U'_', U'é', U'ß', U'д', U'的', U'한', U'\u0301', U'\u200D', U'\u203F', U'٣'}) {
    EXPECT_TRUE(is_word_character(c)) << static_cast<uint32_t>(c);
  }
  for (const char32_t c :
       {U'\0', U' ', U'-', U'.', U'<', U'«', U'€', U'½', U'\u2581', U'\U0001F600', U'\uFFFD', char32_t{0x10FFFF}}) {
    EXPECT_FALSE(is_word_character(c)) << static_cast<uint32_t>(c);
  }
}

}  // namespace
}  // namespace zaya::text
