// Goal: every example is a job as it stands, with a name; and resolving is idempotent on real jobs.
// Method: each file in the folder, given as arguments, is read as the command reads it; each twin
// that differs in one wrong line is refused.
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "client/lib/read_job_file.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

std::vector<std::string>& Paths() {
  static auto& paths = *new std::vector<std::string>;
  return paths;
}

TEST(ExamplesTest, EveryOneIsAJob) {
  ASSERT_GE(Paths().size(), 3);
  for (const std::string& path : Paths()) {
    const auto file = ReadJobFile(path);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_FALSE(file->job_id.empty()) << path;
    v1::JobSpec once = file->spec;
    const std::vector<FieldViolation> violations = Resolve(&once);
    EXPECT_TRUE(violations.empty())
        << path << ": " << violations[0].field << ": " << violations[0].description;
    v1::JobSpec twice = once;
    Resolve(&twice);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(once, twice)) << path;
  }
}

TEST(ExamplesTest, OneWrongLineIsNoticed) {
  for (const std::string& path : Paths()) {
    std::ifstream stream(path);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    EXPECT_TRUE(ParseJobFile(text, path).ok());
    EXPECT_FALSE(ParseJobFile(text + "\nstep: 3\n", path).ok()) << path;
  }
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  evograd::Paths().assign(argv + 1, argv + argc);
  return RUN_ALL_TESTS();
}
