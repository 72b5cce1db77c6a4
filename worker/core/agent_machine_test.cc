// Goal: the agent does the right thing about everything that coordinator, stream and engine may do
// in any order. Method: scenarios; each input's actions are compared as one line of text. Lines for
// people (Say) are left out.
#include "worker/core/agent_machine.h"

#include <gtest/gtest.h>

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
    return m.hello().has_held() ? absl::StrCat("hello ", HeldText(m.hello().held())) : "hello";
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
                        left.reason().empty() ? "" : absl::StrCat(" (", left.reason(), ")"));
  }
  if (m.has_finished()) return absl::StrCat("finished g", m.finished().generation());
  if (m.has_failed()) {
    return absl::StrCat("failed g", m.failed().generation(), " ", m.failed().error().code(), " ",
                        m.failed().error().message(), " by ", m.failed().error().worker());
  }
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

v1::StepResult Result(int64_t step) {
  v1::StepResult result;
  result.set_step(step);
  return result;
}

struct StartOptions {
  std::string job = "jobs/a";
  std::string uid = "uid-a";
  int rank = 0;
  int size = 1;
  bool donor_holds_state = false;
  std::string checkpoint;
  int64_t committed = 0;
  int64_t steps = 100;
  int depth = 1;
  int64_t interval = 0;
};

class AgentMachineTest : public testing::Test {
 protected:
  AgentMachineTest() : machine_(Hello()) {}

  static v1::Hello Hello() {
    v1::Hello hello;
    hello.set_worker_id("w1");
    return hello;
  }

  std::string Do(Input input) {
    std::vector<std::string> lines;
    for (const Action& action : machine_.Handle(std::move(input))) {
      const std::string line = std::visit([](const auto& a) { return Text(a); }, action);
      if (!line.empty()) lines.push_back(line);
    }
    return absl::StrJoin(lines, "; ");
  }

  std::string Connect() {
    const std::string hello = Do(StreamUp{});
    v1::CoordinatorMessage message;
    message.mutable_welcome()->set_worker("workers/w1");
    EXPECT_EQ(Do(message), "");
    return hello;
  }

  std::string Start(int64_t generation, const StartOptions& options) {
    v1::CoordinatorMessage message;
    v1::StartGeneration* start = message.mutable_start_generation();
    start->set_job(options.job);
    start->set_job_uid(options.uid);
    start->set_generation(generation);
    start->set_rank(options.rank);
    start->set_size(options.size);
    start->set_donor_holds_state(options.donor_holds_state);
    start->set_checkpoint(options.checkpoint);
    start->set_committed_steps(options.committed);
    start->mutable_spec()->set_steps(options.steps);
    start->mutable_spec()->set_pipeline_depth(options.depth);
    start->mutable_spec()->set_checkpoint_interval_steps(options.interval);
    return Do(message);
  }

  std::string End(int64_t generation, const std::string& job = "jobs/a") {
    v1::CoordinatorMessage message;
    message.mutable_end_generation()->set_job(job);
    message.mutable_end_generation()->set_generation(generation);
    return Do(message);
  }

  std::string Ack(int64_t generation, int64_t committed, const std::string& job = "jobs/a") {
    v1::CoordinatorMessage message;
    message.mutable_acknowledge()->set_job(job);
    message.mutable_acknowledge()->set_generation(generation);
    message.mutable_acknowledge()->set_committed_steps(committed);
    return Do(message);
  }

  std::string Release(const std::string& job = "jobs/a") {
    v1::CoordinatorMessage message;
    message.mutable_release_job()->set_job(job);
    return Do(message);
  }

  // An outcome without state.
  std::string Empty(absl::Status status = absl::OkStatus()) {
    EngineOutcome outcome;
    outcome.status = status;
    return Do(outcome);
  }

  std::string Done(int64_t phases, const std::vector<int64_t>& steps = {},
                   absl::Status status = absl::OkStatus()) {
    EngineOutcome outcome;
    outcome.status = status;
    outcome.has_state = true;
    outcome.phases = phases;
    for (const int64_t step : steps) outcome.results.push_back(Result(step));
    return Do(outcome);
  }

  std::string Uploaded(absl::Status status = absl::OkStatus()) { return Do(UploadOutcome{status}); }

  // Until the first step runs: generation 1, rank 0, nothing done.
  void StartJob(const StartOptions& options = {}) {
    Connect();
    EXPECT_EQ(Start(1, options), absl::StrCat("open g1; prepare ", options.job));
    EXPECT_EQ(Empty(), "join g1");
    EXPECT_EQ(Done(0), "step forget<0");
  }

