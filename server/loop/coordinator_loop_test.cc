// Goal: what leaves the loop is durable, many inputs share a transaction, and a full inbox, a
// stopped loop and a failed write are told to whoever waits. Method: a real loop on a real store;
// threads call it and wait for answers; a write fails because its table is gone.

#include "server/loop/coordinator_loop.h"

#include <chrono>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world.h"
#include "server/store/testing/temp_dir.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

class RecordingSink : public WorkerSink {
 public:
  void Send(v1::CoordinatorMessage message) override {
    if (message.has_welcome()) welcomed.set_value(message.welcome());
  }
  void Close(const absl::Status& status) override { closed.set_value(status); }

  std::promise<v1::Welcome> welcomed;
  std::promise<absl::Status> closed;
};

v1::Hello HelloOf(const std::string& id) {
  v1::Hello hello;
  hello.set_protocol_version(limits::kProtocolVersion);
  hello.set_worker_id(id);
  hello.set_device_kind(v1::CPU);
  return hello;
}

class CoordinatorLoopTest : public ::testing::Test {
 protected:
  void Start() {
    loop_.reset();
    auto loop = CoordinatorLoop::Start(Store::Open(path()).value(), options_);
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
  }

  std::string path() const { return dir_.path() + "/store.sqlite"; }

  template <typename In>
  absl::StatusOr<Answer> Call(In input) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<Answer>>>();
    auto future = promise->get_future();
    loop_->Call(std::move(input), [promise](absl::StatusOr<Answer> answer) {
      promise->set_value(std::move(answer));
    });
    return future.get();
  }

  absl::StatusOr<Answer> Create(const std::string& id) {
    return Call(CreateJobInput{{}, testing::ToyRequest(id, 5, 1, 1), "uid-" + id, "fresh"});
  }

  testing::TempDir dir_;
  CoordinatorLoop::Options options_;
  std::unique_ptr<CoordinatorLoop> loop_;
};

TEST_F(CoordinatorLoopTest, AnsweredMeansDurable) {
  Start();
  ASSERT_TRUE(Create("job1").ok());
  // Not closed, not stopped: another reader of the same file sees the job.
  EXPECT_EQ(Store::Open(path()).value()->Load()->jobs.size(), 1);
  Start();
  GetJobInput get;
  get.request.set_name("jobs/job1");
  EXPECT_TRUE(Call(get).ok());
  get.request.set_name("jobs/job2");
  EXPECT_EQ(Call(get).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CoordinatorLoopTest, ManyThreadsAreAnsweredOnceEach) {
  Start();
  constexpr int kThreads = 8, kCalls = 50;
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) made += Create(absl::StrCat("job-", t, "-", i)).ok();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, kThreads * kCalls);
  loop_->Stop();
  EXPECT_EQ(Store::Open(path()).value()->Load()->jobs.size(), kThreads * kCalls);
}

TEST_F(CoordinatorLoopTest, JobChangesAreToldAfterTheyAreDurable) {
  std::promise<bool> ended;
  std::atomic<int> changes{0};
  options_.on_job_changed = [&](const std::string& uid, bool is_ended) {
    EXPECT_EQ(uid, "uid-job1");
    ++changes;
    if (is_ended) ended.set_value(true);
  };
  Start();
  ASSERT_TRUE(Create("job1").ok());
  CancelJobInput cancel;
  cancel.request.set_name("jobs/job1");
  ASSERT_TRUE(Call(cancel).ok());
  EXPECT_TRUE(ended.get_future().get());
  loop_->Stop();
  EXPECT_EQ(changes, 2);
}

TEST_F(CoordinatorLoopTest, WorkersAreWelcomedAndTheSilentOnesClosed) {
  Start();
  v1::Hello hello = HelloOf("w1");
  auto sink = std::make_shared<RecordingSink>();
  const ConnectionId connection = loop_->Connect(hello, sink);
  EXPECT_EQ(sink->welcomed.get_future().get().incarnation(), 1);
  std::promise<void> taken;
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  loop_->FromWorker(connection, heartbeat, [&] { taken.set_value(); });
  taken.get_future().wait();
  // A second worker of the same id, from another process.
  hello.set_process_id(2);
  auto other = std::make_shared<RecordingSink>();
  loop_->Connect(hello, other);
  EXPECT_EQ(other->closed.get_future().get().code(), absl::StatusCode::kAlreadyExists);
  // Nothing more comes from the first: it is closed by the clock alone.
  EXPECT_THAT(std::string(sink->closed.get_future().get().message()), HasSubstr("no heartbeat"));
}

