// The encoder of XLM-R and RoBERTa (Conneau et al. 2020, Liu et al. 2019): the transformer of
// Vaswani et al. (2017) with layer normalisation after each residual sum, exact GELU, learned
// positions. Parameter names are Hugging Face's, so that its safetensors files fit.
//
//   auto encoder = std::make_shared<XlmrEncoder>(config);
//   EVOGRAD_RETURN_IF_ERROR(LoadInto(TargetsOf(*encoder), file,
//                                    {{"roberta."}, XlmrEncoder::IgnoredWeights()}));
//   encoder->eval();
//   at::Tensor hidden = encoder->Forward(ids, mask);             // all layers
//   at::Tensor lower = encoder->RunLayers(encoder->Embed(ids), mask, 0, 8);
//   at::Tensor upper = encoder->RunLayers(Transform(lower), mask, 8, encoder->layers());
//
// ids: [N, T] int64 below vocab_size, T <= config.max_tokens(); mask: [N, T], not 0 where there is
// a token, 0 where there is padding (any type). Hidden states: [N, T, hidden_size]. What a padded
// place holds is of no meaning; no other place depends on it.
//
// In training mode dropout draws from LibTorch's default generator, in the same order each time.
// Every operation is twice differentiable. Fresh parameters are zero: call Initialise or load.
//
// `published_quirks` computes what the MetaXL reference does (BertEmbeddings): positions count from
// 0 and include padding; a padding id of 0. The default is XLM-R's own: positions count
// from pad_token_id + 1 over tokens alone.
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_MODELS_XLMR_ENCODER_H_
#define EVOGRAD_WORKER_MODELS_XLMR_ENCODER_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/models/xlmr_config.h"

namespace evograd {

// A linear layer or a layer normalisation: parameters "weight" and, where it has one, "bias".
class WeightAndBias : public torch::nn::Module {
 public:
  explicit WeightAndBias(at::IntArrayRef weight_shape, int64_t bias_size = 0);

  at::Tensor weight;
  at::Tensor bias;  // undefined where there is none
};

class XlmrEncoder : public torch::nn::Module {
 public:
  explicit XlmrEncoder(const XlmrConfig& config, bool published_quirks = false);

  const XlmrConfig& config() const { return config_; }
  int64_t layers() const { return config_.num_hidden_layers; }

  // Words, positions and types: [N, T] -> [N, T, hidden_size], what layer 0 takes.
  at::Tensor Embed(const at::Tensor& ids);
  // Layers [from, to) of layers(); none where from == to.
  at::Tensor RunLayers(const at::Tensor& hidden, const at::Tensor& mask, int64_t from, int64_t to);
  at::Tensor Forward(const at::Tensor& ids, const at::Tensor& mask);

  // As Hugging Face begins: weights normal with standard deviation initializer_range, biases 0,
  // normalisations 1 and 0, the padding's embedding 0. A pure function of `seed`, the same on every
  // device.
  void Initialise(uint64_t seed);

  // What files of whole models hold beside the encoder, after "roberta." is stripped (LoadOptions).
  static std::vector<std::string> IgnoredWeights();

 private:
  struct Layer {
    std::shared_ptr<WeightAndBias> query, key, value, attention_output, attention_norm;
    std::shared_ptr<WeightAndBias> intermediate, output, output_norm;
  };

  at::Tensor Positions(const at::Tensor& ids) const;
  at::Tensor Attend(const Layer& layer, const at::Tensor& hidden, const at::Tensor& bias);
  at::Tensor Normalise(const WeightAndBias& norm, const at::Tensor& x) const;
  at::Tensor Dropout(const at::Tensor& x, double probability) const;

  const XlmrConfig config_;
  const bool published_quirks_;
  std::shared_ptr<WeightAndBias> words_, positions_, types_, embeddings_norm_;
  std::vector<Layer> layers_;
};

// Scores of labels for each token, XLMRobertaForTokenClassification's: dropout, then linear.
// Parameters: weight [labels, hidden_size], bias [labels].
class XlmrTokenHead : public WeightAndBias {
 public:
  XlmrTokenHead(const XlmrConfig& config, int64_t labels);

  // [N, T, hidden_size] (or [M, hidden_size]) -> [N, T, labels].
  at::Tensor Forward(const at::Tensor& hidden);
  void Initialise(uint64_t seed);

 private:
  const double dropout_;
  const double deviation_;
};

// Scores of classes for a sequence, from its first token, <s>: RobertaForSequenceClassification's
// dropout, dense, tanh, dropout, out_proj.
class XlmrSequenceHead : public torch::nn::Module {
 public:
  XlmrSequenceHead(const XlmrConfig& config, int64_t classes);

  // [N, T, hidden_size] -> [N, classes].
  at::Tensor Forward(const at::Tensor& hidden);
  void Initialise(uint64_t seed);

 private:
  const double dropout_;
  const double deviation_;
  std::shared_ptr<WeightAndBias> dense_, out_proj_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_XLMR_ENCODER_H_
