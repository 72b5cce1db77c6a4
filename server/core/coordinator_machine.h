// The coordinator as a pure state machine: jobs, the membership of their worker groups, placement,
// and what workers say.
//
//   EVOGRAD_ASSIGN_OR_RETURN(auto machine, CoordinatorMachine::Make(snapshot, step_log, now));
//   Effects effects = machine->Step(input, now);
//   // write effects.records in one transaction; when they are durable, and only then, send the
//   rest
//
// It has no clock, thread, file, socket or random source: time and fresh ids come in with the
// inputs, so that a seeded simulation runs all of it. Effects of several steps may share one
// transaction, in their order. After a failed write the machine is ahead of the disk: it must be
// thrown away, and a new one be made from what was stored.
//
// What it promises, given that its effects are carried out in order:
//   - what a reply or an acknowledgement says is durable;
//   - a job's committed steps never decrease, and each is committed once;
//   - a message of another generation, job uid or process than the current one changes nothing;
//   - an event's sequence number is used once, without gaps.
//
// Threads: one.
#ifndef EVOGRAD_SERVER_CORE_COORDINATOR_MACHINE_H_
#define EVOGRAD_SERVER_CORE_COORDINATOR_MACHINE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "server/core/checkpoint_calls.h"
#include "server/core/groups.h"
#include "server/core/inputs.h"
#include "server/core/job_calls.h"
#include "server/core/machine_state.h"
#include "server/core/worker_messages.h"

namespace evograd {

class CoordinatorMachine {
 public:
  // `step_log` outlives the machine. DATA_LOSS where the snapshot cannot be what a machine wrote.
  static absl::StatusOr<std::unique_ptr<CoordinatorMachine>> Make(Snapshot snapshot,
                                                                  const StepLog& step_log, Now now);

  Effects Step(const Input& input, Now now);

 private:
  explicit CoordinatorMachine(const StepLog& step_log) : state_(step_log) {}

  absl::Status Load(Snapshot snapshot, Now now);
  void Tick();

  MachineState state_;
  Groups groups_{&state_};
  JobCalls job_calls_{&state_, &groups_};
  CheckpointCalls checkpoint_calls_{&state_, &groups_};
  WorkerMessages worker_messages_{&state_, &groups_};
  int64_t last_tick_ms_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_COORDINATOR_MACHINE_H_