TEST_F(CoordinatorLoopTest, TheSilentAreClosedThoughOthersNeverCeaseToTalk) {
  Start();
  auto sink = std::make_shared<RecordingSink>();
  loop_->Connect(HelloOf("w1"), sink);
  // More than one transaction takes wait at any time: each comes again when it was taken.
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  std::atomic<bool> enough{false};
  std::function<void()> talk = [&] {
    if (!enough) loop_->FromWorker(static_cast<ConnectionId>(7), heartbeat, talk);
  };
  for (int i = 0; i < 3 * limits::kMaxLoopBatch; ++i) talk();
  std::future<absl::Status> closed = sink->closed.get_future();
  EXPECT_EQ(closed.wait_for(std::chrono::seconds(40)), std::future_status::ready);
  enough = true;
  loop_->Stop();
}

TEST_F(CoordinatorLoopTest, AStoppedLoopSaysSo) {
  Start();
  ASSERT_TRUE(Create("job1").ok());
  loop_->Stop();
  EXPECT_EQ(Create("job2").status().code(), absl::StatusCode::kUnavailable);
  auto sink = std::make_shared<RecordingSink>();
  loop_->Connect(v1::Hello(), sink);
  EXPECT_EQ(sink->closed.get_future().get().code(), absl::StatusCode::kUnavailable);
}

TEST_F(CoordinatorLoopTest, AFullInboxRefuses) {
  std::promise<void> blocked, release;
  std::shared_future<void> released = release.get_future().share();
  std::atomic<bool> first{true};
  options_.on_job_changed = [&](const std::string&, bool) {
    if (!first.exchange(false)) return;
    blocked.set_value();
    released.wait();
  };
  Start();
  loop_->Call(CreateJobInput{{}, testing::ToyRequest("job1", 5, 1, 1), "uid", "fresh"},
              [](absl::StatusOr<Answer>) {});
  blocked.get_future().wait();
  // The loop stands still, so its inbox fills.
  std::atomic<int> refused{0}, answered{0};
  GetJobInput get;
  get.request.set_name("jobs/job1");
  for (int i = 0; i < limits::kMaxLoopInbox + 5; ++i) {
    loop_->Call(get, [&](absl::StatusOr<Answer> answer) {
      ++(answer.ok() ? answered : refused);
      if (!answer.ok()) {
        EXPECT_EQ(answer.status().code(), absl::StatusCode::kResourceExhausted);
      }
    });
  }
  EXPECT_EQ(refused, 5);
  release.set_value();
  loop_->Stop();
  EXPECT_EQ(answered, limits::kMaxLoopInbox);
}

// A loop that stands still in on_job_changed after its first job until Release.
class HeldLoopTest : public CoordinatorLoopTest {
 protected:
  void Hold() {
    options_.on_job_changed = [this](const std::string&, bool) {
      if (!first_.exchange(false)) return;
      held_.set_value();
      released_.wait();
    };
    Start();
    loop_->Call(CreateJobInput{{}, testing::ToyRequest("holds", 5, 1, 1), "uid", "fresh"},
                [](absl::StatusOr<Answer>) {});
    held_.get_future().wait();
  }
  void Release() { release_.set_value(); }

  std::promise<void> held_, release_;
  std::shared_future<void> released_ = release_.get_future().share();
  std::atomic<bool> first_{true};
};

TEST_F(HeldLoopTest, CallsThatNobodyWaitsForAreNotCarriedOut) {
  Hold();
  std::mutex mutex;
  std::map<absl::StatusCode, int> answers;
  const auto create = [&](const std::string& id, const CoordinatorLoop::Patience& patience) {
    CreateJobInput input{{}, testing::ToyRequest(id, 5, 1, 1), "uid-" + id, "fresh"};
    loop_->Call(
        std::move(input),
        [&](const absl::StatusOr<Answer>& answer) {
          const std::lock_guard<std::mutex> lock(mutex);
          ++answers[answer.status().code()];
        },
        patience);
  };
  CoordinatorLoop::Patience short_one, cancelled, waits;
  short_one.until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
  std::atomic<bool> gone{false};
  cancelled.is_over = [&] { return gone.load(); };
  waits.until = std::chrono::steady_clock::now() + std::chrono::hours(1);
  waits.is_over = [] { return false; };
  for (int i = 0; i < 50; ++i) {
    create(absl::StrCat("late-", i), short_one);
    create(absl::StrCat("gone-", i), cancelled);
    create(absl::StrCat("waits-", i), waits);
  }
  gone = true;
  std::this_thread::sleep_until(short_one.until);
  Release();
  loop_->Stop();
  EXPECT_EQ(answers[absl::StatusCode::kDeadlineExceeded], 50);
  EXPECT_EQ(answers[absl::StatusCode::kCancelled], 50);
  EXPECT_EQ(answers[absl::StatusCode::kOk], 50);
  EXPECT_EQ(Store::Open(path()).value()->Load()->jobs.size(), 51);
}

