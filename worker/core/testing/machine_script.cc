#include "worker/core/testing/machine_script.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace evograd::agent {
namespace {

std::string HeldText(const v1::HeldState& held) {
  return absl::StrCat(held.job(), " g", held.generation(),
                      held.has_state() ? absl::StrCat(" phases=", held.phases()) : " nothing");
}

std::string Text(const Send& send) {
  const v1::WorkerMessage& m = send.message;
  if (m.has_hello()) {
    if (m.hello().has_held()) return absl::StrCat("hello ", HeldText(m.hello().held()));
    return m.hello().busy_job().empty() ? "hello"
                                        : absl::StrCat("hello busy ", m.hello().busy_job());
  }
  if (m.has_results()) {
    const auto number = [](std::string* out, const v1::StepResult& r) {
      absl::StrAppend(out, r.step());
    };
    return absl::StrCat("results g", m.results().generation(), " [",
                        absl::StrJoin(m.results().results(), " ", number), "]");
  }
  if (m.has_generation_left()) {
    const v1::GenerationLeft& left = m.generation_left();
    return absl::StrCat("left ", HeldText(left.held()),
                        left.reason().empty() ? "" : absl::StrCat(" (", left.reason(), ")"),
                        left.suspect_ranks().empty() ? "" : " suspects ",
                        absl::StrJoin(left.suspect_ranks(), ","));
  }
  if (m.has_finished()) return absl::StrCat("finished g", m.finished().generation());
  if (m.has_failed()) {
    const std::string scope = m.failed().scope() == v1::EVERYWHERE       ? ""
                              : m.failed().scope() == v1::ANY_JOB_HERE   ? "any job here: "
                              : m.failed().scope() == v1::STATE_IN_DOUBT ? "in doubt: "
                                                                         : "here: ";
    return absl::StrCat("failed g", m.failed().generation(), " ", m.failed().error().code(), " ",
                        scope, m.failed().error().message(), " by ", m.failed().error().worker());
  }
  if (m.has_prepared()) return absl::StrCat("prepared ", m.prepared().job());
  if (m.has_trouble()) return absl::StrCat("trouble ", m.trouble().text());
  if (m.has_released()) return absl::StrCat("released ", m.released().job());
  return absl::StrCat("put g", m.rendezvous().generation(), " ", m.rendezvous().key());
}

std::string Text(const RunEngine& run) {
  switch (run.task) {
    case EngineTask::kPrepare:
      return absl::StrCat("prepare ", run.start.job());
    case EngineTask::kJoin:
      return absl::StrCat("join g", run.start.generation());
    case EngineTask::kStep:
      return absl::StrCat("step forget<", run.forget_before);
    case EngineTask::kSerialise:
      return "serialise";
    case EngineTask::kEvaluate:
      return "evaluate";
    case EngineTask::kLeave:
      return "leave";
    case EngineTask::kDrop:
      return "drop";
  }
  return "?";
}

std::string Text(const StopEngine&) { return "stop engine"; }
std::string Text(const OpenRendezvous& open) { return absl::StrCat("open g", open.generation); }
std::string Text(const DeliverRendezvous& d) { return absl::StrCat("deliver ", d.entry.key()); }
std::string Text(const CloseRendezvous&) { return "close"; }
std::string Text(const StartUpload& u) {
  return absl::StrCat("upload g", u.header.generation(), " step ", u.header.step());
}
std::string Text(const StopUpload&) { return "stop upload"; }
std::string Text(const Say&) { return ""; }

v1::Hello MakeHello() {
  v1::Hello hello;
  hello.set_worker_id("w1");
  return hello;
}

}  // namespace

MachineScript::MachineScript() : machine_(MakeHello()) {}

std::string MachineScript::Do(Input input) {
  std::vector<std::string> lines;
  for (const Action& action : machine_.Handle(std::move(input))) {
    const std::string line = std::visit([](const auto& a) { return Text(a); }, action);
    if (!line.empty()) lines.push_back(line);
  }
  return absl::StrJoin(lines, "; ");
}

std::string MachineScript::Connect() {
  const std::string hello = Do(StreamUp{});
  v1::CoordinatorMessage message;
  message.mutable_welcome()->set_worker("workers/w1");
  EXPECT_EQ(Do(message), "");
  return hello;
}

std::string MachineScript::Start(int64_t generation, const StartOptions& options) {
  return Do(StartMessage(generation, options));
}

std::string MachineScript::Prepare(const StartOptions& options) {
  v1::CoordinatorMessage message;
  *message.mutable_prepare_job()->mutable_start() =
      StartMessage(/*generation=*/0, options).start_generation();
  return Do(message);
}

std::string MachineScript::End(int64_t generation, const std::string& job) {
  return Do(EndMessage(generation, job));
}

std::string MachineScript::Ack(int64_t generation, int64_t committed, const std::string& job) {
  return Do(AcknowledgeMessage(generation, committed, job));
}

std::string MachineScript::Release(const std::string& job) { return Do(ReleaseMessage(job)); }

std::string MachineScript::Empty(absl::Status status) {
  EngineOutcome outcome;
  outcome.status = status;
  return Do(outcome);
}

std::string MachineScript::Done(int64_t phases, const std::vector<int64_t>& steps,
                                absl::Status status) {
  EngineOutcome outcome;
  outcome.status = status;
  outcome.has_state = true;
  outcome.phases = phases;
  for (const int64_t step : steps) outcome.results.push_back(Result(step));
  return Do(outcome);
}

std::string MachineScript::Uploaded(absl::Status status) { return Do(UploadOutcome{status}); }

void MachineScript::StartJob(const StartOptions& options) {
  Connect();
  EXPECT_EQ(Start(1, options), absl::StrCat("open g1; prepare ", options.job));
  EXPECT_EQ(Empty(), "join g1");
  EXPECT_EQ(Done(0), "step forget<0");
}

v1::StepResult Result(int64_t step) {
  v1::StepResult result;
  result.set_step(step);
  return result;
}

StartOptions Depth(int depth) {
  StartOptions options;
  options.depth = depth;
  return options;
}

StartOptions Donor(int64_t committed) {
  StartOptions options;
  options.donor_holds_state = true;
  options.committed = committed;
  return options;
}

StartOptions Short(int64_t steps, int depth, int64_t interval) {
  StartOptions options;
  options.steps = steps;
  options.depth = depth;
  options.interval = interval;
  return options;
}

}  // namespace evograd::agent
