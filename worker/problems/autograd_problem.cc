#include "worker/problems/autograd_problem.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/module.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

at::Tensor View(const at::Tensor& flat, const TensorSlot& slot) {
  return flat.narrow(0, slot.offset, slot.size).view(slot.shape);
}

void MakeViews(const at::Tensor& flat, const ParameterLayout& layout,
               const std::vector<at::Tensor>& tensors) {
  EVOGRAD_CHECK(flat.dim() == 1 && flat.numel() == layout.elements(),
                "a flat tensor has the layout's number of elements");
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].set_data(View(flat, layout.slots()[i]));
  }
}

at::Tensor Leaf(const at::Tensor& lambda) { return lambda.detach().requires_grad_(true); }

absl::StatusOr<double> Finite(const at::Tensor& loss, const char* name) {
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    return absl::OutOfRangeError(absl::StrCat(name, " loss is ", value));
  }
  return value;
}

absl::Status NoPath() {
  return absl::FailedPreconditionError(
      "hyperparameters do not enter the training loss, so it has no gradient to them");
}

// d loss / d lambda of a graph that reaches to lambda alone.
at::Tensor GradientToLambda(const at::Tensor& loss, const at::Tensor& lambda) {
  at::Tensor gradient = torch::autograd::grad({loss}, {lambda}, {}, /*retain_graph=*/false,
                                              /*create_graph=*/false, /*allow_unused=*/true)[0];
  return gradient.defined() ? gradient : at::zeros_like(lambda);
}

// Gradients to theta that depend on anything further, each with its slice of a direction.
struct SeededGradients {
  std::vector<at::Tensor> outputs;
  std::vector<at::Tensor> seeds;
};

// The loss's graph stays for another derivative.
SeededGradients GradientsAlong(const at::Tensor& direction, const at::Tensor& loss,
                               const std::vector<at::Tensor>& parameters,
                               const ParameterLayout& layout) {
  const std::vector<at::Tensor> gradients =
      torch::autograd::grad({loss}, parameters, {}, /*retain_graph=*/true, /*create_graph=*/true,
                            /*allow_unused=*/true);
  SeededGradients along;
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined() || !gradients[i].requires_grad()) continue;
    along.outputs.push_back(gradients[i]);
    along.seeds.push_back(View(direction, layout.slots()[i]));
  }
  return along;
}

// Some elements of a flat tensor, spread over it: enough to tell two members apart at no cost.
at::Tensor Sample(const at::Tensor& flat) {
  constexpr int64_t kSamples = 256;
  return flat.slice(0, 0, flat.numel(), (flat.numel() / kSamples) | 1);
}

class AutogradMember : public RetainedMember {
 public:
  AutogradMember(at::Tensor loss, double value, at::Tensor lambda, const at::Tensor& parameters)
      : graph_(std::move(loss)),
        loss_(value),
        lambda_(std::move(lambda)),
        parameters_(parameters),
        sample_(Sample(parameters).clone()) {}

  double loss() const override { return loss_; }

  absl::StatusOr<at::Tensor> Hypergradient() override {
    EVOGRAD_CHECK(graph_.defined(), "a retained graph is used once");
    const at::Tensor graph = std::exchange(graph_, at::Tensor());
    return CatchTorch([&]() -> absl::StatusOr<at::Tensor> {
      if (!at::equal(Sample(parameters_), sample_)) {
        return absl::InternalError(
            "a retained member's gradient was asked for while other parameters are bound");
      }
      return GradientToLambda(graph, lambda_);
    });
  }

 private:
  at::Tensor graph_;
  const double loss_;
  const at::Tensor lambda_;
  const at::Tensor parameters_;  // the bound storage
  const at::Tensor sample_;      // what it held
};

}  // namespace

at::ScalarType TypeOf(v1::DataType type) { return type == v1::FLOAT64 ? at::kDouble : at::kFloat; }

