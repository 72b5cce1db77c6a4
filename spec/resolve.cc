#include "spec/resolve.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd {
namespace {

// Smaller and larger numbers vanish or overflow in float32, the narrowest type of a job.
constexpr double kMinPositive = 1e-30;
constexpr double kMaxMagnitude = 1e30;

// Collects violations; the checks' names say what they allow.
class Checker {
 public:
  void Fail(const std::string& field, const std::string& description) {
    violations_.push_back({field, description});
  }

  void InRange(const std::string& field, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high) {
      Fail(field, absl::StrCat(value, " is outside ", low, " to ", high));
    }
  }
  void NotNegative(const std::string& field, int64_t value) {
    if (value < 0) Fail(field, absl::StrCat(value, " is negative; give 0 or more"));
  }
  // Comparisons are written so that NaN fails them.
  void Positive(const std::string& field, double value) {
    if (!(value >= kMinPositive && value <= kMaxMagnitude)) {
      Fail(field, absl::StrCat(value, " is not allowed; give a number greater than 0 (",
                               kMinPositive, " to ", kMaxMagnitude, ")"));
    }
  }
  void PositiveOrZero(const std::string& field, double value) {
    if (!(value >= 0 && value <= kMaxMagnitude)) {
      Fail(field, absl::StrCat(value, " is not allowed; give 0 or a number up to ", kMaxMagnitude));
    }
  }
  void Finite(const std::string& field, double value) {
    if (!(value >= -kMaxMagnitude && value <= kMaxMagnitude)) {
      Fail(field, absl::StrCat(value, " is not allowed; give a number between ", -kMaxMagnitude,
                               " and ", kMaxMagnitude));
    }
  }
  void BelowOne(const std::string& field, double value) {
    if (!(value >= 0 && value < 1)) {
      Fail(field, absl::StrCat(value, " is not allowed; give 0 or more and less than 1"));
    }
  }

  std::vector<FieldViolation> Take() { return std::move(violations_); }

 private:
  std::vector<FieldViolation> violations_;
};

std::string Join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : absl::StrCat(prefix, ".", name);
}

// What another version of the API may have sent: fields and enum values that this one has no
// meaning for.
void CheckKnown(const google::protobuf::Message& message, const std::string& prefix,
                Checker* check) {
  const auto* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (!unknown.empty()) {
    check->Fail(prefix.empty() ? "spec" : prefix,
                absl::StrCat("carries field number ", unknown.field(0).number(),
                             ", which this version does not know; client and coordinator are of "
                             "different versions"));
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    const std::string path = Join(prefix, field->name());
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      CheckKnown(reflection->GetMessage(message, field), path, check);
    } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_ENUM) {
      const int value = reflection->GetEnumValue(message, field);
      if (field->enum_type()->FindValueByNumber(value) == nullptr) {
        check->Fail(path, absl::StrCat(value, " is no value of ", field->enum_type()->name()));
      }
    }
  }
}

// Sets a field whose zero means "absent".
#define EVOGRAD_DEFAULT_IF_ZERO(message, field, value) \
  if ((message)->field() == 0) (message)->set_##field(value)
#define EVOGRAD_DEFAULT_IF_ABSENT(message, field, value) \
  if (!(message)->has_##field()) (message)->set_##field(value)

void FillOptimizer(v1::Optimizer* optimizer) {
  EVOGRAD_DEFAULT_IF_ZERO(optimizer, kind, v1::Optimizer::ADAM);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, learning_rate, 0.001);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, beta1, 0.9);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, beta2, 0.999);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, epsilon, 1e-8);
}

