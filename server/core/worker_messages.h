// What workers say, turned into changes of state. A message of another generation, job or uid than
// the sender's own changes nothing; a malformed one closes the stream. Works on the machine's
// state; one thread.
#ifndef EVOGRAD_SERVER_CORE_WORKER_MESSAGES_H_
#define EVOGRAD_SERVER_CORE_WORKER_MESSAGES_H_

#include <string>

#include "server/core/groups.h"
#include "server/core/machine_state.h"

namespace evograd {

class WorkerMessages {
 public:
  WorkerMessages(MachineState* state, Groups* groups) : state_(*state), groups_(*groups) {}

  void Connected(const ConnectedInput& input);
  void Said(const WorkerInput& input);
  void Disconnected(const DisconnectedInput& input);

 private:
  // The sender's job, where the sender is in its generation `generation`; null where the message is
  // stale.
  JobEntry* Current(const WorkerEntry& worker, const std::string& job_name, int64_t generation);
  void Refuse(ConnectionId connection, absl::Status status);
  // Closes the stream of a worker that broke the protocol; it counts as lost.
  void Expel(WorkerEntry* worker, const std::string& what);
  void TakeBack(WorkerEntry* worker, const v1::HeldState& held);
  void Beat(WorkerEntry* worker, const v1::Heartbeat& heartbeat);

  void Relay(const WorkerEntry& worker, const v1::RendezvousEntry& entry);
  void Results(WorkerEntry* worker, const v1::StepResults& results);
  // A result of the worker that cannot be committed, and why.
  void Wrong(JobEntry* job, WorkerEntry* worker, const absl::Status& failure);
  // A step that is committed already, computed or sent again. DATA_LOSS where it differs;
  // UNAVAILABLE where the log cannot be read.
  absl::Status CompareRepeated(const JobEntry& job, const WorkerEntry& worker,
                               const v1::StepResult& result);
  // The next step; its metrics join `steps`.
  absl::Status Commit(JobEntry* job, const WorkerEntry& worker, const v1::StepResult& result,
                      v1::StepsCommitted* steps);
  void Evaluated(JobEntry* job, const v1::Evaluation& evaluation);
  void FlushSteps(JobEntry* job, v1::StepsCommitted* steps);
  void Acknowledge(const JobEntry& job);
  void Left(WorkerEntry* worker, const v1::GenerationLeft& left);
  void Finished(WorkerEntry* worker, const v1::JobFinished& finished);
  void Failed(WorkerEntry* worker, const v1::JobFailed& failed);
  void Released(WorkerEntry* worker, const v1::JobReleased& released);
  void Prepared(WorkerEntry* worker, const v1::JobPrepared& prepared);
  void Trouble(const WorkerEntry& worker, const v1::Trouble& trouble);

  MachineState& state_;
  Groups& groups_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_WORKER_MESSAGES_H_
