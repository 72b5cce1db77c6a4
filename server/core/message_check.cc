#include "server/core/message_check.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/limits.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

absl::Status Malformed(const std::string& what) {
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      absl::StrCat("malformed worker message: ", what,
                   "; worker and coordinator do not fit each other, or something else dialled"),
      "MALFORMED_WORKER_MESSAGE");
}

absl::Status CheckText(const std::string& field, const std::string& text,
                       int64_t max_bytes = limits::kMaxWorkerTextBytes) {
  if (static_cast<int64_t>(text.size()) <= max_bytes) return absl::OkStatus();
  return Malformed(
      absl::StrCat(field, " has ", text.size(), " bytes, at most ", max_bytes, " are taken"));
}

absl::Status CheckVersion(int worker) {
  constexpr int kOurs = limits::kProtocolVersion;
  if (worker == kOurs) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("the worker speaks protocol version ", worker, ", the coordinator version ",
                   kOurs, ": upgrade the ", worker < kOurs ? "worker" : "coordinator"),
      "PROTOCOL_VERSION", {{"worker", absl::StrCat(worker)}, {"coordinator", absl::StrCat(kOurs)}});
}

bool IsWorkerIdChar(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; }

absl::Status CheckHeld(const v1::HeldState& held) {
  EVOGRAD_RETURN_IF_ERROR(CheckText("held.job", held.job()));
  EVOGRAD_RETURN_IF_ERROR(CheckText("held.job_uid", held.job_uid()));
  if (held.phases() < 0 || held.phases() > 2 * limits::kMaxSteps) {
    return Malformed(absl::StrCat("held.phases is ", held.phases()));
  }
  if (held.generation() < 0)
    return Malformed(absl::StrCat("held.generation is ", held.generation()));
  return absl::OkStatus();
}

absl::Status CheckEvaluation(const v1::Evaluation& evaluation) {
  if (evaluation.metrics_size() > limits::kMaxEvaluationMetrics) {
    return Malformed(absl::StrCat("an evaluation has ", evaluation.metrics_size(),
                                  " metrics, at most ", limits::kMaxEvaluationMetrics,
                                  " are taken"));
  }
  for (const auto& [name, value] : evaluation.metrics()) {
    EVOGRAD_RETURN_IF_ERROR(CheckText("the name of a metric", name));
  }
  if (evaluation.warnings_size() > limits::kMaxEvaluationWarnings) {
    return Malformed(absl::StrCat("an evaluation has ", evaluation.warnings_size(),
                                  " warnings, at most ", limits::kMaxEvaluationWarnings,
                                  " are taken"));
  }
  for (const std::string& warning : evaluation.warnings()) {
    EVOGRAD_RETURN_IF_ERROR(CheckText("a warning", warning));
  }
  return absl::OkStatus();
}

absl::Status CheckResult(const v1::StepResult& result) {
  const auto in_step = [&](const std::string& what) {
    return Malformed(absl::StrCat("step ", result.step(), " ", what));
  };
  if (result.step() < 0 || result.step() >= limits::kMaxSteps) return in_step("does not exist");
  if (result.hypergradient_size() > limits::kMaxStreamedHyperparameters) {
    return in_step(absl::StrCat("has ", result.hypergradient_size(), " hypergradient entries"));
  }
  if (!result.has_metrics() || result.metrics().step() != result.step()) {
    return in_step("has no metrics, or those of another step");
  }
  if (result.metrics().member_losses_size() > limits::kMaxPopulation) {
    return in_step(absl::StrCat("has ", result.metrics().member_losses_size(), " member losses"));
  }
  if (result.metrics().hyperparameters_size() > limits::kMaxShownHyperparameters) {
    return in_step(
        absl::StrCat("shows ", result.metrics().hyperparameters_size(), " hyperparameters"));
  }
  const bool first = result.step() == 0;
  if (!first &&
      (result.initial_hyperparameters_size() > 0 || result.hyperparameter_names_size() > 0)) {
    return in_step("brings initial hyperparameters, which only step 0 may");
  }
  if (result.initial_hyperparameters_size() > limits::kMaxStreamedHyperparameters) {
    return in_step(absl::StrCat("has ", result.initial_hyperparameters_size(), " hyperparameters"));
  }
  for (const std::string& name : result.hyperparameter_names()) {
    EVOGRAD_RETURN_IF_ERROR(CheckText("the name of a hyperparameter", name));
  }
  return CheckEvaluation(result.evaluation());
}

absl::Status CheckResults(const v1::StepResults& results) {
  if (results.results_size() == 0) return Malformed("StepResults without a result");
  if (results.results_size() > limits::kMaxPipelineDepth) {
    return Malformed(absl::StrCat("StepResults with ", results.results_size(), " results, at most ",
                                  limits::kMaxPipelineDepth, " are taken"));
  }
  for (const v1::StepResult& result : results.results()) {
    EVOGRAD_RETURN_IF_ERROR(CheckResult(result));
  }
  return CheckText("results.job", results.job());
}