  AgentMachine machine_;
};

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

// ---- Steps -------------------------------------------------------------------------------------

TEST_F(AgentMachineTest, DepthOneWaitsForEachAcknowledgement) {
  StartJob();
  EXPECT_EQ(Done(2, {0}), "results g1 [0]");
  EXPECT_EQ(Ack(1, 1), "step forget<1");
  EXPECT_EQ(Done(4, {1}), "results g1 [1]");
  EXPECT_EQ(Ack(1, 1), "");  // a repeated one
  EXPECT_EQ(Ack(1, 2), "step forget<2");
}

TEST_F(AgentMachineTest, DepthThreeRunsThreeStepsAhead) {
  StartJob(Depth(3));
  EXPECT_EQ(Done(2, {0}), "results g1 [0]; step forget<0");
  EXPECT_EQ(Done(4, {1}), "results g1 [1]; step forget<0");
  EXPECT_EQ(Done(6, {2}), "results g1 [2]");
  EXPECT_EQ(Ack(1, 1), "step forget<1");
  EXPECT_EQ(Ack(1, 3), "");  // a step runs
  EXPECT_EQ(Done(8, {3}), "results g1 [3]; step forget<3");
}

TEST_F(AgentMachineTest, OtherRanksSendNoResults) {
  StartOptions options = Depth(2);
  options.rank = 1;
  options.size = 2;
  StartJob(options);
  EXPECT_EQ(Done(2, {0}), "step forget<0");
  EXPECT_EQ(Done(4, {1}), "");
  EXPECT_EQ(Ack(1, 1), "step forget<1");
}

TEST_F(AgentMachineTest, AnUnfinishedStepIsFinished) {
  Connect();
  Start(1, {});
  Empty();
  EXPECT_EQ(Done(1), "step forget<0");
  EXPECT_EQ(Done(2, {0}), "results g1 [0]");
}

// ---- Generations -------------------------------------------------------------------------------

TEST_F(AgentMachineTest, EndDuringAStepIsAnsweredWhenTheEngineHasStopped) {
  StartJob();
  EXPECT_EQ(End(1), "close; stop engine");
  EXPECT_EQ(Done(1, {}, absl::AbortedError("aborted")), "leave");
  EXPECT_EQ(Done(1), "left jobs/a g1 phases=1");
  EXPECT_EQ(End(1), "");  // once is enough
}

TEST_F(AgentMachineTest, AStepThatStillSucceedsIsHeldAndSentByTheNextGeneration) {
  StartJob();
  EXPECT_EQ(End(1), "close; stop engine");
  EXPECT_EQ(Done(2, {0}), "leave");
  EXPECT_EQ(Done(2), "left jobs/a g1 phases=2");
  EXPECT_EQ(Start(2, Donor(0)), "open g2; join g2");
  EXPECT_EQ(Done(2, {0}), "results g2 [0]");
}

TEST_F(AgentMachineTest, TheDonorSendsOnlyWhatIsNotCommitted) {
  StartJob(Depth(4));
  Done(2, {0});
  Done(4, {1});
  End(1);
  Done(6, {2});
  EXPECT_EQ(Done(6), "left jobs/a g1 phases=6");
  StartOptions donor = Donor(2);
  donor.depth = 4;
  EXPECT_EQ(Start(2, donor), "open g2; join g2");
  EXPECT_EQ(Done(6, {0, 1, 2}), "results g2 [2]; step forget<2");
}

TEST_F(AgentMachineTest, EndWhileReadingDataIsAnsweredAtOnceAndTheDataServesTheNextGeneration) {
  Connect();
  Start(1, {});
  EXPECT_EQ(End(1), "close; left jobs/a g1 nothing");
  EXPECT_EQ(Start(2, {}), "open g2");
  EXPECT_EQ(Empty(), "join g2");
}

TEST_F(AgentMachineTest, DataReadBetweenGenerationsWaits) {
  Connect();
  Start(1, {});
  End(1);
  EXPECT_EQ(Empty(), "");
  EXPECT_EQ(Start(2, {}), "open g2; join g2");
}

TEST_F(AgentMachineTest, EndWhileIdleIsAnsweredAfterTheCommunicatorIsClosed) {
  StartJob();
  Done(2, {0});
  EXPECT_EQ(End(1), "close; leave");
  EXPECT_EQ(Done(2), "left jobs/a g1 phases=2");
}

