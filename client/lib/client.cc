#include "client/lib/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "client/lib/backoff.h"
#include "client/lib/download.h"
#include "client/lib/grpc_status.h"
#include "client/lib/job_state.h"
#include "client/lib/uuid.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "spec/error.h"
#include "spec/retry.h"

namespace evograd {
namespace {

// While nobody answers these take about a second: long enough for a coordinator that is being
// restarted by hand, short enough for a person who mistyped the address.
constexpr int kMaxTries = 5;
// A distant or busy coordinator takes a part of a second.
constexpr int kConnectTimeoutMs = 3000;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, limits::kClientKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, limits::kKeepaliveTimeoutMs);
  // gRPC's own is a second: longer than all of the repeats.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // By this name, how long a connection may take to be made.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(limits::kMaxMessageBytes);
  // A proxy of the environment knows no coordinator on this machine.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// Cancels a call that is waited for too long, by a clock that nobody sets.
class IdleLimit {
 public:
  IdleLimit(grpc::ClientContext* context, absl::Duration limit)
      : context_(context),
        // A bound that a clock can be added to.
        limit_(absl::ToChronoMilliseconds(std::min(limit, absl::Hours(24 * 365)))),
        thread_([this] { Serve(); }) {}
  ~IdleLimit() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  // What `wait` answers. What the caller does between two of them may take its time.
  template <typename Wait>
  auto During(const Wait& wait) {
    SetEnd(Clock::now() + limit_);
    const auto result = wait();
    SetEnd(Clock::time_point::max());
    return result;
  }
  bool passed() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return passed_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void SetEnd(Clock::time_point end) {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_ = end;
    changed_.notify_one();
  }
  void Serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ended_ && Clock::now() < end_) {
      const Clock::time_point end = end_;
      if (end == Clock::time_point::max()) {
        changed_.wait(lock);
      } else {
        changed_.wait_until(lock, end);
      }
    }
    if (ended_) return;
    passed_ = true;
    context_->TryCancel();
  }

  grpc::ClientContext* const context_;
  const std::chrono::milliseconds limit_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_.
  Clock::time_point end_ = Clock::time_point::max();
  bool ended_ = false;
  bool passed_ = false;
  std::thread thread_;
};

}  // namespace

std::string NoCheckpoints(const v1::Job& job) {
  return absl::StrCat(job.name(), IsEnded(job.state()) ? " has ended without a checkpoint"
                                                       : " has no checkpoints yet");
}

Client::Client(ClientOptions options)
    : options_(std::move(options)),
      channel_(MakeChannel(options_.address)),
      stub_(v1::JobService::NewStub(channel_)) {}

template <typename Request, typename Response>
absl::StatusOr<Response> Client::Call(
    grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
    const Request& request) {
  const absl::Time deadline = absl::Now() + options_.timeout;
  Response response;
  const auto attempt = [&] {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    return FromGrpc((stub_.get()->*method)(&context, request, &response), options_.address);
  };
  EVOGRAD_RETURN_IF_ERROR(Repeat(deadline, attempt, IsPassing));
  return response;
}

absl::Status Client::Repeat(absl::Time deadline, const std::function<absl::Status()>& attempt,
                            const std::function<bool(const absl::Status&)>& may_pass) {
  for (int tries = 1;; ++tries) {
    const absl::Status status = attempt();
    if (status.ok() || tries == kMaxTries || !may_pass(status)) return status;
    const absl::Duration pause = Backoff(tries - 1, status);
    if (absl::Now() + pause >= deadline) return status;
    if (options_.pause) {
      options_.pause(pause);
    } else {
      Pause(pause);
    }
  }
}

void Client::Pause(absl::Duration pause) {
  const absl::Time end = absl::Now() + pause;
  // gRPC looks after a connection that is being made only while somebody waits for it.
  if (channel_->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY) {
    channel_->WaitForConnected(absl::ToChronoTime(end));
  }
  absl::Notification().WaitForNotificationWithTimeout(end - absl::Now());
}

absl::StatusOr<v1::Job> Client::CreateJob(const std::string& job_id, const v1::JobSpec& spec,
                                          const std::string& request_id) {
  v1::CreateJobRequest request;
  request.set_job_id(job_id);
  *request.mutable_spec() = spec;
  request.set_request_id(request_id.empty() ? NewUuid() : request_id);
  return Call(&v1::JobService::Stub::CreateJob, request);
}

absl::StatusOr<v1::Job> Client::ValidateJob(const std::string& job_id, const v1::JobSpec& spec) {
  v1::CreateJobRequest request;
  request.set_job_id(job_id);
  *request.mutable_spec() = spec;
  request.set_validate_only(true);
  return Call(&v1::JobService::Stub::CreateJob, request);
}

absl::StatusOr<v1::Job> Client::GetJob(const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  return Call(&v1::JobService::Stub::GetJob, request);
}

absl::StatusOr<v1::Job> Client::CancelJob(const std::string& name) {
  v1::CancelJobRequest request;
  request.set_name(name);
  return Call(&v1::JobService::Stub::CancelJob, request);
}

