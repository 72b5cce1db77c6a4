// Goal: calls are repeated when nobody answers or the coordinator says when to come again, not
// before that, and only then; lists are read to the end, a watch goes on after a lost connection,
// errors keep their details. Method: a service in this process that answers as the test tells it,
// and a client whose pauses are recorded instead of waited for.
#include "client/lib/client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/service_limits.h"
#include "common/sha256.h"
#include "proto/google/rpc/status.pb.h"
#include "spec/error.h"
#include "spec/retry.h"

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Lt;
using ::testing::SizeIs;

// Something else on a port: answers each connection with `greeting` and closes it, says nothing, or
// closes it at once.
class OtherServer {
 public:
  enum Manner { kStaysSilent, kAnswers, kCloses };

  explicit OtherServer(Manner manner, const std::string& greeting = "") {
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in place = {};
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof place;
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&place), size), 0);
    EXPECT_EQ(getsockname(socket_, reinterpret_cast<sockaddr*>(&place), &size), 0);
    EXPECT_EQ(listen(socket_, 16), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(place.sin_port));
    thread_ = std::thread([this, manner, greeting] {
      while (true) {
        const int peer = accept(socket_, nullptr, nullptr);
        if (peer < 0) return;
        char request[1024];
        while (manner != kCloses && read(peer, request, sizeof request) > 0 &&
               manner == kStaysSilent) {
        }
        EXPECT_GE(write(peer, greeting.data(), greeting.size()), 0);
        close(peer);
      }
    });
  }
  ~OtherServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  const std::string& address() const { return address_; }

 private:
  int socket_ = -1;
  std::string address_;
  std::thread thread_;
};

// As the coordinator refuses what it may take later.
grpc::Status Asking(grpc::StatusCode code, const std::string& reason, absl::Duration delay) {
  absl::Status status = MakeError(static_cast<absl::StatusCode>(code), "later", reason);
  SetRetryDelay(delay, &status);
  google::rpc::Status details;
  status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    auto* detail = details.add_details();
    detail->set_type_url(std::string(type_url));
    detail->set_value(std::string(payload));
  });
  return grpc::Status(code, "later", details.SerializeAsString());
}

// Each WatchJob call serves one of `watches`: events from..to, then a status.
struct ScriptedWatch {
  int64_t from;
  int64_t to;
  grpc::Status status;
};

class PuppetService : public v1::JobService::Service {
 public:
  grpc::Status CreateJob(grpc::ServerContext* context, const v1::CreateJobRequest* request,
                         v1::Job* job) override {
    request_ids.push_back(request->request_id());
    if (failures-- > 0) return failure;
    job->set_name("jobs/" + request->job_id());
    return final_status;
  }
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    const int page = request->page_token().empty() ? 0 : std::stoi(request->page_token());
    response->add_jobs()->set_name(absl::StrCat("jobs/job-", page));
    if (page < 2) response->set_next_page_token(absl::StrCat(page + 1));
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::WatchJobResponse>* writer) override {
    asked_after.push_back(request->after_sequence());
    if (watches.empty()) {  // a quiet job
      writer->Write(v1::WatchJobResponse());
      test_over.WaitForNotification();
      return grpc::Status::OK;
    }
    const ScriptedWatch watch = watches.front();
    watches.pop_front();
    for (int64_t sequence = watch.from; sequence <= watch.to; ++sequence) {
      v1::WatchJobResponse response;
      response.add_events()->set_sequence(sequence);
      writer->Write(response);
    }
    return watch.status;
  }
  grpc::Status DownloadCheckpoint(
      grpc::ServerContext* context, const v1::DownloadCheckpointRequest* request,
      grpc::ServerWriter<v1::DownloadCheckpointResponse>* writer) override {
    ++downloads;
    if (failures-- > 0) return failure;
    v1::DownloadCheckpointResponse response;
    Sha256 hash;
    hash.Update("abcdef");
    response.mutable_checkpoint()->set_size_bytes(6);
    response.mutable_checkpoint()->set_sha256(hash.HexDigest());
    response.set_chunk("abc");
    writer->Write(response);
    response.clear_checkpoint();
    if (second_chunk.empty()) {  // a coordinator that has come to stand still
      while (!context->IsCancelled() &&
             !test_over.WaitForNotificationWithTimeout(absl::Milliseconds(5))) {
      }
      return grpc::Status::CANCELLED;
    }
    response.set_chunk(second_chunk);
    writer->Write(response);
    return final_status;
  }

  int downloads = 0;
  int failures = 0;
  grpc::Status failure = grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
  grpc::Status final_status;
  std::vector<std::string> request_ids;
  std::deque<ScriptedWatch> watches;
  std::vector<int64_t> asked_after;
  std::string second_chunk = "def";
  absl::Notification test_over;
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    client_ = std::make_unique<Client>(ClientOptions{address_});
  }

  ~ClientTest() override { service_.test_over.Notify(); }

  // One that only notes how long it would wait.
  Client Impatient(ClientOptions options = {}) {
    options.address = address_;
    options.pause = [this](absl::Duration pause) { pauses_.push_back(pause); };
    return Client(options);
  }

  std::vector<int64_t> Sequences(JobWatcher* watcher, absl::Status* status) {
    std::vector<int64_t> sequences;
    v1::Event event;
    while (true) {
      const absl::StatusOr<bool> more = watcher->Next(&event);
      *status = more.status();
      if (!more.ok() || !*more) return sequences;
      sequences.push_back(event.sequence());
    }
  }

  std::string address_;
  PuppetService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
  std::vector<absl::Duration> pauses_;
};

