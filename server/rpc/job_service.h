// JobService over gRPC: each method hands its request to the loop and translates the answer. Unary
// methods and WatchJob hold no thread; DownloadCheckpoint holds one of the server's while it runs.
#ifndef EVOGRAD_SERVER_RPC_JOB_SERVICE_H_
#define EVOGRAD_SERVER_RPC_JOB_SERVICE_H_

#include <grpcpp/support/server_callback.h>

#include "proto/evograd/v1/job_service.grpc.pb.h"
#include "server/loop/coordinator_loop.h"
#include "server/rpc/checkpoint_transfer.h"
#include "server/rpc/event_pump.h"

namespace evograd {

template <typename Base>
using WithUnaryCallbacks = v1::JobService::WithCallbackMethod_CreateJob<
    v1::JobService::WithCallbackMethod_GetJob<v1::JobService::WithCallbackMethod_ListJobs<
        v1::JobService::WithCallbackMethod_CancelJob<v1::JobService::WithCallbackMethod_ListWorkers<
            v1::JobService::WithCallbackMethod_ListCheckpoints<Base>>>>>>;

class JobService final : public WithUnaryCallbacks<
                             v1::JobService::WithCallbackMethod_WatchJob<v1::JobService::Service>> {
 public:
  // All outlive the service.
  JobService(CoordinatorLoop* loop, EventPump* pump, CheckpointTransfer* transfer)
      : loop_(*loop), pump_(*pump), transfer_(*transfer) {}

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
  grpc::Status DownloadCheckpoint(
      grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
      grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) override;

 private:
  CoordinatorLoop& loop_;
  EventPump& pump_;
  CheckpointTransfer& transfer_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_JOB_SERVICE_H_
