// Ctrl-C (SIGINT), SIGTERM and SIGHUP as a callback instead of an end of the process.
//
// Made first thing in main: it blocks the signals in this thread and so in all that are started
// later. The first signal calls the handler; a second one, or one without a handler, ends the
// process. Signals that were ignored when the process began stay ignored, here and in children.
//
// Threads: any; the handler is called from one of its own, or from that which calls Interrupt.
#ifndef EVOGRAD_CLIENT_CLI_INTERRUPTS_H_
#define EVOGRAD_CLIENT_CLI_INTERRUPTS_H_

#include <functional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace evograd {

class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // Called before a signal ends the process. To be set before there is a handler.
  void OnExit(std::function<void()> on_exit) { on_exit_ = std::move(on_exit); }
  // Null takes the handler away; when this returns the old one does not run any more. A signal that
  // came while there was a handler before calls the new one at once.
  void SetHandler(std::function<void()> handler);
  bool interrupted() const;
  // As if the signal had come. SIGPIPE, an output that nobody reads, is never a second one.
  void Interrupt(int signal);

 private:
  void Serve();

  std::function<void()> on_exit_ = [] {};
  int signal_fd_;
  int stop_fd_;
  mutable absl::Mutex mutex_;
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  bool signalled_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> handler_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// A handler for as long as the object lives.
class InterruptHandler {
 public:
  InterruptHandler(Interrupts* interrupts, std::function<void()> handler)
      : interrupts_(interrupts) {
    interrupts_->SetHandler(std::move(handler));
  }
  ~InterruptHandler() { interrupts_->SetHandler(nullptr); }
  InterruptHandler(const InterruptHandler&) = delete;
  InterruptHandler& operator=(const InterruptHandler&) = delete;

 private:
  Interrupts* interrupts_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_INTERRUPTS_H_
