// Looks at the calls that are served, again and again, and has each say whether its peer stands
// still; a call ends itself then. The only clock of streams that hold no thread.
//
// Threads: all functions from any. OnTime comes from the watch's own thread.
#ifndef EVOGRAD_SERVER_RPC_STALL_WATCH_H_
#define EVOGRAD_SERVER_RPC_STALL_WATCH_H_

#include <grpcpp/server_context.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace evograd {

class StallWatch {
 public:
  class Watched {
   public:
    virtual ~Watched() = default;
    // Must not block. `now_ms` as of Now.
    virtual void OnTime(int64_t now_ms) = 0;
  };

  // A peer may stand still for `stall_ms`.
  explicit StallWatch(int64_t stall_ms);
  ~StallWatch();
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  // Until it is destroyed.
  void Add(std::weak_ptr<Watched> watched);

  int64_t stall_ms() const { return stall_ms_; }
  // Milliseconds of the steady clock.
  static int64_t Now();

 private:
  void Run();

  const int64_t stall_ms_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Protected by mutex_.
  std::vector<std::weak_ptr<Watched>> watched_;
  bool stopping_ = false;
  std::thread thread_;
};

// The end of a call, part of what its reactor's mutex protects. A call that is finished ends only
// when its peer reads that; one that does not is cut.
struct CallEnd {
  grpc::CallbackServerContext* context = nullptr;
  bool finished = false;
  // OnDone was called, and the context is gone.
  bool done = false;
  int64_t finished_ms = 0;

  void Finished() {
    finished = true;
    finished_ms = StallWatch::Now();
  }
  void CutIfStuck(int64_t now_ms, int64_t stall_ms) {
    if (!finished || done || now_ms - finished_ms < stall_ms) return;
    context->TryCancel();
    finished_ms = now_ms;
  }
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_STALL_WATCH_H_
