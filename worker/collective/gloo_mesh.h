// Connects the ranks of a generation with each other through Gloo's TCP transport, one connection
// per pair.
//
// Gloo's exceptions end here and in gloo_communicator.cc.
#ifndef EVOGRAD_WORKER_COLLECTIVE_GLOO_MESH_H_
#define EVOGRAD_WORKER_COLLECTIVE_GLOO_MESH_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gloo/transport/context.h"
#include "gloo/transport/device.h"
#include "worker/collective/communicator.h"

namespace evograd {

struct GlooMesh {
  // Outlives the context.
  std::shared_ptr<gloo::transport::Device> device;
  std::shared_ptr<gloo::transport::Context> context;
  // Random, the same on all ranks and known to nobody else: tells a peer from whoever else dialled.
  std::string secret;
};

// Collective over the ranks of `options`; size is at least 2. Each rank puts its addresses into the
// rendezvous and waits for the others'; when all are there they connect within options.timeout.
// DEADLINE_EXCEEDED when a rank did not come, ABORTED when the generation ended, UNAVAILABLE when
// one could not be reached, INVALID_ARGUMENT for an interface address that is not this host's.
absl::StatusOr<GlooMesh> ConnectGlooMesh(const CommunicatorOptions& options,
                                         Rendezvous& rendezvous);

// While it lives: calls `give_up` once, on another thread, when the generation ends or the deadline
// passes.
class ConnectWatch {
 public:
  ConnectWatch(const Rendezvous& rendezvous, absl::Time deadline, std::function<void()> give_up);
  ~ConnectWatch();

  // ABORTED or DEADLINE_EXCEEDED after it gave up, OK before.
  absl::Status status() const;

 private:
  void Watch();

  const Rendezvous& rendezvous_;
  const absl::Time deadline_;
  const std::function<void()> give_up_;
  mutable absl::Mutex mutex_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_GLOO_MESH_H_
