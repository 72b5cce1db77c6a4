#include "spec/problem.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "spec/lft.h"
#include "spec/meta_weight_net.h"
#include "spec/metaxl.h"

namespace evograd {
namespace {

void FillRotation(v1::Rotation* rotation) {
  EVOGRAD_DEFAULT_IF_ABSENT(rotation, angle_degrees, 30);
  EVOGRAD_DEFAULT_IF_ZERO(rotation, train_examples, 40'000);
  EVOGRAD_DEFAULT_IF_ZERO(rotation, validation_examples, 10'000);
  EVOGRAD_DEFAULT_IF_ZERO(rotation, batch_size, 128);
  EVOGRAD_DEFAULT_IF_ZERO(rotation, validation_batch_size, 128);
}

void CheckToy1d(const v1::Toy1d& toy, Checker* check) {
  check->Finite("problem.toy1d.initial_x", toy.initial_x());
  const std::string field = "problem.toy1d.initial_lambda";
  check->Finite(field, toy.initial_lambda());
  if (toy.x_at_optimum() && toy.initial_lambda() <= -1) {
    check->Fail(field, absl::StrCat(toy.initial_lambda(),
                                    " leaves the training loss without a minimum "
                                    "for x_at_optimum; give more than -1"));
  }
}

void CheckRotation(const v1::Rotation& rotation, int64_t virtual_workers, Checker* check) {
  const std::string at = "problem.rotation.";
  check->Path(at + "data_dir", rotation.data_dir(), "folder");
  if (!(rotation.angle_degrees() >= -180 && rotation.angle_degrees() <= 180)) {
    check->Fail(at + "angle_degrees",
                absl::StrCat(rotation.angle_degrees(), " is outside -180 to 180"));
  }
  check->InRange(at + "train_examples", rotation.train_examples(), 1, limits::kMaxExamples);
  check->InRange(at + "validation_examples", rotation.validation_examples(), 1,
                 limits::kMaxExamples);
  check->InRange(at + "test_examples", rotation.test_examples(), 0, limits::kMaxExamples);
  check->Batch(at + "batch_size", rotation.batch_size(), rotation.train_examples(),
               "train_examples", virtual_workers);
  check->Batch(at + "validation_batch_size", rotation.validation_batch_size(),
               rotation.validation_examples(), "validation_examples", virtual_workers);
}

}  // namespace

void FillProblem(v1::JobSpec* spec) {
  if (!spec->has_problem()) return;
  v1::Problem* problem = spec->mutable_problem();
  switch (problem->kind_case()) {
    case v1::Problem::kToy1D:
      EVOGRAD_DEFAULT_IF_ABSENT(problem->mutable_toy1d(), initial_lambda, 1);
      return;
    case v1::Problem::kRotation:
      return FillRotation(problem->mutable_rotation());
    case v1::Problem::kMetaWeightNet:
      return FillMetaWeightNet(spec);
    case v1::Problem::kLft:
      return FillLft(spec);
    case v1::Problem::kPretrain:
      return FillPretrain(spec);
    case v1::Problem::kMetaxl:
      return FillMetaXl(spec);
    case v1::Problem::KIND_NOT_SET:
      return;
  }
}

void CheckProblem(const v1::JobSpec& spec, Checker* check) {
  switch (spec.problem().kind_case()) {
    case v1::Problem::kToy1D:
      return CheckToy1d(spec.problem().toy1d(), check);
    case v1::Problem::kRotation:
      return CheckRotation(spec.problem().rotation(), spec.virtual_workers(), check);
    case v1::Problem::kMetaWeightNet:
      return CheckMetaWeightNet(spec, check);
    case v1::Problem::kLft:
      return CheckLft(spec, check);
    case v1::Problem::kPretrain:
      return CheckPretrain(spec, check);
    case v1::Problem::kMetaxl:
      return CheckMetaXl(spec, check);
    case v1::Problem::KIND_NOT_SET:
      return check->Fail("problem",
                         "is missing; give one of toy1d, rotation, meta_weight_net, lft, pretrain, "
                         "metaxl");
  }
}

}  // namespace evograd
