#include "worker/models/xlmr_encoder.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/status_macros.h"

namespace evograd {
namespace {

using torch::nn::Module;

// Normal values, the same for a seed whatever the type and device; by parts, since a vocabulary's
// embeddings are large.
void FillNormal(const at::Tensor& target, double deviation, at::Generator generator) {
  constexpr int64_t kPart = 1 << 20;
  at::Tensor flat = target.view({-1});
  for (int64_t from = 0; from < flat.numel(); from += kPart) {
    const int64_t size = std::min(kPart, flat.numel() - from);
    at::Tensor values = at::empty({size}, at::kDouble);
    flat.narrow(0, from, size).copy_(values.normal_(0, deviation, generator));
  }
}

std::shared_ptr<Module> AddGroup(Module* parent, const std::string& name) {
  return parent->register_module(name, std::make_shared<Module>());
}

std::shared_ptr<WeightAndBias> AddLinear(Module* parent, const std::string& name, int64_t in,
                                         int64_t out) {
  return parent->register_module(name,
                                 std::make_shared<WeightAndBias>(at::IntArrayRef{out, in}, out));
}

std::shared_ptr<WeightAndBias> AddNorm(Module* parent, const std::string& name, int64_t size) {
  return parent->register_module(name,
                                 std::make_shared<WeightAndBias>(at::IntArrayRef{size}, size));
}

std::shared_ptr<WeightAndBias> AddEmbedding(Module* parent, const std::string& name, int64_t count,
                                            int64_t size) {
  return parent->register_module(name,
                                 std::make_shared<WeightAndBias>(at::IntArrayRef{count, size}));
}

at::Tensor Apply(const WeightAndBias& linear, const at::Tensor& x) {
  return at::linear(x, linear.weight, linear.bias);
}

at::Generator SeededGenerator(uint64_t seed) {
  return at::make_generator<at::CPUGeneratorImpl>(seed);
}

}  // namespace

WeightAndBias::WeightAndBias(at::IntArrayRef weight_shape, int64_t bias_size)
    : weight(register_parameter("weight", at::zeros(weight_shape))) {
  if (bias_size > 0) bias = register_parameter("bias", at::zeros({bias_size}));
}

XlmrEncoder::XlmrEncoder(const XlmrConfig& config, bool published_quirks)
    : config_(config), published_quirks_(published_quirks) {
  const int64_t hidden = config.hidden_size;
  const auto embeddings = AddGroup(this, "embeddings");
  words_ = AddEmbedding(embeddings.get(), "word_embeddings", config.vocab_size, hidden);
  positions_ =
      AddEmbedding(embeddings.get(), "position_embeddings", config.max_position_embeddings, hidden);
  types_ = AddEmbedding(embeddings.get(), "token_type_embeddings", config.type_vocab_size, hidden);
  embeddings_norm_ = AddNorm(embeddings.get(), "LayerNorm", hidden);
  const auto list = AddGroup(AddGroup(this, "encoder").get(), "layer");
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const auto module = AddGroup(list.get(), std::to_string(i));
    const auto attention = AddGroup(module.get(), "attention");
    const auto self = AddGroup(attention.get(), "self");
    const auto attention_output = AddGroup(attention.get(), "output");
    Layer layer;
    layer.query = AddLinear(self.get(), "query", hidden, hidden);
    layer.key = AddLinear(self.get(), "key", hidden, hidden);
    layer.value = AddLinear(self.get(), "value", hidden, hidden);
    layer.attention_output = AddLinear(attention_output.get(), "dense", hidden, hidden);
    layer.attention_norm = AddNorm(attention_output.get(), "LayerNorm", hidden);
    layer.intermediate = AddLinear(AddGroup(module.get(), "intermediate").get(), "dense", hidden,
                                   config.intermediate_size);
    const auto output = AddGroup(module.get(), "output");
    layer.output = AddLinear(output.get(), "dense", config.intermediate_size, hidden);
    layer.output_norm = AddNorm(output.get(), "LayerNorm", hidden);
    layers_.push_back(std::move(layer));
  }
}

at::Tensor XlmrEncoder::Dropout(const at::Tensor& x, double probability) const {
  return at::dropout(x, probability, is_training());
}

