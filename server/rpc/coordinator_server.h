// A whole coordinator: the data directory, the loop, and the gRPC server before them, with health
// checking and reflection.
//
//   CoordinatorOptions options;
//   options.data_dir = "/var/lib/evograd";
//   EVOGRAD_ASSIGN_OR_RETURN(auto server, CoordinatorServer::Start(options));
//   … server->address() …
//
// Threads: any.
#ifndef EVOGRAD_SERVER_RPC_COORDINATOR_SERVER_H_
#define EVOGRAD_SERVER_RPC_COORDINATOR_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/service_limits.h"

namespace evograd {

class Store;

struct CoordinatorOptions {
  std::string data_dir;
  // host:port; port 0: any free one. Or unix:/PATH, a socket for this user alone
  // (common/unix_socket.h).
  std::string listen = "127.0.0.1:0";
  // Serve without encryption and authentication to other machines too.
  bool insecure = false;
  // What a person should know of how it started.
  std::function<void(const std::string&)> on_notice;
  // The coordinator cannot go on; the process must end. From any thread.
  std::function<void(const absl::Status&)> on_failure;
  int64_t watch_keepalive_ms = limits::kWatchKeepaliveMs;
  int64_t peer_stall_ms = limits::kPeerStallMs;
};

class CoordinatorServer {
 public:
  // Serves when it returns. INVALID_ARGUMENT: `listen`; FAILED_PRECONDITION: the data directory is
  // in use, newer, somebody else's, or cannot be used, or the address cannot be listened on;
  // DATA_LOSS: what is stored is damaged; RESOURCE_EXHAUSTED: its disk is full.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(
      const CoordinatorOptions& options);
  // Stops.
  ~CoordinatorServer();
  CoordinatorServer(const CoordinatorServer&) = delete;
  CoordinatorServer& operator=(const CoordinatorServer&) = delete;

  // host:port as bound, or the unix address.
  const std::string& address() const;

  // Answers what it has taken, tells everybody else UNAVAILABLE, and lets the data directory go.
  // Workers keep their state and come back to the next coordinator. Again: nothing.
  void Stop();

 private:
  struct Parts;

  explicit CoordinatorServer(std::unique_ptr<Parts> parts);
  static absl::StatusOr<std::unique_ptr<Store>> OpenStore(const CoordinatorOptions& options,
                                                          Parts* parts);

  std::unique_ptr<Parts> parts_;
};

// Whether `listen` may be served without encryption. INVALID_ARGUMENT: no host:port and no unix
// address, or another machine could reach it and `insecure` is not set.
absl::Status CheckListenAddress(const std::string& listen, bool insecure);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_COORDINATOR_SERVER_H_
