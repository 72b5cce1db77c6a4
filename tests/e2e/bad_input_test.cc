// Goal: what is wrong on a worker's side is named to the person who asked, and disturbs nobody
// else. Method: each bad input beside its good twin on one running cluster of real processes.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

namespace fs = std::filesystem;
constexpr char kData[] = "/usr/share/datasets/fashion-mnist";

class BadInputTest : public testing::Test {
 protected:
  void SetUp() override {
    cluster_.StartCoordinator();
    cluster_.StartWorker("w1");
    cluster_.WaitForFreeWorkers(1);
  }

  // A copy of the data that the test may damage.
  std::string CopyOfData() {
    const std::string folder = cluster_.PathOf("images");
    fs::create_directory(folder);
    for (const auto& entry : fs::directory_iterator(kData)) {
      fs::copy(entry.path(), folder / entry.path().filename());
    }
    return folder;
  }

  // The job fails and says `named`, and the next one runs.
  void ExpectFailure(const std::string& folder, const std::string& named) {
    v1::JobSpec spec = SmallRotation(3);
    spec.mutable_problem()->mutable_rotation()->set_data_dir(folder);
    cluster_.Submit("bad-data", spec);
    const v1::Job job = cluster_.WaitForEnd("bad-data");
    EXPECT_EQ(job.state(), v1::FAILED);
    EXPECT_NE(job.error().message().find(named), std::string::npos) << job.error().message();
    EXPECT_NE(job.error().message().find(folder), std::string::npos) << job.error().message();
    EXPECT_EQ(job.error().worker(), "workers/w1");
    ExpectGoodJob();
  }

  void ExpectGoodJob() {
    cluster_.WaitForFreeWorkers(1);
    cluster_.Submit("good-data", SmallRotation(3));
    EXPECT_EQ(cluster_.WaitForEnd("good-data").state(), v1::SUCCEEDED);
  }

  Cluster cluster_;
};

TEST_F(BadInputTest, MissingFile) {
  const std::string folder = CopyOfData();
  fs::remove(folder + "/train-labels-idx1-ubyte.gz");
  ExpectFailure(folder, "train-labels-idx1-ubyte");
}

TEST_F(BadInputTest, TruncatedFile) {
  const std::string folder = CopyOfData();
  const std::string path = folder + "/t10k-images-idx3-ubyte.gz";
  fs::resize_file(path, fs::file_size(path) / 2);
  ExpectFailure(folder, path);
}

TEST_F(BadInputTest, LabelsOfAnotherLength) {
  const std::string folder = CopyOfData();
  fs::remove(folder + "/train-labels-idx1-ubyte.gz");
  fs::copy(folder + "/t10k-labels-idx1-ubyte.gz", folder + "/train-labels-idx1-ubyte.gz");
  ExpectFailure(folder, folder + "/train-labels-idx1-ubyte.gz");
}

TEST_F(BadInputTest, WorkerOfAnotherProtocolVersion) {
  cluster_.StartWorker("old", {"--protocol_version=99"});
  EXPECT_NE(cluster_.worker("old").Wait(), 0);
  const std::string said = cluster_.worker("old").Output();
  EXPECT_NE(said.find("99"), std::string::npos) << said;
  EXPECT_NE(said.find("protocol version"), std::string::npos) << said;
  ExpectGoodJob();
}

TEST_F(BadInputTest, SecondWorkerOfTheSameNameWaitsForTheFirstToGo) {
  cluster_.StartWorker("again", {"--worker_id=w1"});
  cluster_.WaitForOutput("again", "`w1` is connected");
  ExpectGoodJob();
  cluster_.worker("w1").Signal(SIGTERM);
  EXPECT_EQ(cluster_.worker("w1").Wait(), 0) << "told to end, it ends in good order";
  cluster_.WaitForOutput("again", "connected as workers/w1");
  cluster_.Submit("second", SmallRotation(3));
  EXPECT_EQ(cluster_.WaitForEnd("second").state(), v1::SUCCEEDED);
}

TEST_F(BadInputTest, SecondJobOfTheSameName) {
  cluster_.Submit("twice", SmallRotation(2));
  v1::CreateJobRequest request;
  request.set_job_id("twice");
  *request.mutable_spec() = SmallRotation(5);
  grpc::ClientContext context;
  v1::Job job;
  const grpc::Status status = cluster_.stub().CreateJob(&context, request, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_NE(status.error_message().find("twice"), std::string::npos) << status.error_message();
  EXPECT_EQ(cluster_.WaitForEnd("twice").committed_steps(), 2);
}

}  // namespace
}  // namespace evograd::e2e
