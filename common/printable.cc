#include "common/printable.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "absl/strings/str_format.h"

namespace evograd {
namespace {

struct Range {
  char32_t first, last;
};

constexpr Range kUnprintable[] = {{0x00, 0x1f},       {0x7f, 0x9f},      {0x061c, 0x061c},
                                  {0x200b, 0x200b},   {0x200e, 0x200f},  {0x2028, 0x202e},
                                  {0x2060, 0x206f},   {0xfeff, 0xfeff},  {0xfff9, 0xfffb},
                                  {0x1d173, 0x1d17a}, {0xe0000, 0xe007f}};

constexpr char kReplacement[] = "\xef\xbf\xbd";

// The first character of `text`, which is not empty, and its bytes; 0 bytes where it is not UTF-8.
size_t Decode(absl::string_view text, char32_t* character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    *character = lead;
    return 1;
  }
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return 0;
  char32_t value = lead & (0x7f >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  const bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  if (overlong || (value >= 0xd800 && value < 0xe000) || value > 0x10ffff) return 0;
  *character = value;
  return size;
}

}  // namespace

bool IsUnprintable(char32_t character) {
  return std::any_of(std::begin(kUnprintable), std::end(kUnprintable), [&](const Range& range) {
    return range.first <= character && character <= range.last;
  });
}

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    char32_t character = 0;
    const size_t size = Decode(text, &character);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

bool HasUnprintable(absl::string_view text) {
  while (!text.empty()) {
    char32_t character = 0;
    const size_t size = Decode(text, &character);
    if (size == 0 || IsUnprintable(character)) return true;
    text.remove_prefix(size);
  }
  return false;
}

std::string Printable(absl::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    char32_t character = 0;
    const size_t size = Decode(text, &character);
    if (size == 0) {
      result += kReplacement;
    } else if (character == '\n' || character == '\t' || !IsUnprintable(character)) {
      result.append(text.data(), size);
    } else if (character > 0xffff) {
      absl::StrAppendFormat(&result, "\\U%08x", static_cast<unsigned>(character));
    } else {
      absl::StrAppendFormat(&result, "\\u%04x", static_cast<unsigned>(character));
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

}  // namespace evograd
