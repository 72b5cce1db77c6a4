// Goal: whatever limits.h allows of hyperparameters and results that wait is saved, restored and
// sent. Method: a problem of one parameter and the most hyperparameters, with Adam and several
// steps that nobody acknowledged.
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/engine/checkpoint.h"
#include "worker/engine/testing/engine_rig.h"
#include "worker/problems/autograd_problem.h"

namespace evograd {
namespace {

constexpr int kWaiting = 3;

struct OneWeight : torch::nn::Module {
  OneWeight() : weight(register_parameter("weight", at::ones({1}, at::kDouble))) {}
  at::Tensor weight;
};

// Each hyperparameter weighs an example of its own.
class WideProblem : public AutogradProblem {
 public:
  explicit WideProblem(std::shared_ptr<OneWeight> net)
      : AutogradProblem(net, at::kDouble, at::kCPU), net_(std::move(net)) {}

  std::vector<std::string> hyperparameter_names() const override { return {}; }
  std::vector<double> initial_hyperparameters() const override {
    return std::vector<double>(limits::kMaxStreamedHyperparameters, 0.5);
  }
  bool base_first() const override { return false; }
  absl::Status Initialise(uint64_t) override {
    bound_parameters().zero_();
    bound_parameters()[0] = 2;
    return absl::OkStatus();
  }
  absl::StatusOr<Batch> TrainBatch(int64_t) override { return Batch(); }
  absl::StatusOr<Batch> ValidationBatch(int64_t) override { return Batch(); }
  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor&) override {
    return ProblemEvaluation();
  }

 protected:
  at::Tensor TrainLoss(const Batch&, const at::Tensor& lambda) override {
    const at::Tensor targets = at::arange(lambda.numel(), lambda.options()) / lambda.numel();
    return (lambda * at::square(net_->weight - targets)).mean();
  }
  at::Tensor ValidationLoss(const Batch&) override { return at::square(net_->weight - 1).sum(); }

 private:
  const std::shared_ptr<OneWeight> net_;
};

std::unique_ptr<TrainingEngine> MakeWideEngine() {
  return MakeEngineOver(std::make_unique<WideProblem>(std::make_shared<OneWeight>()), RigSpec(""));
}

std::unique_ptr<TrainingEngine> Stepped() {
  auto engine = MakeWideEngine();
  EXPECT_TRUE(engine->Initialise().ok());
  const auto group = InProcessGroup(1);
  for (int step = 0; step < kWaiting; ++step) {
    const absl::Status status = engine->RunStep(*group[0]);
    EXPECT_TRUE(status.ok()) << status;
  }
  return engine;
}

void ExpectSame(const TrainingEngine& a, const TrainingEngine& b) {
  EXPECT_EQ(a.phases(), b.phases());
  EXPECT_EQ(Checksum(a.hyper()), Checksum(b.hyper()));
  EXPECT_EQ(a.fingerprint().parameters_sha256, b.fingerprint().parameters_sha256);
  ASSERT_EQ(a.pending().size(), b.pending().size());
  for (size_t i = 0; i < a.pending().size(); ++i) {
    EXPECT_EQ(a.pending()[i].SerializeAsString(), b.pending()[i].SerializeAsString()) << i;
  }
}

TEST(WideStateTest, IsSavedAndRestored) {
  const auto engine = Stepped();
  const auto saved = engine->Serialise();
  ASSERT_TRUE(saved.ok()) << saved.status();
  const auto fresh = MakeWideEngine();
  const absl::Status status = fresh->Restore(*saved);
  ASSERT_TRUE(status.ok()) << status;
  ExpectSame(*fresh, *engine);
  EXPECT_EQ(fresh->pending().size(), static_cast<size_t>(kWaiting));
  EXPECT_EQ(*fresh->Serialise(), *saved);
  // Lambda and two moments; each step's hypergradient, and once where lambda began; little else.
  const size_t numbers = (3 + kWaiting + 1) * limits::kMaxStreamedHyperparameters;
  EXPECT_LT(saved->size(), numbers * sizeof(double) + 100'000);
  const auto checkpoint = OpenCheckpoint(*saved);
  ASSERT_TRUE(checkpoint.ok());
  const auto lambda = checkpoint->reader.Read("lambda");
  ASSERT_TRUE(lambda.ok());
  EXPECT_EQ((*lambda)[7].item<double>(), engine->hyper().values[7]);
}

TEST(WideStateTest, IsSentToANewcomer) {
  Engines engines;
  engines.push_back(Stepped());
  engines.push_back(MakeWideEngine());
  const auto statuses =
      RunGroup(InProcessGroup(2), [&](int rank, Communicator& communicator) -> absl::Status {
        EVOGRAD_RETURN_IF_ERROR(engines[rank]->Synchronise(communicator));
        return engines[rank]->RunStep(communicator);
      });
  for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(engines[0]->pending().size(), static_cast<size_t>(kWaiting + 1));
  for (auto& engine : engines) engine->Forget(kWaiting);  // the last result has times of its own
  EXPECT_EQ(Checksum(engines[0]->hyper()), Checksum(engines[1]->hyper()));
  EXPECT_EQ(engines[0]->fingerprint().parameters_sha256,
            engines[1]->fingerprint().parameters_sha256);
}

}  // namespace
}  // namespace evograd
