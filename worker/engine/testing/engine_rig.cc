#include "worker/engine/testing/engine_rig.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "spec/resolve.h"
#include "worker/collective/in_process_communicator.h"

namespace evograd {

v1::JobSpec RigSpec(const std::string& text) {
  v1::JobSpec spec;
  spec.mutable_problem()->mutable_toy1d();
  spec.set_steps(1000);
  spec.set_seed(11);
  spec.set_data_type(v1::FLOAT64);
  spec.mutable_estimator()->set_sigma(0.01);
  v1::JobSpec given;
  EVOGRAD_CHECK(google::protobuf::TextFormat::ParseFromString(text, &given), text.c_str());
  spec.MergeFrom(given);
  for (const FieldViolation& violation : Resolve(&spec)) {
    EVOGRAD_CHECK(false, absl::StrCat(violation.field, ": ", violation.description).c_str());
  }
  return spec;
}

std::unique_ptr<TrainingEngine> MakeEngineOver(absl::StatusOr<std::unique_ptr<Problem>> problem,
                                               const v1::JobSpec& spec,
                                               const std::string& job_uid) {
  static const CancelFlag never{false};
  EVOGRAD_CHECK(problem.ok(), problem.status().ToString().c_str());
  auto engine = TrainingEngine::Create(spec, job_uid, EngineOptions(), *std::move(problem), never);
  EVOGRAD_CHECK(engine.ok(), engine.status().ToString().c_str());
  return *std::move(engine);
}

std::unique_ptr<TrainingEngine> MakeRigEngine(const v1::JobSpec& spec,
                                              const ConvProblemOptions& problem,
                                              const std::string& job_uid) {
  ConvProblemOptions options = problem;
  options.float64 = spec.data_type() == v1::FLOAT64;
  return MakeEngineOver(MakeConvProblem(options), spec, job_uid);
}

std::string Digest(const TrainingEngine& engine) {
  const Engine::Fingerprint fingerprint = engine.fingerprint();
  std::string digest = absl::StrCat(engine.phases(), " ", fingerprint.parameters_sha256, " ",
                                    fingerprint.hyperparameters_sha256, "\n");
  for (v1::StepResult result : engine.pending()) {
    result.mutable_metrics()->clear_seconds();
    absl::StrAppend(&digest, result.DebugString());
  }
  return digest;
}

std::vector<absl::Status> RunGroup(
    const std::vector<std::unique_ptr<Communicator>>& group,
    const std::function<absl::Status(int rank, Communicator& communicator)>& body) {
  std::vector<absl::Status> statuses(group.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < group.size(); ++rank) {
    threads.emplace_back([&, rank] { statuses[rank] = body(rank, *group[rank]); });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

std::vector<std::unique_ptr<Communicator>> InProcessGroup(int size) {
  std::vector<std::unique_ptr<Communicator>> group;
  for (auto& rank : InProcessCommunicator::CreateGroup(size, absl::Seconds(30))) {
    group.push_back(std::move(rank));
  }
  return group;
}

Engines RunTogether(int ranks, int steps,
                    const std::function<std::unique_ptr<TrainingEngine>()>& make) {
  Engines engines;
  for (int rank = 0; rank < ranks; ++rank) engines.push_back(make());
  const auto statuses =
      RunGroup(InProcessGroup(ranks), [&](int rank, Communicator& communicator) -> absl::Status {
        EVOGRAD_RETURN_IF_ERROR(engines[rank]->Initialise());
        for (int step = 0; step < steps; ++step) {
          EVOGRAD_RETURN_IF_ERROR(engines[rank]->RunStep(communicator));
        }
        return absl::OkStatus();
      });
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_TRUE(statuses[rank].ok()) << "rank " << rank << ": " << statuses[rank];
  }
  return engines;
}

std::string CommonDigest(const Engines& engines) {
  const std::string first = Digest(*engines[0]);
  for (size_t rank = 1; rank < engines.size(); ++rank) {
    EXPECT_EQ(Digest(*engines[rank]), first) << "rank " << rank << " of " << engines.size();
  }
  return first;
}

std::string RunAndDigest(const v1::JobSpec& spec, int ranks, int steps,
                         const ConvProblemOptions& problem) {
  return CommonDigest(RunTogether(ranks, steps, [&] { return MakeRigEngine(spec, problem); }));
}

}  // namespace evograd
