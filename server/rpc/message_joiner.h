// Puts the parts of a worker's long messages together (see MessagePart in worker.proto). What it
// holds is bounded, for one worker and for all.
//
// Threads: one for each joiner; all may share a budget.
#ifndef EVOGRAD_SERVER_RPC_MESSAGE_JOINER_H_
#define EVOGRAD_SERVER_RPC_MESSAGE_JOINER_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd {

class MessageJoiner {
 public:
  // What all joiners of a server may hold together.
  struct Budget {
    int64_t max_message_bytes = limits::kMaxWorkerMessageBytes;
    int64_t max_bytes = limits::kMaxPartialMessageBytes;
    std::atomic<int64_t> held_bytes{0};
  };

  explicit MessageJoiner(Budget* budget) : budget_(*budget) {}
  ~MessageJoiner() { Drop(); }
  MessageJoiner(const MessageJoiner&) = delete;
  MessageJoiner& operator=(const MessageJoiner&) = delete;

  // What `received` is or completes; a `part` without bytes where more parts must come.
  // INVALID_ARGUMENT: the sequence is wrong, or the message too long; RESOURCE_EXHAUSTED: too much
  // is held for other workers.
  absl::StatusOr<v1::WorkerMessage> Take(v1::WorkerMessage received);

 private:
  absl::StatusOr<v1::WorkerMessage> Add(const v1::MessagePart& part);
  absl::StatusOr<v1::WorkerMessage> Whole();
  void Drop();

  Budget& budget_;
  std::string bytes_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_MESSAGE_JOINER_H_