TEST_F(ClientTest, RepeatsWithTheSameRequestId) {
  service_.failures = 2;
  const auto job = client_->CreateJob("abcd", v1::JobSpec());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->name(), "jobs/abcd");
  ASSERT_THAT(service_.request_ids, SizeIs(3));
  EXPECT_THAT(service_.request_ids[0], SizeIs(36));
  EXPECT_EQ(service_.request_ids[0], service_.request_ids[2]);

  ASSERT_TRUE(client_->CreateJob("efgh", v1::JobSpec()).ok());
  EXPECT_NE(service_.request_ids[3], service_.request_ids[0]);
}

TEST_F(ClientTest, OtherErrorsAreNotRepeated) {
  service_.final_status = grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "there is one");
  const auto job = client_->CreateJob("abcd", v1::JobSpec());
  EXPECT_EQ(job.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(job.status().message(), "there is one");
  EXPECT_THAT(service_.request_ids, SizeIs(1));
}

// In gRPC's own words, which no interface promises.
TEST_F(ClientTest, WhyNobodyAnswersIsTold) {
  const auto error = [](const std::string& address) {
    Client client(ClientOptions{address});
    const absl::Status status = client.GetJob("jobs/x").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_EQ(GetErrorInfo(status).reason, "COORDINATOR_UNREACHABLE");
    return std::string(status.message());
  };
  // Nothing listens on port 1 of this machine.
  EXPECT_THAT(error("127.0.0.1:1"), HasSubstr("127.0.0.1:1: the connection is refused"));
  EXPECT_THAT(error("unix:/none/socket"), HasSubstr("/none/socket: there is no such socket"));
  const OtherServer web(OtherServer::kAnswers, "HTTP/1.1 400 Bad Request\r\n\r\n");
  const OtherServer hung(OtherServer::kStaysSilent), full(OtherServer::kCloses);
  EXPECT_THAT(error(web.address()), HasSubstr("what listens there is no coordinator"));
  EXPECT_THAT(error(hung.address()), HasSubstr("what listens there does not answer"));
  EXPECT_THAT(error(full.address()), HasSubstr("it closed the connection"));
}

TEST_F(ClientTest, RepeatsEnd) {
  service_.failures = 1000;
  const auto job = client_->CreateJob("abcd", v1::JobSpec());
  EXPECT_EQ(job.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetErrorInfo(job.status()).reason, "COORDINATOR_UNREACHABLE");
  EXPECT_LT(service_.request_ids.size(), 10);
}

