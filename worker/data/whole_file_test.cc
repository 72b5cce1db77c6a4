// Goal: a regular file is read whole; anything else is refused at once. Method: files of this test.
#include "worker/data/whole_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

namespace evograd {
namespace {

std::string Write(const std::string& bytes) {
  const std::string path = testing::TempDir() + "/bytes";
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(WholeFileTest, ReadsUpToTheBound) {
  const std::string bytes(3 << 20, 'x');
  const std::string path = Write(bytes);
  EXPECT_EQ(ReadWholeFile(path, bytes.size()).value(), bytes);
  const auto read = ReadWholeFile(path, bytes.size() - 1);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(read.status().message().find(path + ": has more than the 3145727 bytes"),
            std::string::npos)
      << read.status();
  EXPECT_EQ(ReadWholeFile(Write(""), 10).value(), "");
}

TEST(WholeFileTest, OnlyRegularFilesAreRead) {
  EXPECT_EQ(ReadWholeFile(testing::TempDir(), 10).status().code(), absl::StatusCode::kDataLoss);
  const std::string pipe = testing::TempDir() + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ReadWholeFile(pipe, 10).status().code(), absl::StatusCode::kDataLoss);
  const auto none = ReadWholeFile(testing::TempDir() + "/none", 10);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(none.status().message().find("/none: cannot be read: No such file"), std::string::npos);
}

}  // namespace
}  // namespace evograd
