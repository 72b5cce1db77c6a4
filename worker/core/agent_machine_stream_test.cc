// Goal: the agent does the right thing when jobs are released, streams are lost, and checkpoints
// are due, refused or late. Method: scenarios; each input's actions are compared as one line of
// text.
#include "worker/core/testing/machine_script.h"

namespace evograd::agent {
namespace {

class AgentMachineStreamTest : public MachineScript {};

// ---- Release -----------------------------------------------------------------------------------

TEST_F(AgentMachineStreamTest, ReleaseDuringAStepDropsEverything) {
  StartJob();
  EXPECT_EQ(Release(), "close; stop engine");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "released jobs/a");
  StartOptions next;
  next.job = "jobs/b";
  next.uid = "uid-b";
  EXPECT_EQ(Start(1, next), "open g1; prepare jobs/b");
}

TEST_F(AgentMachineStreamTest, ReleaseWhileReadingDataStopsTheReading) {
  Connect();
  Start(1, {});
  EXPECT_EQ(Release(), "close; stop engine");
  EXPECT_EQ(Empty(absl::CancelledError("stopped")), "released jobs/a");
}

TEST_F(AgentMachineStreamTest, ReleaseOfAnotherJobIsAnsweredAtOnce) {
  StartJob();
  EXPECT_EQ(Release("jobs/b"), "released jobs/b");
  EXPECT_EQ(Done(2, {0}), "results g1 [0]");
}

TEST_F(AgentMachineStreamTest, AJobOfTheSameNameButAnotherUidBeginsAnew) {
  StartJob();
  StartOptions next;
  next.uid = "uid-other";
  EXPECT_EQ(Start(1, next), "close; stop engine; open g1");
  EXPECT_EQ(Done(0, {}, absl::AbortedError("aborted")), "drop");
  EXPECT_EQ(Empty(), "prepare jobs/a");
}

TEST_F(AgentMachineStreamTest, AnotherJobDuringTheReadingStopsIt) {
  Connect();
  Start(1, {});
  StartOptions next;
  next.job = "jobs/b";
  next.uid = "uid-b";
  EXPECT_EQ(Start(1, next), "close; stop engine; open g1");
  EXPECT_EQ(Empty(absl::CancelledError("stopped")), "prepare jobs/b");
}

// ---- The stream --------------------------------------------------------------------------------

TEST_F(AgentMachineStreamTest, ALostStreamLetsThePipelineFill) {
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

TEST_F(AgentMachineStreamTest, AReattachedWorkerSendsNothingForItsOldGeneration) {
  StartJob(Depth(3));
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=0");
  EXPECT_EQ(Done(2, {0}), "step forget<0");
  EXPECT_EQ(Done(2, {}, absl::UnavailableError("rank 1 is gone")), "close; leave");
  EXPECT_EQ(Done(2), "");
  EXPECT_EQ(End(1), "left jobs/a g1 phases=2");
}

TEST_F(AgentMachineStreamTest, AJobThatFailsWhileCutOffFailsInItsNextGeneration) {
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

TEST_F(AgentMachineStreamTest, WhoHoldsWhatMostDoLeavesAndWhoDoesNotSaysThatItIsInDoubt) {
  const auto step = [&](const std::vector<int>& differing) {
    EngineOutcome outcome;
    outcome.status = absl::DataLossError("other parameters");
    outcome.has_state = true;
    outcome.phases = 2;
    outcome.ranks_disagree = true;
    outcome.suspects = differing;
    return Do(outcome);
  };
  StartJob();
  EXPECT_EQ(step({2}), "close; leave");
  EXPECT_EQ(Done(2), "left jobs/a g1 nothing (other parameters)");
  StartOptions restored;
  restored.checkpoint = "jobs/a/checkpoints/1";
  restored.committed = 1;
  EXPECT_EQ(Start(2, restored), "open g2; join g2");
  EXPECT_EQ(Done(2), "step forget<1");
  EXPECT_EQ(step({0, 2}), "close; failed g2 15 in doubt: other parameters by workers/w1");
  End(2);
  Done(2);
  EXPECT_EQ(Start(3, restored), "open g3; join g3");
  EXPECT_EQ(Done(2), "step forget<1");
  EXPECT_EQ(step({}), "close; failed g3 15 in doubt: other parameters by workers/w1");
}

TEST_F(AgentMachineStreamTest, AnAnswerDueOnALostStreamIsAskedForAgain) {
  StartJob();
  End(1);
  EXPECT_EQ(Do(StreamDown{}), "");
  EXPECT_EQ(Done(0, {}, absl::AbortedError("aborted")), "leave");
  EXPECT_EQ(Done(0), "");
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=0");
  EXPECT_EQ(End(1), "left jobs/a g1 phases=0");
}

TEST_F(AgentMachineStreamTest, AnAnswerGivenOnALostStreamIsGivenAgain) {
  StartJob();
  End(1);
  Done(0);
  EXPECT_EQ(Done(0), "left jobs/a g1 phases=0");
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=0");
  EXPECT_EQ(End(1), "left jobs/a g1 phases=0");
}

TEST_F(AgentMachineStreamTest, AReleaseCutOffIsCarriedOutButNotAnswered) {
  StartJob();
  EXPECT_EQ(Release(), "close; stop engine");
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello busy jobs/a");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "");
}

TEST_F(AgentMachineStreamTest, AReleaseAskedAgainAfterReconnectIsAnswered) {
  StartJob();
  Release();
  Do(StreamDown{});
  Connect();
  EXPECT_EQ(Release(), "");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "released jobs/a");
}

TEST_F(AgentMachineStreamTest, AReleasedJobMayComeBackBeforeItIsDropped) {
  StartJob();
  Release();
  Do(StreamDown{});
  Connect();
  EXPECT_EQ(Start(2, {}), "open g2");
  EXPECT_EQ(Done(0, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "prepare jobs/a");
}

TEST_F(AgentMachineStreamTest, AFreeWorkerSaysHelloWithoutAState) {
  Connect();
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello");
}

// ---- Checkpoints and the end ------------------------------------------------------------------

TEST_F(AgentMachineStreamTest, ACheckpointIsUploadedOnceItsStepsAreAcknowledged) {
  StartJob(Short(100, 4, 2));
  EXPECT_EQ(Done(2, {0}), "results g1 [0]; step forget<0");
  EXPECT_EQ(Done(4, {1}), "serialise");
  EXPECT_EQ(Done(4), "step forget<0");
  EXPECT_EQ(Ack(1, 1), "results g1 [1]");
  EXPECT_EQ(Ack(1, 2), "upload g1 step 2");
  EXPECT_EQ(Done(6, {2}), "results g1 [2]; step forget<2");
  // The next one is left out while one is under way, however long that takes.
  EXPECT_EQ(Done(8, {3}), "step forget<2");
  EXPECT_EQ(Do(UploadTrouble{"no space"}), "trouble no space");
  EXPECT_EQ(Uploaded(), "");
  EXPECT_EQ(Done(10, {4}), "step forget<2");
  EXPECT_EQ(Done(12, {5}), "serialise");
}

TEST_F(AgentMachineStreamTest, TroubleOfARestoreIsToldWhileItsGenerationLasts) {
  Connect();
  StartOptions options;
  options.checkpoint = "jobs/a/checkpoints/5";
  Start(1, options);
  EXPECT_EQ(Empty(), "join g1");
  EXPECT_EQ(Do(RestoreTrouble{"busy"}), "trouble busy");
  EXPECT_EQ(Do(RestoreTrouble{""}), "trouble ");
  EXPECT_EQ(End(1), "close; stop engine");
  EXPECT_EQ(Do(RestoreTrouble{"busy"}), "");
}

TEST_F(AgentMachineStreamTest, TroubleOfAnUploadThatWasStoppedIsToldOfNoOtherJob) {
  StartJob(Short(100, 4, 2));
  Done(2, {0});
  Done(4, {1});
  Done(4);
  Ack(1, 1);
  EXPECT_EQ(Ack(1, 2), "upload g1 step 2");
  EXPECT_EQ(Release(), "close; stop engine; stop upload");
  StartOptions other;
  other.job = "jobs/b";
  other.uid = "uid-b";
  EXPECT_EQ(Start(1, other), "open g1");
  EXPECT_EQ(Do(UploadTrouble{"no space"}), "");
}

TEST_F(AgentMachineStreamTest, TrainingWaitsForACheckpointThatIsToBeKept) {
  StartOptions options = Short(100, 100, 2);
  options.keep_every = 4;
  StartJob(options);
  Done(2, {0});
  EXPECT_EQ(Done(4, {1}), "serialise");
  EXPECT_EQ(Done(4), "step forget<0");
  EXPECT_EQ(Ack(1, 1), "results g1 [1]");
  EXPECT_EQ(Ack(1, 2), "upload g1 step 2");
  EXPECT_EQ(Done(6, {2}), "results g1 [2]; step forget<2");
  EXPECT_EQ(Done(8, {3}), "");
  EXPECT_EQ(Uploaded(), "serialise");
  // What comes after it is computed only when it is stored.
  EXPECT_EQ(Done(8), "");
  EXPECT_EQ(Ack(1, 3), "results g1 [3]");
  EXPECT_EQ(Ack(1, 4), "upload g1 step 4");
  EXPECT_EQ(Do(UploadTrouble{"no space"}), "trouble no space");
  EXPECT_EQ(Uploaded(), "step forget<4");
}

// Rank 0 stands at step 2, whose checkpoint is to be kept and is being uploaded.
class KeptStepTest : public MachineScript {
 protected:
  KeptStepTest() {
    options_ = Short(100, 100, 0);
    options_.keep_every = 2;
    StartJob(options_);
    Done(2, {0});
    EXPECT_EQ(Done(4, {1}), "serialise");
    EXPECT_EQ(Done(4), "");
    EXPECT_EQ(Ack(1, 1), "results g1 [1]");
    EXPECT_EQ(Ack(1, 2), "upload g1 step 2");
    options_.committed = 2;
    options_.donor_holds_state = true;
  }

  StartOptions options_;
};

TEST_F(KeptStepTest, AnotherGenerationBeginsAtTheStepAndStoresIt) {
  EXPECT_EQ(End(1), "close; stop upload; leave");
  EXPECT_EQ(Done(4), "left jobs/a g1 phases=4");
  EXPECT_EQ(Uploaded(absl::CancelledError("stopped")), "");
  EXPECT_EQ(Start(2, options_), "open g2; join g2");
  EXPECT_EQ(Done(4), "serialise");
  EXPECT_EQ(Done(4), "upload g2 step 2");
  EXPECT_EQ(Uploaded(), "step forget<2");
}

TEST_F(KeptStepTest, WithoutAStreamItIsWaitedForTheNext) {
  EXPECT_EQ(Do(StreamDown{}), "stop upload");
  EXPECT_EQ(Uploaded(absl::CancelledError("stopped")), "");
  EXPECT_EQ(Connect(), "hello jobs/a g1 phases=4");
  EXPECT_EQ(End(1), "close; leave");
  EXPECT_EQ(Done(4), "left jobs/a g1 phases=4");
}

TEST_F(KeptStepTest, RefusedToTheGenerationItIsLeftToTheNext) {
  EXPECT_EQ(Uploaded(absl::AbortedError("stale")), "close; leave");
  EXPECT_EQ(Done(4),
            "left jobs/a g1 phases=4 (the checkpoint of step 2, which was to be kept, could not be "
            "stored: stale)");
}

TEST_F(KeptStepTest, RefusedForGoodItIsTold) {
  EXPECT_EQ(Uploaded(absl::InvalidArgumentError("too large")),
            "trouble the checkpoint of step 2, which was to be kept, could not be stored: too "
            "large; step forget<2");
}

// Another rank was, between the two updates of the step after it, when the donor was lost.
TEST_F(KeptStepTest, AStateBetweenTwoStepsIsGoneOnWith) {
  End(1);
  Uploaded(absl::CancelledError("stopped"));
  EXPECT_EQ(Done(5), "left jobs/a g1 phases=5");
  EXPECT_EQ(Start(2, options_), "open g2; join g2");
  EXPECT_EQ(Done(5), "step forget<2");
}

TEST_F(AgentMachineStreamTest, ACheckpointIsDueWhenTheStepsSinceTookSoLong) {
  StartOptions options = Short(100, 100, 0);
  options.interval_seconds = 60;
  StartJob(options);
  const auto step = [&](int64_t phases, double seconds) {
    EngineOutcome outcome;
    outcome.has_state = true;
    outcome.phases = phases;
    outcome.seconds = seconds;
    return Do(outcome);
  };
  EXPECT_EQ(step(2, 59), "step forget<0");
  EXPECT_EQ(step(4, 1), "serialise");
  // One that takes long is made more rarely.
  EXPECT_EQ(step(4, 5), "step forget<0");
  EXPECT_EQ(Ack(1, 2), "upload g1 step 2");
  EXPECT_EQ(Uploaded(), "");
  EXPECT_EQ(step(6, 99), "step forget<2");
  EXPECT_EQ(step(8, 1), "serialise");
}

TEST_F(AgentMachineStreamTest, AnotherRankWritesNoCheckpoint) {
  StartOptions options = Short(2, 2, 1);
  options.rank = 1;
  options.size = 2;
  StartJob(options);
  EXPECT_EQ(Done(2, {0}), "step forget<0");
  EXPECT_EQ(Done(4, {1}), "");
  EXPECT_EQ(Ack(1, 2), "");
}

TEST_F(AgentMachineStreamTest, ARefusedCheckpointDoesNotStopTheJobButTheFinalOneDoes) {
  StartJob(Short(2, 1, 1));
  EXPECT_EQ(Done(2, {0}), "results g1 [0]; serialise");
  Done(2);
  EXPECT_EQ(Ack(1, 1), "upload g1 step 1; step forget<1");
  EXPECT_EQ(Uploaded(absl::InvalidArgumentError("no")),
            "trouble the checkpoint of step 1 could not be stored: no");
  EXPECT_EQ(Done(4, {1}), "results g1 [1]");
  EXPECT_EQ(Ack(1, 2), "serialise");
  EXPECT_EQ(Done(4), "upload g1 step 2");
  EXPECT_EQ(Uploaded(absl::InvalidArgumentError("no")),
            "close; failed g1 3 the checkpoint of step 2 could not be stored: no by workers/w1");
}

TEST_F(AgentMachineStreamTest, AtTheEndTheCheckpointIsStoredBeforeTheJobIsEvaluated) {
  StartJob(Short(1, 8, 0));
  EXPECT_EQ(Done(2, {0}), "results g1 [0]");
  EXPECT_EQ(Ack(1, 1), "serialise");
  EXPECT_EQ(Done(2), "upload g1 step 1");
  EXPECT_EQ(Uploaded(), "evaluate");
  EXPECT_EQ(Done(2), "finished g1");
  EXPECT_EQ(Ack(1, 1), "");
  EXPECT_EQ(Release(), "close; drop");
  EXPECT_EQ(Empty(), "released jobs/a");
}

TEST_F(AgentMachineStreamTest, AnEvaluationThatFailsIsThisWorkersFirst) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  Done(2);
  EXPECT_EQ(Uploaded(), "evaluate");
  EXPECT_EQ(Done(2, {}, absl::NotFoundError("05.png")),
            "close; failed g1 5 here: 05.png by workers/w1");
}

TEST_F(AgentMachineStreamTest, AFinishThatWasLostIsRepeatedByTheNextGeneration) {
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

TEST_F(AgentMachineStreamTest, ALostStreamStopsTheUpload) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  EXPECT_EQ(Done(2), "upload g1 step 1");
  EXPECT_EQ(Do(StreamDown{}), "stop upload");
  EXPECT_EQ(Uploaded(absl::CancelledError("stopped")), "");
}

TEST_F(AgentMachineStreamTest, ARefusalAsStaleLeavesTheGeneration) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  Done(2);
  EXPECT_EQ(Uploaded(absl::AbortedError("stale")), "close; leave");
  EXPECT_EQ(Done(2),
            "left jobs/a g1 phases=2 (the checkpoint of step 1 could not be stored: stale)");
}

TEST_F(AgentMachineStreamTest, ReleaseWaitsForTheUploadToStop) {
  StartJob(Short(1, 1, 0));
  Done(2, {0});
  Ack(1, 1);
  Done(2);
  EXPECT_EQ(Release(), "close; stop upload; drop");
  EXPECT_EQ(Empty(), "");
  EXPECT_EQ(Uploaded(absl::CancelledError("stopped")), "released jobs/a");
}

TEST_F(AgentMachineStreamTest, ARestoredStateIsNotStoredAgainAndItsStepsAreSentForComparison) {
  Connect();
  StartOptions options = Short(100, 1, 10);
  options.checkpoint = "jobs/a/checkpoints/10";
  options.committed = 15;
  Start(3, options);
  EXPECT_EQ(Empty(), "join g3");
  EXPECT_EQ(Done(20, {9}), "step forget<15");
  EXPECT_EQ(Done(22, {10}), "results g3 [10]; step forget<15");
}

TEST_F(AgentMachineStreamTest, ARestoredFinalStateIsEvaluatedAtOnce) {
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

TEST_F(AgentMachineStreamTest, LargeResultsTravelInSeveralMessages) {
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

TEST_F(AgentMachineStreamTest, AMessageHoldsAtMost256Results) {
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

// ---- Newcomers ---------------------------------------------------------------------------------

TEST_F(AgentMachineStreamTest, ANewcomerReadsTheDataBeforeItJoins) {
  Connect();
  EXPECT_EQ(Prepare({}), "prepare jobs/a");
  EXPECT_EQ(Empty(), "prepared jobs/a");
  EXPECT_EQ(Start(2, {}), "open g2; join g2");
}

TEST_F(AgentMachineStreamTest, ANewcomerIsCalledWhileItReads) {
  Connect();
  EXPECT_EQ(Prepare({}), "prepare jobs/a");
  EXPECT_EQ(Start(2, {}), "open g2");
  EXPECT_EQ(Empty(), "join g2");
}

TEST_F(AgentMachineStreamTest, ANewcomerThatCannotReadTheDataSaysSo) {
  Connect();
  Prepare({});
  EXPECT_EQ(Empty(absl::NotFoundError("no data")), "failed g0 5 here: no data by workers/w1");
  // It is free for another job, or the same one again.
  EXPECT_EQ(Prepare({}), "prepare jobs/a");
}

TEST_F(AgentMachineStreamTest, ANewcomerDropsTheJobWhenToldOrWhenItsStreamIsLost) {
  Connect();
  Prepare({});
  EXPECT_EQ(Release(), "stop engine");
  EXPECT_EQ(Empty(absl::CancelledError("stopped")), "released jobs/a");
  Prepare({});
  Empty();
  EXPECT_EQ(Do(StreamDown{}), "drop");
  Empty();
  EXPECT_EQ(Connect(), "hello");
}

TEST_F(AgentMachineStreamTest, AnEngineStillAtAJobThatWasDroppedIsSaidToBeBusy) {
  StartJob();
  EXPECT_EQ(Release(), "close; stop engine");
  Do(StreamDown{});
  EXPECT_EQ(Connect(), "hello busy jobs/a");
  EXPECT_EQ(Release(), "");
  EXPECT_EQ(Done(2, {}, absl::CancelledError("stopped")), "drop");
  EXPECT_EQ(Empty(), "released jobs/a");
}

TEST_F(AgentMachineStreamTest, ALeaveNamesWhomItWaitedFor) {
  StartJob();
  EngineOutcome outcome;
  outcome.status = absl::UnavailableError("cannot connect to rank 1");
  outcome.suspects = {1};
  EXPECT_EQ(Do(outcome), "close; leave");
  EXPECT_EQ(Empty(), "left jobs/a g1 nothing (cannot connect to rank 1) suspects 1");
}

}  // namespace
}  // namespace evograd::agent