AutogradProblem::AutogradProblem(std::shared_ptr<torch::nn::Module> module, at::ScalarType type,
                                 const at::Device& device, const Perturbed& perturbed)
    : module_(std::move(module)),
      type_(type),
      device_(device),
      parameters_(c10::elementSize(type)),
      buffers_(c10::elementSize(type)) {
  module_->to(device_, type_);
  for (const auto& item : module_->named_parameters()) {
    parameters_.Add(item.key(), item.value().sizes().vec(),
                    perturbed == nullptr || perturbed(item.key()));
    parameter_tensors_.push_back(item.value());
  }
  for (const auto& item : module_->named_buffers()) {
    if (!item.value().defined()) continue;
    buffers_.Add(item.key(), item.value().sizes().vec());
    buffer_tensors_.push_back(item.value());
  }
}

void AutogradProblem::Bind(const at::Tensor& parameters, const at::Tensor& buffers) {
  MakeViews(parameters, parameters_, parameter_tensors_);
  MakeViews(buffers, buffers_, buffer_tensors_);
  bound_parameters_ = parameters;
  bound_buffers_ = buffers;
}

absl::StatusOr<Batch> AutogradProblem::Shard(const Batch& batch, int shard, int shards) {
  Batch part;
  for (const at::Tensor& tensor : batch.tensors) {
    const int64_t examples = tensor.size(0);
    if (examples % shards != 0) {
      return absl::InvalidArgumentError(absl::StrCat("a batch of ", examples,
                                                     " examples cannot be cut into ", shards,
                                                     " equal shards; change virtual_workers"));
    }
    const int64_t share = examples / shards;
    part.tensors.push_back(tensor.narrow(0, shard * share, share));
  }
  return part;
}

void AutogradProblem::RequireParameterGradients(bool required) {
  for (const at::Tensor& tensor : parameter_tensors_) tensor.requires_grad_(required);
}

absl::StatusOr<double> AutogradProblem::MemberLoss(const Batch& batch, const at::Tensor& lambda) {
  return CatchTorch([&]() -> absl::StatusOr<double> {
    const at::NoGradGuard no_grad;
    return Finite(TrainLoss(batch, lambda.detach()), "training");
  });
}

absl::StatusOr<std::unique_ptr<RetainedMember>> AutogradProblem::RetainMember(
    const Batch& batch, const at::Tensor& lambda) {
  using Result = absl::StatusOr<std::unique_ptr<RetainedMember>>;
  return CatchTorch([&]() -> Result {
    RequireParameterGradients(false);
    const at::Tensor leaf = Leaf(lambda);
    const at::Tensor loss = TrainLoss(batch, leaf);
    if (!loss.requires_grad()) return NoPath();
    EVOGRAD_ASSIGN_OR_RETURN(const double value, Finite(loss, "training"));
    return std::make_unique<AutogradMember>(loss, value, leaf, bound_parameters_);
  });
}

absl::StatusOr<LossAndGradient> AutogradProblem::MemberGradient(const Batch& batch,
                                                                const at::Tensor& lambda) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<RetainedMember> member,
                           RetainMember(batch, lambda));
  EVOGRAD_ASSIGN_OR_RETURN(at::Tensor hypergradient, member->Hypergradient());
  return LossAndGradient{member->loss(), std::move(hypergradient)};
}

void AutogradProblem::BackwardInto(const at::Tensor& loss, const at::Tensor& gradient,
                                   const at::Tensor& lambda) {
  EVOGRAD_CHECK(gradient.dim() == 1 && gradient.numel() == parameters_.elements(),
                "a flat gradient has the layout's number of elements");
  gradient.zero_();
  std::vector<at::Tensor> inputs = parameter_tensors_;
  if (lambda.defined()) inputs.push_back(lambda);
  // Autograd adds into a gradient that is there: into the flat one, through these views.
  for (size_t i = 0; i < parameter_tensors_.size(); ++i) {
    parameter_tensors_[i].mutable_grad() = View(gradient, parameters_.slots()[i]);
  }
  torch::autograd::backward({loss}, {}, /*retain_graph=*/false, /*create_graph=*/false, inputs);
  for (const at::Tensor& tensor : parameter_tensors_) tensor.mutable_grad().reset();
}

