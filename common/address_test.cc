// Goal: what can be no address is told before it is dialled, and what can be one is let through.
// Method: tables; each wrong one stands beside a right one that differs in that thing.
#include "common/address.h"

#include <gtest/gtest.h>

#include <string>

namespace evograd {
namespace {

constexpr char kForms[] = "; give HOST:PORT, such as localhost:7070, or unix:/PATH";

TEST(CheckAddressTest, RightOnesPass) {
  for (const char* address : {"localhost:70", "127.0.0.1:7070", "a-b.example.com:65535", "h_1:1",
                              "[::1]:70", "[fe80::1%eth0]:70", "unix:/tmp/socket"}) {
    EXPECT_TRUE(CheckAddress(address).ok()) << CheckAddress(address);
  }
}

TEST(CheckAddressTest, WrongOnesAreToldWhatTheyLack) {
  const auto error = [](const std::string& address) {
    const absl::Status status = CheckAddress(address);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    return std::string(status.message());
  };
  EXPECT_EQ(error(""), std::string("`` is not an address") + kForms);
  EXPECT_EQ(error("localhost"), std::string("`localhost` has no port") + kForms);
  EXPECT_EQ(error(":70"), std::string("`:70` has no host") + kForms);
  EXPECT_EQ(error("http://host:70"), std::string("`http://host:70` is a URL") + kForms);
  EXPECT_EQ(
      error("::1:70"),
      std::string("`::1:70` has no brackets around the host's IPv6 address, as in [::1]:7070") +
          kForms);
  for (const char* host : {"my host:70", "host/a:70", "[::1:70", "[]:70", "h\xc3\xb6st:70"}) {
    EXPECT_EQ(error(host), std::string("`") + host + "` has a malformed host" + kForms);
  }
  for (const char* port : {"host:", "host:0", "host:65536", "host:99999", "host:-1", "host:+1",
                           "host: 1", "host:http", "host:99999999999999999999"}) {
    EXPECT_EQ(error(port), std::string("`") + port + "` has no port from 1 to 65535" + kForms);
  }
  EXPECT_NE(error("unix:socket"), "");
}

}  // namespace
}  // namespace evograd
