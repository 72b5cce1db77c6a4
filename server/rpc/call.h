// Calling the loop from a thread that may wait.
#ifndef EVOGRAD_SERVER_RPC_CALL_H_
#define EVOGRAD_SERVER_RPC_CALL_H_

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/loop/coordinator_loop.h"

namespace evograd {

// The loop's answer, of which the caller knows the type. The loop always answers.
template <typename Result, typename CallInput>
absl::StatusOr<Result> CallAndWait(CoordinatorLoop* loop, CallInput input) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<Answer>>>();
  std::future<absl::StatusOr<Answer>> future = promise->get_future();
  loop->Call(std::move(input),
             [promise](absl::StatusOr<Answer> answer) { promise->set_value(std::move(answer)); });
  absl::StatusOr<Answer> answer = future.get();
  if (!answer.ok()) return answer.status();
  return std::get<Result>(*std::move(answer));
}

// A random UUID (version 4).
std::string RandomUuid();

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_CALL_H_
