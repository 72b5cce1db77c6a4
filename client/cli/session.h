// What every verb works with.
#ifndef EVOGRAD_CLIENT_CLI_SESSION_H_
#define EVOGRAD_CLIENT_CLI_SESSION_H_

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/arguments.h"
#include "client/cli/interrupts.h"
#include "client/cli/terminal.h"
#include "client/lib/client.h"

namespace evograd {

struct Session {
  Terminal* terminal = nullptr;
  Interrupts* interrupts = nullptr;
  Arguments arguments;
  // The coordinator's address, by flag, environment or default.
  std::string coordinator;
  // Results as JSON instead of tables.
  bool json = false;
  // --timeout: of verbs that wait the whole, of others each call.
  absl::Duration timeout = absl::InfiniteDuration();

  Client MakeClient() const { return MakeClient(coordinator); }
  Client MakeClient(const std::string& address) const {
    return Client(ClientOptions{address, std::min(timeout, absl::Seconds(10)), timeout});
  }
  // When a verb that waits gives up.
  absl::Time Deadline() const { return absl::Now() + timeout; }

  // Says what went wrong; the exit code to end with.
  int Fail(const absl::Status& status) const;
};

// "jobs/x" of "x" and of "jobs/x".
std::string JobName(const std::string& word);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_SESSION_H_
