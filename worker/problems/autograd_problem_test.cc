// Goal: every function of AutogradProblem gives the numbers of plain autograd, and its refusals
// name the cause. Method: a small network (convolution, batch norm, linear) is bound to flat
// tensors and, as a twin that was never bound, holds the same values; losses and gradients of the
// two are compared, in float32 and float64. The twin uses LibTorch in the plainest way: all leaves
// require gradients, backward(), clone of .grad().
#include "worker/problems/autograd_problem.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace evograd {
namespace {

struct NetImpl : torch::nn::Module {
  NetImpl()
      : conv(register_module("conv", torch::nn::Conv2d(1, 3, 3))),
        norm(register_module("norm", torch::nn::BatchNorm2d(3))),
        out(register_module("out", torch::nn::Linear(3 * 4 * 4, 2))) {}
  at::Tensor forward(const at::Tensor& x) {
    return out->forward(torch::tanh(norm->forward(conv->forward(x))).flatten(1));
  }
  torch::nn::Conv2d conv;
  torch::nn::BatchNorm2d norm;
  torch::nn::Linear out;
};
TORCH_MODULE(Net);

// lambda[0] scales the input (so its graph passes through the weights), lambda[1] weighs the
// outputs' squares.
at::Tensor NetTrainLoss(Net& net, const Batch& batch, const at::Tensor& lambda) {
  net->train();
  const at::Tensor out = net->forward(batch.tensors[0] * lambda[0]);
  return torch::mse_loss(out, batch.tensors[1]) + lambda[1] * out.square().mean();
}
at::Tensor NetValidationLoss(Net& net, const Batch& batch) {
  net->eval();
  return torch::mse_loss(net->forward(batch.tensors[0]), batch.tensors[1]);
}

enum class Use { kBoth, kNone, kZeroFactor, kApart, kNan, kThrow, kOutOfMemory };

class TestProblem : public AutogradProblem {
 public:
  TestProblem(Net net, at::ScalarType type)
      : AutogradProblem(net.ptr(), type, at::kCPU), net_(std::move(net)) {}

  std::vector<std::string> hyperparameter_names() const override { return {"scale", "weight"}; }
  std::vector<double> initial_hyperparameters() const override { return {1, 0}; }
  bool base_first() const override { return true; }
  absl::Status Initialise(uint64_t) override { return absl::OkStatus(); }
  absl::StatusOr<Batch> TrainBatch(int64_t) override { return Batch{}; }
  absl::StatusOr<Batch> ValidationBatch(int64_t) override { return Batch{}; }
  absl::StatusOr<ProblemEvaluation> Evaluate(const at::Tensor&) override {
    return ProblemEvaluation{};
  }

  Use use = Use::kBoth;
  int forwards_with_graph = 0;

 protected:
  at::Tensor TrainLoss(const Batch& batch, const at::Tensor& lambda) override {
    if (use == Use::kNone) return NetValidationLoss(net_, batch);
    if (use == Use::kZeroFactor) return NetValidationLoss(net_, batch) + 0 * lambda.sum();
    if (use == Use::kApart) return NetValidationLoss(net_, batch) + lambda.square().sum();
    if (use == Use::kThrow) TORCH_CHECK(false, "first line\nsecond line");
    if (use == Use::kOutOfMemory) return torch::zeros({int64_t{1} << 60});
    const at::Tensor loss = NetTrainLoss(net_, batch, lambda);
    if (loss.requires_grad()) ++forwards_with_graph;
    return use == Use::kNan ? loss * std::numeric_limits<double>::quiet_NaN() : loss;
  }
  at::Tensor ValidationLoss(const Batch& batch) override {
    const at::Tensor loss = NetValidationLoss(net_, batch);
    return use == Use::kNan ? loss / 0.0 : loss;
  }

 private:
  Net net_;
};

class AutogradProblemTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  AutogradProblemTest() : options_(at::TensorOptions().dtype(GetParam())) {
    torch::manual_seed(7);
    Net net;
    problem_ = std::make_unique<TestProblem>(net, GetParam());
    twin_->to(GetParam());
    parameters_ = torch::zeros({problem_->parameters().elements()}, options_);
    buffers_ = torch::zeros({problem_->buffers().elements()}, options_);
    problem_->Bind(parameters_, buffers_);
    batch_.tensors = {torch::randn({8, 1, 6, 6}, options_), torch::randn({8, 2}, options_)};
    lambda_ = torch::tensor({0.7, 0.3}, options_);
    SetTheta(11);
  }

