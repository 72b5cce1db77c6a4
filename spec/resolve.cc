#include "spec/resolve.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/printable.h"
#include "spec/checker.h"
#include "spec/estimator.h"
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
  using Field = google::protobuf::FieldDescriptor;
  const auto check_enum = [&](const Field* field, const std::string& path, int value) {
    if (field->enum_type()->FindValueByNumber(value) != nullptr) return;
    check->Fail(path, absl::StrCat(value, " is no value of ", field->enum_type()->name()));
  };
  for (const Field* field : fields) {
    const std::string path = Join(prefix, field->name());
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const bool repeated = field->is_repeated();
      const std::string at = repeated ? absl::StrCat(path, "[", i, "]") : path;
      if (field->cpp_type() == Field::CPPTYPE_MESSAGE) {
        CheckKnown(repeated ? reflection->GetRepeatedMessage(message, field, i)
                            : reflection->GetMessage(message, field),
                   at, check);
      } else if (field->cpp_type() == Field::CPPTYPE_ENUM) {
        check_enum(field, at,
                   repeated ? reflection->GetRepeatedEnumValue(message, field, i)
                            : reflection->GetEnumValue(message, field));
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
  if (optimizer->has_schedule()) {
    EVOGRAD_DEFAULT_IF_ABSENT(optimizer->mutable_schedule(), decay_factor, 0.1);
  }
}

void FillDefaults(v1::JobSpec* spec) {
  FillOptimizer(spec->mutable_base_optimizer());
  FillOptimizer(spec->mutable_meta_optimizer());

  v1::Estimator* estimator = spec->mutable_estimator();
  EVOGRAD_DEFAULT_IF_ZERO(estimator, kind, v1::Estimator::EVOGRAD);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, population, 2);
  const bool guided = estimator->kind() == v1::Estimator::EVOGRAD_GUIDED;
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, sigma, guided ? 1e-5 : 0.001);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, tau, 0.05);
  EVOGRAD_DEFAULT_IF_ZERO(estimator, noise, v1::RADEMACHER);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, inner_learning_rate, spec->base_optimizer().learning_rate());
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, common_layer_noise, guided);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, calibrated, guided);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, guidance, guided ? 1 : 0);
  EVOGRAD_DEFAULT_IF_ZERO(estimator, gradient_at, guided ? v1::LOOK_AHEAD : v1::RECOMBINED);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, iterations, 5);
  EVOGRAD_DEFAULT_IF_ABSENT(estimator, difference_radius, 0.01);

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
  EVOGRAD_DEFAULT_IF_ABSENT(spec, checkpoint_interval_seconds,
                            limits::kDefaultCheckpointIntervalSeconds);
  FillProblem(spec);
}

void CheckEstimator(const v1::Estimator& estimator, double base_learning_rate, Checker* check) {
  const int population = estimator.population();
  check->InRange("estimator.population", population, 1, limits::kMaxPopulation);
  if (PerturbsInPairs(estimator) && population >= 1 && population % 2 != 0) {
    check->Fail("estimator.population", absl::StrCat(population, " is odd, but ",
                                                     v1::Estimator::Kind_Name(estimator.kind()),
                                                     " perturbs in pairs; give an even number"));
  }
  if (estimator.kind() == v1::Estimator::EVOGRAD_SHARED && population == 1) {
    check->Fail(
        "estimator.population",
        "1 leaves EVOGRAD_SHARED, one of whose members is the base point, without a perturbed "
        "member; give 2 or more");
  }
  check->Positive("estimator.sigma", estimator.sigma());
  check->Positive("estimator.tau", estimator.tau());
  check->Share("estimator.guidance", estimator.guidance());
  if (estimator.guidance() > 0 && estimator.gradient_at() == v1::RECOMBINED) {
    check->Fail("estimator.gradient_at",
                "RECOMBINED follows from the members, whom guidance needs the validation gradient "
                "for; give BASE or LOOK_AHEAD, or a guidance of 0");
  }
  check->InRange("estimator.iterations", estimator.iterations(), 0, limits::kMaxIterations);
  check->PositiveOrZero("estimator.damping", estimator.damping());
  check->Positive("estimator.difference_radius", estimator.difference_radius());
  // A wrong base learning rate, this field's default, is named at its own place.
  if (!(base_learning_rate >= 0)) return;
  // Elsewhere it has no effect, and a base learning rate of 0 is a fair wish.
  if (UsesInnerStep(estimator)) {
    check->Positive("estimator.inner_learning_rate", estimator.inner_learning_rate());
  } else {
    check->PositiveOrZero("estimator.inner_learning_rate", estimator.inner_learning_rate());
  }
}

