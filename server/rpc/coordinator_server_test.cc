// Goal: the coordinator keeps its promises over real gRPC: what clients create, list, watch and
// cancel, what workers say and are told, how errors arrive, and that a restart loses nothing.
// Method: a real server in this process on a free port and a temporary data directory; clients are
// stubs, workers are models on real streams.

#include "server/rpc/coordinator_server.h"

#include <grpcpp/create_channel.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "server/core/job_state.h"
#include "server/core/testing/world.h"
#include "server/rpc/testing/stream_worker.h"
#include "server/store/testing/temp_dir.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ModelWorker;
using testing::StreamWorker;
using testing::ToyRequest;

class CoordinatorServerTest : public ::testing::Test {
 protected:
  CoordinatorServerTest() {
    options_.data_dir = dir_.path();
    options_.on_notice = [this](const std::string& notice) {
      const absl::MutexLock lock(&mutex_);
      notices_.push_back(notice);
    };
    StartServer();
  }

  void StartServer() {
    auto server = CoordinatorServer::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = NewChannel();
    jobs_ = v1::JobService::NewStub(channel_);
    worker_stub_ = v1::WorkerService::NewStub(channel_);
  }

  // With a connection of its own; channels of one address would share one.
  std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(),
                                     arguments);
  }

  std::shared_ptr<ModelWorker> AddWorker(const std::string& id) {
    auto model = std::make_shared<ModelWorker>(id, v1::CPU);
    workers_.push_back(std::make_unique<StreamWorker>(channel_, model));
    return model;
  }

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return (jobs_.get()->*method)(&context, request, response);
  }

  v1::Job Create(const v1::CreateJobRequest& request) {
    v1::Job job;
    const grpc::Status status = Call(&v1::JobService::Stub::CreateJob, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  v1::Job Get(const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    EXPECT_TRUE(Call(&v1::JobService::Stub::GetJob, request, &job).ok());
    return job;
  }

  // Events after `after` until the stream ends or `enough` says so. Checks that none is missing or
  // repeated.
  std::vector<v1::Event> Watch(const std::string& name, int64_t after,
                               const std::function<bool(const v1::Event&)>& enough = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_after_sequence(after);
    const auto reader = jobs_->WatchJob(&context, request);
    std::vector<v1::Event> events;
    bool stopped = false;
    for (v1::WatchJobResponse page; !stopped && reader->Read(&page);) {
      for (const v1::Event& event : page.events()) {
        EXPECT_EQ(event.sequence(), after + static_cast<int64_t>(events.size()) + 1);
        events.push_back(event);
        stopped = stopped || (enough && enough(event));
      }
    }
    if (stopped) context.TryCancel();
    const grpc::Status status = reader->Finish();
    if (!stopped) {
      EXPECT_TRUE(status.ok()) << status.error_message();
    }
    return events;
  }

  testing::TempDir dir_;
  CoordinatorOptions options_;
  absl::Mutex mutex_;
  std::vector<std::string> notices_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<CoordinatorServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::WorkerService::Stub> worker_stub_;
  std::vector<std::unique_ptr<StreamWorker>> workers_;
};

// The reason in the ErrorInfo of an error.
std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return "details cannot be read";
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (detail.type_url() == "type.googleapis.com/google.rpc.ErrorInfo" &&
        info.ParseFromString(detail.value())) {
      return info.domain() + "/" + info.reason();
    }
  }
  return "";
}

// The fields in the BadRequest of an error.
std::vector<std::string> FieldsOf(const grpc::Status& status) {
  std::vector<std::string> fields;
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    google::rpc::BadRequest bad;
    if (detail.type_url() != "type.googleapis.com/google.rpc.BadRequest" ||
        !bad.ParseFromString(detail.value())) {
      continue;
    }
    for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  }
  return fields;
}

bool IsLast(const v1::Event& event) {
  return event.has_state_changed() && IsEnded(event.state_changed().state());
}

