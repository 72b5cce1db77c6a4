#include "server/core/checkpoint_calls.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "server/core/job_calls.h"
#include "server/core/kept_checkpoints.h"
#include "server/core/page_token.h"
#include "server/core/timestamp.h"
#include "spec/error.h"

namespace evograd {
namespace {

absl::Status NoSuchCheckpoint(const std::string& name) {
  return MakeError(
      absl::StatusCode::kNotFound,
      absl::StrCat("there is no checkpoint `", name, "`; the last ", limits::kKeptCheckpoints,
                   " of a job are kept, and those that its keep_checkpoints names"),
      "CHECKPOINT_NOT_FOUND", {{"checkpoint", name}});
}

bool IsSha256(const std::string& hex) {
  return hex.size() == 64 && std::all_of(hex.begin(), hex.end(), [](char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

void CheckpointCalls::List(const ListCheckpointsInput& input) {
  state_.Answer(input.call, Page(input.request));
}

absl::StatusOr<Answer> CheckpointCalls::Page(const v1::ListCheckpointsRequest& request) {
  EVOGRAD_ASSIGN_OR_RETURN(JobEntry * job, FindJob(&state_.jobs, "parent", request.parent()));
  EVOGRAD_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t last,
                           ReadNumberToken(request.parent(), request.page_token(), -1));
  v1::ListCheckpointsResponse page;
  auto next = job->checkpoints.upper_bound(last);
  size_t bytes = 0;
  for (; next != job->checkpoints.end() && page.checkpoints_size() < size; ++next) {
    bytes += next->second.ByteSizeLong();
    if (bytes > limits::kMaxPageBytes && page.checkpoints_size() > 0) break;
    *page.add_checkpoints() = next->second;
  }
  if (next != job->checkpoints.end()) {
    const int64_t step = page.checkpoints(page.checkpoints_size() - 1).step();
    page.set_next_page_token(MakePageToken(request.parent(), absl::StrCat(step)));
  }
  return Answer(std::move(page));
}

void CheckpointCalls::Find(const FindCheckpointInput& input) {
  state_.Answer(input.call, FindByName(input.request.name()));
}

absl::StatusOr<Answer> CheckpointCalls::FindByName(const std::string& name) {
  const size_t slash = name.rfind("/checkpoints/");
  int64_t step = 0;
  if (slash == std::string::npos || !absl::SimpleAtoi(name.substr(slash + 13), &step)) {
    return InvalidFields(
        {{"name",
          "is not the name of a checkpoint; one reads `jobs/{job_id}/checkpoints/{step}`"}});
  }
  EVOGRAD_ASSIGN_OR_RETURN(JobEntry * job, FindJob(&state_.jobs, "name", name.substr(0, slash)));
  const auto found = job->checkpoints.find(step);
  if (found == job->checkpoints.end()) return NoSuchCheckpoint(name);
  return Answer(CheckpointLocation{job->uid(), found->second});
}

absl::StatusOr<JobEntry*> CheckpointCalls::JobOf(const v1::UploadCheckpointRequest& header) {
  std::vector<FieldViolation> violations;
  if (!IsSha256(header.sha256())) {
    violations.push_back({"sha256", "is not a SHA-256 in 64 lower-case hexadecimal digits"});
  }
  if (header.size_bytes() <= 0 || header.size_bytes() > limits::kMaxCheckpointBytes) {
    violations.push_back(
        {"size_bytes", absl::StrCat("is ", header.size_bytes(), "; it must lie between 1 and ",
                                    limits::kMaxCheckpointBytes)});
  }
  if (!violations.empty()) return InvalidFields(violations);
  EVOGRAD_ASSIGN_OR_RETURN(JobEntry * job, FindJob(&state_.jobs, "job", header.job()));
  if (header.step() < 0 || header.step() > job->job().spec().steps()) {
    return InvalidFields({{"step", absl::StrCat("is ", header.step(), "; the job has ",
                                                job->job().spec().steps(), " steps")}});
  }
  if (job->active == nullptr || job->uid() != header.job_uid() ||
      job->job().generation() != header.generation() || job->active->group.distrusted) {
    return MakeError(
        absl::StatusCode::kAborted,
        absl::StrCat("generation ", header.generation(), " of job `", header.job(), "` is over"),
        "STALE_GENERATION", {{"job", header.job()}});
  }
  return job;
}

void CheckpointCalls::BeginUpload(const BeginUploadInput& input) {
  const absl::StatusOr<JobEntry*> job = JobOf(input.request);
  // Nobody will store it: the job goes on without.
  if (absl::IsInvalidArgument(job.status())) Settle(input.request);
  state_.Answer(input.call, job.ok() ? absl::StatusOr<Answer>(Done{}) : job.status());
}

void CheckpointCalls::Settle(const v1::UploadCheckpointRequest& header) {
  JobEntry* job = state_.jobs.FindByUid(header.job_uid());
  if (job == nullptr || job->active == nullptr || header.generation() != job->job().generation())
    return;
  job->active->settled_checkpoint = std::max(job->active->settled_checkpoint, header.step());
}

void CheckpointCalls::FinishUpload(const FinishUploadInput& input) {
  state_.Answer(input.call, Finish(input.header));
}

absl::StatusOr<Answer> CheckpointCalls::Finish(const v1::UploadCheckpointRequest& header) {
  EVOGRAD_ASSIGN_OR_RETURN(JobEntry * job, JobOf(header));
  const auto known = job->checkpoints.find(header.step());
  if (known != job->checkpoints.end() && known->second.sha256() == header.sha256()) {
    return Answer(UploadFinished{known->second, {}});
  }
  UploadFinished finished;
  if (known != job->checkpoints.end()) finished.obsolete.push_back({job->uid(), known->second});
  v1::Checkpoint& checkpoint = finished.checkpoint;
  checkpoint.set_name(absl::StrCat(header.job(), "/checkpoints/", header.step()));
  checkpoint.set_step(header.step());
  checkpoint.set_size_bytes(header.size_bytes());
  checkpoint.set_sha256(header.sha256());
  *checkpoint.mutable_create_time() = Timestamp(state_.now.unix_ms);
  job->checkpoints[header.step()] = checkpoint;
  Settle(header);
  job->active->trouble.clear();
  state_.effects.records.push_back(CheckpointRecord{job->uid(), checkpoint});
  state_.AddEvent(job,
                  [&](v1::Event* event) { *event->mutable_checkpoint_written() = checkpoint; });
  // Either may have come first.
  JoinEvaluation(&state_, job, job->job().last_evaluation());
  JoinEvaluation(&state_, job, job->active->repeated_evaluation);
  for (v1::Checkpoint& obsolete : TakeObsolete(&state_, job)) {
    finished.obsolete.push_back({job->uid(), std::move(obsolete)});
  }
  return Answer(std::move(finished));
}

void CheckpointCalls::Damaged(const DamagedCheckpointInput& input) {
  JobEntry* job = state_.jobs.FindByUid(input.job_uid);
  // A record goes before its file: where it is gone, the file was removed, not lost.
  const absl::Status gone = NoSuchCheckpoint(input.checkpoint.name());
  if (job == nullptr) return state_.Answer(input.call, gone);
  const auto known = job->checkpoints.find(input.checkpoint.step());
  if (known == job->checkpoints.end() || known->second.sha256() != input.checkpoint.sha256())
    return state_.Answer(input.call, gone);
  state_.Answer(input.call, Answer(Done{}));
  job->checkpoints.erase(known);
  state_.effects.records.push_back(CheckpointRemoval{job->uid(), input.checkpoint.step()});
  MarkBest(&state_, job);
  if (job->active == nullptr) return;
  Group& group = job->active->group;
  if (group.from_checkpoint != input.checkpoint.name() || group.progressed) return;
  group.checkpoint_damaged = true;
  groups_.EndGeneration(job,
                        absl::StrCat("checkpoint ", input.checkpoint.name(),
                                     " is damaged or missing; going on from the one before it"));
}

}  // namespace evograd
