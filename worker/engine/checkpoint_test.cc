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
  const auto reader = OpenCheckpoint(file);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto lambda = reader->Read("lambda");
  ASSERT_TRUE(lambda.ok()) << lambda.status();
  EXPECT_EQ((*lambda)[1].item<double>(), -2);
  EXPECT_EQ(reader->metadata().at("format"), "evograd checkpoint");
  EXPECT_EQ(reader->metadata().at("progress"), "\"sha256\":\"a decoy\"");
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
  EXPECT_EQ(OpenCheckpoint(Small(kCheckpointVersion + 1)).status().code(),
            absl::StatusCode::kFailedPrecondition);
  SafetensorsWriter other;
  other.AddDoubles("lambda", {1}, {1});
  EXPECT_EQ(OpenCheckpoint(other.Serialise()).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace evograd
