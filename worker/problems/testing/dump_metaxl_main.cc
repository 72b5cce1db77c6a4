// What the functions of a MetaXL problem give at its initial parameters, as a safetensors file, for
// tests/golden:
//
//   dump_metaxl OUT.safetensors 'steps: 1 problem { metaxl { ... } }'
//
//   parameters.NAME, lambda, train.I, validation.I   what the functions take
//   perturbed.NAME                                   1 where members differ in it, else 0
//   member_loss, hypergradient                       of a member at the same parameters, prepared
//   train_loss, train_gradient.NAME, train_hypergradient
//   validation_loss, validation_gradient.NAME
//   cross                                            CrossGradient along the validation gradient
#include <ATen/core/Tensor.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <google/protobuf/text_format.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "spec/resolve.h"
#include "worker/data/safetensors_writer.h"
#include "worker/problems/metaxl.h"

namespace evograd {
namespace {

class Dump {
 public:
  void Add(const std::string& name, const at::Tensor& tensor) {
    const bool real = tensor.is_floating_point();
    const at::Tensor values = tensor.detach().to(real ? at::kDouble : at::kLong).contiguous();
    writer_.Add(name, real ? "F64" : "I64", values.sizes().vec(),
                {static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
  }
  void Add(const std::string& name, double value) {
    Add(name, at::scalar_tensor(value, at::kDouble));
  }
  void Add(const std::string& prefix, const ParameterLayout& layout, const at::Tensor& flat) {
    for (const TensorSlot& slot : layout.slots()) {
      Add(absl::StrCat(prefix, slot.name), flat.narrow(0, slot.offset, slot.size).view(slot.shape));
    }
  }
  void Add(const std::string& prefix, const Batch& batch) {
    for (size_t i = 0; i < batch.tensors.size(); ++i) {
      Add(absl::StrCat(prefix, i), batch.tensors[i]);
    }
  }
  absl::Status Write(const std::string& path) const { return writer_.Write(path); }

 private:
  SafetensorsWriter writer_;
};

absl::Status Run(const v1::JobSpec& spec, const std::string& path) {
  const std::atomic<bool> never{false};
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<Problem> problem, MakeMetaXl(spec, "cpu", never));
  const ParameterLayout& layout = problem->parameters();
  const at::Tensor theta = at::zeros({layout.elements()}, at::kDouble);
  problem->Bind(theta, at::zeros({problem->buffers().elements()}, at::kDouble));
  EVOGRAD_RETURN_IF_ERROR(problem->Initialise(spec.seed()));
  const at::Tensor lambda = at::tensor(problem->initial_hyperparameters(), at::kDouble);
  EVOGRAD_ASSIGN_OR_RETURN(const Batch train, problem->TrainBatch(0));
  EVOGRAD_ASSIGN_OR_RETURN(const Batch validation, problem->ValidationBatch(0));

  Dump dump;
  dump.Add("parameters.", layout, theta);
  dump.Add("lambda", lambda);
  dump.Add("train.", train);
  dump.Add("validation.", validation);
  for (const TensorSlot& slot : layout.slots()) {
    dump.Add(absl::StrCat("perturbed.", slot.name), slot.perturbed ? 1 : 0);
  }
  const bool learns = lambda.numel() > 0;
  const at::Tensor gradient = at::zeros_like(theta);
  EVOGRAD_ASSIGN_OR_RETURN(const LossAndGradient trained,
                           problem->TrainGradient(train, lambda, gradient, learns));
  dump.Add("train_loss", trained.loss);
  dump.Add("train_gradient.", layout, gradient);
  EVOGRAD_ASSIGN_OR_RETURN(const double loss, problem->ValidationGradient(validation, gradient));
  dump.Add("validation_loss", loss);
  dump.Add("validation_gradient.", layout, gradient);
  if (learns) {
    dump.Add("train_hypergradient", trained.hypergradient);
    EVOGRAD_ASSIGN_OR_RETURN(const at::Tensor cross,
                             problem->CrossGradient(train, lambda, gradient));
    dump.Add("cross", cross);
    EVOGRAD_ASSIGN_OR_RETURN(const Batch prepared, problem->PrepareMembers(train, lambda));
    EVOGRAD_ASSIGN_OR_RETURN(const LossAndGradient member,
                             problem->MemberGradient(prepared, lambda));
    dump.Add("member_loss", member.loss);
    dump.Add("hypergradient", member.hypergradient);
  }
  return dump.Write(path);
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  evograd::v1::JobSpec spec;
  if (argc != 3 || !google::protobuf::TextFormat::ParseFromString(argv[2], &spec)) {
    std::fprintf(stderr, "usage: dump_metaxl OUT.safetensors JOBSPEC\n");
    return 2;
  }
  for (const evograd::FieldViolation& violation : evograd::Resolve(&spec)) {
    std::fprintf(stderr, "%s: %s\n", violation.field.c_str(), violation.description.c_str());
    return 2;
  }
  const absl::Status status = evograd::Run(spec, argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
