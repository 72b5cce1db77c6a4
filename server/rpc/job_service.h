// JobService over gRPC: each method hands its request to the loop and translates the answer. None
// holds a thread of the server; a download has one of its own while it runs.
#ifndef EVOGRAD_SERVER_RPC_JOB_SERVICE_H_
#define EVOGRAD_SERVER_RPC_JOB_SERVICE_H_

#include <grpcpp/support/server_callback.h>

#include "proto/evograd/v1/job_service.grpc.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/checkpoint_transfer.h"
#include "server/rpc/watch_reactor.h"

namespace evograd {

class JobService final : public v1::JobService::CallbackService {
 public:
  // All outlive the service.
  JobService(const WatchReactor::Shared& shared, CheckpointTransfer* transfer)
      : shared_(shared), transfer_(*transfer) {}

  grpc::ServerUnaryReactor* CreateJob(grpc::CallbackServerContext* context,
                                      const v1::CreateJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* ListCheckpoints(grpc::CallbackServerContext* context,
                                            const v1::ListCheckpointsRequest* request,
                                            v1::ListCheckpointsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) override;
  grpc::ServerWriteReactor<v1::DownloadCheckpointResponse>* DownloadCheckpoint(
      grpc::CallbackServerContext* context, const v1::DownloadCheckpointRequest* request) override;

 private:
  const WatchReactor::Shared shared_;
  CheckpointTransfer& transfer_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_JOB_SERVICE_H_
