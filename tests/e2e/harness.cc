#include "tests/e2e/harness.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace evograd::e2e {
namespace {

constexpr char kCoordinator[] = "server/coordinator";
constexpr char kWorker[] = "worker/worker";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::unique_ptr<grpc::ClientContext> Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_wait_for_ready(true);
  context->set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  return context;
}

}  // namespace

bool WaitUntil(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    timespec pause{0, 5'000'000};
    nanosleep(&pause, nullptr);
  }
  return true;
}

Process::Process(const std::vector<std::string>& command, const std::string& output_path)
    : output_path_(output_path) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int output = open(output_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
}

Process::~Process() { KillAndWait(); }

void Process::Signal(int signal) { kill(pid_, signal); }

int Process::Wait() {
  if (!ended_) {
    int status = 0;
    waitpid(pid_, &status, 0);
    ended_ = true;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return code_;
}

void Process::KillAndWait() {
  if (ended_) return;
  Signal(SIGKILL);
  Wait();
}

std::string Process::Output() const { return ReadFile(output_path_); }

Cluster::Cluster() {
  std::string name = absl::StrCat(getenv("TEST_TMPDIR"), "/cluster-XXXXXX");
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  folder_ = name;
}

Cluster::~Cluster() {
  if (testing::Test::HasFailure()) std::cerr << Outputs();
}

std::string Cluster::Outputs() const {
  std::string text = absl::StrCat("--- coordinator\n", ReadFile(PathOf("coordinator.log")));
  for (const auto& [id, process] : workers_) {
    absl::StrAppend(&text, "--- worker ", id, "\n", process->Output());
  }
  return text;
}

void Cluster::StartCoordinator(const std::vector<std::string>& before) {
  const std::string port_file = PathOf(absl::StrCat("port-", ++coordinator_starts_));
  std::vector<std::string> command = before;
  for (const std::string& word :
       {std::string(kCoordinator), "--data_dir=" + PathOf("data"),
        "--listen=" + (address_.empty() ? "127.0.0.1:0" : address_), "--port_file=" + port_file}) {
    command.push_back(word);
  }
  coordinator_ = std::make_unique<Process>(command, PathOf("coordinator.log"));
  ASSERT_TRUE(WaitUntil([&] { return !ReadFile(port_file).empty(); })) << Outputs();
  // Else a fault that a library should provoke would be none.
  ASSERT_FALSE(absl::StrContains(coordinator_->Output(), "cannot be preloaded")) << Outputs();
  if (address_.empty()) {
    address_ = ReadFile(port_file);
    while (!address_.empty() && isspace(address_.back())) address_.pop_back();
    Connect();
  }
}

void Cluster::Connect() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  stub_ = v1::JobService::NewStub(
      grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments));
}

int Cluster::EndCoordinator(int signal) {
  coordinator_->Signal(signal);
  return coordinator_->Wait();
}

void Cluster::StartWorker(const std::string& id, const std::vector<std::string>& flags) {
  std::vector<std::string> command = {kWorker, "--coordinator=" + address_, "--device=cpu",
                                      "--worker_id=" + id, "--interface_address=127.0.0.1"};
  command.insert(command.end(), flags.begin(), flags.end());
  workers_[id] = std::make_unique<Process>(command, PathOf("worker-" + id + ".log"));
}

void Cluster::KillWorker(const std::string& id) { workers_.at(id)->KillAndWait(); }

