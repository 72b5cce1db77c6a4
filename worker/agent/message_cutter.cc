#include "worker/agent/message_cutter.h"

#include <algorithm>

namespace evograd::agent {

void MessageCutter::Begin(const v1::WorkerMessage& message) {
  bytes_ = message.SerializeAsString();
  offset_ = 0;
}

void MessageCutter::Clear() {
  std::string().swap(bytes_);
  offset_ = 0;
}

v1::WorkerMessage MessageCutter::Next() {
  const size_t size = std::min(part_bytes_, bytes_.size() - offset_);
  v1::WorkerMessage message;
  message.mutable_part()->set_piece(bytes_.data() + offset_, size);
  offset_ += size;
  if (offset_ == bytes_.size()) {
    message.mutable_part()->set_last(true);
    Clear();
  }
  return message;
}

}  // namespace evograd::agent
