// An agent with a puppet engine that runs in a thread of the test, and in-process communicators
// whose ranks find each other through the stream, as real ones do.
#ifndef EVOGRAD_WORKER_AGENT_TESTING_TEST_WORKER_H_
#define EVOGRAD_WORKER_AGENT_TESTING_TEST_WORKER_H_

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/agent/agent.h"
#include "worker/agent/steady_flag.h"
#include "worker/agent/testing/puppet_engine.h"
#include "worker/collective/in_process_communicator.h"

namespace evograd::agent {

// The groups of in-process ranks that workers of one test form.
class GroupMaker {
 public:
  CommunicatorFactory factory();

 private:
  absl::Mutex mutex_;
  std::map<std::string, std::vector<std::unique_ptr<InProcessCommunicator>>> groups_
      ABSL_GUARDED_BY(mutex_);
};

class TestWorker {
 public:
  TestWorker(const std::string& id, const std::string& coordinator, GroupMaker* groups,
             const std::string& host = "");
  ~TestWorker();

  // Ends the agent, and says how.
  absl::Status Stop();
  // Until it ends by itself.
  absl::Status Wait();
  Puppet& puppet() { return puppet_; }
  // Whether a line with this text was said, now or soon.
  bool WaitForLine(const std::string& text);
  // How long it would have waited before a dial; in tests that is short.
  std::vector<absl::Duration> dial_pauses();

 private:
  Puppet puppet_;
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::Duration> dial_pauses_ ABSL_GUARDED_BY(mutex_);
  SteadyFlag stopped_;
  std::unique_ptr<Agent> agent_;
  absl::Status end_;
  std::thread thread_;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_TESTING_TEST_WORKER_H_
