// Which free workers go to which job: a pure function of a snapshot.
//
// - A group is of one make (equal machines compute equal bits), and gets at least its minimum at
//   once or nothing. Workers that a job avoids are not there for it.
// - First come groups that lost members and hold the others, then waiting jobs, each in the order
//   of creation. A job for which even all connected workers would not do holds nobody back; any
//   other holds back those behind it.
// - Each gets its minimum first. What is left goes, in the order of creation, to the jobs just
//   served that held nobody, up to their maximum, then to running groups that may grow, unless a
//   job waits for workers of that make to come free. A group that holds enough goes on with those:
//   others have to show that they can do the job first, and so come by growth.
#ifndef EVOGRAD_SERVER_CORE_PLACEMENT_POLICY_H_
#define EVOGRAD_SERVER_CORE_PLACEMENT_POLICY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/types/optional.h"
#include "common/ids.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd {

// What the bits of a worker's results depend on: see Hello.numerics.
struct Make {
  // Unspecified: any one make.
  v1::DeviceKind kind = v1::DEVICE_KIND_UNSPECIFIED;
  std::string numerics;

  bool any() const { return kind == v1::DEVICE_KIND_UNSPECIFIED; }
  // Whether a worker of make `other` will do. Jobs of an earlier version know only the kind.
  bool Allows(const Make& other) const {
    return any() || (kind == other.kind && (numerics.empty() || numerics == other.numerics));
  }
  friend bool operator<(const Make& a, const Make& b) {
    return std::tie(a.kind, a.numerics) < std::tie(b.kind, b.numerics);
  }
  friend bool operator==(const Make& a, const Make& b) {
    return a.kind == b.kind && a.numerics == b.numerics;
  }
};

struct Demand {
  std::string job_uid;
  std::string job_name;
  int64_t ordinal = 0;
  int min_workers = 1;
  int max_workers = 1;
  Make make;
  // Workers that it has and keeps.
  int held = 0;
  // A generation is computing: it only wants to grow.
  bool running = false;
  // Workers that are set aside for it.
  std::set<WorkerId> avoided;
};

struct PlacedWorker {
  WorkerId id;
  Make make;
  bool free = false;
};

struct Placement {
  // By job uid: new workers of jobs that can start now (perhaps none, where those held are enough).
  std::map<std::string, std::vector<WorkerId>> starts;
  // By job uid: running groups to which these workers should be added.
  std::map<std::string, std::vector<WorkerId>> growths;
  // By job uid: what a job that cannot start waits for, for a person.
  std::map<std::string, std::string> waiting;
};

// `engaged`: jobs that hold workers. `next_waiting` gives the others one by one, in the order of
// creation, then nothing; it is asked only while a free worker may still find a job, so that a long
// queue costs nothing. `workers` are all that are connected.
Placement Place(std::vector<Demand> engaged,
                const std::function<absl::optional<Demand>()>& next_waiting,
                const std::vector<PlacedWorker>& workers);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_PLACEMENT_POLICY_H_
