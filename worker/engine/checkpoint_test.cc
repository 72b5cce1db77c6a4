// Goal: a checkpoint is read back, and no damaged byte or length passes. Method: a small file is
// read whole, then with every single byte changed and cut at every length.
#include "worker/engine/checkpoint.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace evograd {
namespace {

std::string Small(int64_t version = kCheckpointVersion) {
  SafetensorsWriter writer;
  writer.AddText("progress", "\"sha256\":\"a decoy\"");
  writer.AddDoubles("lambda", {2}, {0.5, -2});
  return SealCheckpoint(std::move(writer), version);
}

TEST(CheckpointTest, ReadsWhatWasWritten) {
  const std::string file = Small();
  const auto checkpoint = OpenCheckpoint(file);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->version, kCheckpointVersion);
  const SafetensorsReader& reader = checkpoint->reader;
  const auto lambda = reader.Read("lambda");
  ASSERT_TRUE(lambda.ok()) << lambda.status();
  EXPECT_EQ((*lambda)[1].item<double>(), -2);
  EXPECT_EQ(reader.metadata().at("format"), "evograd checkpoint");
  EXPECT_EQ(reader.metadata().at("progress"), "\"sha256\":\"a decoy\"");
}

TEST(CheckpointTest, NoticesEveryFlippedByteAndEveryCut) {
  const std::string file = Small();
  ASSERT_TRUE(OpenCheckpoint(file).ok());
  for (size_t i = 0; i < file.size(); ++i) {
    std::string bad = file;
    bad[i] ^= 1;
    EXPECT_EQ(OpenCheckpoint(bad).status().code(), absl::StatusCode::kDataLoss) << i;
    EXPECT_EQ(OpenCheckpoint(file.substr(0, i)).status().code(), absl::StatusCode::kDataLoss) << i;
  }
}

TEST(CheckpointTest, RefusesAnotherVersionAndAnotherFile) {
  EXPECT_TRUE(OpenCheckpoint(Small(kOldestReadCheckpointVersion)).ok());
  for (const int64_t version : {kOldestReadCheckpointVersion - 1, kCheckpointVersion + 1}) {
    EXPECT_EQ(OpenCheckpoint(Small(version)).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
  SafetensorsWriter other;
  other.AddDoubles("lambda", {1}, {1});
  EXPECT_EQ(OpenCheckpoint(other.Serialise()).status().code(), absl::StatusCode::kDataLoss);
}

// What a job of 591,361 hyperparameters wrote with Adam and two results that waited.
TEST(CheckpointTest, ReadsTheLongHeadersOfVersionTwo) {
  const std::string progress(5 * 8 * 591'361 / 3 * 4, 'A');
  SafetensorsWriter writer;
  writer.AddText("progress", progress);
  writer.AddDoubles("lambda", {2}, {0.5, -2});
  const std::string file = SealCheckpoint(std::move(writer), /*version=*/2);
  const auto checkpoint = OpenCheckpoint(file);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->version, 2);
  EXPECT_EQ(checkpoint->reader.metadata().at("progress"), progress);
}

}  // namespace
}  // namespace evograd
