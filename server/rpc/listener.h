// The coordinator's address: listens there and hands each connection to the gRPC server. gRPC 1.51
// has listeners of its own, but one of them ends for good when an accept fails, for lack of file
// descriptors for example (tcp_server_posix.cc, on_read).
//
//   EVOGRAD_ASSIGN_OR_RETURN(auto listener, Listener::Bind("127.0.0.1:7070", notice));
//   auto acceptor = builder.experimental().AddExternalConnectionAcceptor(…);
//   … start the server …
//   listener->Serve(std::move(acceptor));
//
// Threads: one at a time; it has a thread of its own, from which notices come.
#ifndef EVOGRAD_SERVER_RPC_LISTENER_H_
#define EVOGRAD_SERVER_RPC_LISTENER_H_

#include <grpcpp/server_builder.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evograd {

// Splits "host:port"; a host of IPv6 keeps its brackets. Whether it is one.
bool SplitAddress(const std::string& address, std::string* host, int* port);

class Listener {
 public:
  using Notice = std::function<void(const std::string&)>;

  // `listen`: host:port, port 0 for any free one, or unix:/PATH, a socket for this user alone.
  // FAILED_PRECONDITION: it cannot be listened on; says why.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const std::string& listen, Notice notice);
  // Stops.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // host:port as bound, or the unix address.
  const std::string& address() const { return address_; }

  // Takes connections, as many as leave the process some files for its own work, and closes those
  // beyond. The server of `acceptor` must have started, and not be shut down before Stop.
  void Serve(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor);
  // Nobody can connect any more. Again: nothing.
  void Stop();

 private:
  explicit Listener(Notice notice);
  absl::Status BindUnix(const std::string& listen);
  absl::Status BindTcp(const std::string& listen);
  void Run();
  // False: no connection can be had now, though somebody may wait for one.
  bool Accept(int socket);
  void Say(const std::string& notice);

  const Notice notice_;
  // A descriptor is the lowest free number: one of at least this says how many are open.
  const int max_descriptor_;
  std::vector<int> sockets_;
  std::string address_;
  std::string unix_path_;
  // Of its file: another one may have been put there since.
  ino_t unix_inode_ = 0;
  int stop_event_ = -1;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::chrono::steady_clock::time_point may_say_at_;
  std::thread thread_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_LISTENER_H_