TEST_F(CoordinatorServerTest, AJobRunsOnTwoWorkersAndIsWatchedToItsEnd) {
  AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("first", 30, 2, 2);
  request.mutable_spec()->set_checkpoint_interval_steps(10);
  EXPECT_EQ(Create(request).state(), v1::PENDING);
  AddWorker("w2");
  const std::vector<v1::Event> events = Watch("jobs/first", 0);
  int64_t steps = 0, checkpoints = 0, evaluations = 0;
  for (const v1::Event& event : events) {
    steps += event.steps_committed().steps_size();
    checkpoints += event.has_checkpoint_written();
    evaluations += event.has_evaluated();
  }
  EXPECT_EQ(steps, 30);
  EXPECT_EQ(checkpoints, 3);
  EXPECT_EQ(evaluations, 1);
  ASSERT_FALSE(events.empty());
  EXPECT_TRUE(IsLast(events.back())) << events.back().ShortDebugString();
  const v1::Job job = Get("jobs/first");
  EXPECT_EQ(job.state(), v1::SUCCEEDED);
  EXPECT_EQ(job.committed_steps(), 30);
  // From the middle, and from the end.
  EXPECT_EQ(Watch("jobs/first", 3).size(), events.size() - 3);
  EXPECT_TRUE(Watch("jobs/first", static_cast<int64_t>(events.size())).empty());
}

TEST_F(CoordinatorServerTest, AWatchOfAQuietJobShowsThatItIsAlive) {
  server_.reset();
  options_.watch_keepalive_ms = 20;
  StartServer();
  Create(ToyRequest("quiet", 30, 1, 1));
  grpc::ClientContext context;
  v1::WatchJobRequest request;
  request.set_name("jobs/quiet");
  const auto reader = jobs_->WatchJob(&context, request);
  v1::WatchJobResponse page;
  ASSERT_TRUE(reader->Read(&page));
  EXPECT_EQ(page.events_size(), 1);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader->Read(&page));
    EXPECT_EQ(page.events_size(), 0);
  }
  // And still what happens comes.
  v1::CancelJobRequest cancel;
  cancel.set_name("jobs/quiet");
  v1::Job job;
  ASSERT_TRUE(Call(&v1::JobService::Stub::CancelJob, cancel, &job).ok());
  bool cancelled = false;
  while (reader->Read(&page)) cancelled = cancelled || page.events_size() > 0;
  EXPECT_TRUE(cancelled);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(CoordinatorServerTest, ErrorsCarryTheirReasonAndFields) {
  v1::Job job;
  v1::GetJobRequest get;
  get.set_name("jobs/none");
  grpc::Status status = Call(&v1::JobService::Stub::GetJob, get, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(status), "evograd/JOB_NOT_FOUND");

  v1::CreateJobRequest create = ToyRequest("job1", 30, 1, 1);
  create.mutable_spec()->mutable_estimator()->set_population(-2);
  create.mutable_spec()->set_steps(0);
  status = Call(&v1::JobService::Stub::CreateJob, create, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "evograd/INVALID_FIELDS");
  EXPECT_THAT(FieldsOf(status),
              ::testing::UnorderedElementsAre("spec.estimator.population", "spec.steps"));

  create.mutable_spec()->set_display_name(std::string(limits::kMaxJobFileBytes, 'x'));
  status = Call(&v1::JobService::Stub::CreateJob, create, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status), ::testing::ElementsAre("spec"));

  v1::WatchJobRequest watch;
  watch.set_name("jobs/none");
  for (const int64_t after : {0, -1}) {
    watch.set_after_sequence(after);
    grpc::ClientContext context;
    v1::WatchJobResponse page;
    const auto reader = jobs_->WatchJob(&context, watch);
    EXPECT_FALSE(reader->Read(&page));
    EXPECT_EQ(reader->Finish().error_code(),
              after < 0 ? grpc::StatusCode::INVALID_ARGUMENT : grpc::StatusCode::NOT_FOUND);
  }
  Create(ToyRequest("job1", 30, 1, 1));
  EXPECT_EQ(ReasonOf(Call(&v1::JobService::Stub::CreateJob, ToyRequest("job1", 31, 1, 1), &job)),
            "evograd/JOB_EXISTS");
}

