// Jobs on a cluster of this machine, one after another: what `evograd run` and `resume` do.
//
//   Runner runner(session, options);
//   return runner.Run(work);
//
// A run that is stopped (Ctrl-C, --timeout) cancels nothing: its jobs stay in the folder, from
// where another run or resume goes on with them.
//
// Threads: one.
#ifndef EVOGRAD_CLIENT_CLI_RUNNER_H_
#define EVOGRAD_CLIENT_CLI_RUNNER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "client/cli/follow.h"
#include "client/cli/job_files.h"
#include "client/cli/private_socket.h"
#include "client/cli/session.h"
#include "client/cli/temporary_folder.h"
#include "client/lib/client.h"
#include "client/lib/cluster.h"

namespace evograd {

struct RunnerOptions {
  int workers = 1;
  std::string device = "auto";
  // Empty: a temporary folder, which goes at the end unless there is something to go on with.
  std::string data_dir;
  // Where last checkpoints, and best ones, are put as files; empty: nowhere.
  std::string out;
};

// One job: what a file asks for, or one that is in the folder.
struct Work {
  // jobs/ID.
  std::string name;
  absl::optional<CheckedFile> file;
};

class Runner {
 public:
  Runner(Session* session, RunnerOptions options)
      : session_(session), options_(std::move(options)) {}

  // The exit code.
  int Run(std::vector<Work> work);

 private:
  absl::Status RunAll();
  absl::Status StartCluster();
  // What the folder has of the work already, before hours of it are done: settings that differ are
  // an error. Names what else of the folder goes on.
  absl::Status LookAtFolder(Client* client);
  absl::Status WaitForWorkers(Client* client);
  absl::Status RunOne(Client* client, const Work& work);
  absl::StatusOr<v1::Job> FindOrCreate(Client* client, const Work& work);
  // After Ctrl-C or --timeout: says where the job stands.
  absl::Status LeaveOne(Client* client, const std::string& name);
  void Report(const v1::Job& job);
  // A job that failed may have a checkpoint too.
  absl::Status KeepCheckpoint(Client* client, const std::string& job);
  absl::Status Fetch(Client* client, const std::string& job, int64_t step,
                     const std::string& remark);
  absl::Status ClusterFailure();
  void PrintResults();
  // What is kept, where, and how to go on; decides about the temporary folder. `status` is how the
  // run ended.
  void SayWhatIsKept(const absl::Status& status);
  void SayHowToGoOn(const absl::Status& status);
  // The command that goes on with all of the work in the folder.
  std::string SameCommand() const;

  Session* const session_;
  const RunnerOptions options_;
  std::vector<Work> work_;
  std::unique_ptr<TemporaryFolder> temporary_;
  std::unique_ptr<PrivateSocket> socket_;
  Stopper stopper_;
  absl::Mutex mutex_;
  absl::Status cluster_failure_ ABSL_GUARDED_BY(mutex_);
  absl::Time deadline_;
  std::vector<v1::Job> results_;
  // "jobs/x (step 20, 1.5 kB)" of those that are in the folder alone.
  std::vector<std::string> unsaved_;
  bool has_checkpoint_ = false;
  bool unfinished_ = false;
  // Of the work, from its front on: what the folder has.
  size_t begun_ = 0;
  absl::Time served_since_;
  int code_ = 0;
  // Last, so that its thread ends before what its callbacks use.
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_RUNNER_H_
