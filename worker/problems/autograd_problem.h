// A Problem whose gradients come from LibTorch's autograd: a derived class says what the two losses
// are.
//
//   class Ridge : public AutogradProblem {
//    public:
//     Ridge() : AutogradProblem(module, at::kDouble, at::kCPU) {}
//    protected:
//     at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override { ... }
//     at::Tensor ValidationLoss(const Batch& batch) override { ... }
//   };
//
// The layouts hold the module's named parameters and buffers in its own order; Bind makes the
// module's tensors views of the flat ones, so the losses use the module as any LibTorch code does.
// Buffers all take the problem's floating point type, counters too (exact up to 2^24 in float32).
// Graphs reach no further than asked for: none for MemberLoss, to lambda alone for members, to
// theta where its gradient is wanted.
//
// Errors, of every function that computes a loss: OUT_OF_RANGE when the loss is not finite;
// FAILED_PRECONDITION when a gradient to lambda is asked for and lambda has no path to the training
// loss; RESOURCE_EXHAUSTED when memory ran out; INTERNAL for any other exception. A lambda that
// enters with a factor of zero has a gradient of zeros.
#ifndef EVOGRAD_WORKER_PROBLEMS_AUTOGRAD_PROBLEM_H_
#define EVOGRAD_WORKER_PROBLEMS_AUTOGRAD_PROBLEM_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace torch::nn {
class Module;
}

namespace evograd {

// LibTorch's name of a job's floating point type.
at::ScalarType TypeOf(v1::DataType type);

class AutogradProblem : public Problem {
 public:
  const ParameterLayout& parameters() const final { return parameters_; }
  const ParameterLayout& buffers() const final { return buffers_; }
  void Bind(const at::Tensor& parameters, const at::Tensor& buffers) final;

  // Cuts every tensor along its first dimension. INVALID_ARGUMENT when the examples cannot be dealt
  // equally.
  absl::StatusOr<Batch> Shard(const Batch& batch, int shard, int shards) override;

  absl::StatusOr<double> MemberLoss(const Batch& batch, const at::Tensor& lambda) final;
  absl::StatusOr<std::unique_ptr<RetainedMember>> RetainMember(const Batch& batch,
                                                               const at::Tensor& lambda) final;
  absl::StatusOr<LossAndGradient> MemberGradient(const Batch& batch,
                                                 const at::Tensor& lambda) final;
  absl::StatusOr<LossAndGradient> TrainGradient(const Batch& batch, const at::Tensor& lambda,
                                                const at::Tensor& gradient,
                                                bool with_hypergradient) final;
  absl::StatusOr<double> ValidationGradient(const Batch& batch, const at::Tensor& gradient) final;
  absl::StatusOr<at::Tensor> CrossGradient(const Batch& batch, const at::Tensor& lambda,
                                           const at::Tensor& direction) final;
  absl::Status HessianVector(const Batch& batch, const at::Tensor& lambda,
                             const at::Tensor& direction, const at::Tensor& product) final;

 protected:
  // Whether members differ in the parameter of this name.
  using Perturbed = std::function<bool(const std::string& name)>;

  // `module` is moved to `type` and `device`; its parameters and buffers may not change in number
  // or shape afterwards. Without `perturbed` members differ in all parameters.
  AutogradProblem(std::shared_ptr<torch::nn::Module> module, at::ScalarType type,
                  const at::Device& device, const Perturbed& perturbed = nullptr);

  // Scalar losses at the bound parameters; both may throw what LibTorch throws.
  virtual at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) = 0;
  virtual at::Tensor ValidationLoss(const Batch& batch) = 0;

  at::ScalarType type() const { return type_; }
  const at::Device& device() const { return device_; }
  at::TensorOptions options() const { return at::TensorOptions().dtype(type_).device(device_); }
  // The flat tensors of the last Bind.
  const at::Tensor& bound_parameters() const { return bound_parameters_; }
  const at::Tensor& bound_buffers() const { return bound_buffers_; }

 private:
  void RequireParameterGradients(bool required);
  // Backward of `loss` into the flat `gradient`, and into `lambda` (a leaf) where it is defined.
  void BackwardInto(const at::Tensor& loss, const at::Tensor& gradient, const at::Tensor& lambda);

  const std::shared_ptr<torch::nn::Module> module_;
  const at::ScalarType type_;
  const at::Device device_;
  ParameterLayout parameters_;
  ParameterLayout buffers_;
  std::vector<at::Tensor> parameter_tensors_;  // the module's own, in layout order
  std::vector<at::Tensor> buffer_tensors_;
  at::Tensor bound_parameters_;
  at::Tensor bound_buffers_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_AUTOGRAD_PROBLEM_H_
