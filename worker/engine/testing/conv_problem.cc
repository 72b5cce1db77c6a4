#include "worker/engine/testing/conv_problem.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <torch/nn/functional/dropout.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "worker/problems/autograd_problem.h"

namespace evograd {
namespace {

constexpr int64_t kClasses = 3;
constexpr int64_t kSide = 6;

struct NetImpl : torch::nn::Module {
  explicit NetImpl(double dropout)
      : dropout(dropout),
        conv(register_module("conv", torch::nn::Conv2d(2, 4, 3))),
        norm(register_module("norm", torch::nn::BatchNorm2d(4))),
        out(register_module("out", torch::nn::Linear(4 * 4 * 4, kClasses))) {}

  at::Tensor forward(const at::Tensor& images) {
    at::Tensor x = at::relu(norm->forward(conv->forward(images))).flatten(1);
    x = at::dropout(x, dropout, is_training());
    return out->forward(x);
  }

  double dropout;
  torch::nn::Conv2d conv;
  torch::nn::BatchNorm2d norm;
  torch::nn::Linear out;
};
TORCH_MODULE(Net);

at::Generator Generator(uint64_t seed, uint64_t stream) {
  return at::detail::createCPUGenerator(seed * 1'000'003 + stream);
}

class ConvProblem : public AutogradProblem {
 public:
  ConvProblem(Net net, const ConvProblemOptions& options)
      : AutogradProblem(net.ptr(), options.float64 ? at::kDouble : at::kFloat, at::kCPU),
        net_(std::move(net)),
        options_(options) {}

  std::vector<std::string> hyperparameter_names() const override {
    return {"scale_0", "scale_1", "class_0", "class_1", "class_2"};
  }
  std::vector<double> initial_hyperparameters() const override { return {1, 0.8, 0, 0.3, -0.2}; }
  bool base_first() const override { return options_.base_first; }

  absl::Status Initialise(uint64_t seed) override {
    const at::NoGradGuard no_grad;
    at::Generator generator = Generator(seed, 1);
    for (const TensorSlot& slot : parameters().slots()) {
      const at::Tensor values = at::randn(slot.shape, generator, at::kDouble) * 0.3;
      bound_parameters().narrow(0, slot.offset, slot.size).copy_(values.flatten());
    }
    bound_buffers().zero_();
    for (const TensorSlot& slot : buffers().slots()) {
      if (slot.name == "norm.running_var") {
        bound_buffers().narrow(0, slot.offset, slot.size).fill_(1);
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Batch> TrainBatch(int64_t step) override {
    step_ = step;
    return MakeBatch(step, 2);
  }
  absl::StatusOr<Batch> ValidationBatch(int64_t step) override { return MakeBatch(step, 3); }

  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor& lambda) override {
    const at::NoGradGuard no_grad;
    const Batch batch = MakeBatch(0, 4);
    const double loss = ValidationLoss(batch).item<double>();
    return ProblemEvaluation{{{"test_loss", loss}, {"first_scale", lambda[0].item<double>()}}, {}};
  }

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override {
    net_->train();
    const at::Tensor images = batch.tensors[0] * lambda.narrow(0, 0, 2).view({1, 2, 1, 1});
    const at::Tensor losses = at::cross_entropy_loss(net_->forward(images), batch.tensors[1],
                                                     /*weight=*/{}, at::Reduction::None);
    const at::Tensor weights =
        at::sigmoid(lambda.narrow(0, 2, kClasses)).index_select(0, batch.tensors[1]);
    const at::Tensor loss = (weights * losses).mean();
    if (step_ == options_.nan_step) return loss * std::numeric_limits<double>::quiet_NaN();
    if (step_ == options_.infinite_gradient_step) {
      // d sqrt(x) / dx is infinite at 0.
      const at::Tensor bias = net_->out->bias;
      return loss + at::sqrt(bias - bias.detach()).sum();
    }
    return loss;
  }

  at::Tensor ValidationLoss(const Batch& batch) override {
    net_->eval();
    return at::cross_entropy_loss(net_->forward(batch.tensors[0]), batch.tensors[1]);
  }

 private:
  Batch MakeBatch(int64_t step, int64_t kind) const {
    at::Generator generator = Generator(options_.seed, 10 + 10 * step + kind);
    Batch batch;
    batch.tensors.push_back(
        at::randn({options_.batch_size, 2, kSide, kSide}, generator, at::kDouble).to(type()));
    batch.tensors.push_back(at::randint(kClasses, {options_.batch_size}, generator, at::kLong));
    return batch;
  }

  Net net_;
  const ConvProblemOptions options_;
  int64_t step_ = -1;
};

}  // namespace

std::unique_ptr<Problem> MakeConvProblem(const ConvProblemOptions& options) {
  return std::make_unique<ConvProblem>(Net(options.dropout), options);
}

}  // namespace evograd