void FillProblem(v1::Problem* problem) {
  if (problem->has_toy1d()) {
    EVOGRAD_DEFAULT_IF_ABSENT(problem->mutable_toy1d(), initial_lambda, 1);
  }
  if (problem->has_rotation()) {
    v1::Rotation* rotation = problem->mutable_rotation();
    EVOGRAD_DEFAULT_IF_ABSENT(rotation, angle_degrees, 30);
    EVOGRAD_DEFAULT_IF_ZERO(rotation, train_examples, 40'000);
    EVOGRAD_DEFAULT_IF_ZERO(rotation, validation_examples, 10'000);
    EVOGRAD_DEFAULT_IF_ZERO(rotation, batch_size, 128);
    EVOGRAD_DEFAULT_IF_ZERO(rotation, validation_batch_size, 128);
  }
}

void FillDefaults(v1::JobSpec* spec) {
  if (spec->has_problem()) FillProblem(spec->mutable_problem());
  FillOptimizer(spec->mutable_base_optimizer());
  FillOptimizer(spec->mutable_meta_optimizer());

  v1::Estimator* estimator = spec->mutable_estimator();
  EVOGRAD_DEFAULT_IF_ZERO(estimator, kind, v1::Estimator::EVOGRAD);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, population, 2);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, sigma, 0.001);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, tau, 0.05);
  EVOGRAD_DEFAULT_IF_ZERO(estimator, noise, v1::RADEMACHER);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, inner_learning_rate, spec->base_optimizer().learning_rate());

  EVOGRAD_DEFAULT_IF_ZERO(spec, virtual_workers, 1);
  EVOGRAD_DEFAULT_IF_ZERO(spec, pipeline_depth, 1);
  EVOGRAD_DEFAULT_IF_ZERO(spec, min_workers, 1);
  EVOGRAD_DEFAULT_IF_ZERO(spec, max_workers,
                          std::min(std::max(spec->min_workers(), estimator->population()),
                                   std::max(spec->min_workers(), limits::kMaxWorkersPerJob)));
  EVOGRAD_DEFAULT_IF_ZERO(spec, threads, 1);
  EVOGRAD_DEFAULT_IF_ZERO(spec, data_type, v1::FLOAT32);
  EVOGRAD_DEFAULT_IF_ZERO(spec, max_restarts, 10);
  EVOGRAD_DEFAULT_IF_ZERO(spec, collective_timeout_seconds,
                          limits::kDefaultCollectiveTimeoutSeconds);
}

#undef EVOGRAD_DEFAULT_IF_ZERO
#undef EVOGRAD_DEFAULT_IF_ABSENT

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

void CheckDirectory(const std::string& field, const std::string& path, Checker* check) {
  const bool printable = std::none_of(path.begin(), path.end(),
                                      [](unsigned char c) { return absl::ascii_iscntrl(c); });
  if (path.empty()) {
    check->Fail(field, "is missing; give the folder's absolute path as the workers see it");
  } else if (path.size() > limits::kMaxPathBytes) {
    check->Fail(field, absl::StrCat("is ", path.size(), " bytes long; at most ",
                                    limits::kMaxPathBytes, " are allowed"));
  } else if (!printable) {
    check->Fail(field, "has a control character in it; give a plain path");
  } else if (path.front() != '/') {
    check->Fail(field, absl::StrCat("`", path,
                                    "` is relative; give an absolute path as the workers see it"));
  }
}

void CheckBatch(const std::string& field, int64_t batch_size, int64_t examples,
                const std::string& examples_field, int64_t virtual_workers, Checker* check) {
  if (batch_size < 1 || batch_size > limits::kMaxBatchSize) {
    check->InRange(field, batch_size, 1, limits::kMaxBatchSize);
  } else if (examples >= 1 && batch_size > examples) {
    check->Fail(field,
                absl::StrCat(batch_size, " is more than the ", examples, " of ", examples_field));
  } else if (virtual_workers >= 1 && batch_size % virtual_workers != 0) {
    check->Fail(field, absl::StrCat(batch_size, " cannot be cut into ", virtual_workers,
                                    " equal shards (virtual_workers); give a multiple of it"));
  }
}

