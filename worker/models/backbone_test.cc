// Goal: backbones have the published numbers of parameters and transformations, keep their
// statistics where they should, and repeat their noise. (Their numbers are compared with PyTorch's
// in tests/golden/few_shot_models_test.py.) Method: counts from the papers' architectures; passes
// on small pictures.
#include "worker/models/backbone.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "worker/models/initialisation.h"

namespace evograd {
namespace {

struct Known {
  BackboneKind kind;
  int64_t transformations;
  int64_t hyperparameters;
  int64_t parameters;
  int64_t channels;
  int64_t extent;         // of a picture
  int64_t output_extent;  // of its maps
  std::string first_name;
  std::string last_name;
};

// ResNet18's and 34's parameters are those of torchvision's models (11,689,512 and 21,797,672)
// without their last layers' 513,000.
const std::vector<Known>& All() {
  static const auto& all = *new std::vector<Known>{
      {BackboneKind::kConv4, 4, 512, 113'088, 64, 84, 19, "trunk.0.BN.gamma[0]",
       "trunk.3.BN.beta[63]"},
      {BackboneKind::kConv6, 6, 768, 187'200, 64, 84, 19, "trunk.0.BN.gamma[0]",
       "trunk.5.BN.beta[63]"},
      {BackboneKind::kResNet10, 7, 3'712, 4'905'792, 512, 224, 7, "trunk.4.BN2.gamma[0]",
       "trunk.7.BNshortcut.beta[511]"},
      {BackboneKind::kResNet18, 11, 5'632, 11'176'512, 512, 224, 7, "trunk.4.BN2.gamma[0]",
       "trunk.11.BN2.beta[511]"},
      {BackboneKind::kResNet34, 19, 9'344, 21'284'672, 512, 84, 3, "trunk.4.BN2.gamma[0]",
       "trunk.19.BN2.beta[511]"},
  };
  return all;
}

at::Tensor Pictures(int64_t extent) {
  // Threads that wait for each other on a busy machine cost more than they bring.
  at::set_num_threads(1);
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(3);
  return at::randn({3, 3, extent, extent}, generator);
}

std::shared_ptr<Backbone> Made(BackboneKind kind) {
  std::shared_ptr<Backbone> net = MakeBackbone(kind);
  InitialiseWeights(7, net.get());
  return net;
}

at::Tensor Lambda(const Backbone& net) {
  return at::tensor(net.sites().values(0.3, 0.5), at::kFloat);
}

at::Tensor Buffers(const Backbone& net) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& buffer : net.buffers()) all.push_back(buffer.flatten());
  return at::cat(all).clone();
}

// A pass whose noise begins from `seed`.
at::Tensor Pass(uint64_t seed, const FeaturePass& pass, Backbone* net) {
  const at::NoGradGuard no_grad;
  at::manual_seed(seed);
  return net->Forward(Pictures(48), pass);
}

TEST(BackboneTest, CountsAndNames) {
  for (const Known& known : All()) {
    const std::shared_ptr<Backbone> net = MakeBackbone(known.kind);
    int64_t parameters = 0;
    for (const at::Tensor& parameter : net->parameters()) parameters += parameter.numel();
    EXPECT_EQ(parameters, known.parameters) << known.last_name;
    EXPECT_EQ(net->sites().layers(), known.transformations);
    EXPECT_EQ(net->sites().hyperparameters(), known.hyperparameters);
    const std::vector<std::string> names = net->sites().names();
    ASSERT_EQ(names.size(), known.hyperparameters);
    EXPECT_EQ(names.front(), known.first_name);
    EXPECT_EQ(names.back(), known.last_name);
    const std::vector<double> values = net->sites().values(0.3, 0.5);
    ASSERT_EQ(values.size(), names.size());
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(values[i], names[i].find("gamma") != std::string::npos ? 0.3 : 0.5) << names[i];
    }
  }
}

TEST(BackboneTest, MapsHaveTheExtentThatIsPromised) {
  for (const Known& known : All()) {
    const std::shared_ptr<Backbone> net = MakeBackbone(known.kind);
    EXPECT_EQ(net->channels(), known.channels);
    EXPECT_EQ(net->OutputExtent(known.extent), known.output_extent);
    for (const int64_t extent : {33, 48}) {
      const at::NoGradGuard no_grad;
      const at::Tensor maps = net->Forward(Pictures(extent), FeaturePass());
      const int64_t expected = net->OutputExtent(extent);
      EXPECT_EQ(maps.sizes().vec(), (std::vector<int64_t>{3, known.channels, expected, expected}));
    }
  }
}

