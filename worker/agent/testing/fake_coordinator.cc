#include "worker/agent/testing/fake_coordinator.h"

#include <gtest/gtest.h>

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/limits.h"
#include "common/sha256.h"
#include "proto/google/rpc/status.pb.h"
#include "spec/error.h"
#include "spec/retry.h"

namespace evograd::agent {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);

std::string Sha256Of(const std::string& bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.HexDigest();
}

}  // namespace

grpc::Status OfCoordinator(grpc::StatusCode code, const std::string& message,
                           absl::optional<absl::Duration> retry) {
  absl::Status status = MakeError(static_cast<absl::StatusCode>(code), message, "REASON");
  if (retry.has_value()) SetRetryDelay(*retry, &status);
  google::rpc::Status details;
  status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    auto* detail = details.add_details();
    detail->set_type_url(std::string(type_url));
    detail->set_value(std::string(payload));
  });
  return {code, message, details.SerializeAsString()};
}

FakeCoordinator::FakeCoordinator(const std::string& address) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeCoordinator::~FakeCoordinator() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

grpc::Status FakeCoordinator::Connect(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) {
  v1::WorkerMessage message;
  if (!stream->Read(&message) || !message.has_hello()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "no Hello"};
  }
  const std::string worker = message.hello().worker_id();
  {
    absl::MutexLock lock(&mutex_);
    if (!refusal_.ok()) return refusal_;
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome()->set_worker("workers/" + worker);
    welcome.mutable_welcome()->set_heartbeat_interval_ms(20);
    stream->Write(welcome);
    Peer& peer = peers_[worker];
    peer.context = context;
    peer.stream = stream;
    peer.heard.clear();
    peer.hellos.push_back(message.hello());
  }
  while (stream->Read(&message)) Take(worker, message);
  absl::MutexLock lock(&mutex_);
  Peer& peer = peers_[worker];
  if (peer.stream == stream) peer.stream = nullptr;
  return grpc::Status::OK;
}

void FakeCoordinator::Take(const std::string& worker, const v1::WorkerMessage& message) {
  absl::MutexLock lock(&mutex_);
  if (message.has_heartbeat()) {
    ++peers_[worker].heartbeats;
  } else if (message.has_rendezvous()) {
    v1::CoordinatorMessage entry;
    *entry.mutable_rendezvous() = message.rendezvous();
    for (auto& [name, peer] : peers_) {
      if (peer.stream != nullptr) peer.stream->Write(entry);
    }
  } else {
    peers_[worker].heard.push_back(message);
  }
}

v1::Hello FakeCoordinator::WaitForHello(const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !peers_[worker].hellos.empty();
  };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience)) {
    ADD_FAILURE() << worker << " did not connect";
    return {};
  }
  const v1::Hello hello = peers_[worker].hellos.front();
  peers_[worker].hellos.pop_front();
  return hello;
}

void FakeCoordinator::Say(const std::string& worker, const v1::CoordinatorMessage& message) {
  absl::MutexLock lock(&mutex_);
  Peer& peer = peers_[worker];
  ASSERT_NE(peer.stream, nullptr) << worker << " is not connected";
  peer.stream->Write(message);
}

v1::WorkerMessage FakeCoordinator::Hear(const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !peers_[worker].heard.empty();
  };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience)) {
    ADD_FAILURE() << worker << " said nothing";
    return {};
  }
  const v1::WorkerMessage message = peers_[worker].heard.front();
  peers_[worker].heard.pop_front();
  return message;
}

bool FakeCoordinator::HasMore(const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  return !peers_[worker].heard.empty();
}

void FakeCoordinator::WaitForHeartbeats(const std::string& worker, int count) {
  absl::MutexLock lock(&mutex_);
  const int until = peers_[worker].heartbeats + count;
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return peers_[worker].heartbeats >= until;
  };
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience))
      << worker << " sent too few heartbeats";
}

void FakeCoordinator::Cut(const std::string& worker) {
  absl::MutexLock lock(&mutex_);
  Peer& peer = peers_[worker];
  ASSERT_NE(peer.stream, nullptr) << worker << " is not connected";
  peer.stream = nullptr;
  peer.context->TryCancel();
}

void FakeCoordinator::Refuse(grpc::Status status) {
  absl::MutexLock lock(&mutex_);
  refusal_ = status;
}

void FakeCoordinator::RefuseUploads(grpc::Status status) {
  absl::MutexLock lock(&mutex_);
  upload_refusal_ = status;
}

void FakeCoordinator::RefuseDownloads(grpc::Status status, int count) {
  absl::MutexLock lock(&mutex_);
  download_refusal_ = status;
  downloads_to_refuse_ = count;
}

void FakeCoordinator::WaitForRefusedUploads(int count) {
  absl::MutexLock lock(&mutex_);
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return uploads_refused_ >= count;
  };
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience))
      << uploads_refused_ << " uploads came";
}

std::string FakeCoordinator::Stored(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  return files_[name].bytes;
}

void FakeCoordinator::Store(const std::string& name, const std::string& bytes,
                            const std::string& sha256) {
  absl::MutexLock lock(&mutex_);
  files_[name] = {bytes, sha256.empty() ? Sha256Of(bytes) : sha256};
}

grpc::Status FakeCoordinator::UploadCheckpoint(
    grpc::ServerContext* context, grpc::ServerReader<v1::UploadCheckpointRequest>* reader,
    v1::UploadCheckpointResponse* response) {
  {
    absl::MutexLock lock(&mutex_);
    if (!upload_refusal_.ok()) {
      ++uploads_refused_;
      return upload_refusal_;
    }
  }
  v1::UploadCheckpointRequest header, request;
  std::string bytes;
  for (bool first = true; reader->Read(&request); first = false) {
    if (first) header = request;
    EXPECT_EQ(request.job().empty(), !first);
    EXPECT_LE(request.chunk().size(), limits::kCheckpointChunkBytes);
    bytes += request.chunk();
  }
  if (static_cast<int64_t>(bytes.size()) != header.size_bytes() ||
      Sha256Of(bytes) != header.sha256()) {
    return {grpc::StatusCode::DATA_LOSS, "other bytes"};
  }
  Store(absl::StrCat(header.job(), "/checkpoints/", header.step()), bytes);
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::DownloadCheckpoint(
    grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
    grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) {
  File file;
  {
    absl::MutexLock lock(&mutex_);
    if (downloads_to_refuse_ > 0) {
      --downloads_to_refuse_;
      return download_refusal_;
    }
    const auto found = files_.find(request->name());
    if (found == files_.end()) return {grpc::StatusCode::NOT_FOUND, "no such checkpoint"};
    file = found->second;
  }
  v1::DownloadCheckpointResponse response;
  response.mutable_checkpoint()->set_name(request->name());
  response.mutable_checkpoint()->set_size_bytes(static_cast<int64_t>(file.bytes.size()));
  response.mutable_checkpoint()->set_sha256(file.sha256);
  size_t offset = 0;
  do {
    response.set_chunk(file.bytes.substr(offset, limits::kCheckpointChunkBytes));
    offset += response.chunk().size();
    writer->Write(response);
    response.clear_checkpoint();
  } while (offset < file.bytes.size());
  return grpc::Status::OK;
}

}  // namespace evograd::agent
