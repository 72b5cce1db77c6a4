// Goal: the encoder's promises that no peer states: parts compose to the whole, padding is of no
// influence, dropout repeats itself, the start is the seed's, second derivatives are right. Method:
// a small encoder; exact equality where the promise is exact, finite differences for the
// derivatives. Agreement with transformers is tests/golden/xlmr_test's affair.
#include "worker/models/xlmr_encoder.h"

#include <ATen/Context.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace evograd {
namespace {

XlmrConfig Config() {
  XlmrConfig config;
  config.vocab_size = 50;
  config.hidden_size = 12;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 3;
  config.intermediate_size = 20;
  config.max_position_embeddings = 16;
  config.type_vocab_size = 1;
  config.initializer_range = 0.3;
  return config;
}

at::Tensor Ids() { return at::tensor({0, 7, 9, 30, 2, 0, 40, 2, 1, 1}, at::kLong).view({2, 5}); }
at::Tensor Mask() { return Ids().ne(1); }

std::shared_ptr<XlmrEncoder> Encoder(bool quirks = false, uint64_t seed = 1) {
  auto encoder = std::make_shared<XlmrEncoder>(Config(), quirks);
  encoder->Initialise(seed);
  encoder->eval();
  return encoder;
}

TEST(XlmrEncoderTest, HasTheConfigurationsParameters) {
  const auto encoder = Encoder();
  int64_t count = 0;
  for (const auto& item : encoder->named_parameters()) count += item.value().numel();
  EXPECT_EQ(count, Config().parameters());
  EXPECT_TRUE(encoder->named_parameters().contains("encoder.layer.2.attention.output.dense.bias"));
  EXPECT_TRUE(encoder->named_parameters().contains("embeddings.LayerNorm.weight"));
}

TEST(XlmrEncoderTest, PartsComposeToTheWhole) {
  const auto encoder = Encoder();
  const at::Tensor whole = encoder->Forward(Ids(), Mask());
  EXPECT_EQ(whole.sizes(), (at::IntArrayRef{2, 5, 12}));
  for (int64_t cut = 0; cut <= 3; ++cut) {
    const at::Tensor lower = encoder->RunLayers(encoder->Embed(Ids()), Mask(), 0, cut);
    EXPECT_TRUE(whole.equal(encoder->RunLayers(lower, Mask(), cut, 3))) << cut;
    EXPECT_EQ(whole.equal(lower), cut == 3) << cut;
  }
}

TEST(XlmrEncoderTest, PaddingIsOfNoInfluence) {
  const auto encoder = Encoder();
  const at::Tensor padded = encoder->Forward(Ids(), Mask());
  const at::Tensor ids = Ids().slice(0, 1, 2).slice(1, 0, 3);
  const at::Tensor alone = encoder->Forward(ids, at::ones({1, 3}));
  EXPECT_LT((padded.slice(0, 1, 2).slice(1, 0, 3) - alone).abs().max().item<double>(), 1e-6);
  // Without the mask it would be.
  const at::Tensor unmasked = encoder->Forward(Ids(), at::ones({2, 5}));
  EXPECT_GT((unmasked.slice(0, 1, 2).slice(1, 0, 3) - alone).abs().max().item<double>(), 1e-3);
  const at::Tensor nothing = encoder->Forward(at::ones({1, 4}, at::kLong), at::zeros({1, 4}));
  EXPECT_TRUE(nothing.isfinite().all().item<bool>());
}

TEST(XlmrEncoderTest, QuirksMoveThePositions) {
  const auto encoder = Encoder();
  const auto quirky = Encoder(true);
  EXPECT_FALSE(encoder->Embed(Ids()).equal(quirky->Embed(Ids())));
  // Position tables shifted by pad_token_id + 1 make up for it where no padding is.
  const at::NoGradGuard no_grad;
  const at::Tensor positions = encoder->named_parameters()["embeddings.position_embeddings.weight"];
  const at::Tensor moved = quirky->named_parameters()["embeddings.position_embeddings.weight"];
  for (const auto& item : encoder->named_parameters()) {
    quirky->named_parameters()[item.key()].copy_(item.value());
  }
  moved.copy_(at::cat({positions.slice(0, 2, 16), positions.slice(0, 0, 2)}));
  const at::Tensor ids = Ids().slice(0, 0, 1);
  EXPECT_TRUE(encoder->Embed(ids).equal(quirky->Embed(ids)));
}

TEST(XlmrEncoderTest, DropoutIsTheGeneratorsAlone) {
  const auto encoder = Encoder();
  const at::Tensor still = encoder->Forward(Ids(), Mask());
  encoder->train();
  const auto drawn = [&](uint64_t seed) {
    at::manual_seed(seed);
    return encoder->Forward(Ids(), Mask());
  };
  const at::Tensor first = drawn(5);
  EXPECT_TRUE(first.equal(drawn(5)));
  EXPECT_FALSE(first.equal(drawn(6)));
  EXPECT_FALSE(first.equal(still));
  XlmrConfig config = Config();
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0;
  XlmrEncoder without(config);
  without.Initialise(1);
  EXPECT_TRUE(without.Forward(Ids(), Mask()).equal(still));
  // Attention's own dropout is drawn too.
  config.attention_probs_dropout_prob = 0.5;
  XlmrEncoder attention(config);
  attention.Initialise(1);
  EXPECT_FALSE(attention.Forward(Ids(), Mask()).equal(still));
}

TEST(XlmrEncoderTest, InitialValuesAreTheSeeds) {
  const auto encoder = Encoder(), same = Encoder(), other = Encoder(false, 2);
  at::Tensor weights = at::zeros({0});
  for (const auto& item : encoder->named_parameters()) {
    EXPECT_TRUE(item.value().equal(same->named_parameters()[item.key()])) << item.key();
    if (item.value().dim() > 1) {
      EXPECT_FALSE(item.value().equal(other->named_parameters()[item.key()])) << item.key();
      weights = at::cat({weights, item.value().detach().flatten()});
    } else {
      const bool gain = item.key().find("LayerNorm.weight") != std::string::npos;
      EXPECT_TRUE(item.value().eq(gain ? 1 : 0).all().item<bool>()) << item.key();
    }
  }
  EXPECT_NEAR(weights.std().item<double>(), 0.3, 0.01);
  EXPECT_NEAR(weights.mean().item<double>(), 0, 0.02);
  for (const char* name : {"word", "position"}) {
    const std::string key = std::string("embeddings.") + name + "_embeddings.weight";
    EXPECT_EQ(encoder->named_parameters()[key][1].abs().max().item<float>(), 0) << name;
  }
  auto wide = std::make_shared<XlmrEncoder>(Config());
  wide->to(at::kDouble);
  wide->Initialise(1);
  const std::string key = "encoder.layer.0.output.dense.weight";
  EXPECT_TRUE(wide->named_parameters()[key].to(at::kFloat).equal(encoder->named_parameters()[key]));
}

// d/d theta of <gradient, v> against the difference of gradients at theta +- h v.
TEST(XlmrEncoderTest, SecondDerivativesAreRight) {
  const auto encoder = Encoder();
  encoder->to(at::kDouble);
  encoder->train();
  std::vector<at::Tensor> parameters, vectors;
  at::manual_seed(3);
  for (const auto& item : encoder->named_parameters()) {
    parameters.push_back(item.value());
    vectors.push_back(at::randn(item.value().sizes(), at::kDouble));
  }
  const auto gradient = [&](bool create_graph) {
    at::manual_seed(4);
    const at::Tensor hidden = encoder->Forward(Ids(), Mask());
    // Of tokens alone: the padding's embedding counts as a constant, which a step would move.
    const at::Tensor told = hidden * Mask().unsqueeze(2);
    const at::Tensor loss = (told * at::arange(12, at::kDouble)).tanh().sum();
    return torch::autograd::grad({loss}, parameters, {}, /*retain_graph=*/create_graph,
                                 create_graph);
  };
  const auto first = gradient(true);
  at::Tensor inner = at::zeros({}, at::kDouble);
  for (size_t i = 0; i < first.size(); ++i) inner = inner + (first[i] * vectors[i]).sum();
  const auto product = torch::autograd::grad({inner}, parameters);
  const auto moved = [&](double step) {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].add_(vectors[i], step);
  };
  constexpr double kStep = 1e-6;
  moved(kStep);
  const auto above = gradient(false);
  moved(-2 * kStep);
  const auto below = gradient(false);
  double largest = 0;
  for (const at::Tensor& one : product) largest = std::max(largest, one.abs().max().item<double>());
  ASSERT_GT(largest, 1);
  for (size_t i = 0; i < product.size(); ++i) {
    const at::Tensor difference = (above[i] - below[i]) / (2 * kStep) - product[i];
    EXPECT_LT(difference.abs().max().item<double>(), 1e-5 * largest) << i;
  }
}

