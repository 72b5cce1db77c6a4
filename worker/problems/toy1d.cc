#include "worker/problems/toy1d.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <map>
#include <utility>
#include <vector>

#include "worker/problems/autograd_problem.h"
#include "worker/problems/torch_status.h"

namespace evograd {
namespace {

// A module of one number.
class Scalar : public torch::nn::Module {
 public:
  Scalar() { x_ = register_parameter("x", at::zeros({1})); }
  const at::Tensor& x() const { return x_; }

 private:
  at::Tensor x_;
};

class Toy1d : public AutogradProblem {
 public:
  Toy1d(const v1::Toy1d& spec, std::shared_ptr<Scalar> module, at::ScalarType type,
        const at::Device& device)
      : AutogradProblem(module, type, device), spec_(spec), module_(std::move(module)) {}

  std::vector<std::string> hyperparameter_names() const override { return {"lambda"}; }
  std::vector<double> initial_hyperparameters() const override { return {spec_.initial_lambda()}; }
  bool base_first() const override { return true; }

  absl::Status Initialise(uint64_t seed) override {
    return CatchTorch([&] {
      bound_parameters()[0].fill_(spec_.initial_x());
      return absl::OkStatus();
    });
  }

  bool SetOptimalParameters(const at::Tensor& lambda) override {
    if (!spec_.x_at_optimum()) return false;
    bound_parameters()[0].copy_(1 / (1 + lambda.detach()[0]));
    return true;
  }

  // There are no examples.
  absl::StatusOr<Batch> TrainBatch(int64_t step) override { return Batch{}; }
  absl::StatusOr<Batch> ValidationBatch(int64_t step) override { return Batch{}; }

  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor& lambda) override {
    return CatchTorch([&]() -> absl::StatusOr<ProblemEvaluation> {
      const at::NoGradGuard no_grad;
      return ProblemEvaluation{{{"x", module_->x().item<double>()},
                                {"lambda", lambda.item<double>()},
                                {"validation_loss", ValidationLoss(Batch{}).item<double>()}},
                               {}};
    });
  }

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override {
    const at::Tensor& x = module_->x();
    return ((x - 1).square() + lambda * x.square()).sum();
  }

  at::Tensor ValidationLoss(const Batch& batch) override {
    return (module_->x() - 0.5).square().sum();
  }

 private:
  const v1::Toy1d spec_;
  const std::shared_ptr<Scalar> module_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Problem>> MakeToy1d(const v1::JobSpec& spec,
                                                   const std::string& device,
                                                   const std::atomic<bool>& cancelled) {
  return CatchTorch([&]() -> absl::StatusOr<std::unique_ptr<Problem>> {
    return std::make_unique<Toy1d>(spec.problem().toy1d(), std::make_shared<Scalar>(),
                                   TypeOf(spec.data_type()), at::Device(device));
  });
}

}  // namespace evograd