TEST_F(CoordinatorServerTest, RepeatedRequestsMakeOneJob) {
  v1::CreateJobRequest request = ToyRequest("", 30, 1, 1);
  request.set_request_id("123e4567-e89b-42d3-a456-426614174000");
  const v1::Job first = Create(request);
  EXPECT_THAT(first.name(), ::testing::MatchesRegex("jobs/job-[0-9a-f]{8}"));
  EXPECT_EQ(Create(request).uid(), first.uid());
  v1::ListJobsResponse list;
  ASSERT_TRUE(Call(&v1::JobService::Stub::ListJobs, v1::ListJobsRequest(), &list).ok());
  EXPECT_EQ(list.jobs_size(), 1);
  request.mutable_spec()->set_seed(5);
  v1::Job job;
  const grpc::Status status = Call(&v1::JobService::Stub::CreateJob, request, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status), ::testing::ElementsAre("request_id"));
}

TEST_F(CoordinatorServerTest, WorkersOfAnotherVersionAndOtherCallersAreRefused) {
  struct Case {
    v1::WorkerMessage first;
    grpc::StatusCode code;
    std::string message;
  };
  std::vector<Case> cases(3);
  ModelWorker model("w1", v1::CPU);
  *cases[0].first.mutable_hello() = model.Hello();
  cases[0].first.mutable_hello()->set_protocol_version(limits::kProtocolVersion + 1);
  cases[0].code = grpc::StatusCode::FAILED_PRECONDITION;
  cases[0].message =
      absl::StrCat("protocol version ", limits::kProtocolVersion + 1, ", the coordinator version ",
                   limits::kProtocolVersion, ": upgrade the coordinator");
  cases[1].first.mutable_heartbeat();
  cases[1].code = grpc::StatusCode::INVALID_ARGUMENT;
  cases[1].message = "the first message of a worker's stream must be a Hello";
  *cases[2].first.mutable_hello() = model.Hello();
  cases[2].first.mutable_hello()->clear_device_kind();
  cases[2].code = grpc::StatusCode::INVALID_ARGUMENT;
  cases[2].message = "hello.device_kind";
  for (const Case& one : cases) {
    grpc::ClientContext context;
    const auto stream = worker_stub_->Connect(&context);
    ASSERT_TRUE(stream->Write(one.first));
    v1::CoordinatorMessage message;
    EXPECT_FALSE(stream->Read(&message));
    const grpc::Status status = stream->Finish();
    EXPECT_EQ(status.error_code(), one.code);
    EXPECT_THAT(status.error_message(), HasSubstr(one.message));
    EXPECT_THAT(ReasonOf(status), HasSubstr("evograd/"));
  }
  // The twin: our own version is welcome.
  grpc::ClientContext context;
  const auto stream = worker_stub_->Connect(&context);
  v1::WorkerMessage hello;
  *hello.mutable_hello() = model.Hello();
  ASSERT_TRUE(stream->Write(hello));
  v1::CoordinatorMessage message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.welcome().worker(), "workers/w1");
  // Malformed later on: closed, with the reason.
  ASSERT_TRUE(stream->Write(hello));
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_THAT(stream->Finish().error_message(), HasSubstr("a second Hello"));
}

