// A bilevel problem: a handful of functions of flat parameters theta and hyperparameters lambda.
// First-order gradients are all that EvoGrad asks for; CrossGradient is for the second-order
// baseline alone.
//
// All functions evaluate at the parameters that lie in the bound storage at the time of the call:
// the engine writes a *base*, *member* or *recombined* theta there and calls. They are pure
// otherwise: layer noise comes from LibTorch's default generator, which the engine seeds before
// each call; buffers (batch-norm statistics) are part of the bound storage, and the engine keeps or
// undoes what a call did to them.
//
// Threads: one. Errors: DATA_LOSS / NOT_FOUND / INVALID_ARGUMENT name the file or field. LibTorch's
// exceptions never leave an implementation.
#ifndef EVOGRAD_WORKER_PROBLEMS_PROBLEM_H_
#define EVOGRAD_WORKER_PROBLEMS_PROBLEM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evograd {

// Where each tensor of theta lies in the flat buffer. Every tensor starts on a 256-byte boundary
// whatever the device, so that an element has the same number, and so the same noise, everywhere.
// Padding is zero and stays zero.
struct TensorSlot {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;     // in elements
  int64_t size = 0;       // in elements
  bool perturbed = true;  // whether members differ in it
};

class ParameterLayout {
 public:
  explicit ParameterLayout(int64_t element_bytes) : element_bytes_(element_bytes) {}

  void Add(const std::string& name, const std::vector<int64_t>& shape, bool perturbed = true) {
    TensorSlot slot{name, shape, elements_, 1, perturbed};
    for (int64_t extent : shape) slot.size *= extent;
    const int64_t alignment = kAlignmentBytes / element_bytes_;
    elements_ += (slot.size + alignment - 1) / alignment * alignment;
    slots_.push_back(std::move(slot));
  }

  const std::vector<TensorSlot>& slots() const { return slots_; }
  int64_t elements() const { return elements_; }  // padding included

 private:
  static constexpr int64_t kAlignmentBytes = 256;
  int64_t element_bytes_;
  int64_t elements_ = 0;
  std::vector<TensorSlot> slots_;
};

// Examples of one step; every tensor's first dimension counts examples (for few-shot: episodes).
struct Batch {
  std::vector<at::Tensor> tensors;
};

// What an evaluation says: metrics by name, shares in [0, 1], and warnings for a person, a sentence
// each.
struct ProblemEvaluation {
  std::map<std::string, double> metrics;
  std::vector<std::string> warnings;
};

// A loss and, where asked for, its gradient to lambda: shape [H], on the problem's device.
struct LossAndGradient {
  double loss = 0;
  at::Tensor hypergradient;
};

// A member's forward whose graph to lambda is still alive. The graph refers to the bound storage
// instead of keeping copies of theta: whoever wrote other parameters there since writes the
// member's again before Hypergradient.
class RetainedMember {
 public:
  virtual ~RetainedMember() = default;
  virtual double loss() const = 0;
  // d loss / d lambda, shape [H]; once. INTERNAL when other parameters than the member's are bound.
  virtual absl::StatusOr<at::Tensor> Hypergradient() = 0;
};

class Problem {
 public:
  virtual ~Problem() = default;

  virtual const ParameterLayout& parameters() const = 0;
  virtual const ParameterLayout& buffers() const = 0;
  virtual std::vector<std::string> hyperparameter_names() const = 0;
  virtual std::vector<double> initial_hyperparameters() const = 0;
  // Whether the published code updates theta before lambda within a step.
  virtual bool base_first() const = 0;

  // Makes the model's tensors views of these flat tensors, on the problem's device and of its type.
  virtual void Bind(const at::Tensor& parameters, const at::Tensor& buffers) = 0;
  // Writes the initial values, a pure function of `seed`, into the bound storage.
  virtual absl::Status Initialise(uint64_t seed) = 0;
  // A problem whose theta follows from lambda (toy1d at its optimum) writes it into the bound
  // storage and answers true; the base step is then left out.
  virtual bool SetOptimalParameters(const at::Tensor& lambda) { return false; }

  // Pure functions of (seed of the job, step). Shard `shard` of `shards` holds an equal share of
  // the examples.
  virtual absl::StatusOr<Batch> TrainBatch(int64_t step) = 0;
  virtual absl::StatusOr<Batch> ValidationBatch(int64_t step) = 0;
  virtual absl::StatusOr<Batch> Shard(const Batch& batch, int shard, int shards) = 0;

  // What the members of a step have in common, computed once, at the base point: called with base
  // parameters bound before the first member, it answers the batch that the three functions of
  // members take. Most simply that is `batch` itself. A problem whose hyperparameters read training
  // losses adds those of the base point; one whose first layers no member changes puts their
  // activations in the inputs' place.
  virtual absl::StatusOr<Batch> PrepareMembers(const Batch& batch, const at::Tensor& lambda) {
    return batch;
  }

  // l_T at the bound theta.
  virtual absl::StatusOr<double> MemberLoss(const Batch& batch, const at::Tensor& lambda) = 0;
  virtual absl::StatusOr<std::unique_ptr<RetainedMember>> RetainMember(
      const Batch& batch, const at::Tensor& lambda) = 0;
  // l_T and d l_T / d lambda with theta held constant.
  virtual absl::StatusOr<LossAndGradient> MemberGradient(const Batch& batch,
                                                         const at::Tensor& lambda) = 0;
  // l_T and d l_T / d theta into `gradient` (flat, overwritten); d l_T / d lambda too where
  // `with_hypergradient`.
  virtual absl::StatusOr<LossAndGradient> TrainGradient(const Batch& batch,
                                                        const at::Tensor& lambda,
                                                        const at::Tensor& gradient,
                                                        bool with_hypergradient) = 0;
  // l_V and d l_V / d theta into `gradient` (flat, overwritten).
  virtual absl::StatusOr<double> ValidationGradient(const Batch& batch,
                                                    const at::Tensor& gradient) = 0;
  // d/d lambda of <d l_T / d theta, direction>: exact second order, shape [H]; `direction` is flat.
  virtual absl::StatusOr<at::Tensor> CrossGradient(const Batch& batch, const at::Tensor& lambda,
                                                   const at::Tensor& direction) = 0;
  // (d^2 l_T / d theta^2) direction into `product` (flat, overwritten; not `direction` itself):
  // exact second order.
  virtual absl::Status HessianVector(const Batch& batch, const at::Tensor& lambda,
                                     const at::Tensor& direction, const at::Tensor& product) = 0;

  // At the end of a job.
  virtual absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor& lambda) = 0;
  // Between steps, every evaluation_interval_steps: most simply the same; less of it, or about
  // other data, where an evaluation costs much or is about what training may not look at.
  virtual absl::StatusOr<ProblemEvaluation> EvaluateBetweenSteps(const at::Tensor& lambda) {
    return Evaluate(lambda);
  }
  // Tensors of any type that go with every checkpoint, by name: what the problem made of its data
  // and a person may want to see (a noise matrix, the numbers of relabelled examples).
  virtual std::map<std::string, at::Tensor> Artifacts() const { return {}; }
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_PROBLEM_H_
