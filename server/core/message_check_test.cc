// Goal: only well-formed worker messages reach the machine, and what is refused is named. Method:
// each case breaks one thing in a message that is accepted without the change.

#include "server/core/message_check.h"

#include <functional>
#include <string>
#include <vector>

#include "common/limits.h"
#include "common/service_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spec/error.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

v1::Hello GoodHello() {
  v1::Hello hello;
  hello.set_protocol_version(limits::kProtocolVersion);
  hello.set_worker_id("w-1.a_B");
  hello.set_device_kind(v1::CUDA);
  return hello;
}

// One message with everything in it that the kind can carry.
v1::WorkerMessage Good(v1::WorkerMessage::KindCase kind) {
  v1::WorkerMessage message;
  switch (kind) {
    case v1::WorkerMessage::kHeartbeat:
      message.mutable_heartbeat();
      break;
    case v1::WorkerMessage::kRendezvous:
      message.mutable_rendezvous()->set_key("k");
      break;
    case v1::WorkerMessage::kResults: {
      v1::StepResult* result = message.mutable_results()->add_results();
      result->add_initial_hyperparameters(1);
      result->add_hyperparameter_names("a");
      result->mutable_metrics()->set_step(0);
      break;
    }
    case v1::WorkerMessage::kGenerationLeft:
      message.mutable_generation_left()->mutable_held()->set_phases(3);
      break;
    case v1::WorkerMessage::kFinished:
      message.mutable_finished()->set_parameters_sha256(std::string(64, 'a'));
      message.mutable_finished()->set_hyperparameters_sha256(std::string(64, '0'));
      break;
    case v1::WorkerMessage::kFailed:
      message.mutable_failed()->mutable_error()->set_code(13);
      break;
    case v1::WorkerMessage::kReleased:
      message.mutable_released()->set_job("jobs/a");
      break;
    default:
      break;
  }
  return message;
}

TEST(MessageCheck, HellosSayWhoTheyAre) {
  EXPECT_TRUE(CheckHello(GoodHello()).ok());
  const struct {
    std::string what;
    std::function<void(v1::Hello*)> change;
  } cases[] = {
      {"worker_id", [](v1::Hello* h) { h->clear_worker_id(); }},
      {"worker_id", [](v1::Hello* h) { h->set_worker_id("a/b"); }},
      {"worker_id",
       [](v1::Hello* h) { h->set_worker_id(std::string(limits::kMaxWorkerIdBytes + 1, 'a')); }},
      {"device_kind", [](v1::Hello* h) { h->clear_device_kind(); }},
      {"device_name",
       [](v1::Hello* h) { h->set_device_name(std::string(limits::kMaxWorkerTextBytes + 1, 'a')); }},
      {"host",
       [](v1::Hello* h) { h->set_host(std::string(limits::kMaxWorkerTextBytes + 1, 'a')); }},
      {"held.phases", [](v1::Hello* h) { h->mutable_held()->set_phases(-1); }},
      {"held.phases",
       [](v1::Hello* h) { h->mutable_held()->set_phases(2 * limits::kMaxSteps + 1); }},
      {"held.generation", [](v1::Hello* h) { h->mutable_held()->set_generation(-1); }},
  };
  for (const auto& one : cases) {
    v1::Hello hello = GoodHello();
    one.change(&hello);
    const absl::Status status = CheckHello(hello);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << one.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(one.what));
    EXPECT_EQ(GetErrorInfo(status).reason, "MALFORMED_WORKER_MESSAGE");
  }
}

