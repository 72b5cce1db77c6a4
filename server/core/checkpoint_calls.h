// The coordinator's knowledge of checkpoints: which uploads are taken, which files count, which are
// obsolete. Works on the machine's state; one thread.
#ifndef EVOGRAD_SERVER_CORE_CHECKPOINT_CALLS_H_
#define EVOGRAD_SERVER_CORE_CHECKPOINT_CALLS_H_

#include "server/core/groups.h"
#include "server/core/machine_state.h"

namespace evograd {

class CheckpointCalls {
 public:
  CheckpointCalls(MachineState* state, Groups* groups) : state_(*state), groups_(*groups) {}

  void List(const ListCheckpointsInput& input);
  void Find(const FindCheckpointInput& input);
  void BeginUpload(const BeginUploadInput& input);
  void FinishUpload(const FinishUploadInput& input);
  void Damaged(const DamagedCheckpointInput& input);

 private:
  absl::StatusOr<Answer> Page(const v1::ListCheckpointsRequest& request);
  absl::StatusOr<Answer> FindByName(const std::string& name);
  // The job that this upload is for. INVALID_ARGUMENT, NOT_FOUND, ABORTED.
  absl::StatusOr<JobEntry*> JobOf(const v1::UploadCheckpointRequest& header);
  // Its checkpoint is not to be waited for any more.
  void Settle(const v1::UploadCheckpointRequest& header);
  absl::StatusOr<Answer> Finish(const v1::UploadCheckpointRequest& header);

  MachineState& state_;
  Groups& groups_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_CHECKPOINT_CALLS_H_
