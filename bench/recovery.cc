// What a kill -9 costs: real processes, a rotation job, and kills at random moments of it.
//
//   ./bazelw run //bench:recovery                              # half an hour
//   ./bazelw run //bench:recovery -- --quick                   # a few minutes
//   ./bazelw run //bench:recovery -- --cases=spare --samples=200
//
// The cases, each a job of its own with one line of JSON on standard output:
//   spare        a worker of two; a third one is free
//   alone        a worker of two; min_workers is 1
//   again        a worker of two; min_workers is 2, and it is started again at once
//   coordinator  the coordinator; it is started again at once
//   only         the only worker; it is started again at once
// Of the first four: the time from the kill to the first step that the next group commits, when the
// loss was noticed and when that group was formed. Beside it, from the same run, what an
// undisturbed step takes: before each kill some are measured. Of `only`: the seconds of computed
// steps that are lost, with kills spread over the interval between two checkpoints; more than that
// interval's (and a twentieth, for a checkpoint on its way) ends the program with code 1.
#include <time.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "bench/job_watch.h"
#include "bench/programs.h"

ABSL_FLAG(std::vector<std::string>, cases,
          std::vector<std::string>({"spare", "alone", "again", "coordinator", "only"}),
          "what is killed");
ABSL_FLAG(int, samples, 50, "kills of each of the first four cases");
ABSL_FLAG(int, only_samples, 5, "kills of an only worker");
ABSL_FLAG(bool, quick, false, "10 and 3 kills, and a checkpoint every 5 s instead of each minute");
ABSL_FLAG(uint64_t, seed, 1, "of the moments and the victims");
ABSL_FLAG(std::string, coordinator, "server/coordinator", "its program");
ABSL_FLAG(std::string, worker, "worker/worker", "its program");

namespace evograd::bench {
namespace {

constexpr int kQuickInterval = 5;
// Of a new group, before its steps are those of an undisturbed one; and those that are measured.
constexpr int kFirstSteps = 5;
constexpr int kMeasuredSteps = 20;

std::string Device() {
  std::ifstream cpus("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpus, line) && !absl::StartsWith(line, "model name")) {
  }
  const size_t colon = line.find(": ");
  return absl::StrCat(colon == std::string::npos ? "unknown" : line.substr(colon + 2), ", ",
                      std::thread::hardware_concurrency(), " cores");
}

// A step of some 10 ms on an idle core; the service's own settings otherwise.
v1::JobSpec Job(int min_workers, int max_workers) {
  v1::JobSpec spec;
  v1::Rotation* rotation = spec.mutable_problem()->mutable_rotation();
  rotation->set_data_dir("/usr/share/datasets/fashion-mnist");
  rotation->set_train_examples(1024);
  rotation->set_validation_examples(256);
  rotation->set_test_examples(64);
  rotation->set_batch_size(16);
  rotation->set_validation_batch_size(16);
  spec.mutable_estimator()->set_population(2);
  spec.mutable_meta_optimizer()->set_learning_rate(0.01);
  spec.set_virtual_workers(2);
  spec.set_steps(1'000'000);
  spec.set_min_workers(min_workers);
  spec.set_max_workers(max_workers);
  if (absl::GetFlag(FLAGS_quick)) spec.set_checkpoint_interval_seconds(kQuickInterval);
  return spec;
}

// A coordinator, some workers and one job.
class Service {
 public:
  Service(int workers, const v1::JobSpec& spec)
      : coordinator_(absl::GetFlag(FLAGS_coordinator), folder_.path()),
        client_(ClientOptions{coordinator_.address()}) {
    for (int i = 1; i <= workers; ++i) StartWorker(absl::StrCat("w", i));
    WaitForFree(workers);
    const auto job = client_.CreateJob("recovery", spec);
    if (!job.ok()) Die(std::string(job.status().message()));
    job_ = *job;
    watch_ = std::make_unique<JobWatch>(coordinator_.address(), job_.name());
  }

