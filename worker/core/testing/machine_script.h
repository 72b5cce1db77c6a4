// For scenarios of the agent's machine: inputs in short form, and what the machine does about each
// as one line of text. Lines for people (Say) are left out.
//
//   EXPECT_EQ(Start(1, {}), "open g1; prepare jobs/a");
//   EXPECT_EQ(Empty(), "join g1");
#ifndef EVOGRAD_WORKER_CORE_TESTING_MACHINE_SCRIPT_H_
#define EVOGRAD_WORKER_CORE_TESTING_MACHINE_SCRIPT_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "worker/core/agent_machine.h"
#include "worker/core/testing/coordinator_messages.h"

namespace evograd::agent {

class MachineScript : public testing::Test {
 protected:
  MachineScript();

  std::string Do(Input input);

  // A new stream and its Welcome; the Hello.
  std::string Connect();
  std::string Start(int64_t generation, const StartOptions& options);
  std::string Prepare(const StartOptions& options);
  std::string End(int64_t generation, const std::string& job = "jobs/a");
  std::string Ack(int64_t generation, int64_t committed, const std::string& job = "jobs/a");
  std::string Release(const std::string& job = "jobs/a");

  // The engine's task has ended and it holds no state.
  std::string Empty(absl::Status status = absl::OkStatus());
  // It has ended and the state stands at `phases`; results of `steps` are handed out.
  std::string Done(int64_t phases, const std::vector<int64_t>& steps = {},
                   absl::Status status = absl::OkStatus());
  std::string Uploaded(absl::Status status = absl::OkStatus());

  // Until the first step runs: generation 1, rank 0, nothing done.
  void StartJob(const StartOptions& options = {});

  AgentMachine machine_;
};

// The donor of a generation that goes on after `committed` steps.
StartOptions Donor(int64_t committed);
StartOptions Depth(int depth);
StartOptions Short(int64_t steps, int depth, int64_t interval);

v1::StepResult Result(int64_t step);

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_CORE_TESTING_MACHINE_SCRIPT_H_
