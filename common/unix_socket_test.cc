// Goal: a socket's file is made where it can be, and nothing of anybody else's gives way to it.
// Method: addresses good and bad; a folder with each kind of file in the socket's place.
#include "common/unix_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

TEST(UnixSocketPathTest, AddressesThatCanBe) {
  EXPECT_TRUE(IsUnixAddress("unix:/x"));
  EXPECT_FALSE(IsUnixAddress("unix.example.com:7070"));
  EXPECT_EQ(UnixSocketPath("unix:/run/user/1000/evo-grad_1.sock").value(),
            "/run/user/1000/evo-grad_1.sock");
  const std::string longest = "/" + std::string(106, 'x');
  EXPECT_EQ(UnixSocketPath("unix:" + longest).value(), longest);
  EXPECT_THAT(std::string(UnixSocketPath("unix:" + longest + "x").status().message()),
              HasSubstr("107 bytes at most"));
  for (const char* wrong : {"127.0.0.1:7070", "unix:", "unix:socket", "unix:/a b", "unix:/a%20b",
                            "unix:/a?b", "unix:/a#b", "unix:/folder/", "unix:/\xc3\xa4"}) {
    EXPECT_EQ(UnixSocketPath(wrong).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
}

// In a folder whose name is short, wherever the test runs.
class MakeWayTest : public ::testing::Test {
 protected:
  MakeWayTest() { EXPECT_NE(mkdtemp(&folder_[0]), nullptr); }
  ~MakeWayTest() override {
    for (const int fd : sockets_) close(fd);
    std::filesystem::remove_all(folder_);
  }

  int Bind(const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    sockets_.push_back(fd);
    return fd;
  }

  std::string folder_ = "/tmp/evograd-test-XXXXXX";
  std::vector<int> sockets_;
};

TEST_F(MakeWayTest, MissingFoldersAreMadeForTheirOwner) {
  const std::string path = folder_ + "/deep/er/socket";
  ASSERT_TRUE(MakeWayForSocket(path).ok()) << MakeWayForSocket(path);
  struct stat info;
  ASSERT_EQ(stat((folder_ + "/deep/er").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(MakeWayTest, ASocketThatWasLeftGoesAndOneInUseStays) {
  const std::string path = folder_ + "/socket";
  const int fd = Bind(path);
  ASSERT_TRUE(MakeWayForSocket(path).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  close(fd);
  sockets_.clear();
  ASSERT_EQ(listen(Bind(path), 1), 0);
  const absl::Status used = MakeWayForSocket(path);
  EXPECT_EQ(used.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(used.message()), HasSubstr("another program listens at " + path));
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(MakeWayTest, OtherFilesStay) {
  const std::string path = folder_ + "/socket";
  std::ofstream(path) << "mine";
  EXPECT_THAT(std::string(MakeWayForSocket(path).message()), HasSubstr("is not a socket"));
  EXPECT_EQ(std::filesystem::file_size(path), 4);
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/nowhere", path);
  EXPECT_THAT(std::string(MakeWayForSocket(path).message()), HasSubstr("is not a socket"));
  EXPECT_TRUE(std::filesystem::is_symlink(path));
}

TEST_F(MakeWayTest, AFolderOfEverybodyIsRefused) {
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  EXPECT_THAT(std::string(MakeWayForSocket(folder_ + "/socket").message()),
              HasSubstr("everybody may write in " + folder_));
  // The twin: as /tmp is.
  ASSERT_EQ(chmod(folder_.c_str(), 01777), 0);
  EXPECT_TRUE(MakeWayForSocket(folder_ + "/socket").ok());
}

}  // namespace
}  // namespace evograd
