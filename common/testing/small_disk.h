// A file system of a few megabytes for one test, in a mount namespace of this process's own, so
// that it can be filled to the last byte. Where the kernel does not allow that, the test says on
// standard error that it was not run.
//
//   SmallDisk disk(path);
//   if (!disk.mounted()) GTEST_SKIP() << disk.why_not();
//   disk.Fill("theirs");
//
// Before the process has threads.
#ifndef EVOGRAD_COMMON_TESTING_SMALL_DISK_H_
#define EVOGRAD_COMMON_TESTING_SMALL_DISK_H_

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

namespace evograd::testing {

class SmallDisk {
 public:
  // `size` as mount(8) takes it.
  explicit SmallDisk(std::string path, const std::string& size = "8m") : path_(std::move(path)) {
    static const std::string entered = EnterNamespace();
    why_not_ = entered;
    std::filesystem::create_directories(path_);
    if (why_not_.empty() &&
        mount("none", path_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) != 0) {
      why_not_ = std::strerror(errno);
    }
    if (!mounted())
      std::fprintf(stderr, "NOT TESTED: nothing can be mounted here: %s\n", why_not_.c_str());
  }
  ~SmallDisk() {
    if (mounted()) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return why_not_.empty(); }
  const std::string& why_not() const { return why_not_; }

  // Takes all the room that is left for the file `name`; whether it is so.
  bool Fill(const std::string& name) {
    const std::filesystem::path file = path_ + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return errno == ENOSPC;
    const std::string bytes(4096, 'x');
    for (size_t size = bytes.size(); size > 0;) {
      if (write(fd, bytes.data(), size) < 0) size /= 2;
    }
    const bool full = errno == ENOSPC;
    close(fd);
    return full;
  }

 private:
  // Empty where it is done.
  static std::string EnterNamespace() {
    const uid_t user = geteuid();
    const gid_t group = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return std::strerror(errno);
    const auto write = [](const char* path, const std::string& text) {
      std::ofstream file(path);
      return static_cast<bool>(file << text << std::flush);
    };
    const bool mapped = write("/proc/self/setgroups", "deny") &&
                        write("/proc/self/uid_map", "0 " + std::to_string(user) + " 1") &&
                        write("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
    return mapped ? "" : "the users of a new namespace cannot be set";
  }

  const std::string path_;
  std::string why_not_;
};

}  // namespace evograd::testing

#endif  // EVOGRAD_COMMON_TESTING_SMALL_DISK_H_
