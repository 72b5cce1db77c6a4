// A long message in parts, so that heartbeats go between them (see MessagePart in worker.proto).
//
// Pure; one thread.
#ifndef EVOGRAD_WORKER_AGENT_MESSAGE_CUTTER_H_
#define EVOGRAD_WORKER_AGENT_MESSAGE_CUTTER_H_

#include <cstddef>
#include <string>

#include "proto/evograd/v1/worker.pb.h"

namespace evograd::agent {

class MessageCutter {
 public:
  explicit MessageCutter(size_t part_bytes) : part_bytes_(part_bytes) {}

  // Whether a message has to be cut.
  bool IsLong(const v1::WorkerMessage& message) const {
    return message.ByteSizeLong() > part_bytes_;
  }

  // Nothing is left of the one before.
  void Begin(const v1::WorkerMessage& message);
  // Forgets what is left.
  void Clear();
  bool HasMore() const { return !bytes_.empty(); }
  // The next part. There is one.
  v1::WorkerMessage Next();

 private:
  const size_t part_bytes_;
  // Of the message, serialised; empty when all were given out.
  std::string bytes_;
  size_t offset_ = 0;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_MESSAGE_CUTTER_H_
