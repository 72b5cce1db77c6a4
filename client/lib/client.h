// The C++ client of a coordinator: every method of evograd.v1.JobService with deadlines, repeats
// and readable errors.
//
//   Client client(ClientOptions{"127.0.0.1:7070"});
//   EVOGRAD_ASSIGN_OR_RETURN(v1::Job job, client.CreateJob("my-job", spec));
//   std::unique_ptr<JobWatcher> watcher = client.Watch(job.name());
//   v1::Event event;
//   while (true) {
//     EVOGRAD_ASSIGN_OR_RETURN(bool more, watcher->Next(&event));
//     if (!more) break;
//   }
//
// Errors are the coordinator's own, with its google.rpc details as payloads (spec/error.h), or
//   UNAVAILABLE        nobody answers at the address (after repeats, for about a second);
//   DEADLINE_EXCEEDED  no answer within `timeout`.
// Every call is repeated, a few times within `timeout`, while it finds nobody or the coordinator
// says when to come again (spec/retry.h), and not before that: reads and CancelJob change nothing
// when repeated, and CreateJob carries a request id.
//
// Threads: any, at the same time.
#ifndef EVOGRAD_CLIENT_LIB_CLIENT_H_
#define EVOGRAD_CLIENT_LIB_CLIENT_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/lib/job_watcher.h"
#include "client/lib/output_file.h"
#include "common/service_limits.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"

namespace evograd {

struct ClientOptions {
  // Of the coordinator: host:port, or unix:/PATH (common/address.h checks the form).
  std::string address;
  // Of each call, its repeats included.
  absl::Duration timeout = absl::Seconds(10);
  // Of a whole download, and of a silence in it.
  absl::Duration transfer_timeout = absl::InfiniteDuration();
  absl::Duration transfer_idle_timeout = absl::Milliseconds(limits::kClientTransferIdleMs);
  // Waits between two tries; null: lets so much time pass.
  std::function<void(absl::Duration)> pause = nullptr;
};

// Of a job without any: "jobs/x has no checkpoints yet", or that it has ended without one.
std::string NoCheckpoints(const v1::Job& job);

class Client {
 public:
  explicit Client(ClientOptions options);

  // `job_id` empty: the coordinator chooses one. A call with the same `request_id` (a UUID) again
  // makes no second job; empty: a new one.
  absl::StatusOr<v1::Job> CreateJob(const std::string& job_id, const v1::JobSpec& spec,
                                    const std::string& request_id = "");
  // Checks only; the answer is the job as it would be.
  absl::StatusOr<v1::Job> ValidateJob(const std::string& job_id, const v1::JobSpec& spec);

  // Jobs have resource names: `jobs/{job_id}`.
  absl::StatusOr<v1::Job> GetJob(const std::string& name);
  absl::StatusOr<v1::Job> CancelJob(const std::string& name);

  // Calls `visit` on each, newest first, page after page, until it answers false.
  absl::Status ForEachJob(const std::function<bool(const v1::Job&)>& visit);
  absl::Status ForEachWorker(const std::function<bool(const v1::Worker&)>& visit);
  absl::Status ForEachCheckpoint(const std::string& job,
                                 const std::function<bool(const v1::Checkpoint&)>& visit);

  // The one of the highest step. NOT_FOUND: the job has none, and the message says whether one is
  // still to come.
  absl::StatusOr<v1::Checkpoint> LastCheckpoint(const std::string& job);

  // The best one so far by the job's own measure (JobSpec.keep_checkpoints). NOT_FOUND: there is
  // none, and the message says why.
  absl::StatusOr<v1::Checkpoint> BestCheckpoint(const std::string& job);

  // Writes the checkpoint's bytes to `file`, which is finished only when they are whole and have
  // the stated SHA-256. DATA_LOSS: they have not. FAILED_PRECONDITION: the file cannot be written.
  // DEADLINE_EXCEEDED: after `transfer_timeout`, or nothing came for `transfer_idle_timeout`.
  // Refused for want of a place it is tried again, a few times.
  absl::StatusOr<v1::Checkpoint> DownloadCheckpoint(const std::string& name, OutputFile* file);

  // Events of a job from the one after `after_sequence` on.
  std::unique_ptr<JobWatcher> Watch(const std::string& name, int64_t after_sequence = 0,
                                    WatchOptions options = {});

  const std::string& address() const { return options_.address; }

 private:
  // Calls `attempt` until it is OK, or fails with what does not pass, or too often, or the next try
  // would come after `deadline`.
  absl::Status Repeat(absl::Time deadline, const std::function<absl::Status()>& attempt,
                      const std::function<bool(const absl::Status&)>& may_pass);
  void Pause(absl::Duration pause);
  absl::StatusOr<v1::Checkpoint> DownloadOnce(const std::string& name, OutputFile* file,
                                              absl::Time deadline);

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*,
                                                                             const Request&,
                                                                             Response*),
                                const Request& request);

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::shared_ptr<v1::JobService::Stub> stub_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_CLIENT_H_
