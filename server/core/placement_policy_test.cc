// Goal: free workers go where the header says, and a job that waits is told for what. Method:
// tables of snapshots, each with the whole placement that must come out.

#include "server/core/placement_policy.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace evograd {
namespace {

constexpr v1::DeviceKind kAny = v1::DEVICE_KIND_UNSPECIFIED;

Demand Job(const std::string& uid, int64_t ordinal, int min, int max, v1::DeviceKind kind = kAny,
           int held = 0, bool running = false) {
  return {uid, "jobs/" + uid, ordinal, min, max, {kind, ""}, held, running, {}};
}

std::string Join(const std::vector<WorkerId>& workers) {
  std::string text;
  for (const WorkerId& id : workers) text += (text.empty() ? "" : ",") + id.value();
  return text;
}

// Worker names of `kind`: c1, c2, … or g1, g2, …; the first `free` of them are free.
void AddWorkers(int connected, int free, v1::DeviceKind kind, std::vector<PlacedWorker>* workers) {
  for (int i = 1; i <= connected; ++i) {
    const std::string id = (kind == v1::CPU ? "c" : "g") + std::to_string(i);
    workers->push_back({WorkerId(id), {kind, ""}, i <= free});
  }
}

// Cuts the demands into those that hold workers and those that wait.
Placement PlaceAll(const std::vector<Demand>& demands, const std::vector<PlacedWorker>& workers,
                   int* asked = nullptr) {
  std::vector<Demand> engaged, waiting;
  for (const Demand& demand : demands) {
    (demand.held > 0 ? &engaged : &waiting)->push_back(demand);
  }
  std::sort(waiting.begin(), waiting.end(),
            [](const Demand& a, const Demand& b) { return a.ordinal < b.ordinal; });
  size_t next = 0;
  return Place(
      engaged,
      [&]() -> absl::optional<Demand> {
        if (asked != nullptr) ++*asked;
        return next < waiting.size() ? absl::make_optional(waiting[next++]) : absl::nullopt;
      },
      workers);
}

struct Case {
  std::string name;
  std::vector<Demand> demands;
  int free_cpu, free_cuda, connected_cpu, connected_cuda;
  std::map<std::string, std::string> starts, growths, waiting;
};

void Check(const Case& c) {
  SCOPED_TRACE(c.name);
  std::vector<PlacedWorker> workers;
  AddWorkers(c.connected_cpu, c.free_cpu, v1::CPU, &workers);
  AddWorkers(c.connected_cuda, c.free_cuda, v1::CUDA, &workers);
  const Placement placement = PlaceAll(c.demands, workers);
  std::map<std::string, std::string> starts, growths;
  for (const auto& [uid, workers] : placement.starts) starts[uid] = Join(workers);
  for (const auto& [uid, workers] : placement.growths) growths[uid] = Join(workers);
  EXPECT_EQ(starts, c.starts);
  EXPECT_EQ(growths, c.growths);
  EXPECT_EQ(placement.waiting, c.waiting);
}

TEST(PlacementPolicy, Starts) {
  Check({"takes up to its maximum", {Job("a", 1, 1, 2)}, 3, 0, 3, 0, {{"a", "c1,c2"}}, {}, {}});
  Check({"each its minimum, then the rest in order of creation",
         {Job("b", 2, 1, 4), Job("a", 1, 1, 4)},
         4,
         0,
         4,
         0,
         {{"a", "c1,c3,c4"}, {"b", "c2"}},
         {},
         {}});
  Check({"two jobs at once",
         {Job("a", 1, 1, 1), Job("b", 2, 1, 1)},
         2,
         0,
         2,
         0,
         {{"a", "c1"}, {"b", "c2"}},
         {},
         {}});
  Check({"a GPU is preferred", {Job("a", 1, 1, 1)}, 1, 1, 1, 1, {{"a", "g1"}}, {}, {}});
  Check({"one kind only, and the one that suffices",
         {Job("a", 1, 2, 4)},
         2,
         1,
         2,
         1,
         {{"a", "c1,c2"}},
         {},
         {}});
  Check({"the kind of its committed steps",
         {Job("a", 1, 1, 2, v1::CPU)},
         1,
         2,
         1,
         2,
         {{"a", "c1"}},
         {},
         {}});
  Check({"survivors alone are enough",
         {Job("a", 1, 1, 4, v1::CPU, 1)},
         0,
         0,
         1,
         0,
         {{"a", ""}},
         {},
         {}});
  Check({"survivors and new ones",
         {Job("a", 1, 2, 4, v1::CPU, 1)},
         1,
         0,
         2,
         0,
         {{"a", "c1"}},
         {},
         {}});
  Check({"a group that holds enough takes nobody who has shown nothing",
         {Job("a", 1, 1, 4, v1::CPU, 1)},
         2,
         0,
         3,
         0,
         {{"a", ""}},
         {},
         {}});
  Check({"and one that does not takes no more than it cannot do without",
         {Job("a", 1, 3, 4, v1::CPU, 1)},
         3,
         0,
         4,
         0,
         {{"a", "c1,c2"}},
         {},
         {}});
}

TEST(PlacementPolicy, Waits) {
  Check({"says how many",
         {Job("a", 1, 2, 4)},
         1,
         0,
         1,
         0,
         {},
         {},
         {{"a", "needs 2 workers; 1 is free"}}});
  Check({"none at all",
         {Job("a", 1, 1, 4)},
         0,
         0,
         0,
         0,
         {},
         {},
         {{"a", "needs 1 worker; none is free"}}});
  Check({"two kinds",
         {Job("a", 1, 3, 4)},
         2,
         1,
         2,
         1,
         {},
         {},
         {{"a", "needs 3 workers of one kind; 2 CPU and 1 CUDA are free"}}});
  Check({"its own kind",
         {Job("a", 1, 1, 4, v1::CUDA)},
         2,
         0,
         2,
         0,
         {},
         {},
         {{"a", "needs 1 CUDA worker; none is free"}}});
  Check({"with survivors",
         {Job("a", 1, 3, 4, v1::CPU, 1)},
         1,
         0,
         2,
         0,
         {},
         {},
         {{"a", "needs 2 more CPU workers; 1 is free"}}});
}

TEST(PlacementPolicy, Order) {
  // Three workers are connected, so "a" will have them once the busy one comes free: "b" does not
  // overtake it.
  Check({"no overtaking",
         {Job("a", 1, 3, 3), Job("b", 2, 1, 1)},
         2,
         0,
         3,
         0,
         {},
         {},
         {{"a", "needs 3 workers; 2 are free"}}});
  // The same with two connected: "a" may wait for ever, and "b" must not.
  Check({"a job that cannot be served holds nobody back",
         {Job("a", 1, 3, 3), Job("b", 2, 1, 1)},
         2,
         0,
         2,
         0,
         {{"b", "c1"}},
         {},
         {{"a", "needs 3 workers; 2 are free"}}});
  Check({"who holds workers comes first",
         {Job("a", 1, 3, 3), Job("b", 2, 2, 2, v1::CPU, 1)},
         1,
         0,
         3,
         0,
         {{"b", "c1"}},
         {},
         {{"a", "needs 3 workers; none is free"}}});
}

TEST(PlacementPolicy, Growth) {
  Check({"grows", {Job("a", 1, 1, 3, v1::CPU, 1, true)}, 4, 0, 5, 0, {}, {{"a", "c1,c2"}}, {}});
  Check({"full", {Job("a", 1, 1, 1, v1::CPU, 1, true)}, 1, 0, 2, 0, {}, {}, {}});
  Check({"another kind is free", {Job("a", 1, 1, 3, v1::CPU, 1, true)}, 0, 1, 1, 1, {}, {}, {}});
  Check({"waiting jobs first",
         {Job("a", 1, 1, 3, v1::CPU, 1, true), Job("b", 2, 1, 1)},
         1,
         0,
         2,
         0,
         {{"b", "c1"}},
         {},
         {}});
  Check({"not where a job waits for workers to come free",
         {Job("a", 1, 1, 3, v1::CPU, 1, true), Job("b", 2, 2, 2)},
         1,
         0,
         2,
         0,
         {},
         {},
         {{"b", "needs 2 workers; 1 is free"}}});
}

// A group is of one make: workers that compute differently are as another kind of device.
TEST(PlacementPolicy, EqualsComputeTogether) {
  const Make old_cpu{v1::CPU, "AVX2"}, new_cpu{v1::CPU, "AVX512"};
  const std::vector<PlacedWorker> workers = {{WorkerId("a1"), old_cpu, true},
                                             {WorkerId("b1"), new_cpu, true},
                                             {WorkerId("b2"), new_cpu, true}};
  Placement placement = PlaceAll({Job("a", 1, 1, 4)}, workers);
  EXPECT_EQ(Join(placement.starts["a"]), "b1,b2");
  EXPECT_TRUE(PlaceAll({Job("a", 1, 3, 4)}, workers).starts.empty());
  Demand begun = Job("a", 1, 1, 4);
  begun.make = old_cpu;
  placement = PlaceAll({begun}, workers);
  EXPECT_EQ(Join(placement.starts["a"]), "a1");
  begun.make.numerics = "AVX";
  placement = PlaceAll({begun}, workers);
  EXPECT_EQ(placement.waiting["a"],
            "needs 1 CPU worker; none is free, and 3 others compute differently from those "
            "that began the job (AVX)");
}

TEST(PlacementPolicy, AvoidedWorkersAreNotThereForTheJob) {
  std::vector<PlacedWorker> workers;
  AddWorkers(2, 2, v1::CPU, &workers);
  Demand demand = Job("a", 1, 1, 4);
  demand.avoided = {WorkerId("c1")};
  EXPECT_EQ(Join(PlaceAll({demand}, workers).starts["a"]), "c2");
  // The twin that avoids nobody has both.
  EXPECT_EQ(Join(PlaceAll({Job("a", 1, 1, 4)}, workers).starts["a"]), "c1,c2");
  demand.min_workers = 2;
  EXPECT_EQ(PlaceAll({demand}, workers).waiting["a"], "needs 2 workers; 1 is free");
  // It will not have its two soon, so it keeps nobody waiting.
  EXPECT_EQ(Join(PlaceAll({demand, Job("b", 2, 1, 1)}, workers).starts["b"]), "c1");
}

// A queue of any length costs as much as there are free workers.
TEST(PlacementPolicy, AsksNoFurtherThanFreeWorkersGo) {
  std::vector<Demand> queue;
  for (int i = 1; i <= 1000; ++i) queue.push_back(Job("j" + std::to_string(i), i, 1, 1));
  std::vector<PlacedWorker> workers;
  AddWorkers(3, 0, v1::CPU, &workers);
  int asked = 0;
  EXPECT_EQ(PlaceAll(queue, workers, &asked).waiting.size(), 1);
  EXPECT_EQ(asked, 1);
  for (PlacedWorker& worker : workers) worker.free = true;
  asked = 0;
  EXPECT_EQ(PlaceAll(queue, workers, &asked).starts.size(), 3);
  EXPECT_EQ(asked, 3);
}

}  // namespace
}  // namespace evograd
