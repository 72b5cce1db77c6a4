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
  if (job->active != nullptr) active_.emplace(job->record.ordinal, job);
  return job;
}

std::vector<JobEntry*> JobTable::Active() {
  std::vector<JobEntry*> jobs;
  for (const auto& [ordinal, job] : active_) jobs.push_back(job);
  return jobs;
}

}  // namespace evograd
