// Goal: heartbeats tell an engine that computes, one that waits for other ranks and one that stands
// still apart. Method: times and processor use given by hand; a real communicator of one rank.
#include "worker/agent/engine_watch.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
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
    const v1::Heartbeat beat = watch.Look(begin + seconds(second), processor + 1, 0);
    EXPECT_EQ(beat.doing(), "step 3");
    EXPECT_EQ(beat.doing_seconds(), second);
    EXPECT_EQ(beat.still_seconds(), 0);
    EXPECT_FALSE(beat.waiting());
  }
}

// The coordinator takes a negative time for another program's and closes the stream.
TEST(EngineWatchTest, ATimeFromBeforeATaskIsThatOfItsBegin) {
  EngineWatch watch;
  const EngineWatch::Time looked_at_clock{};
  watch.Does("step 3", looked_at_clock + seconds(1));
  const v1::Heartbeat beat = watch.Look(looked_at_clock, ProcessorSeconds());
  EXPECT_EQ(beat.doing_seconds(), 0);
  EXPECT_EQ(beat.still_seconds(), 0);
}

TEST(EngineWatchTest, WhoUsesNextToNothingStandsStillUntilItGoesOn) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Does("step 3", begin);
  const double used = ProcessorSeconds() + 1;
  watch.Look(begin + seconds(1), used, 0);
  // Heartbeats themselves take a little.
  for (int second = 2; second <= 100; ++second) {
    EXPECT_EQ(watch.Look(begin + seconds(second), used + 0.001 * second, 0).still_seconds(),
              second - 1);
  }
  EXPECT_EQ(watch.Look(begin + seconds(101), used + 5, 0).still_seconds(), 0);
  watch.Does("", begin + seconds(200));
  EXPECT_EQ(watch.Look(begin + seconds(300), used + 5, 0).ByteSizeLong(), 0);
}

TEST(EngineWatchTest, WhoReadsFromASlowDiskDoesNotStandStill) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Does("reading the job's data", begin);
  const double used = ProcessorSeconds() + 1;
  int64_t read = 10'000'000;
  watch.Look(begin + seconds(1), used, read);
  for (int second = 2; second <= 100; ++second) {
    read += 5'000'000;
    EXPECT_EQ(watch.Look(begin + seconds(second), used, read).still_seconds(), 0);
  }
  // The disk gives nothing any more; heartbeats themselves read a little.
  for (int second = 101; second <= 400; ++second) {
    read += 200;
    EXPECT_EQ(watch.Look(begin + seconds(second), used, read).still_seconds(), second - 100);
  }
}

TEST(EngineWatchTest, BytesOfFilesAreCounted) {
  const int64_t before = ReadBytes();
  if (before == 0) GTEST_SKIP() << "the kernel does not count them";
  std::ifstream zeros("/dev/zero");
  std::string bytes(3 << 20, 'x');
  ASSERT_TRUE(zeros.read(&bytes[0], static_cast<std::streamsize>(bytes.size())));
  EXPECT_GE(ReadBytes() - before, 3 << 20);
}

TEST(EngineWatchTest, WhoDoesNothingMayWaitForACheckpointToBeStored) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Stores("storing the checkpoint of step 7", begin);
  const double used = ProcessorSeconds() + 1;
  v1::Heartbeat beat = watch.Look(begin + seconds(400), used, 0);
  EXPECT_EQ(beat.doing(), "storing the checkpoint of step 7");
  EXPECT_EQ(beat.doing_seconds(), 400);
  EXPECT_EQ(beat.still_seconds(), 0);
  EXPECT_FALSE(beat.waiting());
  watch.Does("step 8", begin + seconds(401));
  EXPECT_EQ(watch.Look(begin + seconds(402), used, 0).doing(), "step 8");
  watch.Does("", begin + seconds(403));
  watch.Stores("", begin + seconds(403));
  EXPECT_EQ(watch.Look(begin + seconds(404), used, 0).ByteSizeLong(), 0);
}

TEST(EngineWatchTest, AProcessThatWasPausedOrFetchesDidNotStandStill) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Does("step 3", begin);
  const double used = ProcessorSeconds() + 1;
  watch.Look(begin + seconds(1), used, 0);
  EXPECT_EQ(watch.Look(begin + seconds(4), used, 0).still_seconds(), 3);
  // Two minutes without a heartbeat.
  EXPECT_EQ(watch.Look(begin + seconds(124), used, 0).still_seconds(), 0);
  EXPECT_EQ(watch.Look(begin + seconds(126), used, 0).still_seconds(), 2);
  watch.Fetches(true);
  EXPECT_EQ(watch.Look(begin + seconds(130), used, 0).still_seconds(), 0);
  watch.Fetches(false);
  EXPECT_EQ(watch.Look(begin + seconds(132), used, 0).still_seconds(), 2);
}

TEST(EngineWatchTest, WaitingForOthersIsNoStandingStill) {
  EngineWatch watch;
  const EngineWatch::Time begin{};
  watch.Does("step 3", begin);
  const double used = ProcessorSeconds() + 1;
  watch.Waits(begin + seconds(10));
  const v1::Heartbeat beat = watch.Look(begin + seconds(500), used, 0);
  EXPECT_TRUE(beat.waiting());
  EXPECT_EQ(beat.doing_seconds(), 490);
  EXPECT_EQ(beat.still_seconds(), 0);
  watch.GoesOn(begin + seconds(500));
  const v1::Heartbeat after = watch.Look(begin + seconds(501), used, 0);
  EXPECT_FALSE(after.waiting());
  // It is at this step for all the time, not since the last collective.
  EXPECT_EQ(after.doing_seconds(), 501);
  EXPECT_EQ(after.still_seconds(), 0);
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