TEST(MessageCheck, VersionsMustBeTheSame) {
  for (const int other : {limits::kProtocolVersion - 1, limits::kProtocolVersion + 1}) {
    v1::Hello hello = GoodHello();
    hello.set_protocol_version(other);
    EXPECT_EQ(CheckHello(hello).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(GetErrorInfo(CheckHello(hello)).reason, "PROTOCOL_VERSION");
  }
}

TEST(MessageCheck, MessagesAreWholeAndWithinTheirBounds) {
  using Message = v1::WorkerMessage;
  const auto first = [](Message* m) { return m->mutable_results()->mutable_results(0); };
  const std::string text(limits::kMaxWorkerTextBytes + 1, 'x');
  const struct {
    Message::KindCase kind;
    std::string what;
    std::function<void(Message*)> change;
  } cases[] = {
      {Message::kHeartbeat, "no known kind", [](Message* m) { m->Clear(); }},
      {Message::kHeartbeat, "a second Hello", [](Message* m) { m->mutable_hello(); }},
      {Message::kRendezvous, "rendezvous.key",
       [](Message* m) {
         m->mutable_rendezvous()->set_key(std::string(limits::kMaxRendezvousKeyBytes + 1, 'k'));
       }},
      {Message::kRendezvous, "rendezvous.value",
       [](Message* m) {
         m->mutable_rendezvous()->set_value(std::string(limits::kMaxRendezvousValueBytes + 1, 'v'));
       }},
      {Message::kResults, "without a result",
       [](Message* m) { m->mutable_results()->clear_results(); }},
      {Message::kResults, "257 results",
       [&](Message* m) {
         for (int i = 0; i < limits::kMaxPipelineDepth; ++i)
           *m->mutable_results()->add_results() = *first(m);
       }},
      {Message::kResults, "does not exist", [&](Message* m) { first(m)->set_step(-1); }},
      {Message::kResults, "does not exist",
       [&](Message* m) { first(m)->set_step(limits::kMaxSteps); }},
      {Message::kResults, "has no metrics", [&](Message* m) { first(m)->clear_metrics(); }},
      {Message::kResults, "has no metrics",
       [&](Message* m) { first(m)->mutable_metrics()->set_step(1); }},
      {Message::kResults, "only step 0 may",
       [&](Message* m) {
         first(m)->set_step(1);
         first(m)->mutable_metrics()->set_step(1);
       }},
      {Message::kResults, "member losses",
       [&](Message* m) {
         first(m)->mutable_metrics()->mutable_member_losses()->Resize(limits::kMaxPopulation + 1,
                                                                      0);
       }},
      {Message::kResults, "hypergradient entries",
       [&](Message* m) {
         first(m)->mutable_hypergradient()->Resize(
             static_cast<int>(limits::kMaxStreamedHyperparameters) + 1, 0);
       }},
      {Message::kResults, "metrics, at most",
       [&](Message* m) {
         for (int i = 0; i <= limits::kMaxEvaluationMetrics; ++i) {
           (*first(m)->mutable_evaluation()->mutable_metrics())[std::to_string(i)] = 0;
         }
       }},
      {Message::kGenerationLeft, "held.phases",
       [](Message* m) { m->mutable_generation_left()->mutable_held()->set_phases(-1); }},
      {Message::kGenerationLeft, "generation_left.reason",
       [&](Message* m) { m->mutable_generation_left()->set_reason(text); }},
      {Message::kFinished, "finished.parameters_sha256",
       [](Message* m) { m->mutable_finished()->set_parameters_sha256(std::string(64, 'A')); }},
      {Message::kFinished, "finished.hyperparameters_sha256",
       [](Message* m) { m->mutable_finished()->set_hyperparameters_sha256(std::string(63, 'a')); }},
      {Message::kFailed, "failed.error.code",
       [](Message* m) { m->mutable_failed()->mutable_error()->set_code(0); }},
      {Message::kFailed, "failed.error.code",
       [](Message* m) { m->mutable_failed()->mutable_error()->set_code(17); }},
      {Message::kReleased, "released.job",
       [&](Message* m) { m->mutable_released()->set_job(text); }},
  };
  for (const auto& one : cases) {
    Message message = Good(one.kind);
    EXPECT_TRUE(CheckWorkerMessage(message).ok()) << CheckWorkerMessage(message);
    one.change(&message);
    const absl::Status status = CheckWorkerMessage(message);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << one.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(one.what));
  }
}

}  // namespace
}  // namespace evograd
