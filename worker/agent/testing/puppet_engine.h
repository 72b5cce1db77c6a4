// An engine for tests of the agent: each of its calls waits until the test lets it go on. Its state
// is the number of its step; its steps meet in one collective.
//
//   Puppet puppet;
//   options.make_engine = puppet.factory();
//   EXPECT_TRUE(puppet.WaitForCall("make"));
//   puppet.Let("make");
//   puppet.LetAlways("step");
//
// Calls: make, initialise, restore, synchronise, step, serialise, evaluate.
#ifndef EVOGRAD_WORKER_AGENT_TESTING_PUPPET_ENGINE_H_
#define EVOGRAD_WORKER_AGENT_TESTING_PUPPET_ENGINE_H_

#include <deque>
#include <map>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "worker/agent/engine_factory.h"

namespace evograd::agent {

class Puppet {
 public:
  EngineFactory factory();

  // Until the engine stands in this call; false when it does not come.
  bool WaitForCall(const std::string& call);
  // Until so many such calls were let on.
  bool WaitForReturns(const std::string& call, int count);
  // The present or next such call returns `status`.
  void Let(const std::string& call, absl::Status status = absl::OkStatus());
  // All such calls return OK from now on.
  void LetAlways(const std::string& call);
  // All calls do.
  void LetEverything();
  // How many such calls there were.
  int calls(const std::string& call) const;
  // Engines that live.
  int engines() const;

 private:
  class PuppetEngine;

  // Waits to be let on; CANCELLED when `cancelled` is set first.
  absl::Status Stand(const std::string& call, const CancelFlag& cancelled);

  mutable absl::Mutex mutex_;
  std::string standing_in_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::deque<absl::Status>> let_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> always_ ABSL_GUARDED_BY(mutex_);
  bool everything_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, int> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> returns_ ABSL_GUARDED_BY(mutex_);
  int engines_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace evograd::agent

#endif  // EVOGRAD_WORKER_AGENT_TESTING_PUPPET_ENGINE_H_
