// One thread of another process that does not run, as where an engine hangs in its driver, while
// the rest of that process lives.
//
//   const StoppedThread engine(ThreadOf(cluster.worker("w2").pid(), "engine"));
//   ASSERT_TRUE(engine.stopped()) << strerror(errno);
//
// To be made and destroyed by one thread of the test, which must be an ancestor of the process.
#ifndef EVOGRAD_TESTS_E2E_STOPPED_THREAD_H_
#define EVOGRAD_TESTS_E2E_STOPPED_THREAD_H_

#include <sys/types.h>

#include <string>

namespace evograd::e2e {

class StoppedThread {
 public:
  explicit StoppedThread(pid_t tid);
  // Lets it go on.
  ~StoppedThread();
  StoppedThread(const StoppedThread&) = delete;
  StoppedThread& operator=(const StoppedThread&) = delete;
  bool stopped() const { return stopped_; }

 private:
  const pid_t tid_;
  bool stopped_ = false;
};

// The thread of that name; 0 where there is none.
pid_t ThreadOf(pid_t pid, const std::string& name);

}  // namespace evograd::e2e

#endif  // EVOGRAD_TESTS_E2E_STOPPED_THREAD_H_
