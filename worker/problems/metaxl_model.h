// MetaXL's network: an XLM-R encoder, the representation transformation after one of its layers and
// the task's head.
//
// Parameters have Hugging Face's names for the whole model, so that a checkpoint's `parameters.`
// are an XLMRobertaForTokenClassification's: "roberta.encoder.layer.0...", "classifier.weight".
//
// Threads: one at a time. Errors: LibTorch's exceptions.
#ifndef EVOGRAD_WORKER_PROBLEMS_METAXL_MODEL_H_
#define EVOGRAD_WORKER_PROBLEMS_METAXL_MODEL_H_

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/metaxl.pb.h"
#include "worker/models/representation_transformation.h"
#include "worker/models/xlmr_config.h"
#include "worker/models/xlmr_encoder.h"

namespace evograd {

class MetaXlModel : public torch::nn::Module {
 public:
  // `spec` is resolved. INVALID_ARGUMENT naming the field where it asks for layers that the encoder
  // does not have.
  static absl::StatusOr<std::shared_ptr<MetaXlModel>> Create(const v1::MetaXl& spec,
                                                             const XlmrConfig& config,
                                                             int64_t labels);

  // Whether members differ in the parameter of this name.
  bool Perturbed(const std::string& parameter) const;
  // Whether there is something that members share.
  bool has_shared_pass() const { return spec_.perturbed() != v1::MetaXl::ALL; }

  // The rest of the hidden states' way: from ids, or from what SharedHidden made of them, to the
  // head's scores. [N, T] or [N, T, hidden] -> tagging: [N, T, labels], else [N, labels]. Where
  // `lambda` is defined they are transformed on their way.
  at::Tensor Scores(const at::Tensor& inputs, const at::Tensor& mask, const at::Tensor& lambda);

  // Hidden states as far as no member changes them: up to the first perturbed layer, or to the
  // transformation where it comes first and `transformed`.
  at::Tensor SharedHidden(const at::Tensor& ids, const at::Tensor& mask, bool transformed);

  const RepresentationTransformation& transformation() const { return transformation_; }
  XlmrEncoder& encoder() { return *encoder_; }
  void InitialiseHead(uint64_t seed);

 private:
  MetaXlModel(const v1::MetaXl& spec, const XlmrConfig& config, int64_t labels);

  // Layers that all members run alike.
  int64_t SharedLayers(bool transformed) const;

  const v1::MetaXl spec_;
  const int64_t layers_;
  const int64_t transformed_layer_;
  const int64_t first_perturbed_layer_;
  const RepresentationTransformation transformation_;
  std::shared_ptr<XlmrEncoder> encoder_;
  // One of the two, by the task.
  std::shared_ptr<XlmrTokenHead> token_head_;
  std::shared_ptr<XlmrSequenceHead> sequence_head_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_METAXL_MODEL_H_
