// Goal: the agent does the right thing about generations, steps and errors, in any order. Method:
// scenarios; each input's actions are compared as one line of text.
#include "worker/core/testing/machine_script.h"

namespace evograd::agent {
namespace {

class AgentMachineTest : public MachineScript {};

// ---- Steps -------------------------------------------------------------------------------------

TEST_F(AgentMachineTest, DepthOneWaitsForEachAcknowledgement) {
  StartJob();
  EXPECT_EQ(Done(2, {0}), "results g1 [0]");
  EXPECT_EQ(Ack(1, 1), "step forget<1");
  EXPECT_EQ(Done(4, {1}), "results g1 [1]");
  EXPECT_EQ(Ack(1, 1), "");  // a repeated one
  EXPECT_EQ(Ack(1, 2), "step forget<2");
}

TEST_F(AgentMachineTest, DepthThreeRunsThreeStepsAheadAndSendsTogetherWhatWasComputedMeanwhile) {
  StartJob(Depth(3));
  EXPECT_EQ(Done(2, {0}), "results g1 [0]; step forget<0");
  EXPECT_EQ(Done(4, {1}), "step forget<0");
  EXPECT_EQ(Done(6, {2}), "");
  EXPECT_EQ(Ack(1, 1), "results g1 [1 2]; step forget<1");
  EXPECT_EQ(Ack(1, 2), "");  // not yet of all that was sent
  EXPECT_EQ(Done(8, {3}), "step forget<2");
  EXPECT_EQ(Ack(1, 3), "results g1 [3]");
}

TEST_F(AgentMachineTest, StepsComputedAgainAreHeldBackByTheStreamOnly) {
  Connect();
  StartOptions options = Depth(2);
  options.committed = 50;
  Start(1, options);
  Empty();
  EXPECT_EQ(Done(0), "step forget<50");
  EXPECT_EQ(Done(2, {0}), "results g1 [0]; step forget<50");
  EXPECT_EQ(Done(4, {1}), "step forget<50");
  EXPECT_EQ(Done(6, {2}), "");  // two wait
  EXPECT_EQ(Ack(1, 50), "results g1 [1 2]; step forget<50");
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
            "close; failed g1 5 here: no /x/train by workers/w1");
  EXPECT_EQ(Release(), "released jobs/a");
}

TEST_F(AgentMachineTest, BadDataFoundBetweenGenerationsIsFoundAgain) {
  Connect();
  Start(1, {});
  End(1);
  EXPECT_EQ(Empty(absl::NotFoundError("no /x/train")), "");
  EXPECT_EQ(Start(2, {}), "open g2; prepare jobs/a");
  EXPECT_EQ(Empty(absl::NotFoundError("no /x/train")),
            "close; failed g2 5 here: no /x/train by workers/w1");
}

}  // namespace
}  // namespace evograd::agent
