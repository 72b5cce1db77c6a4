// Goal: free workers go where the header says, and a job that waits is told for what. Method:
// tables of snapshots, each with the whole placement that must come out.

#include "server/core/placement_policy.h"

#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace evograd {
namespace {

constexpr v1::DeviceKind kAny = v1::DEVICE_KIND_UNSPECIFIED;

Demand Job(const std::string& uid, int64_t ordinal, int min, int max, v1::DeviceKind kind = kAny,
           int held = 0, bool running = false) {
  return {uid, "jobs/" + uid, ordinal, min, max, kind, held, running};
}

std::string Join(const std::vector<WorkerId>& workers) {
  std::string text;
  for (const WorkerId& id : workers) text += (text.empty() ? "" : ",") + id.value();
  return text;
}

// Worker names of `kind`: c1, c2, … or g1, g2, ….
void AddFree(int count, v1::DeviceKind kind, std::vector<FreeWorker>* free) {
  for (int i = 1; i <= count; ++i) {
    free->push_back({WorkerId((kind == v1::CPU ? "c" : "g") + std::to_string(i)), kind});
  }
}

struct Case {
  std::string name;
  std::vector<Demand> demands;
  int free_cpu, free_cuda, connected_cpu, connected_cuda;
  std::map<std::string, std::string> starts, growths, waiting;
};

void Check(const Case& c) {
  SCOPED_TRACE(c.name);
  std::vector<FreeWorker> free;
  AddFree(c.free_cpu, v1::CPU, &free);
  AddFree(c.free_cuda, v1::CUDA, &free);
  std::map<v1::DeviceKind, int> connected;
  if (c.connected_cpu > 0) connected[v1::CPU] = c.connected_cpu;
  if (c.connected_cuda > 0) connected[v1::CUDA] = c.connected_cuda;
  const Placement placement = Place(c.demands, free, connected);
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
         {{"a", "waiting for 2 workers; 1 is free"}}});
  Check({"none at all",
         {Job("a", 1, 1, 4)},
         0,
         0,
         0,
         0,
         {},
         {},
         {{"a", "waiting for 1 worker; none is free"}}});
  Check({"two kinds",
         {Job("a", 1, 3, 4)},
         2,
         1,
         2,
         1,
         {},
         {},
         {{"a", "waiting for 3 workers of one kind; 2 CPU and 1 CUDA are free"}}});
  Check({"its own kind",
         {Job("a", 1, 1, 4, v1::CUDA)},
         2,
         0,
         2,
         0,
         {},
         {},
         {{"a", "waiting for 1 CUDA worker; none is free"}}});
  Check({"with survivors",
         {Job("a", 1, 3, 4, v1::CPU, 1)},
         1,
         0,
         2,
         0,
         {},
         {},
         {{"a", "waiting for 2 more CPU workers; 1 is free"}}});
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
         {{"a", "waiting for 3 workers; 2 are free"},
          {"b", "waiting for 1 worker; 2 are free, but jobs/a comes first"}}});
  // The same with two connected: "a" may wait for ever, and "b" must not.
  Check({"a job that cannot be served holds nobody back",
         {Job("a", 1, 3, 3), Job("b", 2, 1, 1)},
         2,
         0,
         2,
         0,
         {{"b", "c1"}},
         {},
         {{"a", "waiting for 3 workers; 2 are free"}}});
  Check({"who holds workers comes first",
         {Job("a", 1, 3, 3), Job("b", 2, 2, 2, v1::CPU, 1)},
         1,
         0,
         3,
         0,
         {{"b", "c1"}},
         {},
         {{"a", "waiting for 3 workers; none is free"}}});
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
         {{"b", "waiting for 2 workers; 1 is free"}}});
}

}  // namespace
}  // namespace evograd