  // The same random values into the bound storage and the twin.
  void SetTheta(int seed) {
    torch::manual_seed(seed);
    const torch::NoGradGuard no_grad;
    for (const TensorSlot& slot : problem_->parameters().slots()) {
      const at::Tensor value = torch::randn(slot.shape, options_) * 0.3;
      Slice(parameters_, slot).copy_(value);
      twin_->named_parameters()[slot.name].copy_(value);
    }
    for (const TensorSlot& slot : problem_->buffers().slots()) {
      const at::Tensor value = torch::rand(slot.shape, options_) + 0.5;
      Slice(buffers_, slot).copy_(value);
      twin_->named_buffers()[slot.name].copy_(value);
    }
  }

  static at::Tensor Slice(const at::Tensor& flat, const TensorSlot& slot) {
    return flat.narrow(0, slot.offset, slot.size).view(slot.shape);
  }

  double tolerance() const { return GetParam() == at::kDouble ? 1e-13 : 2e-5; }

  void ExpectClose(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) {
    EXPECT_GT(expected.abs().max().item<double>(), 1e-4) << what << ": nothing to compare";
    EXPECT_LE((actual - expected).abs().max().item<double>(),
              tolerance() * (1 + expected.abs().max().item<double>()))
        << what << "\n"
        << actual << "\n"
        << expected;
  }

  // Compares a flat gradient with the twin's .grad; padding must be zero.
  void ExpectGradient(const at::Tensor& flat) {
    at::Tensor rest = flat.clone();
    for (const TensorSlot& slot : problem_->parameters().slots()) {
      // The bias in front of a batch norm has no influence on the training loss.
      const at::Tensor expected = twin_->named_parameters()[slot.name].grad();
      if (slot.name == "conv.bias" && expected.abs().max().item<double>() < 1e-4) {
        EXPECT_LT(Slice(flat, slot).abs().max().item<double>(), 1e-4);
      } else {
        ExpectClose(Slice(flat, slot), expected, slot.name);
      }
      Slice(rest, slot).zero_();
    }
    EXPECT_EQ(rest.abs().max().item<double>(), 0) << "padding was written";
  }

  // A flat gradient that holds rubbish, to see that it is overwritten.
  at::Tensor Rubbish() { return torch::zeros_like(parameters_).index_fill_(0, Used(), 9); }
  at::Tensor Used() {
    std::vector<at::Tensor> ranges;
    for (const TensorSlot& slot : problem_->parameters().slots()) {
      ranges.push_back(torch::arange(slot.offset, slot.offset + slot.size));
    }
    return torch::cat(ranges);
  }

  at::TensorOptions options_;
  Net twin_;
  std::unique_ptr<TestProblem> problem_;
  at::Tensor parameters_;
  at::Tensor buffers_;
  Batch batch_;
  at::Tensor lambda_;
};

TEST_P(AutogradProblemTest, LayoutIsTheModulesAndAligned) {
  const auto& slots = problem_->parameters().slots();
  ASSERT_EQ(slots.size(), 6u);
  EXPECT_EQ(slots[0].name, "conv.weight");
  EXPECT_EQ(slots[0].shape, (std::vector<int64_t>{3, 1, 3, 3}));
  for (const TensorSlot& slot : slots) {
    EXPECT_EQ(slot.offset * c10::elementSize(GetParam()) % 256, 0u) << slot.name;
  }
  ASSERT_EQ(problem_->buffers().slots().size(), 3u);
  EXPECT_EQ(problem_->buffers().slots()[2].name, "norm.num_batches_tracked");
}

TEST_P(AutogradProblemTest, TrainGradientIsThatOfBackward) {
  at::Tensor lambda = lambda_.clone().requires_grad_(true);
  const at::Tensor loss = NetTrainLoss(twin_, batch_, lambda);
  loss.backward();
  for (const bool with : {false, true}) {
    const at::Tensor gradient = Rubbish();
    const auto result = problem_->TrainGradient(batch_, lambda_, gradient, with);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NEAR(result->loss, loss.item<double>(), tolerance());
    ExpectGradient(gradient);
    ASSERT_EQ(result->hypergradient.defined(), with);
    if (with) ExpectClose(result->hypergradient, lambda.grad(), "hypergradient");
  }
}

