#include "server/core/job_table.h"

#include <utility>

#include "common/status_macros.h"

namespace evograd {
namespace {

template <typename Map>
JobEntry* Get(const Map& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : &*found->second;
}

}  // namespace

JobEntry* JobTable::FindByUid(const std::string& uid) { return Get(by_uid_, uid); }
JobEntry* JobTable::FindByName(const std::string& name) { return Get(by_name_, name); }

JobEntry* JobTable::Add(JobEntry entry) {
  auto owned = std::make_unique<JobEntry>(std::move(entry));
  JobEntry* job = owned.get();
  EVOGRAD_CHECK(by_uid_.emplace(job->uid(), std::move(owned)).second, "a uid is used once");
  EVOGRAD_CHECK(by_name_.emplace(job->job().name(), job).second, "a name is used once");
  EVOGRAD_CHECK(by_ordinal_.emplace(job->record.ordinal, job).second, "an ordinal is used once");
  if (job->active != nullptr) SetIdle(job, job->active->group.missing.empty());
  return job;
}

std::vector<JobEntry*> JobTable::Engaged() const {
  std::vector<JobEntry*> jobs;
  for (const auto& [ordinal, job] : engaged_) jobs.push_back(job);
  return jobs;
}

void JobTable::SetIdle(JobEntry* job, bool idle) {
  Ended(*job);
  (idle ? idle_ : engaged_).emplace(job->record.ordinal, job);
}

void JobTable::Ended(const JobEntry& entry) {
  engaged_.erase(entry.record.ordinal);
  idle_.erase(entry.record.ordinal);
}

}  // namespace evograd