TEST_F(ClientTest, NobodyComesBeforeTheCoordinatorAskedFor) {
  // Without a word of when to come, soon.
  service_.failures = 2;
  ASSERT_TRUE(Impatient().CreateJob("abcd", v1::JobSpec()).ok());
  EXPECT_THAT(pauses_, AllOf(SizeIs(2), Each(Lt(absl::Milliseconds(200)))));
  EXPECT_GT(pauses_[1], pauses_[0]);
  for (const grpc::StatusCode code :
       {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    pauses_.clear();
    service_.failures = 2;
    service_.failure = Asking(code, "COORDINATOR_OVERLOADED", absl::Milliseconds(1500));
    ASSERT_TRUE(Impatient().CreateJob("abcd", v1::JobSpec()).ok());
    EXPECT_THAT(pauses_, AllOf(SizeIs(2), Each(Ge(absl::Milliseconds(1500))),
                               Each(Le(absl::Milliseconds(1800)))));
  }
  // Its twin: full, and no word of when that changes.
  pauses_.clear();
  service_.failures = 2;
  service_.failure = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full");
  EXPECT_EQ(Impatient().CreateJob("abcd", v1::JobSpec()).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(pauses_, SizeIs(0));
}

TEST_F(ClientTest, WaitsThatAreAskedForHaveAnEnd) {
  service_.failures = 1000;
  service_.failure = Asking(grpc::StatusCode::UNAVAILABLE, "AWAY", absl::Seconds(1));
  EXPECT_EQ(Impatient().CreateJob("abcd", v1::JobSpec()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_LT(pauses_.size(), 10);
  // Past the time that the caller has, nothing is waited for.
  pauses_.clear();
  service_.failure = Asking(grpc::StatusCode::UNAVAILABLE, "AWAY", absl::Hours(1));
  EXPECT_EQ(GetErrorInfo(Impatient().CreateJob("abcd", v1::JobSpec()).status()).reason, "AWAY");
  EXPECT_THAT(pauses_, SizeIs(0));
  ClientOptions patient;
  patient.timeout = absl::Hours(2);
  EXPECT_FALSE(Impatient(patient).CreateJob("abcd", v1::JobSpec()).ok());
  EXPECT_THAT(pauses_, Each(Le(1.2 * absl::Milliseconds(limits::kMaxRetryDelayMs))));
  EXPECT_LT(pauses_.size(), 10);
}

TEST_F(ClientTest, ListsAreReadToTheEndOrAsFarAsWanted) {
  std::vector<std::string> names;
  ASSERT_TRUE(client_
                  ->ForEachJob([&](const v1::Job& job) {
                    names.push_back(job.name());
                    return true;
                  })
                  .ok());
  EXPECT_THAT(names, ElementsAre("jobs/job-0", "jobs/job-1", "jobs/job-2"));
  int visited = 0;
  ASSERT_TRUE(client_->ForEachJob([&](const v1::Job& job) { return ++visited < 2; }).ok());
  EXPECT_EQ(visited, 2);
}

TEST_F(ClientTest, AWatchGoesOnWhereItWasCut) {
  service_.watches = {{1, 3, grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut")},
                      {4, 3, grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut")},
                      {4, 5, grpc::Status::OK}};
  absl::Status status;
  const auto watcher = client_->Watch("jobs/abcd");
  EXPECT_THAT(Sequences(watcher.get(), &status), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(service_.asked_after, ElementsAre(0, 3, 3));
}

TEST_F(ClientTest, ACoordinatorThatStopsIsWaitedFor) {
  // What the calls of one that stops end with; then one that has no room yet.
  service_.watches = {{1, 2, grpc::Status(grpc::StatusCode::CANCELLED, "CANCELLED")},
                      {3, 2, grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "stopping")},
                      {3, 3, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(Sequences(client_->Watch("jobs/abcd").get(), &status), ElementsAre(1, 2, 3));
  EXPECT_TRUE(status.ok()) << status;

  service_.failures = 2;
  service_.failure = grpc::Status(grpc::StatusCode::CANCELLED, "CANCELLED");
  EXPECT_TRUE(client_->CreateJob("abcd", v1::JobSpec()).ok());
  service_.failures = 1000;
  EXPECT_EQ(client_->CreateJob("abcd", v1::JobSpec()).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, AWatchWaitsAsLongAsItIsAsked) {
  service_.watches = {
      {1, 2, grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut")},
      {3, 2, Asking(grpc::StatusCode::RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES", absl::Seconds(5))},
      {3, 3, grpc::Status::OK}};
  Client client = Impatient();
  absl::Status status;
  EXPECT_THAT(Sequences(client.Watch("jobs/abcd").get(), &status), ElementsAre(1, 2, 3));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(pauses_, ElementsAre(Lt(absl::Milliseconds(100)),
                                   AllOf(Ge(absl::Seconds(5)), Le(absl::Seconds(6)))));
}

TEST_F(ClientTest, AWatchEndsOnOtherErrors) {
  service_.watches = {{1, 1, grpc::Status(grpc::StatusCode::NOT_FOUND, "gone")}};
  absl::Status status;
  EXPECT_THAT(Sequences(client_->Watch("jobs/abcd").get(), &status), ElementsAre(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

TEST_F(ClientTest, AMissingEventIsAnError) {
  service_.watches = {{2, 3, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(Sequences(client_->Watch("jobs/abcd").get(), &status), SizeIs(0));
  EXPECT_EQ(GetErrorInfo(status).reason, "EVENT_GAP");
}

TEST_F(ClientTest, PatienceEnds) {
  server_->Shutdown();
  WatchOptions options;
  options.patience = absl::Milliseconds(200);
  absl::Status status;
  Sequences(client_->Watch("jobs/abcd", 0, options).get(), &status);
  EXPECT_EQ(GetErrorInfo(status).reason, "COORDINATOR_UNREACHABLE");
}

TEST_F(ClientTest, DeadlinesEndAWatch) {
  WatchOptions options;
  options.deadline = absl::Now() + absl::Milliseconds(200);
  absl::Status status;
  Sequences(client_->Watch("jobs/abcd", 0, options).get(), &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the time to wait"));
}

TEST_F(ClientTest, CancelEndsAWaitingWatch) {
  const auto watcher = client_->Watch("jobs/abcd");
  std::thread canceller([&] { watcher->Cancel(); });
  absl::Status status;
  Sequences(watcher.get(), &status);
  canceller.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

absl::StatusOr<v1::Checkpoint> Fetch(Client client, const std::string& path) {
  const auto file = OutputFile::Open(path);
  if (!file.ok()) return file.status();
  return client.DownloadCheckpoint("jobs/abcd/checkpoints/1", file->get());
}

TEST_F(ClientTest, DownloadsAreCheckedAndPutInPlace) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/checkpoint";
  ASSERT_TRUE(Fetch(*client_, path).ok());
  std::stringstream bytes;
  bytes << std::ifstream(path).rdbuf();
  EXPECT_EQ(bytes.str(), "abcdef");

  service_.second_chunk = "dXf";
  EXPECT_EQ(Fetch(*client_, path).status().code(), absl::StatusCode::kDataLoss);
  service_.final_status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut");
  EXPECT_EQ(Fetch(*client_, path).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, ADownloadWaitsForItsPlace) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/later";
  service_.failures = 2;
  service_.failure =
      Asking(grpc::StatusCode::RESOURCE_EXHAUSTED, "TOO_MANY_TRANSFERS", absl::Seconds(5));
  EXPECT_TRUE(Fetch(Impatient(), path).ok());
  EXPECT_THAT(pauses_, AllOf(SizeIs(2), Each(Ge(absl::Seconds(5)))));
  // The twin: one that broke off, of which bytes may have come.
  service_.downloads = 0;
  service_.failures = 1;
  service_.failure = grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut");
  EXPECT_FALSE(Fetch(Impatient(), path).ok());
  EXPECT_EQ(service_.downloads, 1);
}

TEST_F(ClientTest, SilentDownloadsAreGivenUp) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/silent";
  service_.second_chunk = "";
  ClientOptions options{address_};
  options.transfer_idle_timeout = absl::Milliseconds(100);
  const auto idle = Fetch(Client(options), path);
  EXPECT_EQ(idle.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(idle.status().message()), HasSubstr("sent nothing of jobs/abcd"));
  options = {address_};
  options.transfer_timeout = absl::Milliseconds(100);
  const auto late = Fetch(Client(options), path);
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  // Its twin, in which something comes.
  service_.second_chunk = "def";
  options.transfer_timeout = absl::Minutes(1);
  options.transfer_idle_timeout = absl::Minutes(1);
  EXPECT_TRUE(Fetch(Client(options), path).ok());
}

TEST_F(ClientTest, ASlowDiskIsNotTakenForASilentCoordinator) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/slow";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  // A pipe that is full.
  const int pipe = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(pipe, 0);
  char bytes[4096] = {};
  while (write(pipe, bytes, sizeof(bytes)) > 0) {
  }
  ClientOptions options{address_};
  options.transfer_idle_timeout = absl::Seconds(3);
  absl::Notification done;
  std::thread reader([&] {
    // For longer than the coordinator may be silent.
    while (!done.WaitForNotificationWithTimeout(absl::Seconds(5))) {
      while (read(pipe, bytes, sizeof(bytes)) > 0) {
      }
    }
  });
  const auto checkpoint = Fetch(Client(options), path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  done.Notify();
  reader.join();
  close(pipe);
}

}  // namespace
}  // namespace evograd
