// Goal: heartbeats tell an engine that computes, one that waits for other ranks and one that stands
// still apart. Method: times and processor use given by hand; a real communicator of one rank.
#include "worker/agent/engine_watch.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "worker/collective/in_process_communicator.h"

namespace evograd::agent {
namespace {

using std::chrono::seconds;

TEST(EngineWatchTest, WhoUsesTheProcessorDoesNotStandStill) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  const double used = ProcessorSeconds();
  watch.Does("step 3", begin);
  double processor = used;
  for (int second = 1; second <= 100; ++second) {
    processor += 0.02;
    const v1::Heartbeat beat = watch.Look(begin + seconds(second), processor + 1);
    EXPECT_EQ(beat.doing(), "step 3");
    EXPECT_EQ(beat.doing_seconds(), second);
    EXPECT_EQ(beat.still_seconds(), 0);
    EXPECT_FALSE(beat.waiting());
  }
}

TEST(EngineWatchTest, WhoUsesNextToNothingStandsStillUntilItGoesOn) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Does("step 3", begin);
  const double used = ProcessorSeconds() + 1;
  watch.Look(begin + seconds(1), used);
  // Heartbeats themselves take a little.
  for (int second = 2; second <= 100; ++second) {
    EXPECT_EQ(watch.Look(begin + seconds(second), used + 0.001 * second).still_seconds(),
              second - 1);
  }
  EXPECT_EQ(watch.Look(begin + seconds(101), used + 5).still_seconds(), 0);
  watch.Does("", begin + seconds(200));
  EXPECT_EQ(watch.Look(begin + seconds(300), used + 5).ByteSizeLong(), 0);
}

TEST(EngineWatchTest, NoTimeIsNegative) {
  EngineWatch watch;
  const EngineWatch::Time looked{};
  // The engine goes on between the heartbeat's look at the clock and its report.
  watch.Does("step 3", looked + seconds(1));
  v1::Heartbeat beat = watch.Look(looked, ProcessorSeconds());
  EXPECT_EQ(beat.doing_seconds(), 0);
  EXPECT_EQ(beat.still_seconds(), 0);
  watch.Waits(looked + seconds(2));
  beat = watch.Look(looked, ProcessorSeconds());
  EXPECT_EQ(beat.doing_seconds(), 0);
  watch.GoesOn(looked + seconds(3));
  beat = watch.Look(looked, ProcessorSeconds());
  EXPECT_EQ(beat.doing_seconds(), 0);
  EXPECT_EQ(beat.still_seconds(), 0);
}

TEST(EngineWatchTest, AProcessThatWasPausedOrFetchesDidNotStandStill) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Does("step 3", begin);
  const double used = ProcessorSeconds() + 1;
  watch.Look(begin + seconds(1), used);
  EXPECT_EQ(watch.Look(begin + seconds(4), used).still_seconds(), 3);
  // Two minutes without a heartbeat.
  EXPECT_EQ(watch.Look(begin + seconds(124), used).still_seconds(), 0);
  EXPECT_EQ(watch.Look(begin + seconds(126), used).still_seconds(), 2);
  watch.Fetches(true);
  EXPECT_EQ(watch.Look(begin + seconds(130), used).still_seconds(), 0);
  watch.Fetches(false);
  EXPECT_EQ(watch.Look(begin + seconds(132), used).still_seconds(), 2);
}

TEST(EngineWatchTest, WaitingForOthersIsNoStandingStill) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Does("step 3", begin);
  const double used = ProcessorSeconds() + 1;
  watch.Waits(begin + seconds(10));
  const v1::Heartbeat beat = watch.Look(begin + seconds(500), used);
  EXPECT_TRUE(beat.waiting());
  EXPECT_EQ(beat.doing_seconds(), 490);
  EXPECT_EQ(beat.still_seconds(), 0);
  watch.GoesOn(begin + seconds(500));
  EXPECT_FALSE(watch.Look(begin + seconds(501), used).waiting());
}

TEST(EngineWatchTest, AWatchedCommunicatorDoesWhatItsOwnDoes) {
  EngineWatch watch;
  watch.Does("step 3", std::chrono::steady_clock::now());
  std::vector<std::unique_ptr<InProcessCommunicator>> group =
      InProcessCommunicator::CreateGroup(1, absl::Seconds(60));
  const std::unique_ptr<Communicator> communicator = Watched(std::move(group[0]), &watch);
  const int sent = 7;
  int received = 0;
  EXPECT_TRUE(communicator->AllGather(&sent, &received, sizeof(int)).ok());
  EXPECT_EQ(received, 7);
  communicator->Abort();
  EXPECT_EQ(communicator->AllGather(&sent, &received, sizeof(int)).code(),
            absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace evograd::agent