TEST_P(AutogradProblemTest, ValidationGradientIsThatOfBackward) {
  const at::Tensor loss = NetValidationLoss(twin_, batch_);
  loss.backward();
  const at::Tensor gradient = Rubbish();
  const auto result = problem_->ValidationGradient(batch_, gradient);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(*result, loss.item<double>(), tolerance());
  ExpectGradient(gradient);
}

TEST_P(AutogradProblemTest, MembersHaveTheLossAndTheGradientToLambda) {
  at::Tensor lambda = lambda_.clone().requires_grad_(true);
  const at::Tensor loss = NetTrainLoss(twin_, batch_, lambda);
  loss.backward();

  const auto forward = problem_->MemberLoss(batch_, lambda_);
  ASSERT_TRUE(forward.ok()) << forward.status();
  EXPECT_NEAR(*forward, loss.item<double>(), tolerance());
  EXPECT_EQ(problem_->forwards_with_graph, 0) << "MemberLoss builds no graph";

  const auto gradient = problem_->MemberGradient(batch_, lambda_);
  ASSERT_TRUE(gradient.ok()) << gradient.status();
  EXPECT_EQ(gradient->loss, *forward);
  ExpectClose(gradient->hypergradient, lambda.grad(), "member");

  const auto retained = problem_->RetainMember(batch_, lambda_);
  ASSERT_TRUE(retained.ok()) << retained.status();
  EXPECT_EQ((*retained)->loss(), *forward);
  const auto hypergradient = (*retained)->Hypergradient();
  ASSERT_TRUE(hypergradient.ok()) << hypergradient.status();
  EXPECT_TRUE(hypergradient->equal(gradient->hypergradient));
  EXPECT_FALSE(lambda_.requires_grad()) << "the caller's tensor is left alone";
}

TEST_P(AutogradProblemTest, RetainedMembersNeedTheirParametersBack) {
  const auto expected = problem_->MemberGradient(batch_, lambda_);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const at::Tensor saved = parameters_.clone();
  auto first = problem_->RetainMember(batch_, lambda_);
  auto second = problem_->RetainMember(batch_, lambda_);
  ASSERT_TRUE(first.ok() && second.ok());

  parameters_.add_(0.25);
  EXPECT_EQ((*first)->Hypergradient().status().code(), absl::StatusCode::kInternal);
  parameters_.copy_(saved);
  const auto hypergradient = (*second)->Hypergradient();
  ASSERT_TRUE(hypergradient.ok()) << hypergradient.status();
  EXPECT_TRUE(hypergradient->equal(expected->hypergradient));
}

TEST_P(AutogradProblemTest, CrossGradientIsTheDoubleBackward) {
  at::Tensor lambda = lambda_.clone().requires_grad_(true);
  const at::Tensor loss = NetTrainLoss(twin_, batch_, lambda);
  std::vector<at::Tensor> leaves = twin_->parameters();
  const auto gradients = torch::autograd::grad({loss}, leaves, {}, true, true);
  const at::Tensor direction = torch::randn_like(parameters_);
  at::Tensor dot = torch::zeros({}, options_);
  for (size_t i = 0; i < leaves.size(); ++i) {
    dot = dot + (gradients[i] * Slice(direction, problem_->parameters().slots()[i])).sum();
  }
  const at::Tensor expected = torch::autograd::grad({dot}, {lambda})[0];

  const auto cross = problem_->CrossGradient(batch_, lambda_, direction);
  ASSERT_TRUE(cross.ok()) << cross.status();
  ExpectClose(*cross, expected, "cross gradient");
}

TEST_P(AutogradProblemTest, BuffersAreBoundToo) {
  const at::Tensor before = buffers_.clone();
  ASSERT_TRUE(problem_->MemberLoss(batch_, lambda_).ok());
  NetTrainLoss(twin_, batch_, lambda_);
  EXPECT_FALSE(buffers_.equal(before)) << "training mode moves the running statistics";
  for (const TensorSlot& slot : problem_->buffers().slots()) {
    ExpectClose(Slice(buffers_, slot), twin_->named_buffers()[slot.name].to(GetParam()), slot.name);
  }
  // Evaluation reads the bound values: other ones, another loss.
  const at::Tensor gradient = torch::zeros_like(parameters_);
  const double loss = *problem_->ValidationGradient(batch_, gradient);
  buffers_.add_(0.5);
  EXPECT_NE(*problem_->ValidationGradient(batch_, gradient), loss);
}

