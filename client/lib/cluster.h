// A coordinator and workers on this machine as child processes, for `evograd run` and `evograd up`.
//
//   ClusterOptions options;
//   options.workers = 2;
//   EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Cluster> cluster, Cluster::Start(options));
//   Client client(ClientOptions{cluster->address()});
//
// The programs `coordinator` and `worker` are looked for in $EVOGRAD_BIN_DIR, beside the running
// program, and where Bazel puts them. They die with this process, however it ends. One that is
// killed, or that had started well and ends with exit code 0 (somebody's SIGTERM) or 1 (the
// coordinator cannot write its disk, say), is started again, for the service is made for that:
// after a wait that grows while it keeps ending or cannot be started, up to
// limits::kMaxLocalRestartsPerHour times an hour. One that never started well, or ends with another
// code, is a failure; so is a socket that was removed under the coordinator, where a worker needs
// it.
//
// Threads: Start and Stop from one thread; the callbacks come from another.
#ifndef EVOGRAD_CLIENT_LIB_CLUSTER_H_
#define EVOGRAD_CLIENT_LIB_CLUSTER_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/lib/child_process.h"
#include "common/service_limits.h"

namespace evograd {

struct ClusterOptions {
  int workers = 1;
  // Of every worker; "auto": a GPU each where there are enough of them, else the CPU for all.
  std::string device = "auto";
  // Where the coordinator keeps its data, and the programs' logs (in `logs/`); required.
  std::string data_dir;
  // host:port, or unix:/PATH: then nobody but this user reaches it.
  std::string listen = "127.0.0.1:0";
  // Serve other machines without encryption and authentication.
  bool insecure = false;
  // The budget and the waits of restarts.
  int max_restarts_per_hour = limits::kMaxLocalRestartsPerHour;
  absl::Duration min_restart_delay = absl::Milliseconds(limits::kLocalRestartDelayMinMs);
  absl::Duration settled_after = absl::Milliseconds(limits::kLocalSettledMs);
  absl::Duration hour = absl::Hours(1);
  // What a person should know: a program died and is started again.
  std::function<void(const std::string&)> on_notice;
  // The cluster is of no use any more; at most once. Quotes what the program said last.
  std::function<void(const absl::Status&)> on_failure;
};

// The path of one of the service's programs. NOT_FOUND: the message says where it was looked for.
absl::StatusOr<std::string> FindProgram(const std::string& name);

// GPUs that programs of this user see: those of the driver, or what CUDA_VISIBLE_DEVICES names.
int CountGpus();

class Cluster {
 public:
  // Returns when the coordinator listens; workers may still be on their way. FAILED_PRECONDITION: a
  // program, or the folder, where it cannot be made or holds what is not a coordinator's
  // (common/data_folder.h) and stays as it is; ABORTED: the coordinator ended or did not begin to
  // listen, its last words quoted.
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(ClusterOptions options);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // Where clients on this machine reach the coordinator.
  const std::string& address() const { return address_; }
  const std::string& data_dir() const { return data_dir_; }
  std::string log_dir() const { return data_dir_ + "/logs"; }

  // Ends all programs, gently first. Nothing on the second call.
  void Stop();

 private:
  struct Program {
    std::string name;
    std::unique_ptr<ChildProcess> process;
    absl::Time started = absl::InfinitePast();
    // One in its place has started well.
    bool proven = false;
    // Restarts in its place: those of the last hour, and how many since one started well.
    std::deque<absl::Time> restarts;
    int in_a_row = 0;
    // Has ended, and is to be started again then.
    absl::Time due = absl::InfiniteFuture();
    std::string ending;
  };

  explicit Cluster(ClusterOptions options);
  absl::Status MakeFolders();
  absl::Status StartCoordinator(const std::string& listen, Program* program);
  absl::Status WaitForAddress();
  // `index` from 0 says which GPU it may have.
  absl::Status StartWorker(int index, Program* program);
  // Where clients of the folder find the address, and where it is until it is known to be ours.
  std::string AddressPath() const;
  std::string OwnAddressPath() const;
  std::string LogPath(const std::string& name) const;
  // "the coordinator", "worker local-1".
  std::string Title(const Program& program) const;
  // The monitor thread: waits for ends until stopped, then ends what is left.
  void Monitor();
  void EndPrograms();
  // Decides when an ended program is started again; else says why not.
  absl::Status OnEnd(Program* program);
  // The same for one that is to be started again at all; `what` and `said` are for the message.
  absl::Status PlanStart(const std::string& what, const std::string& said, Program* program);
  // A worker that cannot go on, for a fault of its device, say, does not end the others.
  bool AnotherWorkerRuns(const Program& than) const;
  // Whether a new worker can reach the coordinator, as far as its socket's file goes.
  absl::Status CheckSocket() const;
  absl::Status StartAgain(Program* program);
  absl::Status StartAnew(Program* program);
  // Lets programs that are due start, and looks after those that have ended.
  absl::Status LookAfterAll();

  const ClusterOptions options_;
  std::string coordinator_path_;
  std::string worker_path_;
  std::string data_dir_;
  std::string address_;

  // Of the starting thread before Monitor runs and after it was joined, of the monitor in between.
  // The coordinator is the first.
  std::vector<Program> programs_;
  int gpus_ = 0;  // one per worker, or none used
  int next_worker_ = 1;

  int stop_fd_ = -1;  // an eventfd that tells Monitor to end
  std::thread monitor_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_CLUSTER_H_