TEST(XlmrHeadTest, HeadsHaveTheirShapesAndDropout) {
  XlmrTokenHead tokens(Config(), 4);
  tokens.Initialise(1);
  XlmrSequenceHead sequence(Config(), 3);
  sequence.Initialise(1);
  const at::Tensor hidden = at::ones({2, 5, 12});
  EXPECT_EQ(tokens.Forward(hidden).sizes(), (at::IntArrayRef{2, 5, 4}));
  EXPECT_EQ(sequence.Forward(hidden).sizes(), (at::IntArrayRef{2, 3}));
  EXPECT_FALSE(tokens.Forward(hidden).equal(tokens.Forward(hidden)));
  EXPECT_FALSE(sequence.Forward(hidden).equal(sequence.Forward(hidden)));
  tokens.eval();
  sequence.eval();
  EXPECT_TRUE(tokens.Forward(hidden).equal(tokens.Forward(hidden)));
  EXPECT_TRUE(sequence.Forward(hidden).equal(sequence.Forward(hidden)));
  EXPECT_EQ(tokens.named_parameters().size(), 2u);
  EXPECT_TRUE(sequence.named_parameters().contains("out_proj.weight"));
  EXPECT_NEAR(sequence.named_parameters()["dense.weight"].std().item<double>(), 0.3, 0.06);
}

}  // namespace
}  // namespace evograd
