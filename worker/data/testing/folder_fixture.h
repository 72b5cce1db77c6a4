// A folder of each test's own to write files into, and what a reader says of bad ones.
//
//   class IdxTest : public FolderFixture {};
//   TEST_F(IdxTest, AnEmptyFileIsRefused) {
//     ExpectRefused(ReadIdxImages(Write("i", ""), cancelled), absl::StatusCode::kDataLoss, {"/i"});
//   }
#ifndef EVOGRAD_WORKER_DATA_TESTING_FOLDER_FIXTURE_H_
#define EVOGRAD_WORKER_DATA_TESTING_FOLDER_FIXTURE_H_

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"

namespace evograd {

// Of this code, and with each of `parts` in its message.
inline void ExpectStatus(const absl::Status& status, absl::StatusCode code,
                         const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status << "\nlacks: " << part;
  }
}

class FolderFixture : public testing::Test {
 protected:
  FolderFixture() { mkdir(folder_.c_str(), 0700); }

  // Its path.
  std::string Write(const std::string& name, const std::string& bytes) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  // A refusal names the folder, besides what `parts` say.
  void ExpectRefused(const absl::Status& status, absl::StatusCode code,
                     std::vector<std::string> parts) {
    parts.push_back(folder_);
    ExpectStatus(status, code, parts);
  }
  template <typename T>
  void ExpectRefused(const absl::StatusOr<T>& result, absl::StatusCode code,
                     const std::vector<std::string>& parts) {
    ExpectRefused(result.status(), code, parts);
  }

  const std::string folder_ = testing::TempDir() + "/" + TestName();

 private:
  static std::string TestName() {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    // A test with a parameter has a slash before it.
    std::replace(name.begin(), name.end(), '/', '_');
    return name;
  }
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_TESTING_FOLDER_FIXTURE_H_
