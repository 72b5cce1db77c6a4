#include "client/cli/follow.h"

#include <memory>

#include "absl/time/clock.h"
#include "client/cli/format.h"
#include "client/cli/progress.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// Attached for as long as the object lives.
class Attachment {
 public:
  Attachment(Stopper* stopper, JobWatcher* watcher) : stopper_(stopper) {
    stopper_->Attach(watcher);
  }
  ~Attachment() { stopper_->Attach(nullptr); }

 private:
  Stopper* stopper_;
};

}  // namespace

absl::StatusOr<v1::Job> Follow(Client* client, const v1::Job& job, const FollowOptions& options,
                               Terminal* terminal, Stopper* stopper) {
  using Show = FollowOptions::Show;
  WatchOptions watch_options;
  watch_options.deadline = options.deadline;
  const std::unique_ptr<JobWatcher> watcher =
      client->Watch(job.name(), options.after_sequence, watch_options);
  const Attachment attachment(stopper, watcher.get());
  Progress progress(terminal, job);
  bool named = job.hyperparameter_names_size() > 0;
  v1::Event event;
  while (true) {
    EVOGRAD_ASSIGN_OR_RETURN(const bool more, watcher->Next(&event));
    if (!more) break;
    if (options.show == Show::kJsonLines) terminal->Print(ToJson(event, /*on_one_line=*/true));
    if (options.show != Show::kProgress) continue;
    if (!named && event.has_steps_committed()) {
      EVOGRAD_ASSIGN_OR_RETURN(const v1::Job now, client->GetJob(job.name()));
      progress.SetJob(now);
      named = true;
    }
    progress.OnEvent(event, absl::Now());
  }
  return client->GetJob(job.name());
}

}  // namespace evograd