at::Tensor XlmrEncoder::Normalise(const WeightAndBias& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {config_.hidden_size}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor XlmrEncoder::Positions(const at::Tensor& ids) const {
  if (published_quirks_) return at::arange(ids.size(1), ids.options()).expand_as(ids);
  const at::Tensor tokens = ids.ne(config_.pad_token_id).to(at::kLong);
  return tokens.cumsum(1) * tokens + config_.pad_token_id;
}

at::Tensor XlmrEncoder::Embed(const at::Tensor& ids) {
  // Rows of padding get no gradient. BertEmbeddings has one for words alone.
  const int64_t word_padding = published_quirks_ ? 0 : config_.pad_token_id;
  const int64_t position_padding = published_quirks_ ? -1 : config_.pad_token_id;
  const at::Tensor words = at::embedding(words_->weight, ids, word_padding);
  const at::Tensor positions = at::embedding(positions_->weight, Positions(ids), position_padding);
  const at::Tensor x = words + types_->weight[0] + positions;
  return Dropout(Normalise(*embeddings_norm_, x), config_.hidden_dropout_prob);
}

at::Tensor XlmrEncoder::Attend(const Layer& layer, const at::Tensor& hidden,
                               const at::Tensor& bias) {
  const int64_t count = hidden.size(0), length = hidden.size(1);
  const int64_t heads = config_.num_attention_heads;
  const int64_t width = config_.hidden_size / heads;
  const auto split = [&](const WeightAndBias& linear) {
    return Apply(linear, hidden).view({count, length, heads, width}).transpose(1, 2);
  };
  // Written out: the fused attention of LibTorch has no second derivative.
  const at::Tensor scores =
      at::matmul(split(*layer.query), split(*layer.key).transpose(2, 3)) / std::sqrt(width) + bias;
  const at::Tensor weights = Dropout(at::softmax(scores, -1), config_.attention_probs_dropout_prob);
  const at::Tensor context = at::matmul(weights, split(*layer.value));
  return Apply(*layer.attention_output,
               context.transpose(1, 2).reshape({count, length, config_.hidden_size}));
}

at::Tensor XlmrEncoder::RunLayers(const at::Tensor& hidden, const at::Tensor& mask, int64_t from,
                                  int64_t to) {
  EVOGRAD_CHECK(0 <= from && from <= to && to <= layers(), "layers are of the encoder");
  // [N, 1, 1, T]: of no weight where there is padding. Finite, so that a sequence of padding alone
  // has no NaN.
  const double lowest = hidden.scalar_type() == at::kHalf
                            ? -65504.0
                            : -static_cast<double>(std::numeric_limits<float>::max());
  const at::Tensor bias = at::zeros(mask.sizes(), hidden.options().requires_grad(false))
                              .masked_fill_(mask.eq(0), lowest)
                              .unsqueeze(1)
                              .unsqueeze(1);
  at::Tensor x = hidden;
  for (int64_t i = from; i < to; ++i) {
    const Layer& layer = layers_[i];
    const at::Tensor attended = Dropout(Attend(layer, x, bias), config_.hidden_dropout_prob);
    x = Normalise(*layer.attention_norm, attended + x);
    const at::Tensor wide = at::gelu(Apply(*layer.intermediate, x));
    const at::Tensor narrow = Dropout(Apply(*layer.output, wide), config_.hidden_dropout_prob);
    x = Normalise(*layer.output_norm, narrow + x);
  }
  return x;
}

at::Tensor XlmrEncoder::Forward(const at::Tensor& ids, const at::Tensor& mask) {
  return RunLayers(Embed(ids), mask, 0, layers());
}

void XlmrEncoder::Initialise(uint64_t seed) {
  const at::NoGradGuard no_grad;
  const at::Generator generator = SeededGenerator(seed);
  for (const auto& item : named_parameters()) {
    const at::Tensor& parameter = item.value();
    const bool norm = item.key().find("LayerNorm.weight") != std::string::npos;
    if (parameter.dim() > 1) {
      FillNormal(parameter, config_.initializer_range, generator);
    } else {
      parameter.fill_(norm ? 1 : 0);
    }
  }
  words_->weight[published_quirks_ ? 0 : config_.pad_token_id].zero_();
  if (!published_quirks_) positions_->weight[config_.pad_token_id].zero_();
}

std::vector<std::string> XlmrEncoder::IgnoredWeights() {
  return {"lm_head.",
          "classifier.",
          "pooler.",
          "qa_outputs.",
          "embeddings.position_ids",
          "embeddings.token_type_ids"};
}

XlmrTokenHead::XlmrTokenHead(const XlmrConfig& config, int64_t labels)
    : WeightAndBias({labels, config.hidden_size}, labels),
      dropout_(config.classifier_dropout),
      deviation_(config.initializer_range) {}

at::Tensor XlmrTokenHead::Forward(const at::Tensor& hidden) {
  return Apply(*this, at::dropout(hidden, dropout_, is_training()));
}

void XlmrTokenHead::Initialise(uint64_t seed) {
  const at::NoGradGuard no_grad;
  FillNormal(weight, deviation_, SeededGenerator(seed));
  bias.zero_();
}

XlmrSequenceHead::XlmrSequenceHead(const XlmrConfig& config, int64_t classes)
    : dropout_(config.classifier_dropout),
      deviation_(config.initializer_range),
      dense_(AddLinear(this, "dense", config.hidden_size, config.hidden_size)),
      out_proj_(AddLinear(this, "out_proj", config.hidden_size, classes)) {}

at::Tensor XlmrSequenceHead::Forward(const at::Tensor& hidden) {
  const at::Tensor first = at::dropout(hidden.select(1, 0), dropout_, is_training());
  const at::Tensor x = at::dropout(at::tanh(Apply(*dense_, first)), dropout_, is_training());
  return Apply(*out_proj_, x);
}

void XlmrSequenceHead::Initialise(uint64_t seed) {
  const at::NoGradGuard no_grad;
  const at::Generator generator = SeededGenerator(seed);
  for (const auto& layer : {dense_, out_proj_}) {
    FillNormal(layer->weight, deviation_, generator);
    layer->bias.zero_();
  }
}

}  // namespace evograd
