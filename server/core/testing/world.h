// A whole service in one thread, for tests: the real coordinator machine, a disk in memory, model
// workers, and the streams between them. Every message waits in its stream until the test lets it
// through; time stands still until the test moves it. So a test, or a seeded random walk, decides
// on every interleaving.
//
// After each action `violations` holds what broke a promise of the coordinator.
#ifndef EVOGRAD_SERVER_CORE_TESTING_WORLD_H_
#define EVOGRAD_SERVER_CORE_TESTING_WORLD_H_

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/core/coordinator_machine.h"
#include "server/core/testing/memory_store.h"
#include "server/core/testing/model_worker.h"

namespace evograd::testing {

class World {
 public:
  World();

  // ---- Clients -------------------------------------------------------------------------------

  absl::StatusOr<v1::Job> Create(const v1::CreateJobRequest& request);
  // A job of the one-dimensional problem, named jobs/{id}.
  absl::StatusOr<v1::Job> Create(const std::string& id, int64_t steps, int min_workers,
                                 int max_workers);
  absl::StatusOr<v1::Job> Get(const std::string& id);
  absl::StatusOr<v1::Job> Cancel(const std::string& id);
  absl::StatusOr<Answer> Call(const Input& input);
  CallId NextCall() { return static_cast<CallId>(++calls_); }

  // ---- Workers -------------------------------------------------------------------------------

  ModelWorker* AddWorker(const std::string& id, v1::DeviceKind kind = v1::CPU);
  // The process is gone, with its stream.
  void Kill(const std::string& id);
  // Its stream breaks and the coordinator notices at once; it may dial again.
  void CutStream(const std::string& id);
  void Dial(const std::string& id);
  // It says nothing from now on, not even heartbeats, until it is thawed.
  void Freeze(const std::string& id) { frozen_.insert(id); }
  void Thaw(const std::string& id) { frozen_.erase(id); }
  bool IsConnected(const std::string& id) const { return streams_.count(id) > 0; }
  std::map<std::string, std::unique_ptr<ModelWorker>>& workers() { return workers_; }
  ModelWorker* worker(const std::string& id) { return workers_.at(id).get(); }

  // ---- One thing happens; false where there is nothing to do ---------------------------------

  bool DeliverToCoordinator(const std::string& id);
  bool DeliverToWorker(const std::string& id);
  // The next message from the worker will arrive once more, later; or where there is none, the next
  // one to it will arrive twice.
  bool Duplicate(const std::string& id);
  void Work(const std::string& id);
  // Uploads take until they are not held any more.
  void HoldUploads(bool hold) { hold_uploads_ = hold; }
  // Checkpoints are refused for good.
  void RefuseUploads(bool refuse) { refuse_uploads_ = refuse; }
  // Time passes, in ticks; living workers send heartbeats each second.
  void Pass(int64_t ms);
  // The coordinator itself stood still: one tick, late, and no heartbeat before it.
  void Stall(int64_t ms);

  // The coordinator's process is killed and started again: what it did since HoldCommits is lost
  // and its messages are unsent.
  void RestartCoordinator();
  void HoldCommits() { hold_commits_ = true; }
  void Commit();

  // Everything that waits is delivered and worked on, again and again, until nothing changes.
  void Quiesce();
  // Runs without faults until the job has ended or `limit_ms` have passed.
  void RunUntilEnded(const std::string& id, int64_t limit_ms);

  // A message as from the worker's present stream, whatever the worker itself does. The effects it
  // had.
  Effects Inject(const std::string& id, const v1::WorkerMessage& message);
  // A Hello on a stream of its own that leads to no model worker.
  Effects InjectHello(const v1::Hello& hello);

  MemoryStore& disk() { return disk_; }
  const std::vector<std::string>& violations();
  // How the coordinator closed the worker's last stream; OK where it did not.
  absl::Status closed(const std::string& id) const;
  std::vector<v1::CoordinatorMessage> sent(const std::string& id) const;
  Now now() const { return now_; }

 private:
  struct Stream {
    ConnectionId connection;
    std::deque<v1::WorkerMessage> up;
    std::deque<v1::CoordinatorMessage> down;
    int64_t next_heartbeat_ms = 0;
  };

  void Step(const Input& input);
  void CarryOut(Effects effects);
  void CheckAcknowledgement(const v1::Acknowledge& acknowledge);
  void CheckReply(const Reply& reply);
  void Collect(const std::string& id);
  void Upload(const std::string& id, v1::UploadCheckpointRequest header);
  Stream* FindStream(ConnectionId connection, std::string* id);
  void LoseStream(const std::string& id);
  void Boot();

  Now now_{1'000'000, 1'700'000'000'000};
  MemoryStore disk_;
  std::unique_ptr<CoordinatorMachine> machine_;
  std::map<std::string, std::unique_ptr<ModelWorker>> workers_;
  std::map<std::string, Stream> streams_;
  std::set<std::string> frozen_;
  std::map<std::string, absl::Status> closed_;
  std::map<std::string, std::vector<v1::CoordinatorMessage>> sent_;
  std::map<CallId, absl::StatusOr<Answer>> replies_;
  Effects held_;
  bool hold_commits_ = false;
  bool hold_uploads_ = false;
  bool refuse_uploads_ = false;
  int64_t calls_ = 0;
  int64_t connections_ = 0;
  int64_t processes_ = 0;
  std::vector<std::string> violations_;
};

// A resolved-enough request for a job of the one-dimensional problem.
v1::CreateJobRequest ToyRequest(const std::string& id, int64_t steps, int min_workers,
                                int max_workers);

}  // namespace evograd::testing

#endif  // EVOGRAD_SERVER_CORE_TESTING_WORLD_H_
