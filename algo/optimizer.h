// SGD, Adam and AdamW with torch.optim's semantics, one element at a time. CPU, CUDA and the
// meta-optimiser (algo/advance.h) share this one rule.
//
// The caller holds theta, as many slots per element as OptimizerSlots says (zero at first) and the
// number of steps taken. Epsilon is outside the square root and weight decay of SGD and Adam is
// added to the gradient, as in torch.optim; dampening is 0; no amsgrad, no maximize.
//
// D. Kingma, J. Ba, "Adam", ICLR 2015; I. Loshchilov, F. Hutter, "Decoupled weight decay
// regularization", ICLR 2019.
//
// Pure; any thread; host and CUDA (no Abseil here); no errors: spec/ checks a job's configuration.
#ifndef EVOGRAD_ALGO_OPTIMIZER_H_
#define EVOGRAD_ALGO_OPTIMIZER_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/host_device.h"

namespace evograd {

enum class OptimizerKind { kSgd, kAdam, kAdamW };

// How the learning rate changes with the step; the factors multiply.
struct Schedule {
  int64_t warmup_steps = 0;          // grows linearly from 0
  std::vector<int64_t> decay_steps;  // from each of these steps on, times decay_factor
  double decay_factor = 0.1;
  int64_t linear_to_zero_at_step = 0;  // after the warm-up, falls linearly to 0; 0: does not
};

// The factor of the learning rate for the step after `completed_steps` steps. Warm-up and linear
// fall are those of transformers' get_linear_schedule_with_warmup, whose first step has factor 0;
// decay_steps are the milestones of torch.optim.lr_scheduler.MultiStepLR.
inline double ScheduleFactor(const Schedule& schedule, int64_t completed_steps) {
  double factor = 1;
  if (completed_steps < schedule.warmup_steps) {
    factor = static_cast<double>(completed_steps) / static_cast<double>(schedule.warmup_steps);
  } else if (schedule.linear_to_zero_at_step > 0) {
    const int64_t end = schedule.linear_to_zero_at_step;
    factor = completed_steps >= end ? 0
                                    : static_cast<double>(end - completed_steps) /
                                          static_cast<double>(end - schedule.warmup_steps);
  }
  for (const int64_t step : schedule.decay_steps) {
    if (completed_steps >= step) factor *= schedule.decay_factor;
  }
  return factor;
}

// What a gradient of Euclidean norm `norm` is multiplied by so that none is longer than `maximum`
// (0: no bound), as torch.nn.utils.clip_grad_norm_ does.
inline double ClipFactor(double norm, double maximum) {
  constexpr double kGuard = 1e-6;
  if (!(maximum > 0) || !(norm + kGuard > maximum)) return 1;
  return maximum / (norm + kGuard);
}

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::kAdam;
  double learning_rate = 1e-3;
  double momentum = 0;    // SGD
  bool nesterov = false;  // SGD with momentum
  double weight_decay = 0;
  double beta1 = 0.9;     // Adam, AdamW
  double beta2 = 0.999;   // Adam, AdamW
  double epsilon = 1e-8;  // Adam, AdamW
  Schedule schedule;
  // The gradient is scaled down to this norm before the rule sees it, by whoever holds all of it;
  // 0: never.
  double max_gradient_norm = 0;
};

// Slots per element: 0 for plain SGD, 1 (first moment) with momentum, 2 for Adam and AdamW.
inline int OptimizerSlots(const OptimizerConfig& config) {
  if (config.kind != OptimizerKind::kSgd) return 2;
  return config.momentum != 0 ? 1 : 0;
}

// The constants of one step, each rounded once to T.
template <typename T>
struct OptimizerRule {
  OptimizerKind kind;
  bool has_momentum;
  bool nesterov;
  bool small_first_share;  // 1 - beta1 < 1/2
  T learning_rate;
  T weight_decay;
  T momentum;
  T decay_factor;  // AdamW: 1 - learning rate * weight decay
  T first_share;   // 1 - beta1
  T beta1;
  T beta2;
  T second_share;       // 1 - beta2
  T step_size;          // learning rate / (1 - beta1^step)
  T second_correction;  // sqrt(1 - beta2^step)
  T epsilon;
};

