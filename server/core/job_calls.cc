#include "server/core/job_calls.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/service_limits.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/core/job_state.h"
#include "server/core/page_token.h"
#include "server/core/timestamp.h"
#include "spec/error.h"
#include "spec/resolve.h"

namespace evograd {
namespace {

std::string JobName(absl::string_view job_id) { return absl::StrCat("jobs/", job_id); }

bool IsUuid(absl::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !absl::ascii_isxdigit(text[i])) return false;
  }
  return true;
}

// Of what a request asks for, whatever its id.
std::string DigestOf(v1::CreateJobRequest request) {
  request.clear_request_id();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  Sha256 hash;
  hash.Update(bytes);
  return hash.HexDigest();
}

absl::Status RequestIdReused(const std::string& request_id) {
  return InvalidFields(
      {{"request_id",
        absl::StrCat("`", request_id,
                     "` was used for another request; a repeated "
                     "request must be the same in every field, a new one needs a new id")}});
}

// Everything about the request alone; resolves the spec.
absl::Status CheckCreate(const v1::CreateJobRequest& request, v1::JobSpec* spec) {
  std::vector<FieldViolation> violations;
  if (!request.job_id().empty()) {
    const absl::optional<FieldViolation> violation = CheckJobId(request.job_id());
    if (violation.has_value()) violations.push_back(*violation);
  }
  if (!request.has_spec()) violations.push_back({"spec", "is missing; it says what to compute"});
  if (request.has_spec()) {
    for (FieldViolation& violation : Resolve(spec)) {
      violations.push_back({absl::StrCat("spec.", violation.field), violation.description});
    }
  }
  if (!request.request_id().empty() && !IsUuid(request.request_id())) {
    violations.push_back({"request_id", "is not a UUID (8-4-4-4-12 hexadecimal digits)"});
  }
  return violations.empty() ? absl::OkStatus() : InvalidFields(violations);
}

absl::Status NameTaken(const std::string& name) {
  return MakeError(absl::StatusCode::kAlreadyExists,
                   absl::StrCat("there is already a job `", name,
                                "`; choose another id, or none to be given one"),
                   "JOB_EXISTS", {{"job", name}});
}

// As lists show it: small.
v1::Job ListView(v1::Job view) {
  const bool stepped = view.has_last_step();
  view.clear_spec();
  view.mutable_last_step()->clear_member_losses();
  if (!stepped) view.clear_last_step();
  return view;
}

template <typename Value>
absl::StatusOr<Answer> ToAnswer(absl::StatusOr<Value> value) {
  if (!value.ok()) return value.status();
  return Answer(*std::move(value));
}

}  // namespace

absl::StatusOr<JobEntry*> FindJob(JobTable* jobs, const std::string& field,
                                  const std::string& name) {
  absl::string_view job_id = name;
  if (!absl::ConsumePrefix(&job_id, "jobs/") || CheckJobId(job_id).has_value()) {
    return InvalidFields({{field, "is not the name of a job; one reads `jobs/{job_id}`"}});
  }
  JobEntry* job = jobs->FindByName(name);
  if (job != nullptr) return job;
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("there is no job `", name, "`"),
                   "JOB_NOT_FOUND", {{"job", name}});
}

void JobCalls::Create(const CreateJobInput& input) {
  state_.Answer(input.call, ToAnswer(CreateOrRepeat(input)));
}

absl::StatusOr<v1::Job> JobCalls::CreateOrRepeat(const CreateJobInput& input) {
  const v1::CreateJobRequest& request = input.request;
  v1::JobSpec spec = request.spec();
  EVOGRAD_RETURN_IF_ERROR(CheckCreate(request, &spec));
  const std::string digest = DigestOf(request);
  const auto earlier = state_.requests.find(request.request_id());
  if (!request.validate_only() && earlier != state_.requests.end()) {
    if (earlier->second.digest != digest) return RequestIdReused(request.request_id());
    return state_.View(*state_.jobs.FindByUid(earlier->second.job_uid));
  }
  std::string name =
      request.job_id().empty() ? JobName(input.fresh_job_id) : JobName(request.job_id());
  if (state_.jobs.FindByName(name) != nullptr) {
    if (!request.job_id().empty()) return NameTaken(name);
    name = JobName(absl::StrCat("job-", input.fresh_uid));
  }
  if (state_.jobs.size() >= limits::kMaxJobs) {
    return MakeError(
        absl::StatusCode::kResourceExhausted,
        absl::StrCat("the coordinator keeps at most ", limits::kMaxJobs,
                     " jobs, ended ones included; start one with a new data directory"),
        "TOO_MANY_JOBS");
  }
  JobEntry entry;
  entry.record.ordinal = state_.jobs.next_ordinal();
  v1::Job& job = entry.job();
  job.set_name(name);
  *job.mutable_spec() = spec;
  job.set_state(v1::PENDING);
  job.set_reason("waiting for workers");
  if (request.validate_only()) {
    if (request.job_id().empty()) job.clear_name();
    return job;
  }
  job.set_uid(input.fresh_uid);
  *job.mutable_create_time() = Timestamp(state_.now.unix_ms);
  entry.active = std::make_unique<ActiveJob>(spec);
  JobEntry* added = state_.jobs.Add(std::move(entry));
  // Other records refer to the job's.
  state_.effects.records.push_back(added->record);
  state_.SetState(added, v1::PENDING, "accepted");
  if (!request.request_id().empty()) {
    const RequestRecord record{request.request_id(), digest, input.fresh_uid};
    state_.requests.emplace(request.request_id(), record);
    state_.effects.records.push_back(record);
  }
  state_.dirty = true;
  groups_.Settle();
  return state_.View(*added);
}

