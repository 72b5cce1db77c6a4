// Goal: no peer, slow, silent or greedy, takes the coordinator's streams from the others, and long
// messages, transfers and their ends arrive whole. Method: a real server in this process with
// bounds made short; peers are stubs that do what no decent program does.

#include <grpcpp/create_channel.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"
#include "server/core/testing/world.h"
#include "server/rpc/coordinator_server.h"
#include "server/rpc/testing/stream_worker.h"
#include "server/store/database.h"
#include "server/store/testing/temp_dir.h"
#include "spec/retry.h"

namespace evograd {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::ModelWorker;
using testing::StreamWorker;
using testing::ToyRequest;

constexpr std::chrono::seconds kPatience(60);
// Short for who waits for an end, long for peers that move, on a busy machine too.
constexpr int64_t kShortStallMs = 3000;

// A worker that lives and does nothing by itself.
class MuteWorker {
 public:
  MuteWorker(v1::WorkerService::Stub* stub, const std::string& id)
      : stream_(stub->Connect(&context_)) {
    v1::WorkerMessage hello;
    *hello.mutable_hello() = ModelWorker(id, v1::CPU).Hello();
    EXPECT_TRUE(Write(hello));
    heart_ = std::thread([this, stopped = stopped_.get_future()] {
      v1::WorkerMessage heartbeat;
      heartbeat.mutable_heartbeat();
      while (stopped.wait_for(std::chrono::milliseconds(500)) == std::future_status::timeout) {
        Write(heartbeat);
      }
    });
  }
  ~MuteWorker() {
    if (!heart_.joinable()) return;
    context_.TryCancel();
    End();
  }

  bool Write(const v1::WorkerMessage& message) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stream_->Write(message);
  }
  bool Read(v1::CoordinatorMessage* message) { return stream_->Read(message); }
  v1::StartGeneration ReadStart() {
    v1::CoordinatorMessage message;
    while (Read(&message) && !message.has_start_generation()) {
    }
    return message.start_generation();
  }
  // The coordinator has ended the stream, or will; once.
  grpc::Status End() {
    stopped_.set_value();
    heart_.join();
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  std::mutex mutex_;
  std::promise<void> stopped_;
  std::thread heart_;
};

v1::WorkerMessage Entry(const std::string& job, const std::string& key, size_t value_bytes) {
  v1::WorkerMessage message;
  message.mutable_rendezvous()->set_job(job);
  message.mutable_rendezvous()->set_generation(1);
  message.mutable_rendezvous()->set_key(key);
  message.mutable_rendezvous()->set_value(std::string(value_bytes, 'v'));
  return message;
}

v1::WorkerMessage Part(const std::string& piece, bool last) {
  v1::WorkerMessage message;
  message.mutable_part()->set_piece(piece);
  message.mutable_part()->set_last(last);
  return message;
}

absl::optional<absl::Duration> AskedToWait(const grpc::Status& status) {
  return GetRetryDelay(
      StatusFromWire(status.error_code(), status.error_message(), status.error_details()));
}

class StreamsTest : public ::testing::Test {
 protected:
  void StartServer(int64_t stall_ms = limits::kPeerStallMs) {
    options_.data_dir = dir_.path();
    options_.peer_stall_ms = stall_ms;
    auto server = CoordinatorServer::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = NewChannel();
    jobs_ = v1::JobService::NewStub(channel_);
    workers_ = v1::WorkerService::NewStub(channel_);
  }

