// How long collectives take: `collective_bench [megabytes]`. Ranks are threads of this process;
// those of TCP talk over 127.0.0.1. Prints the median time of one float's all-gather, and the
// median time and bytes per second of the tree all-reduce of a float vector of that many megabytes
// (default 64), one leaf per rank.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "worker/collective/testing/implementations.h"
#include "worker/collective/testing/run_ranks.h"
#include "worker/collective/tree_all_reduce.h"

namespace evograd {
namespace {

double MedianSeconds(int rounds, const std::function<absl::Status()>& collective) {
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    const absl::Time start = absl::Now();
    const absl::Status status = collective();
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      std::exit(1);
    }
    seconds.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

void Measure(Implementation implementation, const char* name, int size, size_t count) {
  auto ranks = MakeRanks(implementation, size, absl::Seconds(60));
  if (!ranks.ok()) {
    std::printf("%-10s %d ranks: %s\n", name, size, ranks.status().ToString().c_str());
    return;
  }
  RunRanks(size, [&](int rank) {
    Communicator& communicator = *(*ranks)[rank];
    std::vector<float> all(size);
    const double gather = MedianSeconds(
        2000, [&] { return communicator.AllGather(&all[rank], all.data(), sizeof(float)); });
    TreeAccumulator sum(&HostVectorOps(), ElementType::kFloat32, size, rank, size, count);
    const std::vector<float> leaf(count, 1.0f);
    const double reduce = MedianSeconds(9, [&]() -> absl::Status {
      EVOGRAD_RETURN_IF_ERROR(sum.Add(leaf.data()));
      return sum.AllReduce(communicator).status();
    });
    if (rank > 0) return;
    std::printf(
        "%-10s %d ranks: all-gather of a float %6.1f us, tree all-reduce %7.2f ms (%.2f GB/s)\n",
        name, size, 1e6 * gather, 1e3 * reduce, 4e-9 * count / reduce);
  });
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  const size_t count = (argc > 1 ? std::atoi(argv[1]) : 64) * size_t{1 << 18};
  for (int size : {2, 3, 4}) {
    evograd::Measure(evograd::Implementation::kInProcess, "in-process", size, count);
    evograd::Measure(evograd::Implementation::kTcp, "TCP", size, count);
  }
  return 0;
}