void CheckRotation(const v1::Rotation& rotation, int64_t virtual_workers, Checker* check) {
  const std::string at = "problem.rotation.";
  CheckDirectory(at + "data_dir", rotation.data_dir(), check);
  if (!(rotation.angle_degrees() >= -180 && rotation.angle_degrees() <= 180)) {
    check->Fail(at + "angle_degrees",
                absl::StrCat(rotation.angle_degrees(), " is outside -180 to 180"));
  }
  check->InRange(at + "train_examples", rotation.train_examples(), 1, limits::kMaxExamples);
  check->InRange(at + "validation_examples", rotation.validation_examples(), 1,
                 limits::kMaxExamples);
  check->InRange(at + "test_examples", rotation.test_examples(), 0, limits::kMaxExamples);
  CheckBatch(at + "batch_size", rotation.batch_size(), rotation.train_examples(), "train_examples",
             virtual_workers, check);
  CheckBatch(at + "validation_batch_size", rotation.validation_batch_size(),
             rotation.validation_examples(), "validation_examples", virtual_workers, check);
}

void CheckProblem(const v1::JobSpec& spec, Checker* check) {
  switch (spec.problem().kind_case()) {
    case v1::Problem::kToy1D:
      return CheckToy1d(spec.problem().toy1d(), check);
    case v1::Problem::kRotation:
      return CheckRotation(spec.problem().rotation(), spec.virtual_workers(), check);
    case v1::Problem::KIND_NOT_SET:
      return check->Fail("problem", "is missing; give one of toy1d, rotation");
  }
}

void CheckEstimator(const v1::Estimator& estimator, double base_learning_rate, Checker* check) {
  const int population = estimator.population();
  check->InRange("estimator.population", population, 1, limits::kMaxPopulation);
  if (estimator.kind() == v1::Estimator::EVOGRAD_ANTITHETIC && population >= 1 &&
      population % 2 != 0) {
    check->Fail("estimator.population",
                absl::StrCat(population,
                             " is odd, but EVOGRAD_ANTITHETIC perturbs in pairs; give an even "
                             "number"));
  }
  if (estimator.kind() == v1::Estimator::EVOGRAD_SHARED && population == 1) {
    check->Fail(
        "estimator.population",
        "1 leaves EVOGRAD_SHARED, one of whose members is the base point, without a perturbed "
        "member; give 2 or more");
  }
  check->Positive("estimator.sigma", estimator.sigma());
  check->Positive("estimator.tau", estimator.tau());
  // A wrong base learning rate, this field's default, is named at its own place.
  if (!(base_learning_rate >= 0)) return;
  // Elsewhere it has no effect, and a base learning rate of 0 is a fair wish.
  if (estimator.kind() == v1::Estimator::T1T2 || estimator.calibrated()) {
    check->Positive("estimator.inner_learning_rate", estimator.inner_learning_rate());
  } else {
    check->PositiveOrZero("estimator.inner_learning_rate", estimator.inner_learning_rate());
  }
}

void CheckOptimizer(const std::string& prefix, const v1::Optimizer& optimizer, Checker* check) {
  check->PositiveOrZero(prefix + ".learning_rate", optimizer.learning_rate());
  check->BelowOne(prefix + ".momentum", optimizer.momentum());
  if (optimizer.momentum() != 0 && optimizer.kind() != v1::Optimizer::SGD) {
    check->Fail(prefix + ".momentum",
                absl::StrCat(optimizer.momentum(), " has no effect on ",
                             v1::Optimizer::Kind_Name(optimizer.kind()),
                             "; leave it out, set beta1, or set kind to SGD"));
  }
  if (optimizer.nesterov() && !(optimizer.momentum() > 0)) {
    check->Fail(prefix + ".nesterov",
                "needs a momentum greater than 0; give one or leave nesterov out");
  }
  check->PositiveOrZero(prefix + ".weight_decay", optimizer.weight_decay());
  check->BelowOne(prefix + ".beta1", optimizer.beta1());
  check->BelowOne(prefix + ".beta2", optimizer.beta2());
  check->Positive(prefix + ".epsilon", optimizer.epsilon());
}