TEST_F(AgentMachineTest, ANewGenerationWithoutAnEndSupersedesTheOldOne) {
  StartJob();
  EXPECT_EQ(Start(2, Donor(0)), "close; stop engine; open g2");
  EXPECT_EQ(Done(0, {}, absl::AbortedError("aborted")), "leave");
  EXPECT_EQ(Done(0), "join g2");
}

TEST_F(AgentMachineTest, StaleMessagesChangeNothing) {
  StartJob();
  End(1);
  Done(0);
  Done(0);
  EXPECT_EQ(Start(3, Donor(0)), "open g3; join g3");
  EXPECT_EQ(Start(3, Donor(0)), "");
  EXPECT_EQ(Start(2, Donor(0)), "");
  EXPECT_EQ(End(1), "");
  EXPECT_EQ(Done(0), "step forget<0");
  EXPECT_EQ(Done(2, {0}), "results g3 [0]");
  EXPECT_EQ(Ack(1, 1), "");
  EXPECT_EQ(Ack(2, 50), "");
  EXPECT_EQ(Ack(3, 1, "jobs/other"), "");
  EXPECT_EQ(Ack(3, 1), "step forget<1");
}

TEST_F(AgentMachineTest, AnOutcomeOfAnOldGenerationDoesNotFailTheNewOne) {
  StartJob();
  Start(2, Donor(0));
  EXPECT_EQ(Done(0, {}, absl::InvalidArgumentError("late")), "leave");
  EXPECT_EQ(Done(0), "join g2");
}

TEST_F(AgentMachineTest, MessagesBeforeTheWelcomeChangeNothing) {
  EXPECT_EQ(Do(StreamUp{}), "hello");
  EXPECT_EQ(Start(1, {}), "");
  v1::CoordinatorMessage message;
  message.mutable_welcome();
  Do(message);
  EXPECT_EQ(Start(1, {}), "open g1; prepare jobs/a");
}

TEST_F(AgentMachineTest, EndOfAJobThatIsNotHeldIsAnswered) {
  Connect();
  EXPECT_EQ(End(4, "jobs/b"), "left jobs/b g4 nothing");
}

TEST_F(AgentMachineTest, ADonorWithoutStateSaysSo) {
  Connect();
  Start(1, Donor(3));
  EXPECT_EQ(Empty(),
            "close; left jobs/a g1 nothing (it was to go on from a state that it does not hold)");
}

TEST_F(AgentMachineTest, RendezvousIsOfTheCurrentGenerationOnly) {
  Connect();
  Start(2, {});
  v1::CoordinatorMessage message;
  message.mutable_rendezvous()->set_job("jobs/a");
  message.mutable_rendezvous()->set_key("k");
  message.mutable_rendezvous()->set_generation(1);
  EXPECT_EQ(Do(message), "");
  message.mutable_rendezvous()->set_generation(2);
  EXPECT_EQ(Do(message), "deliver k");
  EXPECT_EQ(Do(RendezvousPut{1, "k", "v"}), "");
  EXPECT_EQ(Do(RendezvousPut{2, "k", "v"}), "put g2 k");
  End(2);
  EXPECT_EQ(Do(RendezvousPut{2, "k", "v"}), "");
}

// ---- Errors ------------------------------------------------------------------------------------

TEST_F(AgentMachineTest, ALostPeerEndsTheGenerationAndKeepsTheState) {
  StartJob();
  EXPECT_EQ(Done(1, {}, absl::UnavailableError("rank 1 is gone")), "close; leave");
  EXPECT_EQ(Done(1), "left jobs/a g1 phases=1 (rank 1 is gone)");
  EXPECT_EQ(End(1), "");  // crossed on the wire
  EXPECT_EQ(Start(2, Donor(0)), "open g2; join g2");
}

TEST_F(AgentMachineTest, ANanFailsTheJobAndTheCommunicatorStaysUntilTheCoordinatorSpeaks) {
  StartJob();
  EXPECT_EQ(Done(0, {}, absl::OutOfRangeError("NaN in x")),
            "close; failed g1 11 NaN in x by workers/w1");
  EXPECT_EQ(Release(), "drop");
  EXPECT_EQ(Empty(), "released jobs/a");
}

TEST_F(AgentMachineTest, AFailedJobMayStillBeAskedToLeave) {
  StartJob();
  Done(0, {}, absl::OutOfRangeError("NaN in x"));
  EXPECT_EQ(End(1), "leave");
  EXPECT_EQ(Done(0), "left jobs/a g1 phases=0");
}

