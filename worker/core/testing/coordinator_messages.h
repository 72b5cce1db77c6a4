// The coordinator's messages to a worker in short form, for tests.
//
//   StartOptions options;
//   options.depth = 8;
//   coordinator.Say("w1", StartMessage(/*generation=*/1, options));
#ifndef EVOGRAD_WORKER_CORE_TESTING_COORDINATOR_MESSAGES_H_
#define EVOGRAD_WORKER_CORE_TESTING_COORDINATOR_MESSAGES_H_

#include <cstdint>
#include <string>

#include "proto/evograd/v1/worker.pb.h"

namespace evograd::agent {

struct StartOptions {
  std::string job = "jobs/a";
  std::string uid = "uid-a";
  int rank = 0;
  int size = 1;
  bool donor_holds_state = false;
  std::string checkpoint;
  int64_t committed = 0;
  int64_t steps = 100;
  int depth = 1;
  int64_t interval = 0;
  int interval_seconds = 0;
  int keep_every = 0;
};

inline v1::CoordinatorMessage StartMessage(int64_t generation, const StartOptions& options) {
  v1::CoordinatorMessage message;
  v1::StartGeneration* start = message.mutable_start_generation();
  start->set_job(options.job);
  start->set_job_uid(options.uid);
  start->set_generation(generation);
  start->set_rank(options.rank);
  start->set_size(options.size);
  start->set_donor_holds_state(options.donor_holds_state);
  start->set_checkpoint(options.checkpoint);
  start->set_committed_steps(options.committed);
  start->mutable_spec()->set_steps(options.steps);
  start->mutable_spec()->set_pipeline_depth(options.depth);
  start->mutable_spec()->set_checkpoint_interval_steps(options.interval);
  start->mutable_spec()->set_checkpoint_interval_seconds(options.interval_seconds);
  start->mutable_spec()->mutable_keep_checkpoints()->set_every_steps(options.keep_every);
  start->mutable_spec()->set_collective_timeout_seconds(60);
  return message;
}

inline v1::CoordinatorMessage EndMessage(int64_t generation, const std::string& job = "jobs/a") {
  v1::CoordinatorMessage message;
  message.mutable_end_generation()->set_job(job);
  message.mutable_end_generation()->set_generation(generation);
  return message;
}

inline v1::CoordinatorMessage AcknowledgeMessage(int64_t generation, int64_t committed,
                                                 const std::string& job = "jobs/a") {
  v1::CoordinatorMessage message;
  message.mutable_acknowledge()->set_job(job);
  message.mutable_acknowledge()->set_generation(generation);
  message.mutable_acknowledge()->set_committed_steps(committed);
  return message;
}

inline v1::CoordinatorMessage ReleaseMessage(const std::string& job = "jobs/a") {
  v1::CoordinatorMessage message;
  message.mutable_release_job()->set_job(job);
  return message;
}

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_CORE_TESTING_COORDINATOR_MESSAGES_H_