  // With a connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(),
                                     arguments);
  }

  v1::Job Create(const v1::CreateJobRequest& request) {
    grpc::ClientContext context;
    v1::Job job;
    const grpc::Status status = jobs_->CreateJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  void Cancel(const std::string& name) {
    grpc::ClientContext context;
    v1::CancelJobRequest request;
    request.set_name(name);
    v1::Job job;
    EXPECT_TRUE(jobs_->CancelJob(&context, request, &job).ok());
  }

  // A job that a mute worker computes, and a stored checkpoint of it.
  void StoreCheckpoint(const std::string& bytes) {
    job_ = Create(ToyRequest("job1", 30, 1, 1));
    mute_ = std::make_unique<MuteWorker>(workers_.get(), "w1");
    EXPECT_EQ(mute_->ReadStart().generation(), 1);
    const grpc::Status status =
        testing::Upload(workers_.get(), Header(bytes, 5), bytes, limits::kTransferChunkBytes);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  v1::UploadCheckpointRequest Header(const std::string& bytes, int64_t step) {
    return testing::UploadHeader(job_.name(), job_.uid(), 1, bytes, step);
  }

  template <typename Stub>
  static grpc::Status Download(Stub* stub, std::string* bytes = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::DownloadCheckpointRequest get;
    get.set_name("jobs/job1/checkpoints/5");
    const auto reader = stub->DownloadCheckpoint(&context, get);
    for (v1::DownloadCheckpointResponse page; reader->Read(&page);) {
      if (bytes != nullptr) *bytes += page.chunk();
    }
    return reader->Finish();
  }

  std::vector<std::string> Files() {
    std::vector<std::string> files;
    const std::string folder = dir_.path() + "/checkpoints/" + job_.uid();
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      files.push_back(entry.path().filename());
    }
    return files;
  }

  testing::TempDir dir_;
  CoordinatorOptions options_;
  std::unique_ptr<CoordinatorServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  v1::Job job_;
  std::unique_ptr<MuteWorker> mute_;
};

// ---- Workers' streams ------------------------------------------------------------------------

TEST_F(StreamsTest, LongMessagesComeInParts) {
  StartServer();
  Create(ToyRequest("job1", 30, 1, 1));
  MuteWorker worker(workers_.get(), "w1");
  worker.ReadStart();
  const std::string bytes = Entry("jobs/job1", "k", 1000).SerializeAsString();
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  for (int round = 0; round < 2; ++round) {
    for (size_t at = 0; at < bytes.size(); at += 100) {
      ASSERT_TRUE(worker.Write(Part(bytes.substr(at, 100), at + 100 >= bytes.size())));
      ASSERT_TRUE(worker.Write(heartbeat));
    }
    v1::CoordinatorMessage back;
    ASSERT_TRUE(worker.Read(&back));
    EXPECT_EQ(back.rendezvous().value().size(), 1000);
  }
  // A wrong sequence ends the stream, and says why.
  ASSERT_TRUE(worker.Write(Part(bytes.substr(0, 100), false)));
  ASSERT_TRUE(worker.Write(Entry("jobs/job1", "k", 10)));
  v1::CoordinatorMessage none;
  EXPECT_FALSE(worker.Read(&none));
  const grpc::Status status = worker.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("between the parts"));
}

TEST_F(StreamsTest, AStreamWithoutAHelloIsEnded) {
  StartServer(kShortStallMs);
  MuteWorker worker(workers_.get(), "w1");
  grpc::ClientContext context;
  const auto says_nothing = workers_->Connect(&context);
  v1::CoordinatorMessage message;
  std::future<bool> read = std::async([&] { return says_nothing->Read(&message); });
  if (read.wait_for(kPatience) == std::future_status::timeout) context.TryCancel();
  EXPECT_FALSE(read.get());
  const grpc::Status status = says_nothing->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("no Hello came for 3 s"));
  // The one beside it said its Hello, and then no more than others do.
  Create(ToyRequest("job1", 30, 1, 1));
  EXPECT_EQ(worker.ReadStart().generation(), 1);
}

