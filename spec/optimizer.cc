#include "spec/optimizer.h"

#include "common/status_macros.h"

namespace evograd {
namespace {

OptimizerKind ToKind(v1::Optimizer::Kind kind) {
  switch (kind) {
    case v1::Optimizer::SGD:
      return OptimizerKind::kSgd;
    case v1::Optimizer::ADAM:
      return OptimizerKind::kAdam;
    case v1::Optimizer::ADAMW:
      return OptimizerKind::kAdamW;
    default:
      EVOGRAD_CHECK(false, "a resolved optimizer has a kind");
      return OptimizerKind::kAdam;
  }
}

}  // namespace

OptimizerConfig ToOptimizerConfig(const v1::Optimizer& optimizer) {
  OptimizerConfig config;
  config.kind = ToKind(optimizer.kind());
  config.learning_rate = optimizer.learning_rate();
  config.momentum = optimizer.momentum();
  config.nesterov = optimizer.nesterov();
  config.weight_decay = optimizer.weight_decay();
  config.beta1 = optimizer.beta1();
  config.beta2 = optimizer.beta2();
  config.epsilon = optimizer.epsilon();
  const v1::Schedule& schedule = optimizer.schedule();
  config.schedule.warmup_steps = schedule.warmup_steps();
  config.schedule.decay_steps.assign(schedule.decay_steps().begin(), schedule.decay_steps().end());
  config.schedule.decay_factor = schedule.decay_factor();
  config.schedule.linear_to_zero_at_step = schedule.linear_to_zero_at_step();
  config.max_gradient_norm = optimizer.max_gradient_norm();
  return config;
}

}  // namespace evograd
