#include "common/address.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/unix_socket.h"

namespace evograd {
namespace {

constexpr char kForms[] = "; give HOST:PORT, such as localhost:7070, or unix:/PATH";
constexpr int kMaxPort = 65535;

absl::Status Wrong(absl::string_view address, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("`", address, "` ", why, kForms));
}

bool InName(char c) { return absl::ascii_isalnum(c) || std::strchr("._-", c) != nullptr; }
// The zone of a link-local address may have any of the characters of a name.
bool InBrackets(char c) { return InName(c) || c == ':' || c == '%'; }

bool IsHost(absl::string_view host) {
  bool (*allowed)(char) = InName;
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return false;
    allowed = InBrackets;
  }
  return !host.empty() && std::all_of(host.begin(), host.end(), allowed);
}

}  // namespace

absl::Status CheckAddress(absl::string_view address) {
  if (IsUnixAddress(address)) return UnixSocketPath(address).status();
  if (address.empty()) return Wrong(address, "is not an address");
  if (address.find("://") != absl::string_view::npos) return Wrong(address, "is a URL");
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos) return Wrong(address, "has no port");
  const absl::string_view host = address.substr(0, colon);
  const absl::string_view port = address.substr(colon + 1);
  if (host.empty()) return Wrong(address, "has no host");
  if (host.find(':') != absl::string_view::npos && host.front() != '[') {
    return Wrong(address, "has no brackets around the host's IPv6 address, as in [::1]:7070");
  }
  if (!IsHost(host)) return Wrong(address, "has a malformed host");
  int number = 0;
  const bool digits = std::all_of(port.begin(), port.end(), absl::ascii_isdigit);
  if (!digits || !absl::SimpleAtoi(port, &number) || number < 1 || number > kMaxPort) {
    return Wrong(address, absl::StrCat("has no port from 1 to ", kMaxPort));
  }
  return absl::OkStatus();
}

}  // namespace evograd
