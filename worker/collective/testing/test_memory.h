// Bytes in the memory that a communicator works on, for tests that run over host and CUDA memory
// alike.
#ifndef EVOGRAD_WORKER_COLLECTIVE_TESTING_TEST_MEMORY_H_
#define EVOGRAD_WORKER_COLLECTIVE_TESTING_TEST_MEMORY_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "worker/collective/communicator.h"

namespace evograd {

class TestMemory {
 public:
  // A copy of `bytes`; on CUDA in the memory of `cuda_device`, which becomes the calling thread's.
  TestMemory(Communicator::Memory kind, int cuda_device, const std::vector<char>& bytes);

  char* data() const { return memory_.get(); }
  std::vector<char> Read() const;

 private:
  Communicator::Memory kind_;
  size_t size_;
  std::shared_ptr<char> memory_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_TESTING_TEST_MEMORY_H_
