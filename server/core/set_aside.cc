#include "server/core/set_aside.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/service_limits.h"

namespace evograd {

void SetAside::Forget(int64_t now_ms) {
  for (auto old = entries_.begin(); old != entries_.end();) {
    const bool forgotten = old->second.until_ms + limits::kSetAsideMemoryMs < now_ms;
    old = forgotten ? entries_.erase(old) : std::next(old);
  }
}

void SetAside::Add(const Worker& worker, const Job& job, const std::string& reason,
                   int64_t now_ms) {
  Forget(now_ms);
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

int SetAside::Lost(const Worker& worker, const Job& job, const std::string& reason,
                   int64_t now_ms) {
  Forget(now_ms);
  Entry& entry = entries_[{worker.id, job.uid}];
  // A process that is lost twice came back in between: it did not end.
  if (entry.losses == 0 || entry.lost_process != worker.process) ++entry.processes_lost;
  ++entry.losses;
  entry.lost_process = worker.process;
  entry.process.clear();
  entry.until_ms = std::max(entry.until_ms, now_ms);
  const int processes_lost = entry.processes_lost;
  if (entry.losses >= limits::kLossesBeforeBlame) {
    const std::string text =
        absl::StrCat("it was lost ", entry.losses,
                     " times before it had computed a step of the job; the last time: ", reason);
    Add({worker.id, ""}, job, text, now_ms);
  }
  return processes_lost;
}

void SetAside::CameBack(const WorkerId& worker, const std::string& job_uid, int64_t now_ms) {
  const auto found = entries_.find({worker, job_uid});
  if (found == entries_.end() || !found->second.process.empty()) return;
  found->second.until_ms = std::min(found->second.until_ms, now_ms);
}

const SetAside::Entry* SetAside::Find(const WorkerId& worker, const std::string& job_uid,
                                      int64_t now_ms) const {
  const auto found = entries_.find({worker, job_uid});
  return found != entries_.end() && found->second.until_ms > now_ms ? &found->second : nullptr;
}

bool SetAside::Covers(const WorkerId& worker, const std::string& job_uid, int64_t now_ms) const {
  return Find(worker, job_uid, now_ms) != nullptr || Find(worker, "", now_ms) != nullptr;
}

bool SetAside::CoversReturned(const WorkerId& worker, const std::string& job_uid,
                              int64_t now_ms) const {
  const Entry* entry = Find(worker, job_uid, now_ms);
  return (entry != nullptr && !entry->process.empty()) || Find(worker, "", now_ms) != nullptr;
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
    const std::string& process = next->second.process;
    next = process.empty() || process == worker.process ? std::next(next) : entries_.erase(next);
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