TEST_P(AutogradProblemTest, BindsAgain) {
  const double loss = *problem_->MemberLoss(batch_, lambda_);
  const at::Tensor other = torch::zeros_like(parameters_);
  problem_->Bind(other, buffers_);
  EXPECT_NE(*problem_->MemberLoss(batch_, lambda_), loss);
  other.copy_(parameters_);
  EXPECT_EQ(*problem_->MemberLoss(batch_, lambda_), loss);
}

TEST_P(AutogradProblemTest, LambdaWithoutAPathIsRefused) {
  const at::Tensor gradient = torch::zeros_like(parameters_);
  for (const Use use : {Use::kNone, Use::kZeroFactor, Use::kApart}) {
    problem_->use = use;
    const auto member = problem_->MemberGradient(batch_, lambda_);
    const auto train = problem_->TrainGradient(batch_, lambda_, gradient, true);
    const auto cross = problem_->CrossGradient(batch_, lambda_, parameters_);
    if (use == Use::kNone) {
      for (const absl::Status& status : {member.status(), train.status(), cross.status()}) {
        EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
        EXPECT_NE(status.message().find("hyperparameters do not enter the training loss"),
                  absl::string_view::npos);
      }
      // Without a gradient to lambda there is nothing to refuse.
      EXPECT_TRUE(problem_->TrainGradient(batch_, lambda_, gradient, false).ok());
      EXPECT_TRUE(problem_->MemberLoss(batch_, lambda_).ok());
      continue;
    }
    ASSERT_TRUE(member.ok() && train.ok() && cross.ok());
    const at::Tensor expected = use == Use::kApart ? 2 * lambda_ : torch::zeros_like(lambda_);
    EXPECT_TRUE(member->hypergradient.allclose(expected));
    EXPECT_TRUE(train->hypergradient.allclose(expected));
    EXPECT_TRUE(cross->equal(torch::zeros_like(lambda_)));
  }
}

TEST_P(AutogradProblemTest, LossesThatAreNotFiniteAreNamed) {
  const at::Tensor gradient = torch::zeros_like(parameters_);
  EXPECT_TRUE(problem_->MemberLoss(batch_, lambda_).ok());
  EXPECT_TRUE(problem_->ValidationGradient(batch_, gradient).ok());
  problem_->use = Use::kNan;
  for (const absl::Status& status :
       {problem_->MemberLoss(batch_, lambda_).status(),
        problem_->MemberGradient(batch_, lambda_).status(),
        problem_->TrainGradient(batch_, lambda_, gradient, true).status(),
        problem_->CrossGradient(batch_, lambda_, parameters_).status()}) {
    EXPECT_EQ(status, absl::OutOfRangeError("training loss is nan"));
  }
  EXPECT_EQ(problem_->ValidationGradient(batch_, gradient).status(),
            absl::OutOfRangeError("validation loss is inf"));
}

TEST_P(AutogradProblemTest, ExceptionsBecomeStatuses) {
  problem_->use = Use::kThrow;
  EXPECT_EQ(problem_->MemberLoss(batch_, lambda_).status(),
            absl::InternalError("LibTorch: first line"));
  problem_->use = Use::kOutOfMemory;
  EXPECT_EQ(problem_->MemberLoss(batch_, lambda_).status().code(),
            absl::StatusCode::kResourceExhausted)
      << problem_->MemberLoss(batch_, lambda_).status();
  problem_->use = Use::kBoth;
  EXPECT_TRUE(problem_->MemberLoss(batch_, lambda_).ok());
}

TEST_P(AutogradProblemTest, ShardsAreEqualSlices) {
  const auto shard = problem_->Shard(batch_, 3, 4);
  ASSERT_TRUE(shard.ok()) << shard.status();
  EXPECT_TRUE(shard->tensors[0].equal(batch_.tensors[0].slice(0, 6, 8)));
  EXPECT_TRUE(shard->tensors[1].equal(batch_.tensors[1].slice(0, 6, 8)));
  const absl::Status status = problem_->Shard(batch_, 0, 3).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("8 examples cannot be cut into 3"), absl::string_view::npos);
}

INSTANTIATE_TEST_SUITE_P(Types, AutogradProblemTest, testing::Values(at::kFloat, at::kDouble));

}  // namespace
}  // namespace evograd
