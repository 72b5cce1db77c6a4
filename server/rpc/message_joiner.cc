#include "server/rpc/message_joiner.h"

#include "absl/strings/str_cat.h"
#include "spec/error.h"

namespace evograd {
namespace {

absl::Status Malformed(const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   absl::StrCat("the worker broke the protocol: ", what),
                   "MALFORMED_WORKER_MESSAGE");
}

}  // namespace

absl::StatusOr<v1::WorkerMessage> MessageJoiner::Take(v1::WorkerMessage received) {
  if (received.has_part()) return Add(received.part());
  if (!bytes_.empty() && !received.has_heartbeat()) {
    return Malformed("another message came between the parts of a long one");
  }
  return received;
}

absl::StatusOr<v1::WorkerMessage> MessageJoiner::Add(const v1::MessagePart& part) {
  const int64_t size = static_cast<int64_t>(part.piece().size());
  if (size == 0) return Malformed("a part of a message is empty");
  if (static_cast<int64_t>(bytes_.size()) + size > budget_.max_message_bytes) {
    return Malformed(absl::StrCat("the parts of a message have together more than the ",
                                  budget_.max_message_bytes, " bytes that one may have"));
  }
  bytes_.append(part.piece());
  if ((budget_.held_bytes += size) > budget_.max_bytes) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     absl::StrCat("the coordinator holds ", budget_.max_bytes,
                                  " bytes of messages that are not complete; try again later"),
                     "TOO_MANY_PARTIAL_MESSAGES");
  }
  if (part.last()) return Whole();
  v1::WorkerMessage more;
  more.mutable_part();
  return more;
}

absl::StatusOr<v1::WorkerMessage> MessageJoiner::Whole() {
  v1::WorkerMessage whole;
  const bool parsed = whole.ParseFromString(bytes_);
  Drop();
  if (!parsed || whole.has_part()) return Malformed("the parts are together no message");
  return whole;
}

void MessageJoiner::Drop() {
  budget_.held_bytes -= static_cast<int64_t>(bytes_.size());
  std::string().swap(bytes_);
}

}  // namespace evograd
