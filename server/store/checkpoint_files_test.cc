// Goal: a checkpoint's file is whole and has its hash, or is not there; damage is noticed before
// the last byte is given. Method: files in a temporary directory are written, cut short at every
// length, flipped bit by bit, and read.

#include "server/store/checkpoint_files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "common/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/testing/temp_dir.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
    EXPECT_EQ(OnlyFile(), "");
    EXPECT_EQ(ReadAll(files_, checkpoint).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(CheckpointFilesTest, WhatCannotBeReadIsDamagedUnlessTheMachineIsToBlame) {
  const v1::Checkpoint checkpoint = CheckpointOf("abcdef");
  ASSERT_TRUE(WriteAll(&files_, checkpoint, "abcdef").ok());
  const std::string path = OnlyFile();
  {
    // This process may open no more files: the checkpoint is as good as ever.
    rlimit few, old;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 0;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    const absl::Status status = ReadAll(files_, checkpoint).status();
    const absl::Status stored = WriteAll(&files_, CheckpointOf("other"), "other");
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(stored.code(), absl::StatusCode::kResourceExhausted) << stored;
  }
  EXPECT_TRUE(ReadAll(files_, checkpoint).ok());
  // It opens, and reading fails.
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  absl::Status status = ReadAll(files_, checkpoint).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("Is a directory"));
  // It does not open: a link to itself, as permissions do not bind root.
  std::filesystem::remove(path);
  std::filesystem::create_symlink(path, path);
  status = ReadAll(files_, checkpoint).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
}

TEST_F(CheckpointFilesTest, AFileSystemThatIsAwayIsNoDamage) {
  const v1::Checkpoint checkpoint = CheckpointOf("abcdef");
  ASSERT_TRUE(WriteAll(&files_, checkpoint, "abcdef").ok());
  const std::string file = OnlyFile(), folder = dir_.path() + "/" + kUid;
  const auto read = [&] { return ReadAll(files_, checkpoint).status(); };
  // Not mounted: what is below its folder is not there.
  std::filesystem::rename(folder, dir_.path() + "/elsewhere");
  EXPECT_EQ(read().code(), absl::StatusCode::kUnavailable) << read();
  EXPECT_THAT(std::string(read().message()), HasSubstr("is its file system mounted?"));
  std::filesystem::rename(dir_.path() + "/elsewhere", folder);
  EXPECT_TRUE(read().ok()) << read();
  // Somebody else's, and root's rights do not reach where root is nobody.
  const uid_t user = geteuid();
  std::filesystem::permissions(folder, std::filesystem::perms::none);
  if (user != 0 || seteuid(65534) == 0) {
    EXPECT_EQ(read().code(), absl::StatusCode::kUnavailable) << read();
    ASSERT_EQ(seteuid(user), 0);
  }
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
  EXPECT_TRUE(read().ok()) << read();
  // A device that is gone says ENXIO; so does a socket.
  std::filesystem::remove(file);
  const int below = open(dir_.path().c_str(), O_PATH | O_CLOEXEC);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Names of sockets are short.
  std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket", below);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(fd);
  close(below);
  std::filesystem::rename(dir_.path() + "/socket", file);
  EXPECT_EQ(read().code(), absl::StatusCode::kUnavailable) << read();
}

TEST_F(CheckpointFilesTest, NothingIsWrittenWhereAFileSystemIsAway) {
  const v1::Checkpoint first = CheckpointOf("first", 1), second = CheckpointOf("second", 2);
  ASSERT_TRUE(WriteAll(&files_, first, "first").ok());
  const std::string top = dir_.path(), away = top + ".away", folder = top + "/" + kUid;
  const auto is_refused = [&](const std::string& named) {
    const absl::Status written = WriteAll(&files_, second, "second");
    EXPECT_EQ(written.code(), absl::StatusCode::kUnavailable) << written;
    EXPECT_THAT(std::string(written.message()),
                AllOf(HasSubstr(named), HasSubstr("is its file system mounted?")));
    const absl::Status read = ReadAll(files_, first).status();
    EXPECT_EQ(read.code(), absl::StatusCode::kUnavailable) << read;
  };
  // Where the top folder is a mount, what it hides is there in its place.
  std::filesystem::rename(top, away);
  std::filesystem::create_directory(top);
  is_refused(top);
  EXPECT_TRUE(std::filesystem::is_empty(top));
  std::filesystem::remove(top);
  is_refused(top);
  std::filesystem::rename(away, top);
  // Of the one job.
  std::filesystem::rename(folder, away);
  is_refused(folder);
  EXPECT_FALSE(std::filesystem::exists(folder));
  // As after a start in this state.
  CheckpointFiles again(top);
  Snapshot snapshot;
  snapshot.checkpoints = {{kUid, first}};
  again.Tidy(snapshot);
  EXPECT_EQ(WriteAll(&again, second, "second").code(), absl::StatusCode::kUnavailable);
  std::filesystem::rename(away, folder);
  EXPECT_TRUE(WriteAll(&files_, second, "second").ok());
  EXPECT_TRUE(ReadAll(files_, first).ok());
}

