#include "server/core/placement_policy.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

using Pool = std::map<v1::DeviceKind, std::vector<WorkerId>>;

int CountOf(const std::map<v1::DeviceKind, int>& connected, v1::DeviceKind kind) {
  const auto found = connected.find(kind);
  return found == connected.end() ? 0 : found->second;
}

// Takes up to `count` workers from the front of the pool.
void Take(int count, std::vector<WorkerId>* from, std::vector<WorkerId>* to) {
  const auto taken = std::min<int64_t>(std::max(count, 0), from->size());
  to->insert(to->end(), from->begin(), from->begin() + taken);
  from->erase(from->begin(), from->begin() + taken);
}

// "waiting for 2 workers; 1 is free".
std::string WaitingText(const Demand& demand, const Pool& pool) {
  const int missing = demand.min_workers - demand.held;
  std::string text = absl::StrCat("waiting for ", missing, demand.held > 0 ? " more " : " ");
  if (demand.kind != v1::DEVICE_KIND_UNSPECIFIED) {
    absl::StrAppend(&text, v1::DeviceKind_Name(demand.kind), " ");
  }
  absl::StrAppend(&text, missing == 1 ? "worker" : "workers");
  if (demand.kind == v1::DEVICE_KIND_UNSPECIFIED && missing > 1 && pool.size() > 1) {
    absl::StrAppend(&text, " of one kind");
  }
  std::string free;
  int kinds = 0, total = 0;
  for (const auto& [kind, workers] : pool) {
    if (workers.empty() || (demand.kind != v1::DEVICE_KIND_UNSPECIFIED && kind != demand.kind))
      continue;
    absl::StrAppend(&free, kinds++ == 0 ? "" : " and ", workers.size(),
                    pool.size() > 1 ? " " + v1::DeviceKind_Name(kind) : "");
    total += static_cast<int>(workers.size());
  }
  if (total == 0) return text + "; none is free";
  return absl::StrCat(text, "; ", free, total == 1 ? " is free" : " are free");
}

class Placer {
 public:
  Placer(const std::vector<FreeWorker>& free, const std::map<v1::DeviceKind, int>& connected)
      : connected_(connected) {
    for (const auto& [kind, count] : connected) pool_[kind];
    for (const FreeWorker& worker : free) pool_[worker.kind].push_back(worker.id);
    for (auto& [kind, workers] : pool_) std::sort(workers.begin(), workers.end());
  }

  void Serve(const Demand& demand) {
    const v1::DeviceKind kind = ChooseKind(demand);
    if (kind != v1::DEVICE_KIND_UNSPECIFIED) {
      Take(demand.min_workers - demand.held, &pool_[kind], &result_.starts[demand.job_uid]);
      served_.emplace_back(demand, kind);
      return;
    }
    std::string& text = result_.waiting[demand.job_uid];
    text = WaitingText(demand, pool_);
    const std::string first = ComesFirst(demand);
    if (!first.empty()) absl::StrAppend(&text, ", but ", first, " comes first");
    Reserve(demand);
  }

  void Complete() {
    for (const auto& [demand, kind] : served_) {
      std::vector<WorkerId>& given = result_.starts[demand.job_uid];
      if (reserved_.count(kind) > 0) continue;
      Take(demand.max_workers - demand.held - static_cast<int>(given.size()), &pool_[kind], &given);
    }
  }

  void Grow(const Demand& demand) {
    if (reserved_.count(demand.kind) > 0 || pool_[demand.kind].empty()) return;
    std::vector<WorkerId> added;
    Take(demand.max_workers - demand.held, &pool_[demand.kind], &added);
    if (!added.empty()) result_.growths[demand.job_uid] = std::move(added);
  }

  Placement Result() { return std::move(result_); }

 private:
  bool Fits(const Demand& demand, v1::DeviceKind kind) const {
    if (demand.kind != v1::DEVICE_KIND_UNSPECIFIED && demand.kind != kind) return false;
    const auto found = pool_.find(kind);
    const int free = found == pool_.end() ? 0 : static_cast<int>(found->second.size());
    return demand.held + free >= demand.min_workers;
  }

  // The kind to start with; unspecified where there is none. GPUs are preferred.
  v1::DeviceKind ChooseKind(const Demand& demand) const {
    if (demand.held >= demand.min_workers) return demand.kind;
    for (const v1::DeviceKind kind : {v1::CUDA, v1::CPU}) {
      if (reserved_.count(kind) == 0 && Fits(demand, kind)) return kind;
    }
    return v1::DEVICE_KIND_UNSPECIFIED;
  }

  // The job that alone keeps this one from starting; empty where there is none.
  std::string ComesFirst(const Demand& demand) const {
    for (const auto& [kind, job_name] : reserved_) {
      if (Fits(demand, kind)) return job_name;
    }
    return "";
  }

  // Nobody overtakes a job that will have its workers once others come free.
  void Reserve(const Demand& demand) {
    for (const v1::DeviceKind kind : {v1::CUDA, v1::CPU}) {
      const bool any = demand.kind == v1::DEVICE_KIND_UNSPECIFIED;
      if ((any || demand.kind == kind) && CountOf(connected_, kind) >= demand.min_workers) {
        reserved_.insert({kind, demand.job_name});
      }
    }
  }

  const std::map<v1::DeviceKind, int>& connected_;
  Pool pool_;
  std::map<v1::DeviceKind, std::string> reserved_;
  std::vector<std::pair<Demand, v1::DeviceKind>> served_;
  Placement result_;
};

}  // namespace

Placement Place(std::vector<Demand> demands, const std::vector<FreeWorker>& free,
                const std::map<v1::DeviceKind, int>& connected) {
  std::sort(demands.begin(), demands.end(), [](const Demand& a, const Demand& b) {
    return std::make_tuple(a.held == 0, a.ordinal) < std::make_tuple(b.held == 0, b.ordinal);
  });
  Placer placer(free, connected);
  for (const Demand& demand : demands) {
    if (!demand.running) placer.Serve(demand);
  }
  placer.Complete();
  for (const Demand& demand : demands) {
    if (demand.running) placer.Grow(demand);
  }
  return placer.Result();
}

}  // namespace evograd
