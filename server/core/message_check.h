// What a worker's message must be whatever the state of the jobs: sizes, counts, required parts.
// The machine looks at nothing that did not pass. Pure functions; INVALID_ARGUMENT with a sentence
// that names the part, or FAILED_PRECONDITION for another protocol version.
#ifndef EVOGRAD_SERVER_CORE_MESSAGE_CHECK_H_
#define EVOGRAD_SERVER_CORE_MESSAGE_CHECK_H_

#include "absl/status/status.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd {

// The first message of a stream.
absl::Status CheckHello(const v1::Hello& hello);

// Every later message.
absl::Status CheckWorkerMessage(const v1::WorkerMessage& message);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_MESSAGE_CHECK_H_