TEST_F(CheckpointFilesTest, AFileSystemThatGoesAwayDuringAnUploadMayComeBack) {
  const v1::Checkpoint checkpoint = CheckpointOf("bytes", 1);
  const std::string top = dir_.path(), away = top + ".away", folder = top + "/" + kUid;
  for (const std::string& gone : {top, folder}) {
    auto writer = files_.Write(kUid, checkpoint);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append("bytes").ok());
    std::filesystem::rename(gone, away);
    const absl::Status status = (*writer)->Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(gone + " is not "));
    std::filesystem::rename(away, gone);
  }
  EXPECT_TRUE(WriteAll(&files_, checkpoint, "bytes").ok());
}

TEST_F(CheckpointFilesTest, UploadsUnderWayCountAsWritten) {
  int64_t free_bytes = 100;
  DiskSpace space(dir_.path(), [&](const std::string&, DiskSpace::Figures* figures) {
    *figures = {200, free_bytes, 1};
    return true;
  });
  CheckpointFiles files(dir_.path(), &space);
  const v1::Checkpoint half = CheckpointOf(std::string(50, 'x'));
  auto first = files.Write(kUid, half);
  ASSERT_TRUE(first.ok());
  // 50 are promised, and 10 stay for the log.
  EXPECT_EQ(files.Write(kUid, half).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(files.Write(kUid, CheckpointOf(std::string(40, 'y'))).ok());
  // What is written is the disk's to count.
  ASSERT_TRUE((*first)->Append(std::string(30, 'x')).ok());
  free_bytes = 70;
  EXPECT_TRUE(files.Write(kUid, CheckpointOf(std::string(40, 'y'))).ok());
  EXPECT_FALSE(files.Write(kUid, CheckpointOf(std::string(41, 'y'))).ok());
  first->reset();
  EXPECT_TRUE(files.Write(kUid, CheckpointOf(std::string(60, 'z'))).ok());
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

// Everything below the directory.
class TidyTest : public CheckpointFilesTest {
 protected:
  TidyTest() {
    JobRecord job;
    job.job.set_uid(kUid);
    job.job.set_committed_steps(10);
    snapshot_.jobs.push_back(job);
  }

  void Put(const std::string& name) {
    const std::filesystem::path path = dir_.path() + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "bytes";
  }

  std::set<std::string> Files() {
    std::set<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path())) {
      if (!entry.is_directory()) files.insert(entry.path().string().substr(dir_.path().size() + 1));
    }
    return files;
  }

  const std::string uid_ = kUid;
  Snapshot snapshot_;
};

TEST_F(TidyTest, WhatACrashLeftIsRemoved) {
  const v1::Checkpoint kept = CheckpointOf("kept", 2);
  ASSERT_TRUE(WriteAll(&files_, kept, "kept").ok());
  ASSERT_TRUE(WriteAll(&files_, CheckpointOf("replaced", 1), "replaced").ok());
  Put(uid_ + "/3-0123456789abcdef.1.part");
  Put("22222222-0000-4000-8000-000000000000/99-0123456789abcdef.7.part");
  snapshot_.checkpoints = {{kUid, kept}};
  EXPECT_EQ(files_.Tidy(snapshot_).removed, 3);
  EXPECT_THAT(Files(), ElementsAre(HasSubstr(uid_ + "/2-")));
  EXPECT_TRUE(ReadAll(files_, kept).ok());
  EXPECT_EQ(files_.Tidy(snapshot_).removed, 0);
}

