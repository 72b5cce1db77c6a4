// Runs one function per rank, each on a thread of its own, and waits for all.
#ifndef EVOGRAD_WORKER_COLLECTIVE_TESTING_RUN_RANKS_H_
#define EVOGRAD_WORKER_COLLECTIVE_TESTING_RUN_RANKS_H_

#include <functional>
#include <thread>
#include <vector>

namespace evograd {

inline void RunRanks(int size, const std::function<void(int rank)>& run) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(run, rank);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_TESTING_RUN_RANKS_H_
