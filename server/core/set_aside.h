// The workers that are not to be used for a while, for one job or for any, because something of
// their own failed: their data, address, device, memory. Each time that the same happens again
// before the worker has done well doubles the while. A worker that is lost again and again before
// it has done anything is set aside too. Pure state; one thread.
//
//   set_aside.Add({w2, nonce}, {job_uid, "jobs/a"}, "cannot read /data", now_ms);
//   set_aside.Covers(w2, job_uid, now_ms);   // until now_ms + limits::kSetAsideMinMs
#ifndef EVOGRAD_SERVER_CORE_SET_ASIDE_H_
#define EVOGRAD_SERVER_CORE_SET_ASIDE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "common/ids.h"

namespace evograd {

class SetAside {
 public:
  // Both empty: any job.
  struct Job {
    std::string uid;
    std::string name;
  };

  // `process` tells the worker's process from a later one of the same id; empty: any of them.
  struct Worker {
    WorkerId id;
    std::string process;
  };

  void Add(const Worker& worker, const Job& job, const std::string& reason, int64_t now_ms);

  // The worker was lost before it had computed a step of the job. Once may be an accident; from
  // limits::kLossesBeforeBlame on it is set aside, as its next process is. How many of its
  // processes have ended so.
  int Lost(const Worker& worker, const Job& job, const std::string& reason, int64_t now_ms);
  // It came back with what it held: its loss does not keep it from the job, but stays counted.
  void CameBack(const WorkerId& worker, const std::string& job_uid, int64_t now_ms);

  // Whether the worker is set aside for this job, or for any.
  bool Covers(const WorkerId& worker, const std::string& job_uid, int64_t now_ms) const;
  // The same of one that is back with what it held, whose losses do not count.
  bool CoversReturned(const WorkerId& worker, const std::string& job_uid, int64_t now_ms) const;
  // "set aside for 8 s: no such address" or "not used for jobs/a for 8 s: cannot read /data"; empty
  // where it is used.
  std::string Reason(const WorkerId& worker, int64_t now_ms) const;

  // It computed a step of the job: what it did before is forgotten.
  void DidWell(const WorkerId& worker, const std::string& job_uid);
  // What another process of the id did is forgotten.
  void Connected(const Worker& worker);
  void ForgetJob(const std::string& job_uid);

  // When the next of those set aside may be used again; 0: there is none.
  int64_t NextEnd(int64_t now_ms) const;
  bool empty() const { return entries_.empty(); }

 private:
  struct Entry {
    int64_t until_ms = 0;
    int64_t duration_ms = 0;
    std::string process;
    std::string job_name;
    std::string reason;
    // Since it did well: how often it was lost, in how many processes, and the last of those.
    int losses = 0;
    int processes_lost = 0;
    std::string lost_process;
  };
  using Key = std::pair<WorkerId, std::string>;

  // What was long ago, so that the table does not grow with workers that never return.
  void Forget(int64_t now_ms);
  const Entry* Find(const WorkerId& worker, const std::string& job_uid, int64_t now_ms) const;

  std::map<Key, Entry> entries_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_SET_ASIDE_H_