absl::Status Client::ForEachJob(const std::function<bool(const v1::Job&)>& visit) {
  v1::ListJobsRequest request;
  do {
    EVOGRAD_ASSIGN_OR_RETURN(v1::ListJobsResponse page,
                             Call(&v1::JobService::Stub::ListJobs, request));
    for (const v1::Job& job : page.jobs()) {
      if (!visit(job)) return absl::OkStatus();
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status Client::ForEachWorker(const std::function<bool(const v1::Worker&)>& visit) {
  v1::ListWorkersRequest request;
  do {
    EVOGRAD_ASSIGN_OR_RETURN(v1::ListWorkersResponse page,
                             Call(&v1::JobService::Stub::ListWorkers, request));
    for (const v1::Worker& worker : page.workers()) {
      if (!visit(worker)) return absl::OkStatus();
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status Client::ForEachCheckpoint(const std::string& job,
                                       const std::function<bool(const v1::Checkpoint&)>& visit) {
  v1::ListCheckpointsRequest request;
  request.set_parent(job);
  do {
    EVOGRAD_ASSIGN_OR_RETURN(v1::ListCheckpointsResponse page,
                             Call(&v1::JobService::Stub::ListCheckpoints, request));
    for (const v1::Checkpoint& checkpoint : page.checkpoints()) {
      if (!visit(checkpoint)) return absl::OkStatus();
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<v1::Checkpoint> Client::LastCheckpoint(const std::string& job) {
  absl::optional<v1::Checkpoint> last;
  EVOGRAD_RETURN_IF_ERROR(ForEachCheckpoint(job, [&](const v1::Checkpoint& checkpoint) {
    if (!last.has_value() || checkpoint.step() > last->step()) last = checkpoint;
    return true;
  }));
  if (last.has_value()) return *std::move(last);
  EVOGRAD_ASSIGN_OR_RETURN(const v1::Job full, GetJob(job));
  return absl::NotFoundError(NoCheckpoints(full));
}

absl::StatusOr<v1::Checkpoint> Client::BestCheckpoint(const std::string& job) {
  absl::optional<v1::Checkpoint> best;
  EVOGRAD_RETURN_IF_ERROR(ForEachCheckpoint(job, [&](const v1::Checkpoint& checkpoint) {
    if (checkpoint.best()) best = checkpoint;
    return !best.has_value();
  }));
  if (best.has_value()) return *std::move(best);
  EVOGRAD_ASSIGN_OR_RETURN(const v1::Job full, GetJob(job));
  const std::string& metric = full.spec().keep_checkpoints().best_metric();
  return absl::NotFoundError(
      metric.empty() ? absl::StrCat(job,
                                    " does not keep its best checkpoint; a job file asks for it by "
                                    "`keep_checkpoints: {best_metric: METRIC}`")
                     : absl::StrCat(job,
                                    IsEnded(full.state()) ? " has ended without a best checkpoint"
                                                          : " has no best checkpoint yet",
                                    ": none was evaluated by ", metric));
}

absl::StatusOr<v1::Checkpoint> Client::DownloadCheckpoint(const std::string& name,
                                                          OutputFile* file) {
  const absl::Time deadline = absl::Now() + options_.transfer_timeout;
  absl::StatusOr<v1::Checkpoint> checkpoint;
  const auto attempt = [&] {
    checkpoint = DownloadOnce(name, file, deadline);
    return checkpoint.status();
  };
  // Not what broke off: its bytes would come a second time.
  const auto refused = [](const absl::Status& status) {
    return GetErrorInfo(status).reason == "TOO_MANY_TRANSFERS" && GetRetryDelay(status).has_value();
  };
  EVOGRAD_RETURN_IF_ERROR(Repeat(deadline, attempt, refused));
  return checkpoint;
}

absl::StatusOr<v1::Checkpoint> Client::DownloadOnce(const std::string& name, OutputFile* file,
                                                    absl::Time deadline) {
  v1::DownloadCheckpointRequest request;
  request.set_name(name);
  grpc::ClientContext context;
  if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
  const auto reader = stub_->DownloadCheckpoint(&context, request);
  IdleLimit idle(&context, options_.transfer_idle_timeout);
  const auto failure = [&](const grpc::Status& status) {
    if (!idle.passed()) return FromGrpc(status, options_.address);
    return MakeError(
        absl::StatusCode::kDeadlineExceeded,
        absl::StrCat("the coordinator at ", options_.address, " sent nothing of ", name, " for ",
                     absl::FormatDuration(options_.transfer_idle_timeout),
                     "; try again, or look at its log"),
        "COORDINATOR_TIMEOUT", {{"address", options_.address}});
  };
  v1::DownloadCheckpointResponse response;
  const auto read = [&] { return idle.During([&] { return reader->Read(&response); }); };
  // The reason for having no first message is the better one to give.
  if (!read()) {
    const grpc::Status status = reader->Finish();
    if (!status.ok()) return failure(status);
    return MakeError(absl::StatusCode::kDataLoss,
                     absl::StrCat("the coordinator sent nothing of ", name), "CHECKPOINT_DAMAGED",
                     {{"checkpoint", name}});
  }
  Download download(response.checkpoint(), file);
  absl::Status written;
  do {
    written = download.Write(response.chunk());
  } while (written.ok() && read());
  if (!written.ok()) context.TryCancel();
  const grpc::Status status = reader->Finish();
  EVOGRAD_RETURN_IF_ERROR(written);
  if (!status.ok()) return failure(status);
  EVOGRAD_RETURN_IF_ERROR(download.Finish());
  return download.checkpoint();
}

std::unique_ptr<JobWatcher> Client::Watch(const std::string& name, int64_t after_sequence,
                                          WatchOptions options) {
  if (!options.pause) options.pause = options_.pause;
  return std::make_unique<JobWatcher>(channel_, options_.address, name, after_sequence, options);
}

}  // namespace evograd