TEST_F(AgentMachineTest, BadDataFailsTheJob) {
  Connect();
  Start(1, {});
  EXPECT_EQ(Empty(absl::NotFoundError("no /x/train")),
            "close; failed g1 5 no /x/train by workers/w1");
  EXPECT_EQ(Release(), "released jobs/a");
}

TEST_F(AgentMachineTest, BadDataFoundBetweenGenerationsIsFoundAgain) {
  Connect();
  Start(1, {});
  End(1);
  EXPECT_EQ(Empty(absl::NotFoundError("no /x/train")), "");
  EXPECT_EQ(Start(2, {}), "open g2; prepare jobs/a");
  EXPECT_EQ(Empty(absl::NotFoundError("no /x/train")),
            "close; failed g2 5 no /x/train by workers/w1");
}

// ---- Release -----------------------------------------------------------------------------------

TEST_F(AgentMachineTest, ReleaseDuringAStepDropsEverything) {
  StartJob();
  EXPECT_EQ(Release(), "close; stop engine");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "released jobs/a");
  StartOptions next;
  next.job = "jobs/b";
  next.uid = "uid-b";
  EXPECT_EQ(Start(1, next), "open g1; prepare jobs/b");
}

TEST_F(AgentMachineTest, ReleaseWhileReadingDataStopsTheReading) {
  Connect();
  Start(1, {});
  EXPECT_EQ(Release(), "close; stop engine");
  EXPECT_EQ(Empty(absl::CancelledError("stopped")), "released jobs/a");
}

TEST_F(AgentMachineTest, ReleaseOfAnotherJobIsAnsweredAtOnce) {
  StartJob();
  EXPECT_EQ(Release("jobs/b"), "released jobs/b");
  EXPECT_EQ(Done(2, {0}), "results g1 [0]");
}

TEST_F(AgentMachineTest, AJobOfTheSameNameButAnotherUidBeginsAnew) {
  StartJob();
  StartOptions next;
  next.uid = "uid-other";
  EXPECT_EQ(Start(1, next), "close; stop engine; open g1");
  EXPECT_EQ(Done(0, {}, absl::AbortedError("aborted")), "drop");
  EXPECT_EQ(Empty(), "prepare jobs/a");
}

TEST_F(AgentMachineTest, AnotherJobDuringTheReadingStopsIt) {
  Connect();
  Start(1, {});
  StartOptions next;
  next.job = "jobs/b";
  next.uid = "uid-b";
  EXPECT_EQ(Start(1, next), "close; stop engine; open g1");
  EXPECT_EQ(Empty(absl::CancelledError("stopped")), "prepare jobs/b");
}

// ---- The stream --------------------------------------------------------------------------------

TEST_F(AgentMachineTest, ALostStreamLetsThePipelineFill) {
  StartJob(Depth(3));
  EXPECT_EQ(Do(StreamDown{}), "");
  EXPECT_EQ(Done(2, {0}), "step forget<0");
  EXPECT_EQ(Done(4, {1}), "step forget<0");
  EXPECT_EQ(Done(6, {2}), "");
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=6");
  EXPECT_EQ(End(1), "close; leave");
  EXPECT_EQ(Done(6), "left jobs/a g1 phases=6");
  StartOptions donor = Donor(0);
  donor.depth = 3;
  EXPECT_EQ(Start(2, donor), "open g2; join g2");
  EXPECT_EQ(Done(6, {0, 1, 2}), "results g2 [0 1 2]");
}

TEST_F(AgentMachineTest, AReattachedWorkerSendsNothingForItsOldGeneration) {
  StartJob(Depth(3));
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=0");
  EXPECT_EQ(Done(2, {0}), "step forget<0");
  EXPECT_EQ(Done(2, {}, absl::UnavailableError("rank 1 is gone")), "close; leave");
  EXPECT_EQ(Done(2), "");
  EXPECT_EQ(End(1), "left jobs/a g1 phases=2");
}

TEST_F(AgentMachineTest, AJobThatFailsWhileCutOffFailsInItsNextGeneration) {
  StartJob();
  Do(StreamDown{});
  EXPECT_EQ(Done(0, {}, absl::OutOfRangeError("NaN")), "close; leave");
  EXPECT_EQ(Done(0), "");
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=0");
  EXPECT_EQ(End(1), "left jobs/a g1 phases=0");
  EXPECT_EQ(Start(2, Donor(0)), "open g2; join g2");
  EXPECT_EQ(Done(0), "step forget<0");
  EXPECT_EQ(Done(0, {}, absl::OutOfRangeError("NaN")), "close; failed g2 11 NaN by workers/w1");
}

