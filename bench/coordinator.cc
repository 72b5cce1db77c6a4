// What the coordinator's calls cost as its queue grows: starts a real one on a temporary folder,
// fills it with pending jobs, and at some lengths of the queue times CreateJob and ListJobs, one
// call after the other. Once without workers, and once with a free one where each job asks for two,
// so that the coordinator weighs up its whole queue again and again and starts nothing.
//
//   ./bazelw run //bench:coordinator                    # 100, 1,000 and 10,000 pending jobs
//   ./bazelw run //bench:coordinator -- --pending=100,1000 --samples=200
//   ./bazelw run //bench:coordinator -- --workers=1
//
// Prints a table, and the same as one line of JSON.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
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
ABSL_FLAG(std::vector<std::string>, workers, std::vector<std::string>({"0", "1"}),
          "numbers of free workers; each job asks for one more than that");
ABSL_FLAG(std::string, coordinator, "server/coordinator", "the program to measure");
ABSL_FLAG(std::string, worker, "worker/worker", "the workers' program");

namespace evograd::bench {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

v1::CreateJobRequest Request(int number, int min_workers) {
  v1::CreateJobRequest request;
  request.set_job_id(absl::StrCat("job-", number));
  v1::JobSpec& spec = *request.mutable_spec();
  spec.mutable_problem()->mutable_toy1d();
  spec.set_steps(100);
  spec.mutable_estimator()->set_population(std::max(2, min_workers));
  spec.set_min_workers(min_workers);
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
void Fill(v1::JobService::Stub* stub, int first, int last, int min_workers) {
  const int in_flight = absl::GetFlag(FLAGS_in_flight);
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
    call->request = Request(number, min_workers);
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

Figures TimeCreates(v1::JobService::Stub* stub, int first, int samples, int min_workers) {
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) {
    grpc::ClientContext context;
    SetPatience(&context);
    v1::Job job;
    const Clock::time_point begin = Clock::now();
    Check(stub->CreateJob(&context, Request(first + i, min_workers), &job), "CreateJob");
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

int64_t FreeWorkers(v1::JobService::Stub* stub) {
  int64_t free = 0;
  v1::ListWorkersRequest request;
  do {
    grpc::ClientContext context;
    SetPatience(&context);
    v1::ListWorkersResponse page;
    Check(stub->ListWorkers(&context, request, &page), "ListWorkers");
    for (const v1::Worker& worker : page.workers()) free += worker.state() == v1::FREE;
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return free;
}

// Free ones: each job asks for one more.
class Workers {
 public:
  Workers(int count, const std::string& address, const std::string& folder,
          v1::JobService::Stub* stub) {
    for (int i = 1; i <= count; ++i) {
      programs_.push_back(std::make_unique<Program>(
          std::vector<std::string>{absl::GetFlag(FLAGS_worker), "--coordinator=" + address,
                                   absl::StrCat("--worker_id=w", i)},
          absl::StrCat(folder, "/w", i, ".log")));
    }
    const Clock::time_point begin = Clock::now();
    while (FreeWorkers(stub) < count) {
      if (MillisecondsSince(begin) > 120'000) Die(absl::StrCat("no ", count, " free workers"));
      Pause(0.05);
    }
  }

 private:
  std::vector<std::unique_ptr<Program>> programs_;
};

int Number(const std::string& text, int least, const char* flag) {
  int number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < least)
    Die(absl::StrCat(flag, ": `", text, "` is no number of at least ", least));
  return number;
}

// One row for each length of the queue, as JSON.
std::vector<std::string> Measure(int free_workers) {
  const TemporaryFolder folder;
  const Coordinator coordinator(absl::GetFlag(FLAGS_coordinator), folder.path());
  const auto stub = v1::JobService::NewStub(
      grpc::CreateChannel(coordinator.address(), grpc::InsecureChannelCredentials()));
  const Workers workers(free_workers, coordinator.address(), folder.path(), stub.get());
  const int samples = absl::GetFlag(FLAGS_samples);
  const int min_workers = free_workers + 1;
  int jobs = 0;
  std::vector<std::string> rows;
  for (const std::string& text : absl::GetFlag(FLAGS_pending)) {
    const int pending = Number(text, jobs, "--pending");
    const Clock::time_point begin = Clock::now();
    Fill(stub.get(), jobs, pending, min_workers);
    const double seconds = MillisecondsSince(begin) / 1000;
    const Figures list = TimeLists(stub.get(), samples);
    // These are pending too, from now on.
    const Figures create = TimeCreates(stub.get(), pending, samples, min_workers);
    jobs = pending + samples;
    std::printf("%8d %8d %12.1f %14.2f %14.2f %14.2f %14.2f\n", free_workers, pending, seconds,
                create.p50_ms, create.p99_ms, list.p50_ms, list.p99_ms);
    std::fflush(stdout);
    rows.push_back(absl::StrFormat(
        R"({"free_workers":%d,"pending":%d,"fill_seconds":%.3f,"create_p50_ms":%.3f,)"
        R"("create_p99_ms":%.3f,"list_p50_ms":%.3f,"list_p99_ms":%.3f})",
        free_workers, pending, seconds, create.p50_ms, create.p99_ms, list.p50_ms, list.p99_ms));
  }
  // A worker that was lost would have made the queue cheaper.
  if (FreeWorkers(stub.get()) != free_workers) Die("not all workers stayed free");
  return rows;
}

void Run() {
  std::vector<std::string> json;
  std::printf("%8s %8s %12s %14s %14s %14s %14s\n", "workers", "pending", "filled in s",
              "create p50 ms", "create p99 ms", "list p50 ms", "list p99 ms");
  for (const std::string& text : absl::GetFlag(FLAGS_workers)) {
    for (std::string& row : Measure(Number(text, 0, "--workers"))) json.push_back(std::move(row));
  }
  std::printf("{\"benchmark\":\"coordinator\",\"samples\":%d,\"rows\":[%s]}\n",
              absl::GetFlag(FLAGS_samples), absl::StrJoin(json, ",").c_str());
}

}  // namespace
}  // namespace evograd::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Times CreateJob and ListJobs as the queue of a coordinator grows.");
  absl::ParseCommandLine(argc, argv);
  evograd::bench::Run();
  return 0;
}
