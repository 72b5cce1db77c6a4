// Goal: what clients ask for is answered as job_service.proto says, checkpoints included. Method:
// calls on a world (testing/world.h), some after a restart of the coordinator; each refusal has a
// twin that is accepted.

#include "server/core/job_calls.h"

#include <string>
#include <vector>

#include "common/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/testing/world_test.h"
#include "spec/error.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ToyRequest;

using JobCallsTest = testing::WorldTest;

TEST_F(JobCallsTest, TheSameRequestMakesOneJob) {
  v1::CreateJobRequest request = ToyRequest("", 5, 1, 1);
  request.set_request_id("123e4567-e89b-42d3-a456-426614174000");
  const v1::Job first = world_.Create(request).value();
  EXPECT_EQ(world_.Create(request)->uid(), first.uid());
  world_.RestartCoordinator();
  EXPECT_EQ(world_.Create(request)->uid(), first.uid());
  request.mutable_spec()->set_steps(6);
  const absl::Status other = world_.Create(request).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(GetFieldViolations(other).size(), 1);
  EXPECT_EQ(GetFieldViolations(other)[0].field, "request_id");
  request.set_request_id("223e4567-e89b-42d3-a456-426614174000");
  EXPECT_NE(world_.Create(request)->uid(), first.uid());
}

TEST_F(JobCallsTest, BadRequestsNameTheirFields) {
  v1::CreateJobRequest request = ToyRequest("Bad", 0, 1, 1);
  request.set_request_id("7");
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(world_.Create(request).status())) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, ElementsAre("job_id", "spec.steps", "request_id"));
  request.clear_spec();
  EXPECT_EQ(world_.Create(request).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(world_.Create(ToyRequest("good", 1, 1, 1)).ok());
}

TEST_F(JobCallsTest, ANameIsTakenOnce) {
  ASSERT_TRUE(world_.Create("job1", 5, 1, 1).ok());
  EXPECT_EQ(world_.Create("job1", 5, 1, 1).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(world_.Create("job2", 5, 1, 1).ok());
}

TEST_F(JobCallsTest, ValidateOnlyKeepsNothing) {
  v1::CreateJobRequest request = ToyRequest("job1", 5, 1, 1);
  request.set_validate_only(true);
  const v1::Job job = world_.Create(request).value();
  EXPECT_EQ(job.spec().estimator().population(), 2);
  EXPECT_EQ(world_.Get("job1").status().code(), absl::StatusCode::kNotFound);
  request.mutable_spec()->set_steps(-1);
  EXPECT_EQ(world_.Create(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(JobCallsTest, CancellingEndsAJobOnce) {
  ASSERT_TRUE(world_.Create("job1", 5, 1, 1).ok());
  EXPECT_EQ(world_.Cancel("job1")->state(), v1::CANCELLED);
  EXPECT_EQ(world_.Cancel("job1")->state(), v1::CANCELLED);
  EXPECT_EQ(world_.Cancel("job9").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(world_.Create("job2", 5, 1, 1).ok());
  world_.AddWorker("w1");
  world_.Quiesce();
  ExpectFinished("job2");
  EXPECT_EQ(world_.Cancel("job2").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(JobCallsTest, ListsComeInPages) {
  for (const char* id : {"job1", "job2", "job3"}) ASSERT_TRUE(world_.Create(id, 5, 1, 1).ok());
  ListJobsInput input{world_.NextCall(), {}};
  input.request.set_page_size(2);
  auto page = std::get<v1::ListJobsResponse>(*world_.Call(input));
  ASSERT_EQ(page.jobs_size(), 2);
  EXPECT_EQ(page.jobs(0).name(), "jobs/job3");
  EXPECT_FALSE(page.jobs(0).has_spec());
  EXPECT_THAT(page.jobs(0).reason(), HasSubstr("needs 1 worker"));
  ASSERT_FALSE(page.next_page_token().empty());
  input.call = world_.NextCall();
  input.request.set_page_token(page.next_page_token());
  page = std::get<v1::ListJobsResponse>(*world_.Call(input));
  ASSERT_EQ(page.jobs_size(), 1);
  EXPECT_EQ(page.jobs(0).name(), "jobs/job1");
  EXPECT_EQ(page.next_page_token(), "");
  for (const char* token : {"x", "am9icy8", "d29ya2Vycy8z"}) {
    input.call = world_.NextCall();
    input.request.set_page_token(token);
    EXPECT_EQ(world_.Call(input).status().code(), absl::StatusCode::kInvalidArgument) << token;
  }
}

TEST_F(JobCallsTest, WorkersAreListed) {
  for (const char* id : {"w1", "w2", "w3"}) world_.AddWorker(id);
  ASSERT_TRUE(world_.Create("job1", 5, 1, 1).ok());
  ListWorkersInput input{world_.NextCall(), {}};
  input.request.set_page_size(2);
  auto page = std::get<v1::ListWorkersResponse>(*world_.Call(input));
  ASSERT_EQ(page.workers_size(), 2);
  EXPECT_EQ(page.workers(0).name(), "workers/w1");
  EXPECT_EQ(page.workers(0).state(), v1::ASSIGNED);
  EXPECT_EQ(page.workers(0).job(), "jobs/job1");
  EXPECT_EQ(page.workers(1).state(), v1::FREE);
  input.call = world_.NextCall();
  input.request.set_page_token(page.next_page_token());
  page = std::get<v1::ListWorkersResponse>(*world_.Call(input));
  ASSERT_EQ(page.workers_size(), 1);
  EXPECT_EQ(page.workers(0).name(), "workers/w3");
}

TEST_F(JobCallsTest, TheLastTwoCheckpointsAreKept) {
  world_.AddWorker("w1");
  v1::CreateJobRequest request = ToyRequest("job1", 20, 1, 1);
  request.mutable_spec()->set_checkpoint_interval_steps(5);
  ASSERT_TRUE(world_.Create(request).ok());
  world_.Quiesce();
  ExpectFinished("job1");
  ListCheckpointsInput input{world_.NextCall(), {}};
  input.request.set_parent("jobs/job1");
  const auto page = std::get<v1::ListCheckpointsResponse>(*world_.Call(input));
  ASSERT_EQ(page.checkpoints_size(), 2);
  EXPECT_EQ(page.checkpoints(0).step(), 15);
  EXPECT_EQ(page.checkpoints(1).name(), "jobs/job1/checkpoints/20");
  FindCheckpointInput find{world_.NextCall(), {}};
  find.request.set_name("jobs/job1/checkpoints/5");
  EXPECT_EQ(world_.Call(find).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobCallsTest, OnlyTheCurrentGenerationUploads) {
  world_.AddWorker("w1");
  const v1::Job job = world_.Create("job1", 20, 1, 1).value();
  v1::UploadCheckpointRequest header;
  header.set_job("jobs/job1");
  header.set_job_uid(job.uid());
  header.set_step(3);
  header.set_size_bytes(10);
  header.set_sha256(std::string(64, '0'));
  header.set_generation(2);
  EXPECT_EQ(world_.Call(BeginUploadInput{world_.NextCall(), header}).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(world_.Call(FinishUploadInput{world_.NextCall(), header}).status().code(),
            absl::StatusCode::kAborted);
  header.set_generation(1);
  EXPECT_TRUE(world_.Call(BeginUploadInput{world_.NextCall(), header}).ok());
  EXPECT_TRUE(world_.Call(FinishUploadInput{world_.NextCall(), header}).ok());
  header.set_job_uid("another");
  EXPECT_EQ(world_.Call(BeginUploadInput{world_.NextCall(), header}).status().code(),
            absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace evograd
