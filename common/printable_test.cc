// Goal: nothing that a terminal obeys or that shows other text than is there gets through, and all
// other text does. Method: each kind of character, and texts that have none of them.
#include "common/printable.h"

#include <gtest/gtest.h>

namespace evograd {
namespace {

TEST(PrintableTest, WhatATerminalObeysIsWrittenOut) {
  EXPECT_EQ(Printable("a\x1b[2Jb"), "a\\u001b[2Jb");
  EXPECT_EQ(Printable("a\xc2\x9b"
                      "2Jb"),
            "a\\u009b2Jb");
  EXPECT_EQ(Printable("bell\x07 back\x08 return\r nothing\x7f"),
            "bell\\u0007 back\\u0008 return\\u000d nothing\\u007f");
  EXPECT_EQ(Printable(absl::string_view("\0x", 2)), "\\u0000x");
}

TEST(PrintableTest, WhatShowsOtherTextIsWrittenOut) {
  EXPECT_EQ(Printable("\xe2\x80\xae"
                      "cod.exe"),
            "\\u202ecod.exe");  // right-to-left override
  EXPECT_EQ(Printable("a\xe2\x81\xa6"
                      "b\xe2\x80\xa8"
                      "c\xef\xbb\xbf"),
            "a\\u2066b\\u2028c\\ufeff");
  EXPECT_EQ(Printable("\xf3\xa0\x80\x81"), "\\U000e0001");
}

TEST(PrintableTest, WhatIsNotUtf8IsReplaced) {
  for (const char* bytes :
       {"\xff", "\x9b", "\xc2", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_TRUE(HasUnprintable(bytes));
    const std::string shown = Printable(bytes);
    EXPECT_EQ(shown.substr(0, 3), "\xef\xbf\xbd") << shown;
    EXPECT_FALSE(IsUtf8(bytes)) << shown;
    EXPECT_FALSE(HasUnprintable(shown));
  }
}

TEST(PrintableTest, OtherTextStaysAsItIs) {
  for (const char* text : {"", "plain", "Grüße, 世界", "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae",
                           "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac"}) {
    EXPECT_EQ(Printable(text), text);
    EXPECT_TRUE(IsUtf8(text)) << text;
    EXPECT_FALSE(HasUnprintable(text)) << text;
  }
  // Lines and columns are the caller's.
  EXPECT_EQ(Printable("one\n\ttwo"), "one\n\ttwo");
  EXPECT_TRUE(HasUnprintable("one\ntwo"));
  EXPECT_TRUE(HasUnprintable("one\ttwo"));
}

}  // namespace
}  // namespace evograd
