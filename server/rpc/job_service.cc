#include "server/rpc/job_service.h"

#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "server/rpc/call.h"
#include "server/rpc/status_grpc.h"
#include "spec/error.h"

namespace evograd {
namespace {

constexpr auto kLongestDeadline = std::chrono::hours(24);

// Until when the caller waits, by the steady clock, and whether it still does.
CoordinatorLoop::Patience PatienceOf(grpc::CallbackServerContext* context) {
  CoordinatorLoop::Patience patience;
  const auto left = context->deadline() - std::chrono::system_clock::now();
  // Without a deadline it is infinitely far away.
  if (left < kLongestDeadline) {
    patience.until = std::chrono::steady_clock::now() + left;
  }
  // The context lives until the call is answered, which the loop does after it has asked.
  patience.is_over = [context] { return context->IsCancelled(); };
  return patience;
}

// Hands `input` to the loop; its answer, a Response, ends the call.
template <typename CallInput, typename Response>
grpc::ServerUnaryReactor* Forward(CoordinatorLoop* loop, grpc::CallbackServerContext* context,
                                  CallInput input, Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  loop->Call(
      std::move(input),
      [reactor, response](absl::StatusOr<Answer> answer) {
        if (answer.ok()) *response = std::get<Response>(*std::move(answer));
        reactor->Finish(ToGrpc(answer.status()));
      },
      PatienceOf(context));
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* JobService::CreateJob(grpc::CallbackServerContext* context,
                                                const v1::CreateJobRequest* request,
                                                v1::Job* response) {
  if (request->ByteSizeLong() > limits::kMaxJobFileBytes) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(
        ToGrpc(InvalidFields({{"spec", absl::StrCat("is larger than the ", limits::kMaxJobFileBytes,
                                                    " bytes that a job may have")}})));
    return reactor;
  }
  const std::string uid = RandomUuid();
  return Forward(shared_.loop, context,
                 CreateJobInput{{}, *request, uid, absl::StrCat("job-", uid.substr(0, 8))},
                 response);
}

grpc::ServerUnaryReactor* JobService::GetJob(grpc::CallbackServerContext* context,
                                             const v1::GetJobRequest* request, v1::Job* response) {
  return Forward(shared_.loop, context, GetJobInput{{}, *request}, response);
}

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext* context,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  return Forward(shared_.loop, context, ListJobsInput{{}, *request}, response);
}

grpc::ServerUnaryReactor* JobService::CancelJob(grpc::CallbackServerContext* context,
                                                const v1::CancelJobRequest* request,
                                                v1::Job* response) {
  return Forward(shared_.loop, context, CancelJobInput{{}, *request}, response);
}

grpc::ServerUnaryReactor* JobService::ListWorkers(grpc::CallbackServerContext* context,
                                                  const v1::ListWorkersRequest* request,
                                                  v1::ListWorkersResponse* response) {
  return Forward(shared_.loop, context, ListWorkersInput{{}, *request}, response);
}

grpc::ServerUnaryReactor* JobService::ListCheckpoints(grpc::CallbackServerContext* context,
                                                      const v1::ListCheckpointsRequest* request,
                                                      v1::ListCheckpointsResponse* response) {
  return Forward(shared_.loop, context, ListCheckpointsInput{{}, *request}, response);
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobService::WatchJob(
    grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) {
  return WatchReactor::Begin(shared_, context, *request);
}

grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* JobService::DownloadCheckpoint(
    grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest* request) {
  return transfer_.Send(context, *request, CheckpointTransfer::kUser);
}

}  // namespace evograd
