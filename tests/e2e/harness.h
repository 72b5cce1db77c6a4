// Real programs on 127.0.0.1 for end-to-end tests: a coordinator, workers, and the API's own stubs.
//
//   Cluster cluster;                       // data in the test's temporary folder
//   cluster.StartCoordinator();
//   cluster.StartWorker("w1");
//   v1::Job job = cluster.Submit("toy", spec);
//   job = cluster.WaitForEnd("toy");
//
// Everything waits on what the API tells (WatchJob, ListWorkers), never on the clock; a wait that
// does not end within kPatience fails the test and prints the programs' output. Threads: one.
#ifndef EVOGRAD_TESTS_E2E_HARNESS_H_
#define EVOGRAD_TESTS_E2E_HARNESS_H_

#include <signal.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"

namespace evograd::e2e {

inline constexpr absl::Duration kPatience = absl::Seconds(120);

// Looks again and again; false after kPatience.
bool WaitUntil(const std::function<bool()>& condition);

// A child process whose output goes to a file; killed with its parent.
class Process {
 public:
  Process(const std::vector<std::string>& command, const std::string& output_path);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Signal(int signal);
  // Waits for the end; the exit code, or 128 + signal.
  int Wait();
  void KillAndWait();
  pid_t pid() const { return pid_; }
  std::string Output() const;

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
  int code_ = 0;
  std::string output_path_;
};

class Cluster {
 public:
  Cluster();
  ~Cluster();

  // The first start chooses a port; later ones come back on it, with the same data. `before` stands
  // before the program, see Env.
  void StartCoordinator(const std::vector<std::string>& before = {});
  void KillCoordinator() { EndCoordinator(SIGKILL); }
  // How it ended: see Process::Wait.
  int EndCoordinator(int signal);
  Process& coordinator() { return *coordinator_; }

  void StartWorker(const std::string& id, const std::vector<std::string>& flags = {});
  void KillWorker(const std::string& id);
  Process& worker(const std::string& id) { return *workers_.at(id); }
  // As ListWorkers shows it; empty where it does not.
  v1::Worker Worker(const std::string& id);
  // Until the worker is in that state and its reason has this text.
  void WaitForWorker(const std::string& id, v1::WorkerState state, const std::string& reason);
  // Until the worker's output has this text.
  void WaitForOutput(const std::string& id, const std::string& text);
  // Until ListWorkers shows `count` free ones.
  void WaitForFreeWorkers(int count);

  v1::Job Submit(const std::string& job_id, const v1::JobSpec& spec);
  v1::Job Get(const std::string& job_id);
  // Reads events until `enough` says so; reconnects from the last sequence when the coordinator
  // goes away. Returns all events of the job so far, and fails the test where their numbers have a
  // gap or a repeat.
  std::vector<v1::Event> WatchUntil(const std::string& job_id,
                                    const std::function<bool(const v1::Event&)>& enough);
  std::vector<v1::Event> AllEvents(const std::string& job_id);
  void WaitForStep(const std::string& job_id, int64_t committed);
  v1::Job WaitForEnd(const std::string& job_id);
  // At its end: each step once, and the hashes of `reference`.
  void ExpectResultOf(const v1::Job& reference, const std::string& job_id);

  v1::JobService::Stub& stub() { return *stub_; }
  const std::string& address() const { return address_; }
  std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string Outputs() const;
  void Connect();

  std::string folder_;
  std::string address_;
  std::unique_ptr<Process> coordinator_;
  std::map<std::string, std::unique_ptr<Process>> workers_;
  int coordinator_starts_ = 0;
  std::unique_ptr<v1::JobService::Stub> stub_;
};

// What to put before a program so that it finds these variables: {"NAME=value", ...}.
std::vector<std::string> Env(const std::vector<std::string>& variables);

// The job's end on one worker, with a coordinator of its own.
v1::Job RunUndisturbed(const v1::JobSpec& spec);

// A rotation job on few images: real convolutions, some milliseconds a step.
v1::JobSpec SmallRotation(int64_t steps);

// What the job's events tell of its course, a line each: the metrics of every step, but for the
// seconds that it took, and every evaluation, as exact texts.
std::vector<std::string> MetricSeries(const std::vector<v1::Event>& events);
// The job's committed steps, in the order in which the events tell them.
std::vector<int64_t> CommittedSteps(const std::vector<v1::Event>& events);
std::vector<int64_t> StepsUpTo(int64_t count);

}  // namespace evograd::e2e

#endif  // EVOGRAD_TESTS_E2E_HARNESS_H_
