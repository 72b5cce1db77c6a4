// Goal: a worker is reached where it says it is: by loopback on one host, never by loopback over
// several, and what cannot work is refused by name.
//
// Method: this host as it is, and child processes in network namespaces of their own, which have no
// interface but a loopback one that is down until the test takes it up. Two real hosts are in
// tests/net.
#include "worker/collective/local_address.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace evograd {
namespace {

bool IsLoopback(const std::string& address) {
  return absl::StartsWith(address, "127.") || address == "::1";
}

bool Mentions(const absl::Status& status, const char* text) {
  return status.message().find(text) != std::string::npos;
}

TEST(LocalAddress, IsNumericAndOfThisHost) {
  EXPECT_EQ(*LocalAddress("127.0.0.1"), "127.0.0.1");
  EXPECT_EQ(*LocalAddress("localhost"), "127.0.0.1");
}

TEST(LocalAddress, RefusesWhatPeersCannotDial) {
  for (const char* name : {"192.0.2.1", "0.0.0.0", "::", "169.254.1.1", "224.0.0.1", "fe80::1",
                           "not an address", ""}) {
    const auto address = LocalAddress(name);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_TRUE(Mentions(address.status(), name)) << address.status();
  }
}

TEST(AddressForGroup, OnOneHostIsLoopback) {
  EXPECT_EQ(*AddressForGroup("", "coordinator.invalid:7070", false), "127.0.0.1");
}

TEST(AddressForGroup, IsTheGivenOneOnOneHostToo) {
  // Machines started from one snapshot take themselves for one host.
  for (const char* given : {"127.0.0.1", "127.0.0.2"}) {
    EXPECT_EQ(*AddressForGroup(given, "coordinator.invalid:7070", false), given);
  }
  EXPECT_EQ(AddressForGroup("192.0.2.1", "", false).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LocalAddress, AProcessWithoutDescriptorsSaysThat) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const std::vector<absl::Status> statuses = {LocalAddress("127.0.0.1").status(),
                                              AddressForGroup("", "127.0.0.1:1", true).status(),
                                              AddressForGroup("", "127.0.0.1:1", false).status()};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_TRUE(Mentions(status, "Too many open files")) << status;
  }
}

TEST(AddressForGroup, OverSeveralIsNeverLoopback) {
  // Wherever the coordinator is; "127.0.1.1" is what Debian's /etc/hosts maps a host's name to.
  for (const char* coordinator :
       {"127.0.0.1:7070", "127.0.1.1:7070", "[::1]:7070", "::1", "localhost:7070",
        "dns:///localhost:7070", "", "192.0.2.1:7070", "unix:/nowhere"}) {
    const auto address = AddressForGroup("", coordinator, true);
    if (address.ok()) {
      EXPECT_FALSE(IsLoopback(*address)) << coordinator << ": " << *address;
      EXPECT_EQ(*LocalAddress(*address), *address);
    } else {
      // A machine without a network.
      EXPECT_EQ(address.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_TRUE(Mentions(address.status(), "--interface_address")) << address.status();
    }
  }
  for (const char* given : {"127.0.0.1", "127.0.1.1", "localhost"}) {
    const auto address = AddressForGroup(given, "127.0.0.1:7070", true);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kFailedPrecondition) << given;
    EXPECT_TRUE(Mentions(address.status(), "--interface_address")) << address.status();
  }
}

// Runs `check` in a process with a network of its own; 0 when it said true.
int InOwnNetwork(const std::function<bool()>& check) {
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) _exit(2);
    const bool good = check();
    std::cerr.flush();
    _exit(good ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool TakeLoopbackUp() {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  const bool up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  close(fd);
  return up;
}

TEST(AddressForGroup, WithoutAnyInterfaceSaysWhatToDo) {
  const int result = InOwnNetwork([] {
    for (const bool several_hosts : {true, false}) {
      const auto address = AddressForGroup("", "192.0.2.1:7070", several_hosts);
      std::cerr << address.status() << "\n";
      if (address.status().code() != absl::StatusCode::kFailedPrecondition ||
          !Mentions(address.status(), "--interface_address")) {
        return false;
      }
    }
    if (!TakeLoopbackUp()) return false;
    const auto alone = AddressForGroup("", "192.0.2.1:7070", false);
    return alone.ok() && *alone == "127.0.0.1" && !AddressForGroup("", "127.0.0.1:7070", true).ok();
  });
  if (result == 2) GTEST_SKIP() << "the kernel refuses a network namespace";
  EXPECT_EQ(result, 0);
}

TEST(LoopbackNetwork, IsOfTheNamespace) {
  const std::string here = LoopbackNetwork();
  EXPECT_EQ(LoopbackNetwork(), here);
  EXPECT_NE(here, "");
  const int result = InOwnNetwork([&] { return LoopbackNetwork() != here; });
  if (result == 2) GTEST_SKIP() << "the kernel refuses a network namespace";
  EXPECT_EQ(result, 0);
}

}  // namespace
}  // namespace evograd