TEST_F(AgentMachineTest, AnAnswerDueOnALostStreamIsAskedForAgain) {
  StartJob();
  End(1);
  EXPECT_EQ(Do(StreamDown{}), "");
  EXPECT_EQ(Done(0, {}, absl::AbortedError("aborted")), "leave");
  EXPECT_EQ(Done(0), "");
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=0");
  EXPECT_EQ(End(1), "left jobs/a g1 phases=0");
}

TEST_F(AgentMachineTest, AnAnswerGivenOnALostStreamIsGivenAgain) {
  StartJob();
  End(1);
  Done(0);
  EXPECT_EQ(Done(0), "left jobs/a g1 phases=0");
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=0");
  EXPECT_EQ(End(1), "left jobs/a g1 phases=0");
}

TEST_F(AgentMachineTest, AReleaseCutOffIsCarriedOutButNotAnswered) {
  StartJob();
  EXPECT_EQ(Release(), "close; stop engine");
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "");
}

TEST_F(AgentMachineTest, AReleaseAskedAgainAfterReconnectIsAnswered) {
  StartJob();
  Release();
  Do(StreamDown{});
  Connect();
  EXPECT_EQ(Release(), "");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "released jobs/a");
}

TEST_F(AgentMachineTest, AReleasedJobMayComeBackBeforeItIsDropped) {
  StartJob();
  Release();
  Do(StreamDown{});
  Connect();
  EXPECT_EQ(Start(2, {}), "open g2");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "prepare jobs/a");
}

TEST_F(AgentMachineTest, AFreeWorkerSaysHelloWithoutAState) {
  Connect();
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello");
}

// ---- Checkpoints and the end
// ---------------------------------------------------------------------

StartOptions Short(int64_t steps, int depth, int64_t interval) {
  StartOptions options;
  options.steps = steps;
  options.depth = depth;
  options.interval = interval;
  return options;
}

TEST_F(AgentMachineTest, ACheckpointIsUploadedOnceItsStepsAreAcknowledged) {
  StartJob(Short(100, 4, 2));
  Done(2, {0});
  EXPECT_EQ(Done(4, {1}), "results g1 [1]; serialise");
  EXPECT_EQ(Done(4), "step forget<0");
  EXPECT_EQ(Ack(1, 1), "");
  EXPECT_EQ(Ack(1, 2), "upload g1 step 2");
  EXPECT_EQ(Done(6, {2}), "results g1 [2]; step forget<2");
  // The next one waits for the one under way.
  EXPECT_EQ(Done(8, {3}), "results g1 [3]");
  EXPECT_EQ(Ack(1, 4), "");
  EXPECT_EQ(Uploaded(), "serialise");
  EXPECT_EQ(Done(8), "upload g1 step 4; step forget<4");
}

TEST_F(AgentMachineTest, AnotherRankWritesNoCheckpoint) {
  StartOptions options = Short(2, 2, 1);
  options.rank = 1;
  options.size = 2;
  StartJob(options);
  EXPECT_EQ(Done(2, {0}), "step forget<0");
  EXPECT_EQ(Done(4, {1}), "");
  EXPECT_EQ(Ack(1, 2), "");
}

TEST_F(AgentMachineTest, ARefusedCheckpointDoesNotStopTheJobButTheFinalOneDoes) {
  StartJob(Short(2, 1, 1));
  EXPECT_EQ(Done(2, {0}), "results g1 [0]; serialise");
  Done(2);
  EXPECT_EQ(Ack(1, 1), "upload g1 step 1; step forget<1");
  EXPECT_EQ(Uploaded(absl::InvalidArgumentError("no")), "");
  EXPECT_EQ(Done(4, {1}), "results g1 [1]");
  EXPECT_EQ(Ack(1, 2), "serialise");
  EXPECT_EQ(Done(4), "upload g1 step 2; evaluate");
  EXPECT_EQ(Uploaded(absl::InvalidArgumentError("no")),
            "close; stop engine; failed g1 3 the checkpoint of step 2 could not be stored: no by "
            "workers/w1");
}