void CheckWorkers(const v1::JobSpec& spec, Checker* check) {
  const int shards = spec.virtual_workers();
  if (shards < 1 || shards > limits::kMaxVirtualWorkers || (shards & (shards - 1)) != 0) {
    check->Fail("virtual_workers",
                absl::StrCat(shards, " is not allowed; give a power of two from 1 to ",
                             limits::kMaxVirtualWorkers));
  }
  check->InRange("pipeline_depth", spec.pipeline_depth(), 1, limits::kMaxPipelineDepth);
  check->InRange("min_workers", spec.min_workers(), 1, limits::kMaxWorkersPerJob);
  check->InRange("max_workers", spec.max_workers(), 1, limits::kMaxWorkersPerJob);
  if (spec.max_workers() >= 1 && spec.max_workers() < spec.min_workers()) {
    check->Fail("max_workers", absl::StrCat(spec.max_workers(), " is less than min_workers, ",
                                            spec.min_workers()));
  }
  check->InRange("threads", spec.threads(), 1, limits::kMaxThreads);
}

void CheckDisplayName(const std::string& name, Checker* check) {
  if (name.size() > limits::kMaxDisplayNameBytes) {
    check->Fail("display_name", absl::StrCat("is ", name.size(), " bytes long; at most ",
                                             limits::kMaxDisplayNameBytes, " are allowed"));
  }
  if (std::any_of(name.begin(), name.end(),
                  [](unsigned char c) { return absl::ascii_iscntrl(c); })) {
    check->Fail("display_name", "has a control character in it; give one line of text");
  }
}

}  // namespace

std::vector<FieldViolation> Resolve(v1::JobSpec* spec) {
  Checker check;
  CheckKnown(*spec, "", &check);
  FillDefaults(spec);
  CheckProblem(*spec, &check);
  CheckEstimator(spec->estimator(), spec->base_optimizer().learning_rate(), &check);
  CheckOptimizer("base_optimizer", spec->base_optimizer(), &check);
  CheckOptimizer("meta_optimizer", spec->meta_optimizer(), &check);
  if (spec->estimator().kind() == v1::Estimator::NONE &&
      spec->meta_optimizer().weight_decay() != 0) {
    check.Fail("meta_optimizer.weight_decay",
               "would move the hyperparameters, which estimator NONE leaves where they began; "
               "leave it out");
  }
  if (spec->steps() == 0) {
    check.Fail("steps", "is missing; give the number of meta-steps, at least 1");
  } else {
    check.InRange("steps", spec->steps(), 1, limits::kMaxSteps);
  }
  CheckWorkers(*spec, &check);
  check.NotNegative("evaluation_interval_steps", spec->evaluation_interval_steps());
  check.NotNegative("checkpoint_interval_steps", spec->checkpoint_interval_steps());
  check.NotNegative("max_restarts", spec->max_restarts());
  CheckDisplayName(spec->display_name(), &check);
  check.InRange("collective_timeout_seconds", spec->collective_timeout_seconds(), 1,
                limits::kMaxCollectiveTimeoutSeconds);
  return check.Take();
}

absl::optional<FieldViolation> CheckJobId(absl::string_view job_id) {
  const auto allowed = [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  };
  const bool good = job_id.size() >= limits::kMinJobIdBytes &&
                    job_id.size() <= limits::kMaxJobIdBytes &&
                    std::all_of(job_id.begin(), job_id.end(), allowed) &&
                    absl::ascii_islower(job_id.front()) && job_id.back() != '-';
  if (good) return absl::nullopt;
  return FieldViolation{
      "job_id",
      absl::StrCat("`", job_id.substr(0, limits::kMaxJobIdBytes + 1), "` is no job name; give ",
                   limits::kMinJobIdBytes, " to ", limits::kMaxJobIdBytes,
                   " of a-z, 0-9 and -, beginning with a letter and not ending with -")};
}

}  // namespace evograd
