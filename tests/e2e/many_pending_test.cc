// Goal: beside 10,000 jobs that wait for more workers than there are, one that can run is placed
// and ends, lists are complete, and a coordinator that is killed comes back with all of them.
// Method: real processes; one worker, and then the second one for which the others waited.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

constexpr int kPending = 10'000;
constexpr int kUsers = 8;

v1::JobSpec Spec(int workers) {
  v1::JobSpec spec;
  spec.mutable_problem()->mutable_toy1d();
  spec.set_steps(20);
  spec.set_seed(7);
  spec.set_min_workers(workers);
  spec.set_max_workers(workers);
  return spec;
}

class ManyPendingTest : public testing::Test {
 protected:
  void SubmitPending() {
    std::atomic<int> failed{0};
    std::vector<std::thread> users;
    for (int user = 0; user < kUsers; ++user) {
      users.emplace_back([&, user] {
        for (int i = user; i < kPending; i += kUsers) {
          v1::CreateJobRequest request;
          request.set_job_id(absl::StrCat("waits-", i));
          *request.mutable_spec() = Spec(2);
          grpc::ClientContext context;
          context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
          v1::Job job;
          failed += !cluster_.stub().CreateJob(&context, request, &job).ok();
        }
      });
    }
    for (std::thread& user : users) user.join();
    ASSERT_EQ(failed, 0);
  }

  std::map<v1::JobState, int> CountByState() {
    std::map<v1::JobState, int> count;
    v1::ListJobsRequest request;
    request.set_page_size(1000);
    do {
      v1::ListJobsResponse page;
      grpc::Status status;
      // The first may still go to the coordinator that was killed.
      EXPECT_TRUE(WaitUntil([&] {
        grpc::ClientContext context;
        context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
        status = cluster_.stub().ListJobs(&context, request, &page);
        return status.error_code() != grpc::StatusCode::UNAVAILABLE;
      }));
      EXPECT_TRUE(status.ok()) << status.error_message();
      for (const v1::Job& job : page.jobs()) ++count[job.state()];
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return count;
  }

  void ExpectToRun(const std::string& id) {
    cluster_.Submit(id, Spec(1));
    const v1::Job job = cluster_.WaitForEnd(id);
    EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
    if (hash_.empty()) hash_ = job.parameters_sha256();
    EXPECT_EQ(job.parameters_sha256(), hash_);
  }

  Cluster cluster_;
  std::string hash_;
};

TEST_F(ManyPendingTest, OthersRunAndNothingIsLost) {
  cluster_.StartCoordinator();
  SubmitPending();
  if (HasFatalFailure()) return;
  cluster_.StartWorker("w1");
  cluster_.WaitForFreeWorkers(1);
  ExpectToRun("runs-beside");
  using States = std::map<v1::JobState, int>;
  EXPECT_EQ(CountByState(), (States{{v1::PENDING, kPending}, {v1::SUCCEEDED, 1}}));
  const std::string reason = cluster_.Get("waits-77").reason();
  EXPECT_TRUE(absl::StrContains(reason, "needs 2")) << reason;

  cluster_.KillCoordinator();
  cluster_.StartCoordinator();
  EXPECT_EQ(CountByState(), (States{{v1::PENDING, kPending}, {v1::SUCCEEDED, 1}}));
  cluster_.WaitForFreeWorkers(1);
  ExpectToRun("runs-after");

  // What the others waited for.
  cluster_.StartWorker("w2");
  const v1::Job job = cluster_.WaitForEnd("waits-0");
  EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
  EXPECT_EQ(job.parameters_sha256(), hash_);
}

}  // namespace
}  // namespace evograd::e2e
