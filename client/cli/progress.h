// A running job as people see it: a line that is redrawn on a terminal, else a line now and then;
// and a line for each decision of the coordinator.
//
// Threads: one. The clock is the caller's.
#ifndef EVOGRAD_CLIENT_CLI_PROGRESS_H_
#define EVOGRAD_CLIENT_CLI_PROGRESS_H_

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/terminal.h"
#include "proto/evograd/v1/event.pb.h"
#include "proto/evograd/v1/job.pb.h"

namespace evograd {

class Progress {
 public:
  // `job` with its spec.
  Progress(Terminal* terminal, const v1::Job& job);
  // Takes the live line away.
  ~Progress();

  void OnEvent(const v1::Event& event, absl::Time now);
  // The job as it is, while there are no events: says what it waits for, and for how long, from
  // `served_since` on at the earliest.
  void OnSilence(const v1::Job& job, absl::Time now,
                 absl::Time served_since = absl::InfinitePast());
  // Nobody answers at the address.
  void OnAway(const std::string& address);
  // Where not all of its events are to come.
  void SetCompleted(int64_t steps) { completed_ = steps; }
  // Names of hyperparameters are known from the first step on.
  void SetJob(const v1::Job& job) { job_ = job; }

 private:
  void OnSteps(const v1::StepsCommitted& steps, absl::Time committed, absl::Time now);
  // One line on an event that is not about steps; empty where there is nothing to say.
  std::string Describe(const v1::Event& event) const;
  // "20/100" and the figures of a step; of the live line the less important ones may go.
  std::vector<LiveField> Figures(const v1::StepMetrics& step) const;
  // "[====    ] " where there is room for it.
  std::string Bar() const;
  // "8.4 steps/s" and "ETA 0:45"; empty while too little is known.
  std::vector<std::string> Pace() const;

  Terminal* const terminal_;
  v1::Job job_;
  std::string last_reason_;
  // What was said of a wait, and when.
  std::string said_;
  absl::Time said_time_ = absl::InfinitePast();
  bool away_ = false;
  absl::Time last_step_time_ = absl::InfiniteFuture();
  int64_t completed_ = 0;
  // When the coordinator had committed how many steps, over the last half minute.
  std::deque<std::pair<absl::Time, int64_t>> history_;
  absl::Time last_shown_ = absl::InfinitePast();
  int64_t last_tenth_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_PROGRESS_H_
