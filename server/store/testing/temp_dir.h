// A directory for one test, removed with everything in it at the end.
#ifndef EVOGRAD_SERVER_STORE_TESTING_TEMP_DIR_H_
#define EVOGRAD_SERVER_STORE_TESTING_TEMP_DIR_H_

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace evograd::testing {

class TempDir {
 public:
  // In memory where that is possible: for tests that write much and are not about the disk.
  enum Place { kDisk, kMemory };

  explicit TempDir(Place place = kDisk) {
    const char* base = std::getenv("TEST_TMPDIR");
    std::string parent = base == nullptr ? "/tmp" : base;
    if (place == kMemory && access("/dev/shm", W_OK) == 0) parent = "/dev/shm";
    std::string path = parent + "/evograd_XXXXXX";
    if (mkdtemp(path.data()) == nullptr) std::abort();
    path_ = path;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace evograd::testing

#endif  // EVOGRAD_SERVER_STORE_TESTING_TEMP_DIR_H_
