#include "server/core/set_aside.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"

namespace evograd {

void SetAside::Add(const Worker& worker, const Job& job, const std::string& reason,
                   int64_t now_ms) {
  // What was long ago is forgotten, so that the table does not grow with workers that never return.
  for (auto old = entries_.begin(); old != entries_.end();) {
    const bool forgotten = old->second.until_ms + limits::kSetAsideMaxMs < now_ms;
    old = forgotten ? entries_.erase(old) : std::next(old);
  }
  Entry& entry = entries_[{worker.id, job.uid}];
  // What is said again while it is set aside is no second failure.
  if (entry.until_ms <= now_ms) {
    entry.duration_ms = entry.duration_ms == 0
                            ? limits::kSetAsideMinMs
                            : std::min<int64_t>(2 * entry.duration_ms, limits::kSetAsideMaxMs);
    entry.until_ms = now_ms + entry.duration_ms;
  }
  entry.process = worker.process;
  entry.job_name = job.name;
  entry.reason = reason;
}

const SetAside::Entry* SetAside::Find(const WorkerId& worker, const std::string& job_uid,
                                      int64_t now_ms) const {
  const auto found = entries_.find({worker, job_uid});
  return found != entries_.end() && found->second.until_ms > now_ms ? &found->second : nullptr;
}

bool SetAside::Covers(const WorkerId& worker, const std::string& job_uid, int64_t now_ms) const {
  return Find(worker, job_uid, now_ms) != nullptr || Find(worker, "", now_ms) != nullptr;
}

std::string SetAside::Reason(const WorkerId& worker, int64_t now_ms) const {
  // What holds for any job comes first.
  for (auto next = entries_.lower_bound({worker, ""});
       next != entries_.end() && next->first.first == worker; ++next) {
    const Entry& entry = next->second;
    if (entry.until_ms <= now_ms) continue;
    return absl::StrCat(
        entry.job_name.empty() ? "set aside" : absl::StrCat("not used for ", entry.job_name),
        " for ", (entry.until_ms - now_ms + 999) / 1000, " s: ", entry.reason);
  }
  return "";
}

void SetAside::DidWell(const WorkerId& worker, const std::string& job_uid) {
  entries_.erase({worker, job_uid});
  entries_.erase({worker, ""});
}

void SetAside::Connected(const Worker& worker) {
  auto next = entries_.lower_bound({worker.id, ""});
  while (next != entries_.end() && next->first.first == worker.id) {
    next = next->second.process == worker.process ? std::next(next) : entries_.erase(next);
  }
}

void SetAside::ForgetJob(const std::string& job_uid) {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    entry = entry->first.second == job_uid ? entries_.erase(entry) : std::next(entry);
  }
}

int64_t SetAside::NextEnd(int64_t now_ms) const {
  int64_t next = 0;
  for (const auto& [key, entry] : entries_) {
    if (entry.until_ms > now_ms && (next == 0 || entry.until_ms < next)) next = entry.until_ms;
  }
  return next;
}

}  // namespace evograd
