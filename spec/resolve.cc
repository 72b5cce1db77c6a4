#include "spec/resolve.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "spec/checker.h"
#include "spec/problem.h"

namespace evograd {
namespace {

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

void FillOptimizer(v1::Optimizer* optimizer) {
  EVOGRAD_DEFAULT_IF_ZERO(optimizer, kind, v1::Optimizer::ADAM);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, learning_rate, 0.001);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, beta1, 0.9);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, beta2, 0.999);
  EVOGRAD_DEFAULT_IF_ABSENT(optimizer, epsilon, 1e-8);
}

void FillDefaults(v1::JobSpec* spec) {
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
  FillProblem(spec);
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
