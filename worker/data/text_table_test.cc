// Goal: labelled texts are read as text_table.h says, and every fault is named with its file and
// line. Method: small files written here; each bad one has a good twin.
#include "worker/data/text_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "worker/data/testing/text_files.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

std::atomic<bool> cancelled{false};

absl::StatusOr<TextTable> Read(const std::string& text) {
  return ReadTextTable(WriteTextFile("texts.tsv", text), *LabelSet::Create({"good", "bad"}, "test"),
                       cancelled);
}

TEST(TextTableTest, RowsInAnyOrderOfColumns) {
  for (const char* text : {"label\ttext\ngood\ta b\nbad\tc\n", "text\tlabel\na b\tgood\nc\tbad\n",
                           "id\ttext\tlabel\n1\ta b\tgood\n2\tc\tbad"}) {
    const auto table = Read(text);
    ASSERT_TRUE(table.ok()) << table.status();
    ASSERT_EQ(table->rows.size(), 2u);
    EXPECT_EQ(table->rows[0].text, "a b");
    EXPECT_EQ(table->rows[0].label, 0);
    EXPECT_EQ(table->rows[0].line, 2);
    EXPECT_EQ(table->rows[1].text, "c");
    EXPECT_EQ(table->rows[1].label, 1);
  }
}

TEST(TextTableTest, FaultsAreNamedWithTheirLine) {
  const auto expect = [](const std::string& text, const std::string& what) {
    const absl::Status status = Read(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("texts.tsv" + what)) << text;
  };
  EXPECT_TRUE(Read("label\ttext\ngood\ta\n").ok());
  expect("", ":1: the first line must name");
  expect("label\twords\ngood\ta\n", ":1: the first line must name");
  expect("label\ttext\n", ": holds no text");
  expect("label\ttext\ngood\ta\nfair\tb\n",
         ":3: there is no label `fair`; the labels are good, bad");
  expect("label\ttext\ngood\ta\nbad\n", ":3: has 1 columns, the first line has 2");
  expect("label\ttext\ngood\ta\tb\n", ":2: has 3 columns");
  expect("label\ttext\ngood\t \n", ":2: its text is empty");
  expect("label\ttext\ngood\t\xc3\n", ":2: is not UTF-8");
}

}  // namespace
}  // namespace evograd
