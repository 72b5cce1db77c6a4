// Goal: the file is what the safetensors format says, and a failure to write leaves nothing behind.
// Method: the bytes of a small file are compared with ones assembled by hand; that Python's
// safetensors reads it is checked by tests/golden.
#include "worker/data/safetensors_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace evograd {
namespace {

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

TEST(SafetensorsWriterTest, WritesHeaderThenBytes) {
  SafetensorsWriter writer;
  writer.Add("a\"b", "U8", {3}, "xyz");
  writer.AddDoubles("lambda", {2, 1}, {0.5, -2});
  writer.AddText("note", "two\nlines");
  const std::string path = testing::TempDir() + "/good.safetensors";
  ASSERT_TRUE(writer.Write(path).ok());
  const std::string file = Read(path);

  std::string header = R"({"__metadata__":{"note":"two\u000alines"},)"
                       R"("a\"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                       R"("lambda":{"dtype":"F64","shape":[2,1],"data_offsets":[3,19]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  uint64_t length = 0;
  ASSERT_GT(file.size(), sizeof length);
  std::memcpy(&length, file.data(), sizeof length);
  ASSERT_EQ(length, header.size());
  EXPECT_EQ(file.substr(8, length), header);
  ASSERT_EQ(file.size(), 8 + length + 19);
  EXPECT_EQ(file.substr(8 + length, 3), "xyz");
  double values[2];
  std::memcpy(values, file.data() + 8 + length + 3, sizeof values);
  EXPECT_EQ(values[0], 0.5);
  EXPECT_EQ(values[1], -2);
}

TEST(SafetensorsWriterTest, NamesTheFolderThatIsMissing) {
  const std::string path = testing::TempDir() + "/no/such/folder/x.safetensors";
  const absl::Status status = SafetensorsWriter().Write(path);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find(path), absl::string_view::npos);
}

TEST(SafetensorsWriterTest, SaysThatTheDiskIsFull) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
  // Through a link: the writer removes what it could not finish, and /dev/full must stay.
  const std::string path = testing::TempDir() + "/full.safetensors";
  ASSERT_EQ(symlink("/dev/full", path.c_str()), 0);
  SafetensorsWriter writer;
  writer.AddDoubles("lambda", {1}, {1});
  EXPECT_EQ(writer.Write(path).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace evograd
