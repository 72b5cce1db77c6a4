// A small bilevel problem for tests of the engine: a convolutional network with batch norm and
// dropout on random images, whose hyperparameters enter both inside the network (scales of the two
// input channels) and after it (weights of the three classes, through a sigmoid).
#ifndef EVOGRAD_WORKER_ENGINE_TESTING_CONV_PROBLEM_H_
#define EVOGRAD_WORKER_ENGINE_TESTING_CONV_PROBLEM_H_

#include <cstdint>
#include <memory>

#include "worker/problems/problem.h"

namespace evograd {

struct ConvProblemOptions {
  bool float64 = true;
  double dropout = 0.25;
  int64_t batch_size = 8;
  bool base_first = false;
  uint64_t seed = 1;
  // The training loss of this step is NaN.
  int64_t nan_step = -1;
  // The gradient to the network's last bias is infinite at this step, the loss is not.
  int64_t infinite_gradient_step = -1;
};

std::unique_ptr<Problem> MakeConvProblem(const ConvProblemOptions& options);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_TESTING_CONV_PROBLEM_H_