TEST_F(StreamsTest, AClosedStreamStillDeliversWhatWasSentBefore) {
  StartServer();
  Create(ToyRequest("job1", 30, 2, 2));
  const auto other_channel = NewChannel();
  const auto other = v1::WorkerService::NewStub(other_channel);
  MuteWorker reads_late(workers_.get(), "w1"), talks(other.get(), "w2");
  talks.ReadStart();
  // More than a connection takes of what nobody reads.
  constexpr int kEntries = 600;
  for (int i = 0; i < kEntries; ++i) {
    ASSERT_TRUE(talks.Write(Entry("jobs/job1", absl::StrCat("k", i), 1000)));
    v1::CoordinatorMessage back;
    ASSERT_TRUE(talks.Read(&back));
  }
  v1::WorkerMessage second_hello;
  *second_hello.mutable_hello() = ModelWorker("w1", v1::CPU).Hello();
  ASSERT_TRUE(reads_late.Write(second_hello));
  // The other is told of that only when the stream is closed.
  v1::CoordinatorMessage message;
  while (talks.Read(&message) && !message.has_end_generation()) {
  }
  int entries = 0;
  while (reads_late.Read(&message)) entries += message.has_rendezvous();
  EXPECT_EQ(entries, kEntries);
  EXPECT_THAT(reads_late.End().error_message(), HasSubstr("a second Hello"));
}

// ---- Checkpoints -----------------------------------------------------------------------------

class SilentUpload {
 public:
  SilentUpload(v1::WorkerService::Stub* stub, const v1::UploadCheckpointRequest* first = nullptr)
      : writer_(stub->UploadCheckpoint(&context_, &response_)) {
    if (first != nullptr) writer_->Write(*first);
  }
  // As the coordinator ends it.
  grpc::Status End() {
    const grpc::Status status = writer_->Finish();
    writer_ = nullptr;
    return status;
  }
  ~SilentUpload() {
    if (writer_ == nullptr) return;
    context_.TryCancel();
    writer_->Finish();
  }
  grpc::ClientWriter<v1::UploadCheckpointRequest>& writer() { return *writer_; }

 private:
  grpc::ClientContext context_;
  v1::UploadCheckpointResponse response_;
  std::unique_ptr<grpc::ClientWriter<v1::UploadCheckpointRequest>> writer_;
};