absl::StatusOr<LossAndGradient> AutogradProblem::TrainGradient(const Batch& batch,
                                                               const at::Tensor& lambda,
                                                               const at::Tensor& gradient,
                                                               bool with_hypergradient) {
  return CatchTorch([&]() -> absl::StatusOr<LossAndGradient> {
    RequireParameterGradients(true);
    const at::Tensor leaf = with_hypergradient ? Leaf(lambda) : at::Tensor();
    const at::Tensor loss = TrainLoss(batch, with_hypergradient ? leaf : lambda.detach());
    EVOGRAD_ASSIGN_OR_RETURN(const double value, Finite(loss, "training"));
    BackwardInto(loss, gradient, leaf);
    if (!with_hypergradient) return LossAndGradient{value, at::Tensor()};
    if (!leaf.grad().defined()) return NoPath();
    return LossAndGradient{value, leaf.grad()};
  });
}

absl::StatusOr<double> AutogradProblem::ValidationGradient(const Batch& batch,
                                                           const at::Tensor& gradient) {
  return CatchTorch([&]() -> absl::StatusOr<double> {
    RequireParameterGradients(true);
    const at::Tensor loss = ValidationLoss(batch);
    EVOGRAD_ASSIGN_OR_RETURN(const double value, Finite(loss, "validation"));
    BackwardInto(loss, gradient, at::Tensor());
    return value;
  });
}

absl::StatusOr<at::Tensor> AutogradProblem::CrossGradient(const Batch& batch,
                                                          const at::Tensor& lambda,
                                                          const at::Tensor& direction) {
  return CatchTorch([&]() -> absl::StatusOr<at::Tensor> {
    RequireParameterGradients(true);
    const at::Tensor leaf = Leaf(lambda);
    const at::Tensor loss = TrainLoss(batch, leaf);
    EVOGRAD_RETURN_IF_ERROR(Finite(loss, "training").status());
    const SeededGradients gradients =
        GradientsAlong(direction, loss, parameter_tensors_, parameters_);
    at::Tensor cross;
    if (!gradients.outputs.empty()) {
      cross = torch::autograd::grad(gradients.outputs, {leaf}, gradients.seeds,
                                    /*retain_graph=*/true, /*create_graph=*/false,
                                    /*allow_unused=*/true)[0];
    }
    if (cross.defined()) return cross;
    // Nothing of the gradient depends on lambda: does the loss?
    if (!torch::autograd::grad({loss}, {leaf}, {}, /*retain_graph=*/false,
                               /*create_graph=*/false, /*allow_unused=*/true)[0]
             .defined()) {
      return NoPath();
    }
    return at::zeros_like(leaf);
  });
}

absl::Status AutogradProblem::HessianVector(const Batch& batch, const at::Tensor& lambda,
                                            const at::Tensor& direction,
                                            const at::Tensor& product) {
  return CatchTorch([&]() -> absl::Status {
    RequireParameterGradients(true);
    const at::Tensor loss = TrainLoss(batch, lambda.detach());
    EVOGRAD_RETURN_IF_ERROR(Finite(loss, "training").status());
    const SeededGradients gradients =
        GradientsAlong(direction, loss, parameter_tensors_, parameters_);
    product.zero_();
    // A loss that is linear in theta.
    if (gradients.outputs.empty()) return absl::OkStatus();
    const std::vector<at::Tensor> products =
        torch::autograd::grad(gradients.outputs, parameter_tensors_, gradients.seeds,
                              /*retain_graph=*/false, /*create_graph=*/false,
                              /*allow_unused=*/true);
    for (size_t i = 0; i < products.size(); ++i) {
      if (products[i].defined()) View(product, parameters_.slots()[i]).copy_(products[i]);
    }
    return absl::OkStatus();
  });
}

}  // namespace evograd
