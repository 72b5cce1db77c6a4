// What the coordinator's calls cost as its queue grows: starts a real one on a temporary folder,
// fills it with pending jobs, and at some lengths of the queue times CreateJob and ListJobs, one
// call after the other.
//
//   ./bazelw run //bench:coordinator                    # 100, 1,000 and 10,000 pending jobs
//   ./bazelw run //bench:coordinator -- --pending=100,1000 --samples=200
//
// Prints a table, and the same as one line of JSON.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "bench/programs.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"

ABSL_FLAG(std::vector<std::string>, pending, std::vector<std::string>({"100", "1000", "10000"}),
          "numbers of pending jobs at which to measure, rising");
ABSL_FLAG(int, samples, 100, "calls of each kind that are timed at each number");
ABSL_FLAG(int, in_flight, 64, "creates at once while the queue is filled");
ABSL_FLAG(std::string, coordinator, "server/coordinator", "the program to measure");

namespace evograd::bench {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

v1::CreateJobRequest Request(int number) {
  v1::CreateJobRequest request;
  request.set_job_id(absl::StrCat("job-", number));
  v1::JobSpec& spec = *request.mutable_spec();
  spec.mutable_problem()->mutable_toy1d();
  spec.set_steps(100);
  return request;
}

// Of 1 ms as of 1 s: a benchmark waits.
void SetPatience(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(5));
}

void Check(const grpc::Status& status, const char* what) {
  if (!status.ok()) Die(absl::StrCat(what, ": ", status.error_message()));
}

// Creates jobs [first, last), many at once.
void Fill(v1::JobService::Stub* stub, int first, int last, int in_flight) {
  struct Call {
    grpc::ClientContext context;
    v1::CreateJobRequest request;
    v1::Job job;
  };
  std::mutex mutex;
  std::condition_variable changed;
  int running = 0;
  for (int number = first; number < last; ++number) {
    {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [&] { return running < in_flight; });
      ++running;
    }
    auto call = std::make_shared<Call>();
    SetPatience(&call->context);
    call->request = Request(number);
    stub->async()->CreateJob(&call->context, &call->request, &call->job,
                             [&, call](const grpc::Status& status) {
                               Check(status, "CreateJob");
                               const std::lock_guard<std::mutex> lock(mutex);
                               --running;
                               changed.notify_one();
                             });
  }
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [&] { return running == 0; });
}

struct Figures {
  double p50_ms = 0;
  double p99_ms = 0;
};

Figures Summary(const std::vector<double>& ms) { return {Quantile(ms, 0.50), Quantile(ms, 0.99)}; }

Figures TimeCreates(v1::JobService::Stub* stub, int first, int samples) {
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) {
    grpc::ClientContext context;
    SetPatience(&context);
    v1::Job job;
    const Clock::time_point begin = Clock::now();
    Check(stub->CreateJob(&context, Request(first + i), &job), "CreateJob");
    times.push_back(MillisecondsSince(begin));
  }
  return Summary(times);
}

Figures TimeLists(v1::JobService::Stub* stub, int samples) {
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) {
    grpc::ClientContext context;
    SetPatience(&context);
    v1::ListJobsResponse page;
    const Clock::time_point begin = Clock::now();
    Check(stub->ListJobs(&context, v1::ListJobsRequest(), &page), "ListJobs");
    times.push_back(MillisecondsSince(begin));
  }
  return Summary(times);
}

void Run() {
  const TemporaryFolder folder;
  const Coordinator coordinator(absl::GetFlag(FLAGS_coordinator), folder.path());
  const auto stub = v1::JobService::NewStub(
      grpc::CreateChannel(coordinator.address(), grpc::InsecureChannelCredentials()));
  const int samples = absl::GetFlag(FLAGS_samples);
  int jobs = 0;
  std::vector<std::string> json;
  std::printf("%8s %12s %14s %14s %14s %14s\n", "pending", "filled in s", "create p50 ms",
              "create p99 ms", "list p50 ms", "list p99 ms");
  for (const std::string& text : absl::GetFlag(FLAGS_pending)) {
    int pending = 0;
    if (!absl::SimpleAtoi(text, &pending) || pending < jobs) {
      Die(absl::StrCat("--pending: `", text, "` is no number above the ", jobs, " jobs so far"));
    }
    const Clock::time_point begin = Clock::now();
    Fill(stub.get(), jobs, pending, absl::GetFlag(FLAGS_in_flight));
    const double seconds = MillisecondsSince(begin) / 1000;
    const Figures list = TimeLists(stub.get(), samples);
    // These are pending too, from now on.
    const Figures create = TimeCreates(stub.get(), pending, samples);
    jobs = pending + samples;
    std::printf("%8d %12.1f %14.2f %14.2f %14.2f %14.2f\n", pending, seconds, create.p50_ms,
                create.p99_ms, list.p50_ms, list.p99_ms);
    std::fflush(stdout);
    json.push_back(absl::StrFormat(
        R"({"pending":%d,"fill_seconds":%.3f,"create_p50_ms":%.3f,"create_p99_ms":%.3f,)"
        R"("list_p50_ms":%.3f,"list_p99_ms":%.3f})",
        pending, seconds, create.p50_ms, create.p99_ms, list.p50_ms, list.p99_ms));
  }
  std::printf("{\"benchmark\":\"coordinator\",\"samples\":%d,\"rows\":[%s]}\n", samples,
              absl::StrJoin(json, ",").c_str());
}

}  // namespace
}  // namespace evograd::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Times CreateJob and ListJobs as the queue of a coordinator grows.");
  absl::ParseCommandLine(argc, argv);
  evograd::bench::Run();
  return 0;
}