v1::Worker Cluster::Worker(const std::string& id) {
  v1::ListWorkersResponse response;
  const grpc::Status status =
      stub_->ListWorkers(Context().get(), v1::ListWorkersRequest(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  for (const v1::Worker& worker : response.workers()) {
    if (worker.name() == "workers/" + id) return worker;
  }
  return v1::Worker();
}

void Cluster::WaitForWorker(const std::string& id, v1::WorkerState state,
                            const std::string& reason) {
  v1::Worker worker;
  ASSERT_TRUE(WaitUntil([&] {
    worker = Worker(id);
    return worker.state() == state && absl::StrContains(worker.reason(), reason);
  })) << "waiting for "
      << v1::WorkerState_Name(state) << " `" << reason << "`: " << worker.DebugString()
      << Outputs();
}

void Cluster::WaitForOutput(const std::string& id, const std::string& text) {
  ASSERT_TRUE(WaitUntil([&] { return workers_.at(id)->Output().find(text) != std::string::npos; }))
      << "waiting for `" << text << "`\n"
      << Outputs();
}

void Cluster::WaitForFreeWorkers(int count) {
  ASSERT_TRUE(WaitUntil([&] {
    v1::ListWorkersResponse response;
    if (!stub_->ListWorkers(Context().get(), v1::ListWorkersRequest(), &response).ok())
      return false;
    int free = 0;
    for (const v1::Worker& worker : response.workers()) free += worker.state() == v1::FREE;
    return free == count;
  })) << "waiting for "
      << count << " free workers\n"
      << Outputs();
}

v1::Job Cluster::Submit(const std::string& job_id, const v1::JobSpec& spec) {
  v1::CreateJobRequest request;
  request.set_job_id(job_id);
  *request.mutable_spec() = spec;
  v1::Job job;
  const grpc::Status status = stub_->CreateJob(Context().get(), request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job;
}

v1::Job Cluster::Get(const std::string& job_id) {
  v1::GetJobRequest request;
  request.set_name("jobs/" + job_id);
  v1::Job job;
  grpc::Status status;
  // Just after a restart the channel may still be the old coordinator's.
  WaitUntil([&] {
    status = stub_->GetJob(Context().get(), request, &job);
    return status.error_code() != grpc::StatusCode::UNAVAILABLE;
  });
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job;
}

std::vector<v1::Event> Cluster::WatchUntil(const std::string& job_id,
                                           const std::function<bool(const v1::Event&)>& enough) {
  std::vector<v1::Event> events;
  const absl::Time deadline = absl::Now() + kPatience;
  while (absl::Now() < deadline) {
    v1::WatchJobRequest request;
    request.set_name("jobs/" + job_id);
    request.set_after_sequence(events.empty() ? 0 : events.back().sequence());
    auto context = Context();
    auto reader = stub_->WatchJob(context.get(), request);
    v1::WatchJobResponse response;
    while (reader->Read(&response)) {
      for (const v1::Event& event : response.events()) {
        EXPECT_EQ(event.sequence(), static_cast<int64_t>(events.size()) + 1);
        events.push_back(event);
        if (enough(event)) {
          context->TryCancel();
          return events;
        }
      }
    }
    const grpc::Status status = reader->Finish();
    if (status.ok()) return events;  // the job has ended
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) {
      ADD_FAILURE() << "watching " << job_id << ": " << status.error_message();
      return events;
    }
  }
  ADD_FAILURE() << "job " << job_id
                << " did not get there; its state: " << Get(job_id).DebugString();
  return events;
}

std::vector<v1::Event> Cluster::AllEvents(const std::string& job_id) {
  return WatchUntil(job_id, [](const v1::Event&) { return false; });
}

void Cluster::WaitForStep(const std::string& job_id, int64_t committed) {
  WatchUntil(job_id, [&](const v1::Event& event) {
    const auto& steps = event.steps_committed().steps();
    return !steps.empty() && steps.rbegin()->step() + 1 >= committed;
  });
}

v1::Job Cluster::WaitForEnd(const std::string& job_id) {
  AllEvents(job_id);
  return Get(job_id);
}

void Cluster::ExpectResultOf(const v1::Job& reference, const std::string& job_id) {
  const std::vector<v1::Event> events = AllEvents(job_id);
  const v1::Job job = Get(job_id);
  EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
  EXPECT_EQ(job.parameters_sha256(), reference.parameters_sha256()) << job_id;
  EXPECT_EQ(job.hyperparameters_sha256(), reference.hyperparameters_sha256()) << job_id;
  EXPECT_EQ(CommittedSteps(events), StepsUpTo(reference.spec().steps())) << job_id;
}

std::vector<std::string> Env(const std::vector<std::string>& variables) {
  std::vector<std::string> command = {"/usr/bin/env"};
  command.insert(command.end(), variables.begin(), variables.end());
  return command;
}

v1::Job RunUndisturbed(const v1::JobSpec& spec) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorker("w1");
  cluster.WaitForFreeWorkers(1);
  cluster.Submit("undisturbed", spec);
  const v1::Job job = cluster.WaitForEnd("undisturbed");
  EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
  EXPECT_EQ(job.recoveries() + job.restarts(), 0);
  return job;
}

v1::JobSpec SmallRotation(int64_t steps) {
  v1::JobSpec spec;
  v1::Rotation* rotation = spec.mutable_problem()->mutable_rotation();
  rotation->set_data_dir("/usr/share/datasets/fashion-mnist");
  rotation->set_train_examples(256);
  rotation->set_validation_examples(128);
  rotation->set_test_examples(64);
  rotation->set_batch_size(16);
  rotation->set_validation_batch_size(16);
  spec.mutable_estimator()->set_population(4);
  spec.mutable_meta_optimizer()->set_learning_rate(0.01);
  spec.set_virtual_workers(4);
  spec.set_steps(steps);
  spec.set_seed(7);
  spec.set_min_workers(1);
  spec.set_max_workers(4);
  return spec;
}

std::vector<std::string> MetricSeries(const std::vector<v1::Event>& events) {
  std::vector<std::string> series;
  for (const v1::Event& event : events) {
    for (v1::StepMetrics step : event.steps_committed().steps()) {
      step.clear_seconds();
      // It writes as many digits as give the same number again, and maps by their keys.
      series.push_back("step " + step.ShortDebugString());
    }
    if (event.has_evaluated()) {
      series.push_back("evaluation " + event.evaluated().ShortDebugString());
    }
  }
  // Whether an evaluation or the steps before it are told first is a matter of when they came.
  std::sort(series.begin(), series.end());
  return series;
}

std::vector<int64_t> CommittedSteps(const std::vector<v1::Event>& events) {
  std::vector<int64_t> steps;
  for (const v1::Event& event : events) {
    for (const v1::StepMetrics& step : event.steps_committed().steps())
      steps.push_back(step.step());
  }
  return steps;
}

std::vector<int64_t> StepsUpTo(int64_t count) {
  std::vector<int64_t> steps(count);
  std::iota(steps.begin(), steps.end(), 0);
  return steps;
}

}  // namespace evograd::e2e
