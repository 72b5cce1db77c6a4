// Goal: what is no readable file is named as such. Method: one good file, and one of each other
// kind.
#include "client/lib/read_job_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace evograd {
namespace {

using ::testing::HasSubstr;

TEST(ReadJobFileTest, FilesThatAreNoJobFiles) {
  const std::string folder = std::getenv("TEST_TMPDIR");
  const std::string path = folder + "/good.yaml";
  std::ofstream(path) << "steps: 7\n";
  const auto file = ReadJobFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->spec.steps(), 7);

  const auto error = [](const std::string& name) {
    const absl::Status status = ReadJobFile(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(error(folder + "/none.yaml"), folder + "/none.yaml: there is no such file");
  EXPECT_THAT(error(path + "/x"), HasSubstr("there is no such file"));
  EXPECT_THAT(error(folder), HasSubstr("this is a folder"));
  EXPECT_THAT(error("/dev/zero"), HasSubstr("bytes"));
}

}  // namespace
}  // namespace evograd
