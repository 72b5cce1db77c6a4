// Text of others, as it can be shown: what a terminal would take for a command, and what would show
// other text than is there, is written out.
//
//   Printable("a\x1b[2Jb")  // "a\u001b[2Jb"
//
// Pure functions.
#ifndef EVOGRAD_COMMON_PRINTABLE_H_
#define EVOGRAD_COMMON_PRINTABLE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace evograd {

// Control characters (C0, DEL, C1), line and paragraph separators, characters that turn the
// direction of what follows, and others without a look of their own. Not the joiners of Persian and
// of emoji (U+200C, U+200D), which are part of words.
bool IsUnprintable(char32_t character);

// Whether all of it is whole characters of UTF-8.
bool IsUtf8(absl::string_view text);

// Whether there is such a character, a tab or a newline included, or a byte that is not UTF-8.
bool HasUnprintable(absl::string_view text);

// In place of each of them "\u009b" or "\U000e0001", which JSON and YAML take for what was there;
// of bytes that are not UTF-8, the replacement character. Newlines and tabs stay.
std::string Printable(absl::string_view text);

}  // namespace evograd

#endif  // EVOGRAD_COMMON_PRINTABLE_H_