TEST_F(TidyTest, WhatWasDamagedIsKeptAndAnEmptyFolderToo) {
  const v1::Checkpoint damaged = CheckpointOf("damaged", 2);
  ASSERT_TRUE(WriteAll(&files_, damaged, "damaged").ok());
  files_.SetAside(kUid, damaged);
  files_.SetAside(kUid, damaged);
  const std::set<std::string> before = Files();
  EXPECT_THAT(before, ElementsAre(HasSubstr("unknown/" + uid_ + "/2-")));
  // Its file is lost, which says less than that its folder is.
  snapshot_.checkpoints = {{kUid, CheckpointOf("lost", 1)}};
  EXPECT_EQ(files_.Tidy(snapshot_).removed, 0);
  EXPECT_EQ(Files(), before);
  EXPECT_EQ(ReadAll(files_, snapshot_.checkpoints[0].checkpoint).status().code(),
            absl::StatusCode::kDataLoss);
  snapshot_.checkpoints.clear();
  files_.Tidy(snapshot_);
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/" + uid_));
}

TEST_F(TidyTest, WhatTheStoreCannotKnowIsSetAside) {
  // Newer than the store's last step, and of a job that it has never heard of.
  Put(uid_ + "/11-0123456789abcdef");
  Put("22222222-0000-4000-8000-000000000000/5-0123456789abcdef");
  EXPECT_EQ(files_.Tidy(snapshot_).set_aside, 2);
  const std::set<std::string> aside = {
      "unknown/" + uid_ + "/11-0123456789abcdef",
      "unknown/22222222-0000-4000-8000-000000000000/5-0123456789abcdef"};
  EXPECT_EQ(Files(), aside);
  const CheckpointFiles::Tidied again = files_.Tidy(snapshot_);
  EXPECT_EQ(again.removed + again.set_aside + again.strangers, 0);
  // A second one of the same name stays where it is: neither overwrites the other.
  Put(uid_ + "/11-0123456789abcdef");
  EXPECT_EQ(files_.Tidy(snapshot_).set_aside, 0);
  EXPECT_EQ(Files().size(), 3);
}

TEST_F(TidyTest, WhatMayBeAllThatIsLeftOfAJobIsSetAside) {
  // Of a step that the store has seen; the recorded one is older, or its file is lost.
  ASSERT_TRUE(WriteAll(&files_, CheckpointOf("older", 1), "older").ok());
  Put(uid_ + "/5-0123456789abcdef");
  snapshot_.checkpoints = {{kUid, CheckpointOf("older", 1)}, {kUid, CheckpointOf("lost", 7)}};
  const CheckpointFiles::Tidied tidied = files_.Tidy(snapshot_);
  EXPECT_EQ(tidied.removed, 0);
  EXPECT_EQ(tidied.set_aside, 1);
  EXPECT_EQ(Files().count("unknown/" + uid_ + "/5-0123456789abcdef"), 1);
  // Where there is no room it gives way, for a coordinator that does not start is worse.
  Put(uid_ + "/6-0123456789abcdef");
  Put(uid_ + "/11-0123456789abcdef");
  EXPECT_EQ(files_.Tidy(snapshot_, CheckpointFiles::Room::kNone).removed, 1);
}

TEST_F(TidyTest, StrangersStayAndAreNamed) {
  const std::set<std::string> strangers = {
      "run1/model.pt",
      "run1/5-0123456789abcdef",
      "run1/5-0123456789abcdef.1.part",
      "README",
      uid_ + "/model.pt",
      uid_ + "/05-0123456789abcdef",
      uid_ + "/5-0123456789ABCDEF",
      uid_ + "/5-0123456789abcde",
      uid_ + "/5-0123456789abcdef.part",
      uid_ + "/5-0123456789abcdef.1.parts",
      uid_ + "/-5-0123456789abcdef",
      uid_ + "/deep/5-0123456789abcdef",
      "11111111-0000-4000-8000-00000000000g/5-0123456789abcdef"};
  for (const std::string& name : strangers) Put(name);
  files_.RemoveUnfinished();
  const CheckpointFiles::Tidied tidied = files_.Tidy(snapshot_);
  EXPECT_EQ(Files(), strangers);
  EXPECT_EQ(tidied.removed + tidied.set_aside, 0);
  // run1 and the folder of no uuid count once.
  EXPECT_EQ(tidied.strangers, 11);
  EXPECT_EQ(tidied.stranger_names.size(), 3);
}

TEST_F(TidyTest, UnfinishedUploadsGoWithoutAStore) {
  Put(uid_ + "/3-0123456789abcdef.1.part");
  Put(uid_ + "/3-0123456789abcdef");
  files_.RemoveUnfinished();
  EXPECT_EQ(Files(), std::set<std::string>{uid_ + "/3-0123456789abcdef"});
}

}  // namespace
}  // namespace evograd