TEST_F(HeldLoopTest, ManyChangesHoldUpNeitherReadersNorWorkers) {
  Hold();
  // Answers in the order in which they come; those of one transaction in the order of its calls.
  std::mutex mutex;
  int created = 0, created_before_read = -1, created_before_worker = -1;
  constexpr int kChanges = 3 * limits::kMaxLoopBatch;
  for (int i = 0; i < kChanges; ++i) {
    const std::string id = absl::StrCat("job-", i);
    loop_->Call(CreateJobInput{{}, testing::ToyRequest(id, 5, 1, 1), "uid-" + id, "fresh"},
                [&](const absl::StatusOr<Answer>& answer) {
                  EXPECT_TRUE(answer.ok()) << answer.status();
                  const std::lock_guard<std::mutex> lock(mutex);
                  ++created;
                });
  }
  GetJobInput get;
  get.request.set_name("jobs/holds");
  loop_->Call(get, [&](const absl::StatusOr<Answer>& answer) {
    EXPECT_TRUE(answer.ok());
    const std::lock_guard<std::mutex> lock(mutex);
    created_before_read = created;
  });
  v1::WorkerMessage heartbeat;
  heartbeat.mutable_heartbeat();
  loop_->FromWorker(static_cast<ConnectionId>(7), heartbeat, [&] {
    const std::lock_guard<std::mutex> lock(mutex);
    created_before_worker = created;
  });
  Release();
  loop_->Stop();
  EXPECT_EQ(created, kChanges);
  // Both are in the first transaction after the hold.
  EXPECT_GE(created_before_read, 0);
  EXPECT_LE(created_before_read, 1);
  EXPECT_GE(created_before_worker, 0);
  EXPECT_LE(created_before_worker, limits::kMaxLoopBatch);
}

TEST_F(HeldLoopTest, AFloodOfChangesKeepsNoTransferFromItsEnd) {
  Hold();
  std::atomic<int> refused{0}, finished{0};
  for (int i = 0; i < limits::kMaxLoopInbox + 1; ++i) {
    loop_->Call(CancelJobInput(), [&](const absl::StatusOr<Answer>& answer) {
      refused += answer.status().code() == absl::StatusCode::kResourceExhausted;
    });
  }
  EXPECT_EQ(refused, 1);
  // No such job: the machine has seen them.
  const auto seen = [&](const absl::StatusOr<Answer>& answer) {
    finished += answer.status().code() != absl::StatusCode::kResourceExhausted;
  };
  loop_->Call(FinishUploadInput(), seen);
  loop_->Call(DamagedCheckpointInput(), seen);
  Release();
  loop_->Stop();
  EXPECT_EQ(finished, 2);
  EXPECT_EQ(refused, 1);
}

TEST_F(HeldLoopTest, LongChangesTakeNoRoomOfReadersAndWorkers) {
  Hold();
  CreateJobInput large{{}, testing::ToyRequest("job1", 5, 1, 1), "uid-job1", "fresh"};
  large.request.mutable_spec()->set_display_name(std::string(limits::kMaxJobFileBytes, 'x'));
  std::atomic<int> refused{0}, read{0};
  constexpr int64_t kEnough = limits::kMaxLoopInboxBytes / limits::kMaxJobFileBytes + 1;
  for (int64_t i = 0; i < kEnough && refused == 0; ++i) {
    loop_->Call(large, [&](const absl::StatusOr<Answer>& answer) {
      refused += answer.status().code() == absl::StatusCode::kResourceExhausted;
    });
  }
  EXPECT_EQ(refused, 1);
  GetJobInput get;
  get.request.set_name("jobs/holds");
  loop_->Call(get, [&](const absl::StatusOr<Answer>& answer) { read += answer.ok(); });
  auto sink = std::make_shared<RecordingSink>();
  loop_->Connect(HelloOf("w1"), sink);
  std::future<v1::Welcome> welcomed = sink->welcomed.get_future();
  Release();
  loop_->Stop();
  EXPECT_EQ(read, 1);
  EXPECT_EQ(welcomed.wait_for(std::chrono::seconds(0)), std::future_status::ready);
}

TEST_F(CoordinatorLoopTest, AFailedWriteEndsTheLoopAndLosesNothingAnswered) {
  std::promise<absl::Status> failure;
  options_.on_failure = [&](const absl::Status& status) { failure.set_value(status); };
  Start();
  ASSERT_TRUE(Create("job1").ok());
  {
    // Another connection takes the table that the next commit needs.
    auto database = Database::Open(path(), Database::kReadWrite).value();
    ASSERT_TRUE(database->Execute("DROP TABLE requests; DROP TABLE events").ok());
  }
  EXPECT_EQ(Create("job2").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(failure.get_future().get().message()),
              HasSubstr("cannot write its data directory"));
  EXPECT_EQ(Create("job3").status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace evograd