void CheckSchedule(const std::string& prefix, const v1::Schedule& schedule, Checker* check) {
  check->InRange(prefix + "warmup_steps", schedule.warmup_steps(), 0, limits::kMaxSteps);
  check->PositiveOrZero(prefix + "decay_factor", schedule.decay_factor());
  if (schedule.decay_steps_size() > limits::kMaxDecaySteps) {
    check->Fail(prefix + "decay_steps",
                absl::StrCat("has ", schedule.decay_steps_size(), " steps; at most ",
                             limits::kMaxDecaySteps, " are allowed"));
  }
  int64_t before = 0;
  for (const int64_t step : schedule.decay_steps()) {
    if (step <= before || step > limits::kMaxSteps) {
      check->Fail(prefix + "decay_steps", absl::StrCat(step, " follows ", before,
                                                       "; give positive steps in ascending order"));
      break;
    }
    before = step;
  }
  const int64_t end = schedule.linear_to_zero_at_step();
  if (end != 0 && (end <= schedule.warmup_steps() || end > limits::kMaxSteps)) {
    check->Fail(prefix + "linear_to_zero_at_step",
                absl::StrCat(end, " is not after the warm-up's ", schedule.warmup_steps(),
                             " steps; give a later step"));
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
  check->PositiveOrZero(prefix + ".max_gradient_norm", optimizer.max_gradient_norm());
  CheckSchedule(prefix + ".schedule.", optimizer.schedule(), check);
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
  if (HasUnprintable(name)) {
    check->Fail("display_name", "has a control character in it; give one line of text");
  }
}

void CheckKept(const v1::JobSpec& spec, Checker* check) {
  const v1::KeepCheckpoints& keep = spec.keep_checkpoints();
  if (keep.best_metric().size() > limits::kMaxMetricNameBytes) {
    check->Fail("keep_checkpoints.best_metric",
                absl::StrCat("is ", keep.best_metric().size(), " bytes long; at most ",
                             limits::kMaxMetricNameBytes, " are allowed"));
  } else if (!keep.best_metric().empty() && spec.evaluation_interval_steps() == 0) {
    check->Fail(
        "evaluation_interval_steps",
        "is missing or 0; keep_checkpoints.best_metric compares evaluations, so give the number "
        "of steps from one to the next");
  }
  if (keep.least() && keep.best_metric().empty()) {
    check->Fail("keep_checkpoints.best_metric",
                "is missing; keep_checkpoints.least says how its values compare");
  }
  check->NotNegative("keep_checkpoints.every_steps", keep.every_steps());
  if (keep.every_steps() > 0 && spec.steps() / keep.every_steps() > limits::kMaxKeptCheckpoints) {
    check->Fail("keep_checkpoints.every_steps",
                absl::StrCat("keeps ", spec.steps() / keep.every_steps(), " of ", spec.steps(),
                             " steps; at most ", limits::kMaxKeptCheckpoints,
                             " can be kept, so give a larger number"));
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
    check.Fail("steps", "is missing or 0; give the number of meta-steps, at least 1");
  } else {
    check.InRange("steps", spec->steps(), 1, limits::kMaxSteps);
  }
  CheckWorkers(*spec, &check);
  check.NotNegative("evaluation_interval_steps", spec->evaluation_interval_steps());
  check.NotNegative("checkpoint_interval_steps", spec->checkpoint_interval_steps());
  check.NotNegative("checkpoint_interval_seconds", spec->checkpoint_interval_seconds());
  CheckKept(*spec, &check);
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
