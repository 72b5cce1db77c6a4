// Small text files for tests of readers.
#ifndef EVOGRAD_WORKER_DATA_TESTING_TEXT_FILES_H_
#define EVOGRAD_WORKER_DATA_TESTING_TEXT_FILES_H_

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

namespace evograd {

// Writes a file into the test's temporary folder, with the folders on the way; its path.
inline std::string WriteTextFile(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    mkdir(path.substr(0, slash).c_str(), 0700);
  }
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_TESTING_TEXT_FILES_H_
