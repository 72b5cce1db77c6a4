// Which free workers go to which job: a pure function of a snapshot.
//
// - A group is of one kind of device, and gets at least its minimum at once or nothing.
// - First come groups that lost members and hold the others, then waiting jobs, each in the order
// of creation. A job
//   for which even all connected workers would not do holds nobody back; any other holds back those
//   behind it.
// - Each gets its minimum first. What is left goes, in the order of creation, to the jobs just
// served up to their
//   maximum, then to running groups that may grow, unless a job waits for workers of that kind to
//   come free.
#ifndef EVOGRAD_SERVER_CORE_PLACEMENT_POLICY_H_
#define EVOGRAD_SERVER_CORE_PLACEMENT_POLICY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/ids.h"
#include "proto/evograd/v1/worker.pb.h"

namespace evograd {

struct Demand {
  std::string job_uid;
  std::string job_name;
  int64_t ordinal = 0;
  int min_workers = 1;
  int max_workers = 1;
  // Unspecified: any one kind.
  v1::DeviceKind kind = v1::DEVICE_KIND_UNSPECIFIED;
  // Workers that it has and keeps.
  int held = 0;
  // A generation is computing: it only wants to grow.
  bool running = false;
};

struct FreeWorker {
  WorkerId id;
  v1::DeviceKind kind = v1::CPU;
};

struct Placement {
  // By job uid: new workers of jobs that can start now (perhaps none, where those held are enough).
  std::map<std::string, std::vector<WorkerId>> starts;
  // By job uid: running groups to which these workers should be added.
  std::map<std::string, std::vector<WorkerId>> growths;
  // By job uid: what a job that cannot start waits for, for a person.
  std::map<std::string, std::string> waiting;
};

// `connected` counts all workers by kind, busy ones included.
Placement Place(std::vector<Demand> demands, const std::vector<FreeWorker>& free,
                const std::map<v1::DeviceKind, int>& connected);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_PLACEMENT_POLICY_H_