TEST(BackboneTest, NoiseRepeatsWithItsSeedAndOnlyTrainingHasIt) {
  for (const BackboneKind kind : {BackboneKind::kConv4, BackboneKind::kResNet10}) {
    const std::shared_ptr<Backbone> net = Made(kind);
    const FeaturePass noisy{/*training=*/true, Lambda(*net)};
    const FeaturePass plain{/*training=*/true, {}};
    const FeaturePass evaluation{/*training=*/false, Lambda(*net)};
    EXPECT_TRUE(Pass(1, noisy, net.get()).equal(Pass(1, noisy, net.get())));
    EXPECT_FALSE(Pass(1, noisy, net.get()).equal(Pass(2, noisy, net.get())));
    EXPECT_FALSE(Pass(1, noisy, net.get()).equal(Pass(1, plain, net.get())));
    EXPECT_TRUE(Pass(1, plain, net.get()).equal(Pass(2, plain, net.get())));
    EXPECT_TRUE(Pass(1, evaluation, net.get()).equal(Pass(2, evaluation, net.get())));
  }
}

TEST(BackboneTest, OnlyTrainingMovesTheStatistics) {
  const std::shared_ptr<Backbone> net = Made(BackboneKind::kConv4);
  const at::Tensor before = Buffers(*net);
  Pass(1, {/*training=*/false, Lambda(*net)}, net.get());
  EXPECT_TRUE(Buffers(*net).equal(before));
  Pass(1, {/*training=*/true, Lambda(*net)}, net.get());
  EXPECT_FALSE(Buffers(*net).equal(before));
}

// The published code runs its auxiliary loss with running statistics, then a training pass that
// moves them, then both backward passes.
TEST(BackboneTest, AnEvaluationsGradientIgnoresStatisticsThatMovedSince) {
  const std::shared_ptr<Backbone> net = Made(BackboneKind::kConv4);
  const at::Tensor weight = net->named_parameters()["trunk.0.BN.weight"];
  const auto gradient = [&](bool training_between) {
    const at::Tensor before = Buffers(*net);
    const at::Tensor loss = net->Forward(Pictures(48), FeaturePass()).square().mean();
    if (training_between) Pass(1, {/*training=*/true, {}}, net.get());
    loss.backward();
    EXPECT_EQ(training_between, !Buffers(*net).equal(before));
    const at::Tensor result = weight.grad().clone();
    weight.mutable_grad().reset();
    return result;
  };
  const at::Tensor alone = gradient(false);
  EXPECT_GT(alone.abs().max().item<double>(), 0);
  EXPECT_TRUE(gradient(true).equal(alone));
}

TEST(BackboneTest, InitialWeightsAreAFunctionOfTheSeed) {
  const auto weights = [](uint64_t seed, at::ScalarType type) {
    const std::shared_ptr<Backbone> net = MakeBackbone(BackboneKind::kConv4);
    net->to(type);
    for (const at::Tensor& parameter : net->parameters()) {
      parameter.detach().fill_(5);  // whatever lay there
    }
    InitialiseWeights(seed, net.get());
    return net;
  };
  const auto flat = [](const std::shared_ptr<Backbone>& net) {
    std::vector<at::Tensor> all;
    for (const at::Tensor& parameter : net->parameters()) {
      all.push_back(parameter.detach().flatten().to(at::kDouble));
    }
    return at::cat(all);
  };
  const at::Tensor one = flat(weights(1, at::kDouble));
  EXPECT_TRUE(flat(weights(1, at::kFloat)).allclose(one, 1e-6, 1e-8));
  EXPECT_FALSE(flat(weights(2, at::kDouble)).allclose(one));
  // N(0, 2 / (k^2 out)).
  const std::shared_ptr<Backbone> net = Made(BackboneKind::kResNet10);
  const at::Tensor weight = net->named_parameters()["trunk.7.C2.weight"].detach();
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / (9 * 512)), 1e-4);
  EXPECT_NEAR(weight.mean().item<double>(), 0, 1e-4);
  EXPECT_TRUE(net->named_parameters()["trunk.7.BN2.weight"].eq(1).all().item<bool>());
  EXPECT_TRUE(net->named_parameters()["trunk.7.BN2.bias"].eq(0).all().item<bool>());
  EXPECT_TRUE(net->named_buffers()["trunk.7.BN2.running_var"].eq(1).all().item<bool>());
}

}  // namespace
}  // namespace evograd
