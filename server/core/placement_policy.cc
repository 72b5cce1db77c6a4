#include "server/core/placement_policy.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

using Pool = std::map<Make, std::vector<WorkerId>>;

// Takes up to `count` workers that are not avoided from the front of the pool.
void Take(int count, const std::set<WorkerId>& avoided, std::vector<WorkerId>* from,
          std::vector<WorkerId>* to) {
  for (auto next = from->begin(); next != from->end() && count > 0;) {
    if (avoided.count(*next) > 0) {
      ++next;
      continue;
    }
    to->push_back(std::move(*next));
    next = from->erase(next);
    --count;
  }
}

int CountUsable(const std::vector<WorkerId>& workers, const std::set<WorkerId>& avoided) {
  return static_cast<int>(std::count_if(
      workers.begin(), workers.end(), [&](const WorkerId& id) { return avoided.count(id) == 0; }));
}

// "needs 2 workers; 1 is free", as what follows "waits: ".
std::string WaitingText(const Demand& demand, const Pool& pool) {
  const int missing = demand.min_workers - demand.held;
  std::string text = absl::StrCat("needs ", missing, demand.held > 0 ? " more " : " ");
  if (!demand.make.any()) absl::StrAppend(&text, v1::DeviceKind_Name(demand.make.kind), " ");
  absl::StrAppend(&text, missing == 1 ? "worker" : "workers");
  if (demand.make.any() && missing > 1 && pool.size() > 1) absl::StrAppend(&text, " of one kind");
  std::string free;
  int makes = 0, total = 0, others = 0;
  for (const auto& [make, workers] : pool) {
    const int usable = CountUsable(workers, demand.avoided);
    if (usable == 0) continue;
    if (!demand.make.Allows(make)) {
      if (make.kind == demand.make.kind) others += usable;
      continue;
    }
    absl::StrAppend(&free, makes++ == 0 ? "" : " and ", usable,
                    pool.size() > 1 ? " " + v1::DeviceKind_Name(make.kind) : "");
    total += usable;
  }
  absl::StrAppend(&text, total == 0 ? "; none is free" : absl::StrCat("; ", free));
  if (total > 0) absl::StrAppend(&text, total == 1 ? " is free" : " are free");
  if (others > 0) {
    absl::StrAppend(&text, ", and ", others, others == 1 ? " other computes" : " others compute",
                    " differently from those that began the job (", demand.make.numerics, ")");
  }
  return text;
}

class Placer {
 public:
  explicit Placer(const std::vector<PlacedWorker>& workers) : workers_(workers) {
    for (const PlacedWorker& worker : workers) {
      std::vector<WorkerId>& free = pool_[worker.make];
      if (worker.free) free.push_back(worker.id);
    }
    for (auto& [make, free] : pool_) std::sort(free.begin(), free.end());
  }

  // Whether there is a free worker that is not kept for a job which came before.
  bool AnyLeft() const {
    return std::any_of(pool_.begin(), pool_.end(), [&](const auto& entry) {
      return !entry.second.empty() && reserved_.count(entry.first) == 0;
    });
  }

  void Serve(const Demand& demand) {
    const Make make = ChooseMake(demand);
    if (!make.any()) {
      Take(demand.min_workers - demand.held, demand.avoided, &pool_[make],
           &result_.starts[demand.job_uid]);
      served_.emplace_back(demand, make);
      return;
    }
    std::string& text = result_.waiting[demand.job_uid];
    text = WaitingText(demand, pool_);
    const std::string first = ComesFirst(demand);
    if (!first.empty()) absl::StrAppend(&text, ", but ", first, " comes first");
    Reserve(demand);
  }

  void Complete() {
    for (const auto& [demand, make] : served_) {
      if (demand.held > 0 || reserved_.count(make) > 0) continue;
      std::vector<WorkerId>& given = result_.starts[demand.job_uid];
      Take(demand.max_workers - static_cast<int>(given.size()), demand.avoided, &pool_[make],
           &given);
    }
  }

  void Grow(const Demand& demand) {
    if (reserved_.count(demand.make) > 0) return;
    std::vector<WorkerId> added;
    Take(demand.max_workers - demand.held, demand.avoided, &pool_[demand.make], &added);
    if (!added.empty()) result_.growths[demand.job_uid] = std::move(added);
  }

  Placement Result() { return std::move(result_); }

 private:
  bool Fits(const Demand& demand, const Make& make) const {
    if (!demand.make.Allows(make)) return false;
    const auto found = pool_.find(make);
    const int free = found == pool_.end() ? 0 : CountUsable(found->second, demand.avoided);
    return demand.held + free >= demand.min_workers;
  }

  // The make to start with: GPUs before CPUs, then the one with most free workers; `any` where
  // there is none.
  Make ChooseMake(const Demand& demand) const {
    if (demand.held >= demand.min_workers) return demand.make;
    Make best;
    size_t most = 0;
    for (const auto& [make, free] : pool_) {
      if (reserved_.count(make) > 0 || !Fits(demand, make)) continue;
      if (make.kind > best.kind || (make.kind == best.kind && free.size() > most)) {
        best = make;
        most = free.size();
      }
    }
    return best;
  }

  // The job that alone keeps this one from starting; empty where there is none.
  std::string ComesFirst(const Demand& demand) const {
    for (const auto& [make, job_name] : reserved_) {
      if (Fits(demand, make)) return job_name;
    }
    return "";
  }

  // Nobody overtakes a job that will have its workers once others come free.
  void Reserve(const Demand& demand) {
    std::map<Make, int> usable;
    for (const PlacedWorker& worker : workers_) {
      if (!demand.make.Allows(worker.make)) continue;
      if (demand.avoided.count(worker.id) == 0) ++usable[worker.make];
    }
    for (const auto& [make, count] : usable) {
      if (count >= demand.min_workers) reserved_.insert({make, demand.job_name});
    }
  }

  const std::vector<PlacedWorker>& workers_;
  Pool pool_;
  std::map<Make, std::string> reserved_;
  std::vector<std::pair<Demand, Make>> served_;
  Placement result_;
};

}  // namespace

Placement Place(std::vector<Demand> engaged,
                const std::function<absl::optional<Demand>()>& next_waiting,
                const std::vector<PlacedWorker>& workers) {
  std::sort(engaged.begin(), engaged.end(),
            [](const Demand& a, const Demand& b) { return a.ordinal < b.ordinal; });
  Placer placer(workers);
  for (const Demand& demand : engaged) {
    if (!demand.running) placer.Serve(demand);
  }
  // The first one is told what it waits for though nothing is free.
  for (bool first = true; first || placer.AnyLeft(); first = false) {
    const absl::optional<Demand> demand = next_waiting();
    if (!demand.has_value()) break;
    placer.Serve(*demand);
  }
  placer.Complete();
  for (const Demand& demand : engaged) {
    if (demand.running) placer.Grow(demand);
  }
  return placer.Result();
}

}  // namespace evograd
