// Goal: a checkpoint's file is whole and has its hash, or is not there; damage is noticed before
// the last byte is given. Method: files in a temporary directory are written, cut short at every
// length, flipped bit by bit, and read.

#include "server/store/checkpoint_files.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "common/limits.h"
#include "gtest/gtest.h"
#include "server/store/testing/temp_dir.h"

namespace evograd {
namespace {

constexpr char kUid[] = "11111111-0000-4000-8000-000000000000";

v1::Checkpoint CheckpointOf(const std::string& bytes, int64_t step = 7) {
  v1::Checkpoint checkpoint;
  Sha256 hash;
  hash.Update(bytes);
  checkpoint.set_name("jobs/job1/checkpoints/7");
  checkpoint.set_step(step);
  checkpoint.set_size_bytes(static_cast<int64_t>(bytes.size()));
  checkpoint.set_sha256(hash.HexDigest());
  return checkpoint;
}

absl::Status WriteAll(CheckpointFiles* files, const v1::Checkpoint& checkpoint,
                      const std::string& bytes) {
  auto writer = files->Write(kUid, checkpoint);
  if (!writer.ok()) return writer.status();
  for (size_t at = 0; at < bytes.size(); at += 1000) {
    const absl::Status status = (*writer)->Append(absl::string_view(bytes).substr(at, 1000));
    if (!status.ok()) return status;
  }
  return (*writer)->Finish();
}

absl::StatusOr<std::string> ReadAll(const CheckpointFiles& files,
                                    const v1::Checkpoint& checkpoint) {
  auto reader = files.Read(kUid, checkpoint);
  if (!reader.ok()) return reader.status();
  std::string all;
  while (true) {
    absl::StatusOr<std::string> bytes = (*reader)->Next();
    if (!bytes.ok()) return bytes.status();
    if (bytes->empty()) return all;
    all += *bytes;
  }
}

class CheckpointFilesTest : public ::testing::Test {
 protected:
  // The only file in the directory; empty where there is none.
  std::string OnlyFile() {
    std::string found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path())) {
      if (!entry.is_regular_file()) continue;
      EXPECT_TRUE(found.empty()) << entry.path();
      found = entry.path();
    }
    return found;
  }

  testing::TempDir dir_;
  CheckpointFiles files_{dir_.path()};
};

TEST_F(CheckpointFilesTest, WhatWasWrittenIsRead) {
  // Shorter than a chunk, exactly one, and several.
  for (const size_t size : {size_t{1}, size_t{limits::kCheckpointChunkBytes}, size_t{2'500'000}}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 % 251);
    const v1::Checkpoint checkpoint = CheckpointOf(bytes);
    ASSERT_TRUE(WriteAll(&files_, checkpoint, bytes).ok());
    const absl::StatusOr<std::string> read = ReadAll(files_, checkpoint);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, bytes);
    files_.Remove(kUid, checkpoint);
    EXPECT_EQ(ReadAll(files_, checkpoint).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(CheckpointFilesTest, AnUploadThatDoesNotFitLeavesNoFile) {
  const v1::Checkpoint checkpoint = CheckpointOf("abcdef");
  EXPECT_EQ(WriteAll(&files_, checkpoint, "abcdeX").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(WriteAll(&files_, checkpoint, "abcde").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(WriteAll(&files_, checkpoint, "abcdefg").code(), absl::StatusCode::kInvalidArgument);
  {
    auto abandoned = files_.Write(kUid, checkpoint);
  }
  EXPECT_EQ(OnlyFile(), "");
  EXPECT_TRUE(WriteAll(&files_, checkpoint, "abcdef").ok());
  EXPECT_NE(OnlyFile(), "");
}

TEST_F(CheckpointFilesTest, EveryFlippedBitAndEveryTruncationIsNoticed) {
  const std::string bytes = "a checkpoint of fifty bytes, more or less, for once";
  const v1::Checkpoint checkpoint = CheckpointOf(bytes);
  ASSERT_TRUE(WriteAll(&files_, checkpoint, bytes).ok());
  const std::string path = OnlyFile();
  const auto overwrite = [&](const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  };
  int checked = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit, ++checked) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    overwrite(flipped);
    ASSERT_EQ(ReadAll(files_, checkpoint).status().code(), absl::StatusCode::kDataLoss) << bit;
  }
  for (size_t size = 0; size < bytes.size(); ++size, ++checked) {
    overwrite(bytes.substr(0, size));
    ASSERT_EQ(ReadAll(files_, checkpoint).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  overwrite(bytes + "x");
  EXPECT_EQ(ReadAll(files_, checkpoint).status().code(), absl::StatusCode::kDataLoss);
  overwrite(bytes);
  EXPECT_TRUE(ReadAll(files_, checkpoint).ok());
  EXPECT_EQ(checked, 9 * static_cast<int>(bytes.size()));
}

TEST_F(CheckpointFilesTest, WhatACrashLeftIsRemoved) {
  const v1::Checkpoint kept = CheckpointOf("kept", 1);
  const v1::Checkpoint stray = CheckpointOf("stray", 2);
  ASSERT_TRUE(WriteAll(&files_, kept, "kept").ok());
  ASSERT_TRUE(WriteAll(&files_, stray, "stray").ok());
  std::ofstream(dir_.path() + "/" + kUid + "/3-0123456789abcdef.1.part") << "half";
  ASSERT_TRUE(files_.RemoveOthers({{kUid, kept}}).ok());
  EXPECT_TRUE(ReadAll(files_, kept).ok());
  EXPECT_NE(OnlyFile(), "");
}

}  // namespace
}  // namespace evograd
