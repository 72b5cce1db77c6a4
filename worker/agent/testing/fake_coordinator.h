// The coordinator's side of WorkerService on a real port of 127.0.0.1, which says only what the
// test has it say.
//
//   FakeCoordinator coordinator;
//   coordinator.WaitForHello("w1");
//   coordinator.Say("w1", message);
//   v1::WorkerMessage answer = coordinator.Hear("w1");
//
// Waits end after a patience with a failed expectation and an empty message. Heartbeats are counted
// and not heard. Rendezvous entries are passed on to all workers that are connected, as a
// coordinator does, and not heard either.
#ifndef EVOGRAD_WORKER_AGENT_TESTING_FAKE_COORDINATOR_H_
#define EVOGRAD_WORKER_AGENT_TESTING_FAKE_COORDINATOR_H_

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "grpcpp/grpcpp.h"
#include "proto/evograd/v1/worker_service.grpc.pb.h"

namespace evograd::agent {

// An error as our coordinator sends it; `retry` is what it asks its caller to wait, if anything.
grpc::Status OfCoordinator(grpc::StatusCode code, const std::string& message,
                           absl::optional<absl::Duration> retry = absl::nullopt);

class FakeCoordinator : public v1::WorkerService::Service {
 public:
  // On a port that the system chooses, or on `address`.
  explicit FakeCoordinator(const std::string& address = "127.0.0.1:0");
  ~FakeCoordinator() override;

  const std::string& address() const { return address_; }

  // The Hello of the worker's newest stream, once; a Welcome was sent.
  v1::Hello WaitForHello(const std::string& worker);
  void Say(const std::string& worker, const v1::CoordinatorMessage& message);
  v1::WorkerMessage Hear(const std::string& worker);
  // Whether anything but heartbeats was said that was not heard.
  bool HasMore(const std::string& worker);
  void WaitForHeartbeats(const std::string& worker, int count);
  // Ends the worker's stream without a word.
  void Cut(const std::string& worker);

  // New streams are refused with this until it is OK again.
  void Refuse(grpc::Status status);
  // So are uploads, and the next `count` downloads.
  void RefuseUploads(grpc::Status status);
  void RefuseDownloads(grpc::Status status, int count);
  void WaitForRefusedUploads(int count);

  // The stored checkpoint's bytes, by name; empty where there is none.
  std::string Stored(const std::string& name);
  // `sha256` empty: the right one.
  void Store(const std::string& name, const std::string& bytes, const std::string& sha256 = "");

  grpc::Status Connect(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) override;
  grpc::Status UploadCheckpoint(grpc::ServerContext* context,
                                grpc::ServerReader<v1::UploadCheckpointRequest>* reader,
                                v1::UploadCheckpointResponse* response) override;
  grpc::Status DownloadCheckpoint(
      grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
      grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) override;

 private:
  struct Peer {
    grpc::ServerContext* context = nullptr;
    grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream = nullptr;
    std::deque<v1::Hello> hellos;
    std::deque<v1::WorkerMessage> heard;
    int heartbeats = 0;
  };
  struct File {
    std::string bytes;
    std::string sha256;
  };

  void Take(const std::string& worker, const v1::WorkerMessage& message);

  absl::Mutex mutex_;
  std::map<std::string, Peer> peers_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, File> files_ ABSL_GUARDED_BY(mutex_);
  grpc::Status refusal_ ABSL_GUARDED_BY(mutex_);
  grpc::Status upload_refusal_ ABSL_GUARDED_BY(mutex_);
  int uploads_refused_ ABSL_GUARDED_BY(mutex_) = 0;
  grpc::Status download_refusal_ ABSL_GUARDED_BY(mutex_);
  int downloads_to_refuse_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_TESTING_FAKE_COORDINATOR_H_
