// Tables of unicode.cc, generated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zaya::text::jinja {

// Every stride-th code point from first to last; sorted, without overlap of their hulls' first members.
struct CodeRange {
  uint32_t first, last;
  uint8_t stride;
};
// The same, each mapped to itself plus shift.
struct CaseRange {
  uint32_t first, last;
  uint8_t stride;
  int32_t shift;
};
// Mapped to up to three code points, ended by 0.
struct SpecialCase {
  uint32_t code;
  uint32_t mapped[3];
};

extern const CodeRange kUnprintable[], kAlpha[], kDecimal[], kOtherDigit[], kOtherNumeric[], kUpper[], kLower[],
    kTitle[], kCaseIgnorable[];
extern const size_t kUnprintableSize, kAlphaSize, kDecimalSize, kOtherDigitSize, kOtherNumericSize, kUpperSize,
    kLowerSize, kTitleSize, kCaseIgnorableSize;

extern const CaseRange kToUpper[], kToLower[];
extern const size_t kToUpperSize, kToLowerSize;
extern const SpecialCase kSpecialToUpper[], kSpecialToLower[], kTitleUnlikeUpper[], kFoldUnlikeLower[];
extern const size_t kSpecialToUpperSize, kSpecialToLowerSize, kTitleUnlikeUpperSize, kFoldUnlikeLowerSize;

}  // namespace zaya::text::jinja