void JobCalls::Get(const GetJobInput& input) {
  const absl::StatusOr<JobEntry*> job = FindJob(&state_.jobs, "name", input.request.name());
  state_.Answer(input.call, job.ok() ? absl::StatusOr<Answer>(state_.View(**job)) : job.status());
}

void JobCalls::Cancel(const CancelJobInput& input) {
  state_.Answer(input.call, ToAnswer(CancelByName(input.request.name())));
}

absl::StatusOr<v1::Job> JobCalls::CancelByName(const std::string& name) {
  EVOGRAD_ASSIGN_OR_RETURN(JobEntry * job, FindJob(&state_.jobs, "name", name));
  const v1::JobState state = job->job().state();
  if (!IsEnded(state)) {
    groups_.EndJob(job, v1::CANCELLED, "cancelled by a user");
  } else if (state != v1::CANCELLED) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     absl::StrCat("job `", name, "` has ended: ", v1::JobState_Name(state)),
                     "JOB_ENDED", {{"job", name}, {"state", v1::JobState_Name(state)}});
  }
  return state_.View(*job);
}

void JobCalls::List(const ListJobsInput& input) {
  state_.Answer(input.call, ToAnswer(Page(input.request)));
}

absl::StatusOr<v1::ListJobsResponse> JobCalls::Page(const v1::ListJobsRequest& request) {
  EVOGRAD_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t before, ReadNumberToken("jobs", request.page_token(),
                                                                 state_.jobs.next_ordinal()));
  v1::ListJobsResponse page;
  int64_t bytes = 0;
  const auto& jobs = state_.jobs.by_ordinal();
  for (auto next = jobs.lower_bound(before); next != jobs.begin();) {
    if (page.jobs_size() == size || bytes >= limits::kMaxPageBytes) {
      page.set_next_page_token(MakePageToken("jobs", absl::StrCat(next->first)));
      break;
    }
    --next;
    *page.add_jobs() = ListView(state_.View(*next->second));
    bytes += page.jobs(page.jobs_size() - 1).ByteSizeLong();
  }
  return page;
}

void JobCalls::ListWorkers(const ListWorkersInput& input) {
  state_.Answer(input.call, ToAnswer(Page(input.request)));
}

v1::Worker JobCalls::View(const WorkerEntry& entry) const {
  const int64_t now_ms = state_.now.monotonic_ms;
  v1::Worker worker = ToProto(entry, now_ms);
  if (entry.phase != WorkerPhase::kFree) return worker;
  worker.set_reason(state_.set_aside.Reason(entry.id, now_ms));
  if (state_.set_aside.Covers(entry.id, "", now_ms)) worker.set_state(v1::SET_ASIDE);
  return worker;
}

absl::StatusOr<v1::ListWorkersResponse> JobCalls::Page(const v1::ListWorkersRequest& request) {
  EVOGRAD_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  EVOGRAD_ASSIGN_OR_RETURN(const std::string last, ReadPageToken("workers", request.page_token()));
  v1::ListWorkersResponse page;
  const auto& workers = state_.workers.all();
  auto next = workers.upper_bound(WorkerId(last));
  int64_t bytes = 0;
  for (; next != workers.end() && page.workers_size() < size && bytes < limits::kMaxPageBytes;
       ++next) {
    *page.add_workers() = View(next->second);
    bytes += page.workers(page.workers_size() - 1).ByteSizeLong();
  }
  if (next != workers.end()) {
    page.set_next_page_token(
        MakePageToken("workers", page.workers(page.workers_size() - 1).name().substr(8)));
  }
  return page;
}

}  // namespace evograd
