// What the events of a job tell, gathered as they come by a thread of its own, which goes on over a
// coordinator that is killed. Times are the coordinator's, of this machine.
//
// Threads: those that ask are one.
#ifndef EVOGRAD_BENCH_JOB_WATCH_H_
#define EVOGRAD_BENCH_JOB_WATCH_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/lib/client.h"

namespace evograd::bench {

struct JobHistory {
  struct Commit {
    absl::Time at;
    int64_t generation = 0;
    // That the step took on the first worker.
    double seconds = 0;
  };
  struct Restart {
    int64_t from_step = 0;
    // Steps that had been committed.
    int64_t committed = 0;
  };

  // The present one.
  int64_t generation = 0;
  std::vector<std::string> workers;
  absl::Time started_at;
  // When each was given up.
  std::map<int64_t, absl::Time> ended_at;
  // By step.
  std::vector<Commit> commits;
  std::vector<Restart> restarts;
  int64_t checkpoints = 0;

  // Steps committed in the present generation.
  int64_t steps_of_generation() const;
};

class JobWatch {
 public:
  JobWatch(const std::string& address, const std::string& job);
  ~JobWatch();

  // Waits until it holds; ends the benchmark where that takes longer than `patience`, or the job
  // has ended. `what` is for the message.
  JobHistory Until(const std::string& what, const std::function<bool(const JobHistory&)>& holds,
                   absl::Duration patience = absl::Minutes(5));

 private:
  void Run();
  void Take(const v1::Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Client client_;
  const std::unique_ptr<JobWatcher> watcher_;
  absl::Mutex mutex_;
  JobHistory history_ ABSL_GUARDED_BY(mutex_);
  std::string state_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace evograd::bench

#endif  // EVOGRAD_BENCH_JOB_WATCH_H_
