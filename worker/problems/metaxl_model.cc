#include "worker/problems/metaxl_model.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace evograd {
namespace {

using v1::MetaXl;

constexpr char kLayerPrefix[] = "roberta.encoder.layer.";

// The layer that a parameter belongs to, or -1: the embeddings and the head.
int64_t LayerOf(absl::string_view parameter) {
  int64_t layer = -1;
  if (!absl::ConsumePrefix(&parameter, kLayerPrefix) ||
      !absl::SimpleAtoi(parameter.substr(0, parameter.find('.')), &layer)) {
    return -1;
  }
  return layer;
}

int64_t FirstPerturbedLayer(const MetaXl& spec, int64_t layers) {
  if (spec.perturbed() == MetaXl::ALL) return 0;
  if (spec.perturbed() == MetaXl::ENCODER_TOP) return layers - spec.perturbed_layers();
  return layers;
}

}  // namespace

absl::StatusOr<std::shared_ptr<MetaXlModel>> MetaXlModel::Create(const MetaXl& spec,
                                                                 const XlmrConfig& config,
                                                                 int64_t labels) {
  const auto check = [&](const char* field, int64_t layers) {
    if (layers <= config.num_hidden_layers) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("problem.metaxl.", field, ": ", layers,
                                                   " is more than the ", config.num_hidden_layers,
                                                   " layers of ", spec.encoder_dir()));
  };
  absl::Status status = check("transformed_layer", spec.transformed_layer());
  if (status.ok()) status = check("perturbed_layers", spec.perturbed_layers());
  if (!status.ok()) return status;
  return std::shared_ptr<MetaXlModel>(new MetaXlModel(spec, config, labels));
}

MetaXlModel::MetaXlModel(const MetaXl& spec, const XlmrConfig& config, int64_t labels)
    : spec_(spec),
      layers_(config.num_hidden_layers),
      transformed_layer_(spec.has_transformed_layer() ? spec.transformed_layer() : layers_),
      first_perturbed_layer_(FirstPerturbedLayer(spec, layers_)),
      transformation_(config.hidden_size, spec.bottleneck_size()),
      encoder_(register_module("roberta",
                               std::make_shared<XlmrEncoder>(config, spec.published_quirks()))) {
  if (spec.task() == MetaXl::CLASSIFICATION) {
    sequence_head_ =
        register_module("classifier", std::make_shared<XlmrSequenceHead>(config, labels));
  } else {
    token_head_ = register_module("classifier", std::make_shared<XlmrTokenHead>(config, labels));
  }
}

bool MetaXlModel::Perturbed(const std::string& parameter) const {
  return spec_.perturbed() == MetaXl::ALL || absl::StartsWith(parameter, "classifier.") ||
         LayerOf(parameter) >= first_perturbed_layer_;
}

int64_t MetaXlModel::SharedLayers(bool transformed) const {
  return transformed ? std::min(transformed_layer_, first_perturbed_layer_)
                     : first_perturbed_layer_;
}

at::Tensor MetaXlModel::SharedHidden(const at::Tensor& ids, const at::Tensor& mask,
                                     bool transformed) {
  return encoder_->RunLayers(encoder_->Embed(ids), mask, 0, SharedLayers(transformed));
}

at::Tensor MetaXlModel::Scores(const at::Tensor& inputs, const at::Tensor& mask,
                               const at::Tensor& lambda) {
  const bool transformed = lambda.defined();
  const bool prepared = inputs.is_floating_point();
  at::Tensor hidden = prepared ? inputs : encoder_->Embed(inputs);
  int64_t layer = prepared ? SharedLayers(transformed) : 0;
  if (transformed) {
    hidden = encoder_->RunLayers(hidden, mask, layer, transformed_layer_);
    hidden = transformation_.Forward(hidden, lambda);
    layer = transformed_layer_;
  }
  hidden = encoder_->RunLayers(hidden, mask, layer, layers_);
  return token_head_ != nullptr ? token_head_->Forward(hidden) : sequence_head_->Forward(hidden);
}

void MetaXlModel::InitialiseHead(uint64_t seed) {
  if (token_head_ != nullptr) {
    token_head_->Initialise(seed);
  } else {
    sequence_head_->Initialise(seed);
  }
}

}  // namespace evograd
