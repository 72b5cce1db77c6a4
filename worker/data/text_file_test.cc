// Goal: lines come as they stand, and what is no text is refused with its place. Method: files
// written here; the UTF-8 check is compared with the decoding rule itself over all short byte
// strings that matter.
#include "worker/data/text_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "worker/data/testing/text_files.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::atomic<bool> cancelled{false};

TEST(TextFileTest, LinesWithoutTheirEnds) {
  const auto file = ReadTextLines(WriteTextFile("plain",
                                                "\xef\xbb\xbf"
                                                "a\tb\r\n\nc \xc3\xa4"),
                                  cancelled);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->lines, ElementsAre("a\tb", "", "c \xc3\xa4"));
  EXPECT_EQ(file->Error(2, "is odd").message(), file->path + ":3: is odd");
  EXPECT_TRUE(ReadTextLines(WriteTextFile("empty", ""), cancelled)->lines.empty());
}

TEST(TextFileTest, WhatIsNoTextIsRefusedWithItsLine) {
  const auto bad = [](const std::string& text) {
    return ReadTextLines(WriteTextFile("bad", text), cancelled).status();
  };
  EXPECT_TRUE(bad("one\ntw\xc3\xb6\n").ok());
  const absl::Status cut = bad("one\ntw\xc3\n");
  EXPECT_EQ(cut.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(cut.message()), HasSubstr("bad:2: is not UTF-8 from byte 3"));
  const absl::Status zero = bad(std::string("one\n\n\0x", 7));
  EXPECT_EQ(zero.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(zero.message()), HasSubstr("bad:3: has a zero byte"));
}

TEST(TextFileTest, FilesThatCannotBeReadAreNamed) {
  EXPECT_EQ(ReadTextLines(testing::TempDir() + "/none", cancelled).status().code(),
            absl::StatusCode::kNotFound);
  const absl::Status folder = ReadTextLines(testing::TempDir(), cancelled).status();
  EXPECT_EQ(folder.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(folder.message()), HasSubstr("is not a regular file"));
  const std::string path = WriteTextFile("there", "x");
  EXPECT_TRUE(ReadTextLines(path, cancelled).ok());
  cancelled = true;
  EXPECT_EQ(ReadTextLines(path, cancelled).status().code(), absl::StatusCode::kCancelled);
  cancelled = false;
}

// The code point that `text` is, decoded by the plain rule and encoded again; -1 where the two
// differ.
bool IsOneCharacter(const std::string& text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t length = text.size();
  static constexpr unsigned char kFirst[] = {0, 0, 0xc0, 0xe0, 0xf0};
  static constexpr unsigned char kMask[] = {0, 0x80, 0xe0, 0xf0, 0xf8};
  if ((byte(0) & kMask[length]) != kFirst[length]) return false;
  uint32_t point = byte(0) & ~kMask[length];
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return false;
    point = point << 6 | (byte(i) & 0x3f);
  }
  static constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  return point >= kLeast[length] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
}

TEST(FindInvalidUtf8Test, AgreesWithTheDecodingRule) {
  const unsigned char interesting[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                       0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                       0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
  int characters = 0;
  for (const unsigned char a : interesting) {
    for (const unsigned char b : interesting) {
      for (const unsigned char c : interesting) {
        for (const unsigned char d : interesting) {
          const std::string text{static_cast<char>(a), static_cast<char>(b), static_cast<char>(c),
                                 static_cast<char>(d)};
          for (size_t length = 2; length <= 4; ++length) {
            const std::string part = text.substr(0, length);
            // A character of this length, or several shorter ones.
            const bool one = IsOneCharacter(part);
            characters += one;
            if (one) {
              EXPECT_EQ(FindInvalidUtf8(part), absl::string_view::npos);
            } else if (a >= 0x80 && FindInvalidUtf8(part) != 0) {
              // Then a shorter character stands in front.
              EXPECT_TRUE(IsOneCharacter(part.substr(0, 2)) || IsOneCharacter(part.substr(0, 3)))
                  << int{a} << " " << int{b} << " " << int{c} << " " << int{d};
            }
          }
        }
      }
    }
  }
  EXPECT_GT(characters, 1000);
  EXPECT_EQ(FindInvalidUtf8("ab\xc3\xa4\xff"), 4u);
}

}  // namespace
}  // namespace evograd