TEST_F(CoordinatorServerTest, ARestartLosesNothing) {
  const auto model = AddWorker("w1");
  // Far too long to end before the restart.
  Create(ToyRequest("long", 1'000'000, 1, 1));
  const auto some = [](const v1::Event& event) { return event.sequence() >= 20; };
  const std::vector<v1::Event> before = Watch("jobs/long", 0, some);
  server_->Stop();
  const grpc::Status closed = workers_[0]->WaitClosed();
  EXPECT_FALSE(closed.ok());
  workers_.clear();
  EXPECT_TRUE(model->holds_job());
  server_.reset();
  StartServer();
  const v1::Job job = Get("jobs/long");
  EXPECT_EQ(job.state(), v1::RUNNING);
  EXPECT_GT(job.committed_steps(), 0);
  EXPECT_GE(job.committed_steps(), model->committed());
  // The same events, and then new ones, without a gap (Watch checks).
  workers_.push_back(std::make_unique<StreamWorker>(channel_, model));
  const int64_t generation = 2;
  const std::vector<v1::Event> after = Watch("jobs/long", 0, [&](const v1::Event& event) {
    return event.steps_committed().generation() == generation;
  });
  ASSERT_GE(after.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(after[i], before[i]));
  }
  EXPECT_EQ(Get("jobs/long").restarts(), 0);
  v1::CancelJobRequest cancel;
  cancel.set_name("jobs/long");
  v1::Job cancelled;
  ASSERT_TRUE(Call(&v1::JobService::Stub::CancelJob, cancel, &cancelled).ok());
  EXPECT_EQ(cancelled.state(), v1::CANCELLED);
}