TEST_F(AgentMachineTest, AtTheEndTheCheckpointIsStoredBeforeTheJobIsFinished) {
  StartJob(Short(1, 8, 0));
  EXPECT_EQ(Done(2, {0}), "results g1 [0]");
  EXPECT_EQ(Ack(1, 1), "serialise");
  EXPECT_EQ(Done(2), "upload g1 step 1; evaluate");
  EXPECT_EQ(Done(2), "");
  EXPECT_EQ(Uploaded(), "finished g1");
  EXPECT_EQ(Ack(1, 1), "");
  EXPECT_EQ(Release(), "close; drop");
  EXPECT_EQ(Empty(), "released jobs/a");
}

TEST_F(AgentMachineTest, AnUploadThatEndsBeforeTheEvaluation) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  Done(2);
  EXPECT_EQ(Uploaded(), "");
  EXPECT_EQ(Done(2), "finished g1");
}

TEST_F(AgentMachineTest, AFinishThatWasLostIsRepeatedByTheNextGeneration) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  Done(2);
  Uploaded();
  EXPECT_EQ(Done(2), "finished g1");
  Do(StreamDown{});
  Connect();
  EXPECT_EQ(End(1), "close; leave");
  Done(2);
  StartOptions donor = Short(1, 1, 0);
  donor.donor_holds_state = true;
  donor.committed = 1;
  EXPECT_EQ(Start(2, donor), "open g2; join g2");
  EXPECT_EQ(Done(2), "serialise");
}

TEST_F(AgentMachineTest, ALostStreamStopsTheUpload) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  EXPECT_EQ(Done(2), "upload g1 step 1; evaluate");
  EXPECT_EQ(Do(StreamDown{}), "stop upload");
  EXPECT_EQ(Uploaded(absl::CancelledError("stopped")), "");
  EXPECT_EQ(Done(2), "");
}

TEST_F(AgentMachineTest, ARefusalAsStaleLeavesTheGeneration) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  Done(2);
  EXPECT_EQ(Done(2), "");
  EXPECT_EQ(Uploaded(absl::AbortedError("stale")), "close; leave");
  EXPECT_EQ(Done(2),
            "left jobs/a g1 phases=2 (the checkpoint of step 1 could not be stored: stale)");
}

TEST_F(AgentMachineTest, ReleaseWaitsForTheUploadToStop) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  Done(2);
  EXPECT_EQ(Release(), "close; stop engine; stop upload");
  EXPECT_EQ(Done(2, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "");
  EXPECT_EQ(Uploaded(absl::CancelledError("stopped")), "released jobs/a");
}

TEST_F(AgentMachineTest, ARestoredStateIsNotStoredAgainAndItsStepsAreSentForComparison) {
  Connect();
  StartOptions options = Short(100, 1, 10);
  options.checkpoint = "jobs/a/checkpoints/10";
  options.committed = 15;
  Start(3, options);
  EXPECT_EQ(Empty(), "join g3");
  EXPECT_EQ(Done(20, {9}), "step forget<15");
  EXPECT_EQ(Done(22, {10}), "results g3 [10]; step forget<15");
}

TEST_F(AgentMachineTest, ARestoredFinalStateIsEvaluatedAtOnce) {
  Connect();
  StartOptions options = Short(10, 1, 0);
  options.checkpoint = "jobs/a/checkpoints/10";
  options.committed = 10;
  Start(3, options);
  Empty();
  EXPECT_EQ(Done(20, {9}), "evaluate");
  EXPECT_EQ(Done(20), "finished g3");
}

// ---- Sizes -------------------------------------------------------------------------------------

TEST_F(AgentMachineTest, LargeResultsTravelInSeveralMessages) {
  Connect();
  Start(1, Depth(8));
  Empty();
  EngineOutcome outcome;
  outcome.has_state = true;
  outcome.phases = 6;
  for (int step = 0; step < 3; ++step) {
    outcome.results.push_back(Result(step));
    for (int i = 0; i < 60'000; ++i) outcome.results.back().add_hypergradient(i);
  }
  EXPECT_EQ(Do(outcome), "results g1 [0 1]; results g1 [2]; step forget<0");
}

TEST_F(AgentMachineTest, AMessageHoldsAtMost256Results) {
  Connect();
  Start(1, Depth(256));
  Empty();
  EngineOutcome outcome;
  outcome.has_state = true;
  outcome.phases = 2 * 257;
  for (int step = 0; step < 257; ++step) outcome.results.push_back(Result(step));
  const std::string line = Do(outcome);
  EXPECT_NE(line.find(" 255]; results g1 [256]"), std::string::npos) << line;
}

}  // namespace
}  // namespace evograd::agent