TEST_F(StreamsTest, SilentUploadsTakeNoSlotAndNoThread) {
  StartServer();
  const auto stub = v1::WorkerService::NewStub(NewChannel());
  std::vector<std::unique_ptr<SilentUpload>> silent;
  // The first message makes no difference where it names no job.
  v1::UploadCheckpointRequest nonsense;
  nonsense.set_job("jobs/none");
  for (int i = 0; i < 4 * limits::kMaxUploads; ++i) {
    silent.push_back(std::make_unique<SilentUpload>(stub.get()));
  }
  SilentUpload refused(stub.get(), &nonsense);
  EXPECT_EQ(refused.End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  StoreCheckpoint(testing::CheckpointBytes(5));
  EXPECT_TRUE(Download(workers_.get()).ok());
  EXPECT_TRUE(Download(jobs_.get()).ok());
}

TEST_F(StreamsTest, AnUploadThatStandsStillIsEndedAndLeavesNothing) {
  StartServer(kShortStallMs);
  const std::string bytes = testing::CheckpointBytes(5);
  StoreCheckpoint(bytes);
  EXPECT_EQ(Files().size(), 1);
  SilentUpload says_nothing(workers_.get());
  v1::UploadCheckpointRequest first = Header(bytes, 6);
  first.set_chunk(bytes.substr(0, 100));
  SilentUpload stops(workers_.get(), &first);
  // Another upload of the job waits for its end, and is then taken.
  EXPECT_TRUE(testing::Upload(workers_.get(), Header(bytes, 7), bytes).ok());
  for (SilentUpload* upload : {&says_nothing, &stops}) {
    const grpc::Status status = upload->End();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_THAT(status.error_message(), HasSubstr("no byte of the upload came"));
  }
  // The thread of the file removes it, whenever it hears of the end.
  for (int i = 0; Files().size() != 2 && i < 3000; ++i) poll(nullptr, 0, /*timeout=*/10);
  EXPECT_EQ(Files().size(), 2);
}

TEST_F(StreamsTest, AnUploadRefusedAtItsEndLeavesNoFile) {
  StartServer();
  const std::string bytes = testing::CheckpointBytes(5);
  StoreCheckpoint(bytes);
  const std::vector<std::string> stored = Files();
  ASSERT_EQ(stored.size(), 1);
  const std::string next = testing::CheckpointBytes(6);
  v1::UploadCheckpointRequest first = Header(next, 6);
  first.set_chunk(next.substr(0, 100));
  SilentUpload late(workers_.get(), &first);
  // It has begun when its file is there.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (Files().size() < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  Cancel("jobs/job1");
  v1::UploadCheckpointRequest rest;
  rest.set_chunk(next.substr(100));
  ASSERT_TRUE(late.writer().Write(rest));
  late.writer().WritesDone();
  EXPECT_EQ(late.End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Files(), stored);
}

TEST_F(StreamsTest, ARefusedRepeatRemovesNothingThatIsStored) {
  StartServer();
  const std::string bytes = testing::CheckpointBytes(5);
  StoreCheckpoint(bytes);
  const std::vector<std::string> stored = Files();
  v1::UploadCheckpointRequest first = Header(bytes, 5);
  first.set_chunk(bytes.substr(0, 100));
  SilentUpload again(workers_.get(), &first);
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (Files().size() < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  Cancel("jobs/job1");
  v1::UploadCheckpointRequest rest;
  rest.set_chunk(bytes.substr(100));
  ASSERT_TRUE(again.writer().Write(rest));
  again.writer().WritesDone();
  EXPECT_EQ(again.End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Files(), stored);
  EXPECT_TRUE(Download(jobs_.get()).ok());
}

// Reads nothing.
class HeldDownload {
 public:
  explicit HeldDownload(v1::JobService::Stub* stub) {
    v1::DownloadCheckpointRequest get;
    get.set_name("jobs/job1/checkpoints/5");
    reader_ = stub->DownloadCheckpoint(&context_, get);
    // It has a slot when it has begun.
    v1::DownloadCheckpointResponse page;
    has_slot_ = reader_->Read(&page);
  }
  ~HeldDownload() {
    if (reader_ == nullptr) return;
    context_.TryCancel();
    End();
  }
  // As the coordinator ends it.
  grpc::Status End() {
    v1::DownloadCheckpointResponse page;
    while (reader_->Read(&page)) {
    }
    const grpc::Status status = reader_->Finish();
    reader_ = nullptr;
    return status;
  }
  bool has_slot() const { return has_slot_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::DownloadCheckpointResponse>> reader_;
  bool has_slot_ = false;
};

// More than connections hold of what nobody reads.
constexpr size_t kLargeBytes = 24 << 20;

TEST_F(StreamsTest, UsersDownloadsKeepNoWorkerFromItsCheckpoint) {
  StartServer();
  StoreCheckpoint(std::string(kLargeBytes, 'x'));
  std::vector<std::unique_ptr<v1::JobService::Stub>> stubs;
  std::vector<std::unique_ptr<HeldDownload>> held;
  for (int i = 0; i < limits::kMaxUserDownloadsPerHost; ++i) {
    stubs.push_back(v1::JobService::NewStub(NewChannel()));
    held.push_back(std::make_unique<HeldDownload>(stubs.back().get()));
    EXPECT_TRUE(held.back()->has_slot());
  }
  const grpc::Status refused = Download(jobs_.get());
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("try again in a while"));
  EXPECT_EQ(AskedToWait(refused), absl::Milliseconds(limits::kRetryRoomMs));
  std::string bytes;
  EXPECT_TRUE(Download(workers_.get(), &bytes).ok());
  EXPECT_EQ(bytes.size(), kLargeBytes);
}

TEST_F(StreamsTest, ADownloadThatNobodyReadsIsEnded) {
  StartServer(kShortStallMs);
  StoreCheckpoint(std::string(kLargeBytes, 'x'));
  std::vector<std::unique_ptr<v1::JobService::Stub>> stubs;
  std::vector<std::unique_ptr<HeldDownload>> held;
  for (int i = 0; i < limits::kMaxUserDownloadsPerHost; ++i) {
    stubs.push_back(v1::JobService::NewStub(NewChannel()));
    held.push_back(std::make_unique<HeldDownload>(stubs.back().get()));
  }
  const auto until = std::chrono::steady_clock::now() + kPatience;
  grpc::Status status;
  do {
    status = Download(jobs_.get());
  } while (!status.ok() && std::chrono::steady_clock::now() < until);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(StreamsTest, RestoresOfOneJobWaitForASlot) {
  StartServer();
  StoreCheckpoint(std::string(kLargeBytes, 'x'));
  std::vector<std::thread> threads;
  std::atomic<int> whole{0};
  for (int i = 0; i < 3 * limits::kMaxRestoresPerJob; ++i) {
    threads.emplace_back([&] {
      const auto stub = v1::WorkerService::NewStub(NewChannel());
      std::string bytes;
      const grpc::Status status = Download(stub.get(), &bytes);
      EXPECT_TRUE(status.ok()) << status.error_message();
      whole += bytes.size() == kLargeBytes;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(whole, 3 * limits::kMaxRestoresPerJob);
}

TEST_F(StreamsTest, TheServerStopsWhileTransfersRun) {
  StartServer();
  const std::string bytes(kLargeBytes, 'x');
  StoreCheckpoint(bytes);
  const std::vector<std::string> stored = Files();
  ASSERT_EQ(stored.size(), 1);
  HeldDownload held(jobs_.get());
  ASSERT_TRUE(held.has_slot());
  v1::UploadCheckpointRequest first = Header(bytes, 6);
  first.set_chunk(bytes.substr(0, 100));
  SilentUpload upload(workers_.get(), &first);
  SilentUpload waits(workers_.get(), &first);
  // One of them has begun when its file is there.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (Files().size() < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  ASSERT_EQ(Files().size(), 2);
  server_.reset();
  for (const grpc::Status& status : {upload.End(), waits.End(), held.End()}) {
    EXPECT_THAT(status.error_code(),
                AnyOf(grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::CANCELLED))
        << status.error_message();
  }
  EXPECT_EQ(Files(), stored);
  mute_.reset();
  StartServer();
  EXPECT_EQ(Files(), stored);
  EXPECT_TRUE(Download(jobs_.get()).ok());
}

TEST_F(StreamsTest, AFileSystemThatIsAwayCostsNoCheckpointAndDamageNoFile) {
  StartServer();
  StoreCheckpoint(testing::CheckpointBytes(5));
  const std::string name = Files()[0], folder = dir_.path() + "/checkpoints/" + job_.uid();
  std::filesystem::rename(folder, dir_.path() + "/elsewhere");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Download(jobs_.get()).error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(Download(workers_.get()).error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  std::filesystem::rename(dir_.path() + "/elsewhere", folder);
  EXPECT_TRUE(Download(workers_.get()).ok());
  // A good file that cannot be read now, as far as anybody knows.
  std::ofstream(folder + "/" + name, std::ios::in | std::ios::binary) << "damage";
  EXPECT_EQ(Download(workers_.get()).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Download(workers_.get()).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(Files().empty());
  mute_.reset();
  server_.reset();
  StartServer();
  EXPECT_TRUE(
      std::filesystem::exists(dir_.path() + "/checkpoints/unknown/" + job_.uid() + "/" + name));
}

// ---- Watches ---------------------------------------------------------------------------------

class HeldWatch {
 public:
  HeldWatch(v1::JobService::Stub* stub, const std::string& name,
            std::chrono::seconds patience = kPatience) {
    context_.set_deadline(std::chrono::system_clock::now() + patience);
    v1::WatchJobRequest request;
    request.set_name(name);
    reader_ = stub->WatchJob(&context_, request);
  }
  ~HeldWatch() {
    if (reader_ == nullptr) return;
    context_.TryCancel();
    End();
  }
  bool Read(v1::WatchJobResponse* page) { return reader_->Read(page); }
  bool Read() {
    v1::WatchJobResponse page;
    return Read(&page);
  }
  // Once.
  grpc::Status End() {
    const grpc::Status status = reader_->Finish();
    reader_ = nullptr;
    return status;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>> reader_;
};

TEST_F(StreamsTest, OneConnectionDoesNotTakeAllWatches) {
  StartServer();
  Create(ToyRequest("quiet", 30, 1, 1));
  std::vector<std::unique_ptr<HeldWatch>> watches;
  for (int i = 0; i < limits::kMaxWatchersPerConnection; ++i) {
    watches.push_back(std::make_unique<HeldWatch>(jobs_.get(), "jobs/quiet"));
    ASSERT_TRUE(watches.back()->Read());
  }
  {
    HeldWatch refused(jobs_.get(), "jobs/quiet");
    EXPECT_FALSE(refused.Read());
    EXPECT_EQ(AskedToWait(refused.End()), absl::Milliseconds(limits::kRetryRoomMs));
    // The twin: what does not pass.
    HeldWatch unknown(jobs_.get(), "jobs/unknown");
    EXPECT_FALSE(unknown.Read());
    EXPECT_EQ(AskedToWait(unknown.End()), absl::nullopt);
  }
  const auto stub = v1::JobService::NewStub(NewChannel());
  HeldWatch other(stub.get(), "jobs/quiet");
  EXPECT_TRUE(other.Read());
  // Who goes makes room.
  watches.clear();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  bool taken = false;
  while (!taken && std::chrono::steady_clock::now() < until) {
    taken = HeldWatch(jobs_.get(), "jobs/quiet").Read();
  }
  EXPECT_TRUE(taken);
}

TEST_F(StreamsTest, ConnectionsOfASocketCountAsTheirHost) {
  std::string folder = "/tmp/evograd-test-XXXXXX";
  ASSERT_NE(mkdtemp(&folder[0]), nullptr);
  options_.listen = absl::StrCat("unix:", folder, "/socket");
  StartServer();
  Create(ToyRequest("quiet", 30, 1, 1));
  std::vector<std::unique_ptr<HeldWatch>> watches;
  // More than one connection may have: gRPC does not tell these apart.
  for (int i = 0; i < limits::kMaxWatchersPerConnection + 1; ++i) {
    watches.push_back(std::make_unique<HeldWatch>(jobs_.get(), "jobs/quiet"));
    ASSERT_TRUE(watches.back()->Read()) << i;
  }
  watches.clear();
  server_ = nullptr;
  std::filesystem::remove_all(folder);
}

TEST_F(StreamsTest, AWatcherThatDoesNotReadIsCutOff) {
  StartServer(kShortStallMs);
  Create(ToyRequest("long", 1'000'000, 1, 1));
  StreamWorker worker(NewChannel(), std::make_shared<ModelWorker>("w1", v1::CPU));
  const auto steps = [&] {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_name("jobs/long");
    v1::Job job;
    EXPECT_TRUE(jobs_->GetJob(&context, request, &job).ok());
    return job.committed_steps();
  };
  // Takes little that nobody reads.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 16);
  const auto stub = v1::JobService::NewStub(
      grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(), arguments));
  const auto until = std::chrono::steady_clock::now() + 2 * kPatience;
  bool cut = false;
  while (!cut && std::chrono::steady_clock::now() < until) {
    HeldWatch watch(stub.get(), "jobs/long", 10 * kPatience);
    // It reads nothing while more happens than a connection takes, and for as long again as it may;
    // then what was on its way.
    const int64_t enough = steps() + 10'000;
    auto full = std::chrono::steady_clock::time_point::max();
    while (full == std::chrono::steady_clock::time_point::max() ||
           std::chrono::steady_clock::now() < full + 2 * std::chrono::milliseconds(kShortStallMs)) {
      poll(nullptr, 0, /*timeout=*/5);
      if (steps() >= enough) full = std::min(full, std::chrono::steady_clock::now());
    }
    // Who was not cut hears of what happens from now on.
    const int64_t now = steps();
    bool goes_on = false;
    for (v1::WatchJobResponse page; !goes_on && watch.Read(&page);) {
      for (const v1::Event& event : page.events()) {
        for (const auto& step : event.steps_committed().steps()) goes_on |= step.step() > now;
      }
    }
    if (goes_on) continue;
    // One that has not even read its end is cancelled.
    const grpc::Status status = watch.End();
    EXPECT_THAT(status.error_code(),
                AnyOf(grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::CANCELLED));
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      EXPECT_THAT(status.error_message(), HasSubstr("the watcher read nothing for 3 s"));
    }
    cut = true;
  }
  EXPECT_TRUE(cut);
}

// ---- Calls that nobody waits for -------------------------------------------------------------

TEST_F(StreamsTest, ACreateWhoseDeadlinePassedIsNotMade) {
  StartServer();
  constexpr int kCalls = 50;
  std::vector<v1::CreateJobRequest> requests;
  for (int i = 0; i < kCalls; ++i) {
    v1::CreateJobRequest request = ToyRequest("", 30, 1, 1);
    request.set_request_id(absl::StrFormat("123e4567-e89b-42d3-a456-4266141740%02d", i));
    requests.push_back(request);
  }
  const auto create_all = [&](std::chrono::milliseconds patience) {
    std::vector<grpc::ClientContext> contexts(kCalls);
    std::vector<v1::Job> jobs(kCalls);
    std::vector<std::promise<grpc::StatusCode>> answers(kCalls);
    for (int i = 0; i < kCalls; ++i) {
      contexts[i].set_deadline(std::chrono::system_clock::now() + patience);
      jobs_->async()->CreateJob(
          &contexts[i], &requests[i], &jobs[i],
          [&answers, i](const grpc::Status& status) { answers[i].set_value(status.error_code()); });
    }
    std::map<grpc::StatusCode, int> codes;
    for (auto& answer : answers) ++codes[answer.get_future().get()];
    return codes;
  };
  const auto jobs = [&] {
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    request.set_page_size(1000);
    v1::ListJobsResponse response;
    EXPECT_TRUE(jobs_->ListJobs(&context, request, &response).ok());
    return response.jobs_size();
  };
  Create(ToyRequest("before", 30, 1, 1));
  {
    // Another program holds the store for a moment, and so the coordinator.
    auto database = Database::Open(dir_.path() + "/store.sqlite", Database::kReadWrite).value();
    ASSERT_TRUE(database->Execute("BEGIN IMMEDIATE").ok());
    std::promise<void> answered;
    grpc::ClientContext context;
    v1::Job job;
    const v1::CreateJobRequest request = ToyRequest("held", 30, 1, 1);
    jobs_->async()->CreateJob(&context, &request, &job,
                              [&](const grpc::Status&) { answered.set_value(); });
    // It stands still when it does not answer any more.
    grpc::StatusCode code = grpc::StatusCode::OK;
    while (code != grpc::StatusCode::DEADLINE_EXCEEDED) {
      grpc::ClientContext asking;
      asking.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
      v1::ListJobsResponse response;
      code = jobs_->ListJobs(&asking, v1::ListJobsRequest(), &response).error_code();
    }
    EXPECT_EQ(create_all(std::chrono::milliseconds(300))[grpc::StatusCode::DEADLINE_EXCEEDED],
              kCalls);
    ASSERT_TRUE(database->Execute("ROLLBACK").ok());
    answered.get_future().wait();
  }
  EXPECT_EQ(jobs(), 2);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(create_all(kPatience)[grpc::StatusCode::OK], kCalls);
    EXPECT_EQ(jobs(), 2 + kCalls);
  }
}

}  // namespace
}  // namespace evograd
