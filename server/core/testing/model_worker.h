// A worker for tests: keeps the promises of a worker's agent towards its coordinator, with a
// made-up problem of two hyperparameters whose gradient is a pure function of the step. It does
// nothing until told: messages are handed to it and taken from it, and each call of `Work` does one
// thing that a real one would do by itself.
#ifndef EVOGRAD_SERVER_CORE_TESTING_MODEL_WORKER_H_
#define EVOGRAD_SERVER_CORE_TESTING_MODEL_WORKER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "algo/advance.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd::testing {

// What an evaluation after `step` steps finds of its one metric, "score".
double Score(const v1::JobSpec& spec, int64_t step);

// The result of step `step` for a job whose steps before it gave `state`, which moves on.
v1::StepResult ComputeStep(const v1::JobSpec& spec, int64_t step, HyperState* state);

class ModelWorker {
 public:
  ModelWorker(std::string id, v1::DeviceKind kind) : id_(std::move(id)), kind_(kind) {}

  const std::string& id() const { return id_; }
  // What it would send first on a new stream.
  v1::Hello Hello() const;

  // A stream is open and its Hello was sent; it is gone.
  void StreamUp();
  void StreamDown();
  void Receive(const v1::CoordinatorMessage& message);

  // Does the next thing, if there is one: joins, computes a phase, answers, uploads, finishes.
  void Work();

  // Messages to the coordinator since the last call.
  std::vector<v1::WorkerMessage> TakeOutput();

  // An upload that it wants to make; the caller answers by UploadDone.
  absl::optional<v1::UploadCheckpointRequest> TakeUpload();
  void UploadDone(bool stored);
  // It was refused for good.
  void UploadRefused();

  // From now on: its results have a wrong checksum; it leaves its generation at its next chance;
  // its job fails there.
  void CorruptResults() { corrupt_ = true; }
  void LeaveUnasked(const std::string& reason, const std::vector<int>& suspects = {}) {
    leave_reason_ = reason;
    suspects_ = suspects;
  }
  // It leaves, and what it had computed is gone.
  void LoseState(const std::string& reason) {
    leave_reason_ = reason;
    lose_state_ = true;
  }
  void FailNext(const std::string& message, v1::FailureScope scope = v1::EVERYWHERE) {
    fail_message_ = message;
    fail_scope_ = scope;
  }
  // Each time that it prepares a job or begins in a generation it fails so; "" ends that.
  void FailToPrepare(const std::string& message) { unprepared_ = message; }
  // What tells its process, machine and network from others.
  v1::Hello* identity() { return &identity_; }

  bool holds_job() const { return holding_; }
  const std::string& job_uid() const { return start_.job_uid(); }
  int64_t generation() const { return start_.generation(); }
  int rank() const { return start_.rank(); }
  bool in_generation() const { return holding_ && !over_; }
  bool has_state() const { return has_state_; }
  int64_t phases() const { return phases_; }
  int64_t committed() const { return committed_; }
  // What no coordinator may do to it.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void OnStart(const v1::StartGeneration& start);
  void OnEnd(const v1::EndGeneration& end);
  void OnRelease(const std::string& job);
  void OnRendezvous(const v1::RendezvousEntry& entry);
  void JoinAsDonor();
  void BeginAt(int64_t step);
  void ComputePhase();
  void Upload();
  void Finish();
  void SendResults(const std::vector<v1::StepResult>& results);
  void SendLeft(const std::string& reason, const std::vector<int>& suspects);
  void SendFailed(const v1::StartGeneration& start, const std::string& message,
                  v1::FailureScope scope);
  v1::HeldState Held() const;
  void Say(v1::WorkerMessage message);

  const std::string id_;
  const v1::DeviceKind kind_;
  bool connected_ = false;
  bool attached_ = false;  // the stream over which the generation came still stands
  bool holding_ = false;
  bool over_ = false;
  bool joined_ = false;
  bool left_due_ = false;
  bool finished_ = false;
  bool uploading_ = false;
  bool stored_final_ = false;
  v1::StartGeneration start_;
  bool has_state_ = false;
  int64_t phases_ = 0;
  int64_t committed_ = 0;
  // Of the last upload in this generation; of the last that was stored.
  int64_t uploaded_step_ = 0;
  int64_t stored_step_ = 0;
  HyperState hyper_;
  std::map<int64_t, v1::StepResult> pending_;
  absl::optional<v1::UploadCheckpointRequest> upload_;
  bool corrupt_ = false;
  bool lose_state_ = false;
  std::string leave_reason_, fail_message_, unprepared_;
  std::vector<int> suspects_;
  v1::FailureScope fail_scope_ = v1::EVERYWHERE;
  v1::Hello identity_;
  // A job that others compute, whose data it reads.
  absl::optional<v1::StartGeneration> preparing_;
  std::vector<v1::WorkerMessage> output_;
  std::vector<std::string> violations_;
};

}  // namespace evograd::testing

#endif  // EVOGRAD_SERVER_CORE_TESTING_MODEL_WORKER_H_