TEST_F(CoordinatorServerTest, CheckpointsAreStoredServedAndCheckedForDamage) {
  AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("job1", 30, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(10);
  const v1::Job job = Create(request);
  Watch("jobs/job1", 0);
  v1::ListCheckpointsRequest list;
  list.set_parent("jobs/job1");
  v1::ListCheckpointsResponse checkpoints;
  ASSERT_TRUE(Call(&v1::JobService::Stub::ListCheckpoints, list, &checkpoints).ok());
  ASSERT_EQ(checkpoints.checkpoints_size(), 2);
  EXPECT_EQ(checkpoints.checkpoints(1).name(), "jobs/job1/checkpoints/30");

  const auto download = [&](const std::string& name, std::string* bytes) {
    grpc::ClientContext context;
    v1::DownloadCheckpointRequest get;
    get.set_name(name);
    const auto reader = jobs_->DownloadCheckpoint(&context, get);
    for (v1::DownloadCheckpointResponse page; reader->Read(&page);) *bytes += page.chunk();
    return reader->Finish();
  };
  std::string bytes;
  ASSERT_TRUE(download("jobs/job1/checkpoints/30", &bytes).ok());
  EXPECT_EQ(bytes, testing::CheckpointBytes(30));
  // Only the files of the two checkpoints are left.
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(dir_.path() + "/checkpoints/" + job.uid())) {
    files.push_back(entry.path());
  }
  ASSERT_EQ(files.size(), 2);
  for (const std::string& file : files)
    std::ofstream(file, std::ios::in | std::ios::binary) << "damage";
  std::string damaged;
  EXPECT_EQ(download("jobs/job1/checkpoints/30", &damaged).error_code(),
            grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(damaged, "");
  EXPECT_EQ(download("jobs/job1/checkpoints/30", &damaged).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(download("checkpoints/30", &damaged).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const absl::MutexLock lock(&mutex_);
  EXPECT_THAT(notices_, ElementsAre(AllOf(HasSubstr("jobs/job1/checkpoints/30 is damaged"),
                                          HasSubstr("checkpoints/unknown"))));
}

TEST_F(CoordinatorServerTest, OnlyWholeUploadsOfTheCurrentGenerationAreTaken) {
  // A worker that is given the job and says nothing.
  grpc::ClientContext context;
  const auto stream = worker_stub_->Connect(&context);
  v1::WorkerMessage hello;
  *hello.mutable_hello() = ModelWorker("w1", v1::CPU).Hello();
  ASSERT_TRUE(stream->Write(hello));
  const v1::Job job = Create(ToyRequest("job1", 30, 1, 1));
  v1::CoordinatorMessage message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_EQ(message.start_generation().generation(), 1);

  const std::string bytes = testing::CheckpointBytes(5);
  const auto header = [&](int64_t generation) {
    return testing::UploadHeader("jobs/job1", job.uid(), generation, bytes, 5);
  };
  EXPECT_EQ(testing::Upload(worker_stub_.get(), header(2), bytes).error_code(),
            grpc::StatusCode::ABORTED);
  EXPECT_EQ(testing::Upload(worker_stub_.get(), header(1), bytes.substr(1)).error_code(),
            grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(testing::Upload(worker_stub_.get(), header(1), bytes + "x").error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::UploadCheckpointRequest huge = header(1);
  huge.set_size_bytes(limits::kMaxCheckpointBytes + 1);
  EXPECT_THAT(FieldsOf(testing::Upload(worker_stub_.get(), huge, bytes)),
              ::testing::ElementsAre("size_bytes"));
  EXPECT_TRUE(testing::Upload(worker_stub_.get(), header(1), bytes).ok());
  EXPECT_TRUE(testing::Upload(worker_stub_.get(), header(1), bytes, 7).ok());
  context.TryCancel();
  stream->Finish();
}

TEST_F(CoordinatorServerTest, AWorkerThatReadsNothingIsCutOff) {
  const auto connect = [&](grpc::ClientContext* context, const std::string& id) {
    auto stream = worker_stub_->Connect(context);
    v1::WorkerMessage hello;
    *hello.mutable_hello() = ModelWorker(id, v1::CPU).Hello();
    EXPECT_TRUE(stream->Write(hello));
    return stream;
  };
  Create(ToyRequest("job1", 30, 2, 2));
  grpc::ClientContext context1, context2;
  const auto reads_nothing = connect(&context1, "w1");
  const auto floods = connect(&context2, "w2");
  v1::CoordinatorMessage received;
  while (floods->Read(&received) && !received.has_start_generation()) {
  }
  v1::WorkerMessage entry;
  entry.mutable_rendezvous()->set_job("jobs/job1");
  entry.mutable_rendezvous()->set_generation(1);
  entry.mutable_rendezvous()->set_key("k");
  entry.mutable_rendezvous()->set_value(std::string(1000, 'v'));
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  // Each is read back before the next, so that only the other one's queue grows.
  int64_t sent = 0;
  for (received.Clear(); !received.has_end_generation(); ++sent) {
    ASSERT_LT(sent, 4 * limits::kMaxOutgoingMessages);
    ASSERT_TRUE(floods->Write(entry));
    ASSERT_TRUE(floods->Read(&received));
    // It lives, it only does not read.
    if (sent % 500 == 0) reads_nothing->Write(heartbeat);
  }
  EXPECT_GE(sent, limits::kMaxOutgoingMessages);
  while (reads_nothing->Read(&received)) {
  }
  EXPECT_EQ(reads_nothing->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  context2.TryCancel();
  floods->Finish();
}

TEST_F(CoordinatorServerTest, ASecondCoordinatorIsRefused) {
  EXPECT_THAT(std::string(CoordinatorServer::Start(options_).status().message()),
              HasSubstr("another coordinator (process"));
  testing::TempDir other;
  CoordinatorOptions options;
  options.data_dir = other.path();
  options.listen = server_->address();
  EXPECT_THAT(std::string(CoordinatorServer::Start(options).status().message()),
              HasSubstr("cannot listen on"));
  options.listen = "127.0.0.1:0";
  EXPECT_TRUE(CoordinatorServer::Start(options).ok());
}

TEST(CheckListenAddress, OnlyThisMachineIsServedWithoutEncryption) {
  for (const char* good :
       {"127.0.0.1:0", "127.0.0.1:7070", "localhost:7070", "[::1]:7070", "127.8.8.8:1"}) {
    EXPECT_TRUE(CheckListenAddress(good, false).ok()) << good;
  }
  for (const char* open : {"0.0.0.0:7070", "[::]:7070", "192.168.0.1:7070", "example.org:7070"}) {
    EXPECT_THAT(std::string(CheckListenAddress(open, false).message()), HasSubstr("no TLS yet"))
        << open;
    EXPECT_TRUE(CheckListenAddress(open, true).ok()) << open;
  }
  for (const char* bad :
       {"", "7070", ":7070", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:-1"}) {
    EXPECT_THAT(std::string(CheckListenAddress(bad, true).message()),
                HasSubstr("no address to listen on"))
        << bad;
  }
}

}  // namespace
}  // namespace evograd
