#include "server/rpc/testing/stream_worker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"

namespace evograd::testing {

std::string CheckpointBytes(int64_t step) {
  std::string bytes;
  for (int64_t i = 0; i < 500; ++i) absl::StrAppend(&bytes, step * 1000 + i, ",");
  return bytes;
}

v1::UploadCheckpointRequest UploadHeader(const std::string& job, const std::string& job_uid,
                                         int64_t generation, const std::string& bytes,
                                         int64_t step) {
  v1::UploadCheckpointRequest header;
  header.set_job(job);
  header.set_job_uid(job_uid);
  header.set_generation(generation);
  header.set_step(step);
  header.set_size_bytes(static_cast<int64_t>(bytes.size()));
  Sha256 hash;
  hash.Update(bytes);
  header.set_sha256(hash.HexDigest());
  return header;
}

grpc::Status Upload(v1::WorkerService::Stub* stub, v1::UploadCheckpointRequest header,
                    const std::string& bytes, size_t chunk_bytes) {
  grpc::ClientContext context;
  v1::UploadCheckpointResponse response;
  const auto writer = stub->UploadCheckpoint(&context, &response);
  for (size_t at = 0; at < bytes.size(); at += chunk_bytes) {
    header.set_chunk(bytes.substr(at, chunk_bytes));
    if (!writer->Write(header)) break;
    header.Clear();
  }
  writer->WritesDone();
  return writer->Finish();
}

StreamWorker::StreamWorker(const std::shared_ptr<grpc::Channel>& channel,
                           std::shared_ptr<ModelWorker> model)
    : stub_(v1::WorkerService::NewStub(channel)),
      model_(std::move(model)),
      stream_(stub_->Connect(&context_)) {
  model_->StreamUp();
  v1::WorkerMessage hello;
  *hello.mutable_hello() = model_->Hello();
  stream_->Write(hello);
  thread_ = std::thread([this] { Run(); });
}

StreamWorker::~StreamWorker() {
  context_.TryCancel();
  WaitClosed();
}

grpc::Status StreamWorker::WaitClosed() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

void StreamWorker::Run() {
  for (v1::CoordinatorMessage message; stream_->Read(&message);) {
    model_->Receive(message);
    Work();
  }
  model_->StreamDown();
  status_ = stream_->Finish();
}

void StreamWorker::Work() {
  for (bool busy = true; busy;) {
    const int64_t phases = model_->phases();
    model_->Work();
    busy = model_->phases() != phases;
    for (const v1::WorkerMessage& message : model_->TakeOutput()) {
      busy = true;
      stream_->Write(message);
    }
    const absl::optional<v1::UploadCheckpointRequest> upload = model_->TakeUpload();
    if (!upload.has_value()) continue;
    busy = true;
    const std::string bytes = CheckpointBytes(upload->step());
    const v1::UploadCheckpointRequest header =
        UploadHeader(upload->job(), upload->job_uid(), upload->generation(), bytes, upload->step());
    model_->UploadDone(Upload(stub_.get(), header, bytes).ok());
  }
}

}  // namespace evograd::testing
