// Goal: what was written is read back, and no damaged byte or length passes. Method: a small state
// is read whole, then with every single byte changed and cut at every length.
#include "worker/engine/state_codec.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace evograd {
namespace {

std::string Small(int64_t version = kStateVersion) {
  StateWriter writer(0, version);
  writer.Number(-7);
  writer.Bytes("theta");
  writer.Doubles({0.5, -2});
  return std::move(writer).Finish();
}

TEST(StateCodecTest, ReadsWhatWasWritten) {
  const std::string state = Small();
  auto reader = StateReader::Open(state);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*reader->Number(), -7);
  EXPECT_EQ(*reader->Bytes(), "theta");
  EXPECT_FALSE(reader->Close().ok());
  EXPECT_EQ(*reader->Doubles(), (std::vector<double>{0.5, -2}));
  EXPECT_TRUE(reader->Close().ok());
  EXPECT_EQ(reader->Number().status().code(), absl::StatusCode::kDataLoss);
}

TEST(StateCodecTest, NoticesEveryFlippedByteAndEveryCut) {
  const std::string state = Small();
  ASSERT_TRUE(StateReader::Open(state).ok());
  for (size_t i = 0; i < state.size(); ++i) {
    std::string bad = state;
    bad[i] ^= 1;
    EXPECT_EQ(StateReader::Open(bad).status().code(), absl::StatusCode::kDataLoss) << i;
    EXPECT_EQ(StateReader::Open(state.substr(0, i)).status().code(), absl::StatusCode::kDataLoss)
        << i;
  }
}

TEST(StateCodecTest, RefusesAnotherVersion) {
  EXPECT_EQ(StateReader::Open(Small(kStateVersion + 1)).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(StateCodecTest, RefusesALengthBeyondTheEnd) {
  StateWriter writer;
  writer.Number(1'000'000);
  const std::string state = std::move(writer).Finish();
  auto reader = StateReader::Open(state);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->Bytes().status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace evograd