absl::Status CheckSha256(const std::string& field, const std::string& hex) {
  const bool good = hex.size() == 64 && std::all_of(hex.begin(), hex.end(), [](char c) {
                      return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
                    });
  return good ? absl::OkStatus()
              : Malformed(
                    absl::StrCat(field, " is not a SHA-256 in 64 lower-case hexadecimal digits"));
}

absl::Status CheckFinished(const v1::JobFinished& finished) {
  EVOGRAD_RETURN_IF_ERROR(CheckText("finished.job", finished.job()));
  EVOGRAD_RETURN_IF_ERROR(CheckSha256("finished.parameters_sha256", finished.parameters_sha256()));
  EVOGRAD_RETURN_IF_ERROR(
      CheckSha256("finished.hyperparameters_sha256", finished.hyperparameters_sha256()));
  return CheckEvaluation(finished.evaluation());
}

absl::Status CheckFailed(const v1::JobFailed& failed) {
  EVOGRAD_RETURN_IF_ERROR(CheckText("failed.job", failed.job()));
  if (failed.error().code() <= 0 || failed.error().code() > 16) {
    return Malformed(absl::StrCat("failed.error.code is ", failed.error().code(),
                                  ", not a google.rpc.Code of an error"));
  }
  return CheckText("failed.error.message", failed.error().message(), limits::kMaxMessageBytes);
}

absl::Status CheckHeartbeat(const v1::Heartbeat& heartbeat) {
  for (const double seconds : {heartbeat.doing_seconds(), heartbeat.still_seconds()}) {
    // Not a number is not in the range.
    if (seconds >= 0 && seconds < 1e9) continue;
    return Malformed(absl::StrCat("a heartbeat with a time of ", seconds, " s"));
  }
  return CheckText("heartbeat.doing", heartbeat.doing(), limits::kMaxDoingBytes);
}

absl::Status CheckRendezvous(const v1::RendezvousEntry& entry) {
  EVOGRAD_RETURN_IF_ERROR(CheckText("rendezvous.job", entry.job()));
  EVOGRAD_RETURN_IF_ERROR(CheckText("rendezvous.key", entry.key(), limits::kMaxRendezvousKeyBytes));
  return CheckText("rendezvous.value", entry.value(), limits::kMaxRendezvousValueBytes);
}

}  // namespace

absl::Status CheckHello(const v1::Hello& hello) {
  EVOGRAD_RETURN_IF_ERROR(CheckVersion(hello.protocol_version()));
  const std::string& id = hello.worker_id();
  if (id.empty() || id.size() > limits::kMaxWorkerIdBytes ||
      !std::all_of(id.begin(), id.end(), IsWorkerIdChar)) {
    return Malformed(absl::StrCat("hello.worker_id must have 1 to ", limits::kMaxWorkerIdBytes,
                                  " letters, digits, '-', '_' and '.'"));
  }
  if (hello.device_kind() != v1::CPU && hello.device_kind() != v1::CUDA) {
    return Malformed(
        absl::StrCat("hello.device_kind is ", hello.device_kind(), ", neither CPU nor CUDA"));
  }
  EVOGRAD_RETURN_IF_ERROR(CheckText("hello.device_name", hello.device_name()));
  EVOGRAD_RETURN_IF_ERROR(CheckText("hello.host", hello.host()));
  EVOGRAD_RETURN_IF_ERROR(CheckText("hello.process_nonce", hello.process_nonce()));
  EVOGRAD_RETURN_IF_ERROR(CheckText("hello.numerics", hello.numerics()));
  EVOGRAD_RETURN_IF_ERROR(CheckText("hello.network", hello.network()));
  EVOGRAD_RETURN_IF_ERROR(CheckText("hello.busy_job", hello.busy_job()));
  return CheckHeld(hello.held());
}

absl::Status CheckWorkerMessage(const v1::WorkerMessage& message) {
  switch (message.kind_case()) {
    case v1::WorkerMessage::kHello:
      return Malformed("a second Hello on one stream");
    case v1::WorkerMessage::kHeartbeat:
      return CheckHeartbeat(message.heartbeat());
    case v1::WorkerMessage::kRendezvous:
      return CheckRendezvous(message.rendezvous());
    case v1::WorkerMessage::kResults:
      return CheckResults(message.results());
    case v1::WorkerMessage::kGenerationLeft:
      EVOGRAD_RETURN_IF_ERROR(
          CheckText("generation_left.reason", message.generation_left().reason()));
      return CheckHeld(message.generation_left().held());
    case v1::WorkerMessage::kFinished:
      return CheckFinished(message.finished());
    case v1::WorkerMessage::kFailed:
      return CheckFailed(message.failed());
    case v1::WorkerMessage::kReleased:
      return CheckText("released.job", message.released().job());
    case v1::WorkerMessage::kPrepared:
      return CheckText("prepared.job", message.prepared().job());
    case v1::WorkerMessage::kTrouble:
      EVOGRAD_RETURN_IF_ERROR(CheckText("trouble.job", message.trouble().job()));
      return CheckText("trouble.text", message.trouble().text());
    case v1::WorkerMessage::kPart:
      // A sign of life; the stream has put the pieces together.
      return absl::OkStatus();
    case v1::WorkerMessage::KIND_NOT_SET:
      break;
  }
  return Malformed("it has no known kind");
}

}  // namespace evograd
