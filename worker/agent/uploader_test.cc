// Goal: an upload that does not succeed is tried again, and its trouble is told: at once, again
// when it is another one, and not too often. Method: a coordinator that refuses for reasons that
// the test changes.
#include "worker/agent/uploader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "worker/agent/testing/fake_coordinator.h"

namespace evograd::agent {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);

class UploaderTest : public testing::Test {
 protected:
  Uploader::Options Options() {
    Uploader::Options options;
    options.stub = [this]() -> Uploader::Stub {
      return v1::WorkerService::NewStub(
          grpc::CreateChannel(coordinator_.address(), grpc::InsecureChannelCredentials()));
    };
    options.done = [this](const absl::Status& status) {
      absl::MutexLock lock(&mutex_);
      outcomes_.push_back(status);
    };
    options.say = [this](const std::string& text) {
      absl::MutexLock lock(&mutex_);
      lines_.push_back(text);
    };
    options.trouble = [this](const std::string& text) {
      absl::MutexLock lock(&mutex_);
      troubles_.push_back(text);
    };
    options.trouble_interval = absl::ZeroDuration();
    options.retry_min = options.retry_max = absl::Milliseconds(1);
    return options;
  }

  static void Start(Uploader* uploader) {
    v1::UploadCheckpointRequest header;
    header.set_job("jobs/a");
    header.set_step(7);
    uploader->Start(header, std::make_shared<const std::string>("bytes"));
  }

  void RefuseWith(const std::string& text) {
    coordinator_.RefuseUploads({grpc::StatusCode::RESOURCE_EXHAUSTED, text});
  }

  bool WaitForTrouble(const std::string& text, int count = 1) {
    return WaitFor(&troubles_, text, count);
  }
  bool WaitForLine(const std::string& text, int count = 1) { return WaitFor(&lines_, text, count); }

  absl::Status WaitForOutcome() {
    absl::MutexLock lock(&mutex_);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !outcomes_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience)) {
      return absl::InternalError("no outcome");
    }
    const absl::Status outcome = outcomes_.front();
    outcomes_.erase(outcomes_.begin());
    return outcome;
  }

  int troubles() {
    absl::MutexLock lock(&mutex_);
    return static_cast<int>(troubles_.size());
  }

  // Until so many of `texts` contain `text`.
  bool WaitFor(const std::vector<std::string>* texts, const std::string& text, int count) {
    absl::MutexLock lock(&mutex_);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::count_if(texts->begin(), texts->end(), [&](const std::string& one) {
               return absl::StrContains(one, text);
             }) >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&there), kPatience);
  }

  FakeCoordinator coordinator_;
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> troubles_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::Status> outcomes_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(UploaderTest, TroubleIsToldAtOnceAndWhenItChanges) {
  RefuseWith("no space left");
  Uploader uploader(Options());
  Start(&uploader);
  EXPECT_TRUE(WaitForTrouble("step 7 is not stored yet, trying again: no space left"));
  // However often it is refused for the same reason.
  EXPECT_TRUE(WaitForLine("no space left", 5));
  EXPECT_EQ(troubles(), 1);
  RefuseWith("too many transfers");
  EXPECT_TRUE(WaitForTrouble("too many transfers"));
  EXPECT_EQ(troubles(), 2);
  coordinator_.RefuseUploads(grpc::Status::OK);
  EXPECT_TRUE(WaitForOutcome().ok());
  EXPECT_EQ(coordinator_.Stored("jobs/a/checkpoints/7"), "bytes");
  // The next upload's trouble is new.
  RefuseWith("too many transfers");
  Start(&uploader);
  EXPECT_TRUE(WaitForTrouble("too many transfers", 2));
  coordinator_.RefuseUploads(grpc::Status::OK);
  EXPECT_TRUE(WaitForOutcome().ok());
  EXPECT_EQ(troubles(), 3);
}

TEST_F(UploaderTest, WhatTheCoordinatorCannotStoreForAWhileIsTriedAgainLaterAndLater) {
  std::vector<absl::Duration> pauses;
  Uploader::Options options = Options();
  options.retry_min = absl::Seconds(1);
  options.retry_max = absl::Seconds(100);
  options.wait = [&](absl::Duration pause) {
    pauses.push_back(pause);
    if (pauses.size() == 4) coordinator_.RefuseUploads(grpc::Status::OK);
    return false;
  };
  coordinator_.RefuseUploads(
      OfCoordinator(grpc::StatusCode::UNAVAILABLE, "the folder checkpoints/ is away"));
  Uploader uploader(options);
  Start(&uploader);
  EXPECT_TRUE(WaitForOutcome().ok());
  EXPECT_TRUE(WaitForTrouble("step 7 is not stored yet, trying again: the folder checkpoints/"));
  EXPECT_EQ(troubles(), 1);
  ASSERT_EQ(pauses.size(), 4);
  EXPECT_GE(pauses[3], absl::Seconds(4));
}

TEST_F(UploaderTest, NobodyComesBeforeTheCoordinatorAskedFor) {
  std::vector<absl::Duration> pauses;
  Uploader::Options options = Options();
  options.wait = [&](absl::Duration pause) {
    pauses.push_back(pause);
    if (pauses.size() == 2) coordinator_.RefuseUploads({grpc::StatusCode::UNAVAILABLE, "away"});
    if (pauses.size() == 3) coordinator_.RefuseUploads(grpc::Status::OK);
    return false;
  };
  coordinator_.RefuseUploads(
      OfCoordinator(grpc::StatusCode::RESOURCE_EXHAUSTED, "the disk is full", absl::Seconds(5)));
  Uploader uploader(options);
  Start(&uploader);
  EXPECT_TRUE(WaitForOutcome().ok());
  ASSERT_EQ(pauses.size(), 3);
  EXPECT_GE(pauses[0], absl::Seconds(5));
  EXPECT_GE(pauses[1], absl::Seconds(5));
  EXPECT_LE(pauses[1], absl::Seconds(6));
  // The twin, without a word of when to come.
  EXPECT_LT(pauses[2], absl::Seconds(1));
}

TEST_F(UploaderTest, TroubleIsNotToldTooOften) {
  RefuseWith("one");
  Uploader::Options options = Options();
  options.trouble_interval = absl::Hours(1);
  Uploader uploader(options);
  Start(&uploader);
  EXPECT_TRUE(WaitForTrouble("one"));
  RefuseWith("two");
  EXPECT_TRUE(WaitForLine("two", 3));
  EXPECT_EQ(troubles(), 1);
  uploader.Stop();
  EXPECT_TRUE(absl::IsCancelled(WaitForOutcome()));
}

}  // namespace
}  // namespace evograd::agent
