// Goal: what is uploaded comes back byte by byte, and what was damaged or broken off is noticed.
// Method: a real port; sizes around the size of a chunk; a stated hash that is another's.
#include "worker/agent/checkpoint_transfer.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/service_limits.h"
#include "worker/agent/testing/fake_coordinator.h"

namespace evograd::agent {
namespace {

class CheckpointTransferTest : public testing::Test {
 protected:
  CheckpointTransferTest()
      : stub_(v1::WorkerService::NewStub(
            grpc::CreateChannel(coordinator_.address(), grpc::InsecureChannelCredentials()))) {}

  static v1::UploadCheckpointRequest Header(const std::string& bytes = "bytes") {
    v1::UploadCheckpointRequest header;
    header.set_job("jobs/a");
    header.set_step(7);
    StateBytes(bytes, &header);
    return header;
  }

  // Patient, and says nothing.
  static CheckpointTransfer::DownloadOptions Quiet() {
    CheckpointTransfer::DownloadOptions options;
    options.patience = absl::Hours(1);
    options.say = options.trouble = [](const std::string&) {};
    return options;
  }

  FakeCoordinator coordinator_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  CheckpointTransfer transfer_;
};

TEST_F(CheckpointTransferTest, BytesComeBackWhateverTheirNumber) {
  constexpr int kChunk = limits::kTransferChunkBytes;
  for (const int size : {1, kChunk - 1, kChunk, kChunk + 1, 3 * kChunk + 5}) {
    std::string bytes(size, 'x');
    for (int i = 0; i < size; i += 997) bytes[i] = static_cast<char>(i);
    const absl::Status status = transfer_.Upload(stub_.get(), Header(bytes), bytes);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(coordinator_.Stored("jobs/a/checkpoints/7"), bytes);
    const absl::StatusOr<std::string> back =
        transfer_.Download(stub_.get(), "jobs/a/checkpoints/7");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, bytes);
  }
}

TEST_F(CheckpointTransferTest, OtherBytesThanStatedAreNoticed) {
  coordinator_.Store("damaged", "some bytes", std::string(64, '0'));
  const absl::Status status = transfer_.Download(stub_.get(), "damaged").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  coordinator_.Store("damaged", "some bytes");
  EXPECT_EQ(transfer_.Download(stub_.get(), "damaged").value(), "some bytes");
}

TEST_F(CheckpointTransferTest, WhatWasStatedOnceServesEveryTry) {
  v1::UploadCheckpointRequest header = Header();
  header.set_sha256(std::string(64, '0'));
  // Nothing looked through the bytes again, which takes seconds where they are many.
  EXPECT_TRUE(absl::IsDataLoss(transfer_.Upload(stub_.get(), header, "bytes")));
}

TEST_F(CheckpointTransferTest, TheCoordinatorsAnswerIsPassedOn) {
  EXPECT_TRUE(absl::IsNotFound(transfer_.Download(stub_.get(), "none").status()));
  coordinator_.RefuseUploads({grpc::StatusCode::ABORTED, "generation 1 is over"});
  const absl::Status status = transfer_.Upload(stub_.get(), Header(), "bytes");
  EXPECT_EQ(status, absl::AbortedError("generation 1 is over"));
}

TEST_F(CheckpointTransferTest, PatienceEnds) {
  coordinator_.RefuseDownloads({grpc::StatusCode::RESOURCE_EXHAUSTED, "busy"}, 1'000'000);
  coordinator_.Store("name", "bytes");
  std::shared_ptr<v1::WorkerService::StubInterface> stub = std::move(stub_);
  int tries = 0;
  const auto download = [&](absl::Duration patience) {
    CheckpointTransfer::DownloadOptions options = Quiet();
    options.patience = patience;
    options.say = [&](const std::string&) { ++tries; };
    return transfer_.DownloadPatiently([&] { return stub; }, "name", options);
  };
  EXPECT_TRUE(absl::IsResourceExhausted(download(absl::Milliseconds(200)).status()));
  EXPECT_GE(tries, 1);
  coordinator_.RefuseDownloads({grpc::StatusCode::UNAVAILABLE, "away"}, 2);
  EXPECT_EQ(download(absl::Hours(1)).value(), "bytes");
  // No patience with what does not pass.
  tries = 0;
  coordinator_.RefuseDownloads({grpc::StatusCode::NOT_FOUND, "none"}, 1);
  EXPECT_TRUE(absl::IsNotFound(download(absl::Hours(1)).status()));
  EXPECT_EQ(tries, 0);
}

TEST_F(CheckpointTransferTest, NobodyComesBeforeTheCoordinatorAskedFor) {
  std::vector<absl::Duration> pauses;
  CheckpointTransfer transfer([&](absl::Duration pause) {
    pauses.push_back(pause);
    return false;
  });
  coordinator_.Store("name", "bytes");
  std::shared_ptr<v1::WorkerService::StubInterface> stub = std::move(stub_);
  const auto download = [&] {
    return transfer.DownloadPatiently([&] { return stub; }, "name", Quiet());
  };
  coordinator_.RefuseDownloads(
      OfCoordinator(grpc::StatusCode::RESOURCE_EXHAUSTED, "busy", absl::Seconds(7)), 2);
  EXPECT_EQ(download().value(), "bytes");
  ASSERT_EQ(pauses.size(), 2);
  for (const absl::Duration pause : pauses) {
    EXPECT_GE(pause, absl::Seconds(7));
    EXPECT_LE(pause, 1.2 * absl::Seconds(7));
  }
  // The twin: the coordinator says nothing of when to come.
  pauses.clear();
  coordinator_.RefuseDownloads({grpc::StatusCode::RESOURCE_EXHAUSTED, "busy"}, 2);
  EXPECT_EQ(download().value(), "bytes");
  ASSERT_EQ(pauses.size(), 2);
  for (const absl::Duration pause : pauses) EXPECT_LT(pause, absl::Seconds(1));
  // One that stalls comes back later and later.
  pauses.clear();
  coordinator_.RefuseDownloads({grpc::StatusCode::DEADLINE_EXCEEDED, "stalled"}, 3);
  EXPECT_EQ(download().value(), "bytes");
  ASSERT_EQ(pauses.size(), 3);
  EXPECT_GE(pauses[0], absl::Milliseconds(limits::kRetryRoomMs));
  EXPECT_GE(pauses[2], absl::Milliseconds(2 * limits::kRetryRoomMs));
}

TEST_F(CheckpointTransferTest, WhatCannotBeFetchedIsToldOnceAndThatItIsOver) {
  CheckpointTransfer transfer([](absl::Duration) { return false; });
  coordinator_.Store("name", "bytes");
  std::shared_ptr<v1::WorkerService::StubInterface> stub = std::move(stub_);
  std::vector<std::string> troubles;
  CheckpointTransfer::DownloadOptions options = Quiet();
  options.trouble = [&](const std::string& text) { troubles.push_back(text); };
  const auto download = [&] {
    return transfer.DownloadPatiently([&] { return stub; }, "name", options);
  };
  EXPECT_EQ(download().value(), "bytes");
  EXPECT_TRUE(troubles.empty());
  coordinator_.RefuseDownloads({grpc::StatusCode::UNAVAILABLE, "the folder is away"}, 3);
  EXPECT_EQ(download().value(), "bytes");
  EXPECT_EQ(troubles, (std::vector<std::string>{
                          "name could not be fetched yet, trying again: the folder is away", ""}));
}

TEST_F(CheckpointTransferTest, NothingIsTransferredBetweenStopAndRestart) {
  transfer_.Stop();
  EXPECT_TRUE(absl::IsCancelled(transfer_.Upload(stub_.get(), Header(), "bytes")));
  coordinator_.Store("name", "bytes");
  EXPECT_TRUE(absl::IsCancelled(transfer_.Download(stub_.get(), "name").status()));
  transfer_.Restart();
  EXPECT_TRUE(transfer_.Upload(stub_.get(), Header(), "bytes").ok());
  EXPECT_EQ(transfer_.Download(stub_.get(), "name").value(), "bytes");
}

}  // namespace
}  // namespace evograd::agent
