// Goal: every field arrives, and the proto's defaults are algo's own. Method: one optimizer with
// all fields different, and a resolved empty one.
#include "spec/optimizer.h"

#include <gtest/gtest.h>

#include "spec/resolve.h"

namespace evograd {
namespace {

TEST(ToOptimizerConfigTest, EveryFieldArrives) {
  v1::Optimizer optimizer;
  optimizer.set_kind(v1::Optimizer::SGD);
  optimizer.set_learning_rate(0.1);
  optimizer.set_momentum(0.2);
  optimizer.set_nesterov(true);
  optimizer.set_weight_decay(0.3);
  optimizer.set_beta1(0.4);
  optimizer.set_beta2(0.5);
  optimizer.set_epsilon(0.6);
  const OptimizerConfig config = ToOptimizerConfig(optimizer);
  EXPECT_EQ(config.kind, OptimizerKind::kSgd);
  EXPECT_EQ(config.learning_rate, 0.1);
  EXPECT_EQ(config.momentum, 0.2);
  EXPECT_TRUE(config.nesterov);
  EXPECT_EQ(config.weight_decay, 0.3);
  EXPECT_EQ(config.beta1, 0.4);
  EXPECT_EQ(config.beta2, 0.5);
  EXPECT_EQ(config.epsilon, 0.6);
  optimizer.set_kind(v1::Optimizer::ADAMW);
  EXPECT_EQ(ToOptimizerConfig(optimizer).kind, OptimizerKind::kAdamW);
}

TEST(ToOptimizerConfigTest, DefaultsAreTheSame) {
  v1::JobSpec spec;
  Resolve(&spec);
  const OptimizerConfig config = ToOptimizerConfig(spec.meta_optimizer());
  const OptimizerConfig expected;
  EXPECT_EQ(config.kind, expected.kind);
  EXPECT_EQ(config.learning_rate, expected.learning_rate);
  EXPECT_EQ(config.momentum, expected.momentum);
  EXPECT_EQ(config.nesterov, expected.nesterov);
  EXPECT_EQ(config.weight_decay, expected.weight_decay);
  EXPECT_EQ(config.beta1, expected.beta1);
  EXPECT_EQ(config.beta2, expected.beta2);
  EXPECT_EQ(config.epsilon, expected.epsilon);
}

}  // namespace
}  // namespace evograd