// base^n by squaring. std::pow's last bits depend on the machine, and the coordinator and the
// workers must agree.
inline double IntegerPower(double base, int64_t n) {
  double result = 1;
  for (; n > 0; n >>= 1) {
    if (n & 1) result *= base;
    base *= base;
  }
  return result;
}

// The rule for the step after `completed_steps` steps.
template <typename T>
OptimizerRule<T> MakeOptimizerRule(const OptimizerConfig& config, int64_t completed_steps) {
  const int64_t step = completed_steps + 1;
  const double learning_rate =
      config.learning_rate * ScheduleFactor(config.schedule, completed_steps);
  const double correction1 = 1 - IntegerPower(config.beta1, step);
  const double correction2 = 1 - IntegerPower(config.beta2, step);
  OptimizerRule<T> rule;
  rule.kind = config.kind;
  rule.has_momentum = config.momentum != 0;
  rule.nesterov = config.nesterov;
  rule.small_first_share = 1 - config.beta1 < 0.5;
  rule.learning_rate = static_cast<T>(learning_rate);
  rule.weight_decay = static_cast<T>(config.weight_decay);
  rule.momentum = static_cast<T>(config.momentum);
  rule.decay_factor = static_cast<T>(1 - learning_rate * config.weight_decay);
  rule.first_share = static_cast<T>(1 - config.beta1);
  rule.beta1 = static_cast<T>(config.beta1);
  rule.beta2 = static_cast<T>(config.beta2);
  rule.second_share = static_cast<T>(1 - config.beta2);
  rule.step_size = static_cast<T>(learning_rate / correction1);
  rule.second_correction = static_cast<T>(std::sqrt(correction2));
  rule.epsilon = static_cast<T>(config.epsilon);
  return rule;
}

// `first` is the momentum buffer, untouched without momentum.
template <typename T>
EVOGRAD_HOST_DEVICE void UpdateBySgd(const OptimizerRule<T>& rule, T gradient, T* theta, T* first) {
  if (rule.weight_decay != 0) gradient = gradient + rule.weight_decay * *theta;
  if (rule.has_momentum) {
    *first = rule.momentum * *first + gradient;
    gradient = rule.nesterov ? gradient + rule.momentum * *first : *first;
  }
  *theta = *theta - rule.learning_rate * gradient;
}

// Adam, and AdamW where rule.kind says so.
template <typename T>
EVOGRAD_HOST_DEVICE void UpdateByAdam(const OptimizerRule<T>& rule, T gradient, T* theta, T* first,
                                      T* second) {
  T value = *theta;
  if (rule.kind == OptimizerKind::kAdamW) {
    value = value * rule.decay_factor;
  } else if (rule.weight_decay != 0) {
    gradient = gradient + rule.weight_decay * value;
  }
  // Both forms of the mean are the same number; each is exact at its own end.
  const T m = rule.small_first_share ? *first + rule.first_share * (gradient - *first)
                                     : gradient - (gradient - *first) * rule.beta1;
  const T v = *second * rule.beta2 + rule.second_share * gradient * gradient;
  const T denominator = std::sqrt(v) / rule.second_correction + rule.epsilon;
  *first = m;
  *second = v;
  *theta = value - rule.step_size * m / denominator;
}

// One step of one element; slots that the rule does not use may be null.
template <typename T>
EVOGRAD_HOST_DEVICE void UpdateElement(const OptimizerRule<T>& rule, T gradient, T* theta, T* first,
                                       T* second) {
  if (rule.kind == OptimizerKind::kSgd) {
    UpdateBySgd(rule, gradient, theta, first);
  } else {
    UpdateByAdam(rule, gradient, theta, first, second);
  }
}

}  // namespace evograd

#endif  // EVOGRAD_ALGO_OPTIMIZER_H_