  void StartWorker(const std::string& id) {
    workers_[id] = std::make_unique<Program>(
        std::vector<std::string>{absl::GetFlag(FLAGS_worker),
                                 "--coordinator=" + coordinator_.address(), "--device=cpu",
                                 "--worker_id=" + id},
        absl::StrCat(folder_.path(), "/", id, ".log"));
  }
  void KillWorker(const std::string& id) { workers_.at(id)->Kill(); }
  void WaitForFree(int count) {
    for (const absl::Time until = absl::Now() + absl::Minutes(2); FreeWorkers() < count;) {
      if (absl::Now() > until) Die(absl::StrCat("no ", count, " free workers"));
      Pause(0.01);
    }
  }
  Coordinator& coordinator() { return coordinator_; }
  JobWatch& watch() { return *watch_; }
  const v1::Job& job() const { return job_; }

 private:
  int FreeWorkers() {
    int free = 0;
    const absl::Status listed = client_.ForEachWorker([&](const v1::Worker& worker) {
      free += worker.state() == v1::FREE;
      return true;
    });
    return listed.ok() ? free : 0;
  }

  const TemporaryFolder folder_;
  Coordinator coordinator_;
  Client client_;
  std::map<std::string, std::unique_ptr<Program>> workers_;
  v1::Job job_;
  std::unique_ptr<JobWatch> watch_;
};

std::string Origin() {
  return absl::StrFormat(R"("seed":%d,"device":"%s","date":"%s")", absl::GetFlag(FLAGS_seed),
                         Device(), absl::FormatTime("%Y-%m-%d", absl::Now(), absl::UTCTimeZone()));
}

struct Case {
  const char* name;
  int workers;
  int min_workers;
  bool of_coordinator;
};
constexpr Case kCases[] = {
    {"spare", 3, 2, false},
    {"alone", 2, 1, false},
    {"again", 2, 2, false},
    {"coordinator", 2, 2, true},
};

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

// From the commits before a kill.
double UndisturbedStepMs(const JobHistory& history) {
  const auto& commits = history.commits;
  const size_t last = commits.size() - 1;
  return Milliseconds(commits[last].at - commits[last - kMeasuredSteps].at) / kMeasuredSteps;
}

void MeasureRecovery(const Case& one, int samples) {
  std::mt19937_64 random(absl::GetFlag(FLAGS_seed));
  Service service(one.workers, Job(one.min_workers, 2));
  const bool has_spare = one.workers > 2;
  std::vector<double> steps, noticed, formed, recovered;
  for (int sample = 0; sample < samples; ++sample) {
    const int64_t whole = kFirstSteps + kMeasuredSteps + static_cast<int64_t>(random() % 10);
    const JobHistory before = service.watch().Until("a group of two", [&](const JobHistory& h) {
      return h.workers.size() == 2 && h.steps_of_generation() > whole;
    });
    if (has_spare) service.WaitForFree(1);
    steps.push_back(UndisturbedStepMs(before));
    Pause(std::uniform_real_distribution<double>(0, 0.02)(random));
    const std::string victim(absl::StripPrefix(before.workers[random() % 2], "workers/"));
    const absl::Time killed = absl::Now();
    if (one.of_coordinator) {
      service.coordinator().Kill();
      service.coordinator().StartAgain();
    } else {
      service.KillWorker(victim);
      if (!has_spare) service.StartWorker(victim);
    }
    const JobHistory after = service.watch().Until("the next step", [&](const JobHistory& h) {
      return h.generation > before.generation && h.steps_of_generation() > 0;
    });
    // Not before, so that its start takes no time from the group's.
    if (has_spare) service.StartWorker(victim);
    const size_t first = after.commits.size() - static_cast<size_t>(after.steps_of_generation());
    // A coordinator that starts again ends none: its workers come back with theirs.
    const auto ended = after.ended_at.find(before.generation);
    if (ended != after.ended_at.end()) noticed.push_back(Milliseconds(ended->second - killed));
    formed.push_back(Milliseconds(after.started_at - killed));
    recovered.push_back(Milliseconds(after.commits[first].at - killed));
    absl::FPrintF(stderr, "%s %d/%d: %.0f ms, an undisturbed step %.1f ms\n", one.name, sample + 1,
                  samples, recovered.back(), steps.back());
  }
  absl::PrintF(
      R"({"benchmark":"recovery","case":"%s","kills":%d,"noticed_p50_ms":%.0f,)"
      R"("formed_p50_ms":%.0f,"recovered_p50_ms":%.0f,"recovered_p99_ms":%.0f,)"
      R"("recovered_max_ms":%.0f,"undisturbed_step_p50_ms":%.2f,"undisturbed_step_p99_ms":%.2f,%s})"
      "\n",
      one.name, samples, Quantile(noticed, 0.5), Quantile(formed, 0.5), Quantile(recovered, 0.5),
      Quantile(recovered, 0.99), Quantile(recovered, 1), Quantile(steps, 0.5),
      Quantile(steps, 0.99), Origin().c_str());
  std::fflush(stdout);
}

// False where more was lost than an interval between checkpoints.
bool MeasureLoss(int kills) {
  std::mt19937_64 random(absl::GetFlag(FLAGS_seed));
  Service service(1, Job(1, 1));
  const double interval = service.job().spec().checkpoint_interval_seconds();
  std::vector<double> lost, recovered;
  int64_t lost_steps = 0;
  for (int kill = 0; kill < kills; ++kill) {
    const int64_t seen =
        service.watch().Until("the job", [](const JobHistory&) { return true; }).checkpoints;
    service.watch().Until("a checkpoint",
                          [&](const JobHistory& h) { return h.checkpoints > seen; });
    // The kills are spread over the interval.
    const double share = (kill + std::uniform_real_distribution<double>(0, 1)(random)) / kills;
    Pause(share * interval);
    const absl::Time killed = absl::Now();
    service.KillWorker("w1");
    service.StartWorker("w1");
    const JobHistory after = service.watch().Until("a new step", [&](const JobHistory& h) {
      return static_cast<int>(h.restarts.size()) > kill &&
             static_cast<int64_t>(h.commits.size()) > h.restarts.back().committed;
    });
    const JobHistory::Restart& restart = after.restarts.back();
    double seconds = 0;
    for (int64_t step = restart.from_step; step < restart.committed; ++step) {
      seconds += after.commits[static_cast<size_t>(step)].seconds;
    }
    lost.push_back(seconds);
    lost_steps += restart.committed - restart.from_step;
    recovered.push_back(
        absl::ToDoubleSeconds(after.commits[static_cast<size_t>(restart.committed)].at - killed));
    absl::FPrintF(stderr, "only %d/%d: killed %.1f s after a checkpoint, %.2f s of steps lost\n",
                  kill + 1, kills, share * interval, seconds);
  }
  absl::PrintF(
      R"({"benchmark":"recovery","case":"only","kills":%d,"checkpoint_interval_seconds":%.0f,)"
      R"("lost_steps":%d,"lost_p50_s":%.2f,"lost_max_s":%.2f,"new_step_p50_s":%.2f,)"
      R"("new_step_max_s":%.2f,%s})"
      "\n",
      kills, interval, lost_steps, Quantile(lost, 0.5), Quantile(lost, 1), Quantile(recovered, 0.5),
      Quantile(recovered, 1), Origin().c_str());
  std::fflush(stdout);
  return Quantile(lost, 1) <= 1.05 * interval;
}

int Run() {
  const bool quick = absl::GetFlag(FLAGS_quick);
  bool good = true;
  for (const std::string& name : absl::GetFlag(FLAGS_cases)) {
    bool known = name == "only";
    if (known) good = MeasureLoss(quick ? 3 : absl::GetFlag(FLAGS_only_samples)) && good;
    for (const Case& one : kCases) {
      if (name != one.name) continue;
      known = true;
      MeasureRecovery(one, quick ? 10 : absl::GetFlag(FLAGS_samples));
    }
    if (!known) Die(absl::StrCat("--cases: there is no case `", name, "`"));
  }
  if (!good) absl::FPrintF(stderr, "more than an interval between checkpoints was lost\n");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace evograd::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Measures what a kill -9 of a worker or the coordinator costs.");
  absl::ParseCommandLine(argc, argv);
  return evograd::bench::Run();
}
