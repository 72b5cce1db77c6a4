// Goal: what Commit answered OK is there after a crash at any moment, all of it or none, and what
// cannot be opened or written says why. Method: SQLite's own system calls are replaced
// (xSetSystemCall) so that a child process kills itself at its 1st, 2nd, 3rd, … write until one run
// gets through, or the n-th write finds the disk full; then the directory is opened again and
// compared with what was answered.

#include "server/store/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/data_folder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/data_dir.h"
#include "server/store/testing/temp_dir.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kUid[] = "11111111-0000-4000-8000-000000000000";

JobRecord JobAt(int64_t committed, v1::JobState state = v1::RUNNING) {
  JobRecord record;
  record.ordinal = 1;
  record.device_kind = v1::CPU;
  record.job.set_uid(kUid);
  record.job.set_name("jobs/job1");
  record.job.set_state(state);
  record.job.set_committed_steps(committed);
  return record;
}

v1::Event EventAt(int64_t sequence) {
  v1::Event event;
  event.set_sequence(sequence);
  event.mutable_state_changed()->set_reason(absl::StrCat("event ", sequence));
  return event;
}

// What commits one step: event `step` + 1, checksum 100 + `step`.
std::vector<Record> StepRecords(int64_t step) {
  return {StepRecord{kUid, step, 100 + static_cast<uint64_t>(step)},
          EventRecord{kUid, EventAt(step + 1)},
          HyperRecord{kUid, std::string(3000, static_cast<char>('a' + step % 26))},
          JobAt(step + 1)};
}

class StoreTest : public ::testing::Test {
 protected:
  std::string path() const { return dir_.path() + "/store.sqlite"; }
  std::unique_ptr<Store> Open() {
    auto store = Store::Open(path());
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  // `committed` steps are stored, whole.
  void ExpectSteps(int64_t committed) {
    std::unique_ptr<Store> store = Open();
    const Snapshot snapshot = store->Load().value();
    if (committed == 0 && snapshot.jobs.empty()) return;
    ASSERT_THAT(snapshot.jobs, SizeIs(1));
    EXPECT_EQ(snapshot.jobs[0].job.committed_steps(), committed);
    for (int64_t step = 0; step < committed; ++step) {
      EXPECT_EQ(store->Checksum(kUid, step).value(), 100 + static_cast<uint64_t>(step));
    }
    EXPECT_EQ(store->Checksum(kUid, committed).status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(snapshot.last_events.at(kUid), committed);
    if (committed > 0) {
      EXPECT_EQ(snapshot.hyper_states.at(kUid),
                std::string(3000, static_cast<char>('a' + (committed - 1) % 26)));
    }
  }

  testing::TempDir dir_{testing::TempDir::kMemory};
};

TEST_F(StoreTest, WhatWasCommittedIsLoaded) {
  v1::Checkpoint checkpoint;
  checkpoint.set_step(5);
  checkpoint.set_sha256("abc");
  {
    std::unique_ptr<Store> store = Open();
    EXPECT_EQ(store->Load()->incarnation, 1);
    ASSERT_TRUE(store
                    ->Commit({JobAt(0), RequestRecord{"request", "digest", kUid},
                              CheckpointRecord{kUid, checkpoint}})
                    .ok());
    ASSERT_TRUE(store->Commit(StepRecords(0)).ok());
    ASSERT_TRUE(store->Commit({}).ok());
  }
  ExpectSteps(1);
  std::unique_ptr<Store> store = Open();
  const Snapshot snapshot = store->Load().value();
  EXPECT_EQ(snapshot.incarnation, 3);
  EXPECT_EQ(snapshot.jobs[0].device_kind, v1::CPU);
  ASSERT_THAT(snapshot.requests, SizeIs(1));
  EXPECT_EQ(snapshot.requests[0].digest, "digest");
  EXPECT_EQ(snapshot.requests[0].job_uid, kUid);
  ASSERT_THAT(snapshot.checkpoints, SizeIs(1));
  EXPECT_EQ(snapshot.checkpoints[0].checkpoint.sha256(), "abc");
  ASSERT_TRUE(store->Commit({CheckpointRemoval{kUid, 5}, JobAt(1, v1::SUCCEEDED)}).ok());
  const Snapshot after = store->Load().value();
  EXPECT_THAT(after.checkpoints, SizeIs(0));
  // An ended job needs no state to go on from.
  EXPECT_THAT(after.hyper_states, SizeIs(0));
}

TEST_F(StoreTest, ABrokenTransactionLeavesNothingAndEndsTheStore) {
  std::unique_ptr<Store> store = Open();
  ASSERT_TRUE(store->Commit({JobAt(0)}).ok());
  ASSERT_TRUE(store->Commit(StepRecords(0)).ok());
  // The step is there already: the second of the two must not remain either.
  EXPECT_FALSE(store->Commit({EventRecord{kUid, EventAt(2)}, StepRecord{kUid, 0, 7}}).ok());
  EXPECT_FALSE(store->Commit(StepRecords(1)).ok());
  store.reset();
  ExpectSteps(1);
}

TEST_F(StoreTest, RecordsOfUnknownJobsAreRefused) {
  EXPECT_FALSE(Open()->Commit({StepRecord{"another", 0, 7}}).ok());
  EXPECT_TRUE(Open()->Commit({JobAt(0), StepRecord{kUid, 0, 7}}).ok());
}

TEST_F(StoreTest, EventsAreReadInPages) {
  std::unique_ptr<Store> store = Open();
  std::unique_ptr<EventReader> reader = EventReader::Open(path()).value();
  ASSERT_TRUE(store->Commit({JobAt(0)}).ok());
  for (int64_t step = 0; step < 10; ++step) ASSERT_TRUE(store->Commit(StepRecords(step)).ok());
  EXPECT_THAT(reader->Read(kUid, 0, 4, 1 << 20).value(), SizeIs(4));
  const std::vector<v1::Event> rest = reader->Read(kUid, 4, 100, 1 << 20).value();
  ASSERT_THAT(rest, SizeIs(6));
  EXPECT_EQ(rest[0].sequence(), 5);
  // At least one event comes whatever its size.
  EXPECT_THAT(reader->Read(kUid, 0, 100, 1).value(), SizeIs(1));
  EXPECT_THAT(reader->Read(kUid, 10, 100, 1 << 20).value(), SizeIs(0));
  EXPECT_THAT(reader->Read("another", 0, 100, 1 << 20).value(), SizeIs(0));
  // What is committed later is seen.
  ASSERT_TRUE(store->Commit(StepRecords(10)).ok());
  EXPECT_THAT(reader->Read(kUid, 10, 100, 1 << 20).value(), SizeIs(1));
}

TEST_F(StoreTest, NewerForeignAndDamagedFilesAreRefused) {
  Open();
  {
    auto database = Database::Open(path(), Database::kReadWrite).value();
    ASSERT_TRUE(database->Execute("PRAGMA user_version = 99").ok());
  }
  absl::Status status = Store::Open(path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("newer coordinator (schema 99"));

  const std::string foreign = dir_.path() + "/foreign.sqlite";
  ASSERT_TRUE(
      Database::Open(foreign, Database::kReadWrite).value()->Execute("CREATE TABLE t (x)").ok());
  EXPECT_EQ(Store::Open(foreign).status().code(), absl::StatusCode::kFailedPrecondition);

  // It was not even converted to another kind of log.
  EXPECT_EQ(Database::Open(foreign, Database::kReadWrite)
                .value()
                ->QueryText("PRAGMA journal_mode")
                .value(),
            "delete");

  const std::string garbage = dir_.path() + "/garbage.sqlite";
  std::ofstream(garbage) << std::string(10'000, 'x');
  EXPECT_EQ(Store::Open(garbage).status().code(), absl::StatusCode::kDataLoss);
}

// Runs `work` in a process that ends without closing anything, as by kill -9.
template <typename Work>
void InDyingProcess(Work work) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(work() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A store as coordinators of schema 1 made it: two jobs, the first waiting, the second cancelled.
std::string SchemaOne() { return ReadFile("server/store/testdata/schema1.sql"); }

TEST_F(StoreTest, AYoungStoreWhoseMarkIsOnlyInItsLogIsOpened) {
  // Earlier coordinators made the store like this.
  InDyingProcess([&] {
    Database* database = Database::Open(path(), Database::kReadWrite).value().release();
    return database->QueryText("PRAGMA journal_mode = WAL").ok() &&
           database->Execute(SchemaOne()).ok();
  });
  EXPECT_EQ(InspectStore(path()).value(), StoreKind::kYoung);
  EXPECT_EQ(Open()->Load()->incarnation, 2);
  EXPECT_EQ(InspectStore(path()).value(), StoreKind::kOurs);
}

TEST_F(StoreTest, WhatIsReplayedIsInTheStoreItselfBeforeAnythingNew) {
  testing::TempDir crashed(testing::TempDir::kMemory), copy(testing::TempDir::kMemory);
  {
    std::unique_ptr<Store> store = Open();
    ASSERT_TRUE(store->Commit({JobAt(0)}).ok());
    ASSERT_TRUE(store->Commit(StepRecords(0)).ok());
    // As a kill leaves it: all of it is in the log.
    for (const char* file : {"store.sqlite", "store.sqlite-wal"})
      std::filesystem::copy(dir_.path() + "/" + file, crashed.path() + "/" + file);
    ASSERT_GT(std::filesystem::file_size(crashed.path() + "/store.sqlite-wal"), 0);
  }
  const auto store = Store::Open(crashed.path() + "/store.sqlite");
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(std::filesystem::file_size(crashed.path() + "/store.sqlite-wal"), 0);
  // The log's pages may be lost now.
  std::filesystem::copy(crashed.path() + "/store.sqlite", copy.path() + "/store.sqlite");
  const auto alone = Store::Open(copy.path() + "/store.sqlite");
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ((*alone)->Checksum(kUid, 0).value(), 100);
}

TEST_F(StoreTest, AnOlderStoreIsBroughtUpToDateAndReadAsItWas) {
  ASSERT_TRUE(Database::Open(path(), Database::kReadWrite).value()->Execute(SchemaOne()).ok());
  EXPECT_THAT(Store::Peek(path())->checkpoints, SizeIs(1));
  for (const int64_t incarnation : {2, 3}) {
    std::unique_ptr<Store> store = Open();
    const Snapshot snapshot = store->Load().value();
    EXPECT_EQ(snapshot.incarnation, incarnation);
    ASSERT_THAT(snapshot.jobs, SizeIs(2));
    EXPECT_EQ(snapshot.jobs[0].job.name(), "jobs/waiting");
    EXPECT_EQ(snapshot.jobs[1].job.state(), v1::CANCELLED);
    EXPECT_THAT(snapshot.requests, SizeIs(2));
    ASSERT_THAT(snapshot.checkpoints, SizeIs(1));
    EXPECT_EQ(snapshot.checkpoints[0].checkpoint.step(), 5);
    const std::string uid = snapshot.jobs[0].job.uid();
    EXPECT_EQ(store->Checksum(uid, 1).value(), 101);
    EXPECT_EQ(snapshot.last_events.at(uid), incarnation - 1);
    // Whoever waits for it reads on from there.
    EXPECT_EQ(snapshot.last_events.count(snapshot.jobs[1].job.uid()), 1);
    // It goes on.
    ASSERT_TRUE(store
                    ->Commit({EventRecord{uid, EventAt(incarnation)},
                              StepRecord{uid, incarnation, 7}, snapshot.jobs[0]})
                    .ok());
    EXPECT_THAT(EventReader::Open(path()).value()->Read(uid, 0, 100, 1 << 20).value(),
                SizeIs(incarnation));
  }
}

TEST_F(StoreTest, EveryFlippedBitOfARowIsNoticedAndNamed) {
  v1::Checkpoint checkpoint;
  checkpoint.set_step(5);
  {
    const std::unique_ptr<Store> store = Open();
    ASSERT_TRUE(store
                    ->Commit({JobAt(0), RequestRecord{"request", "digest", kUid},
                              CheckpointRecord{kUid, checkpoint}})
                    .ok());
    ASSERT_TRUE(store->Commit(StepRecords(0)).ok());
  }
  // By another program, as SQLite would see a bit that flipped on the disk.
  const auto change = [&](const std::string& sql) {
    return Database::Open(path(), Database::kReadWrite).value()->Execute(sql);
  };
  const auto read = [&]() -> absl::Status {
    auto store = Store::Open(path());
    if (!store.ok()) return store.status();
    if (const auto loaded = (*store)->Load(); !loaded.ok()) return loaded.status();
    if (const auto step = (*store)->Checksum(kUid, 0); !step.ok()) return step.status();
    return EventReader::Open(path()).value()->Read(kUid, 0, 100, 1 << 20).status();
  };
  ASSERT_TRUE(read().ok()) << read();
  const struct {
    std::string table, column, changed, name;
  } cases[] = {
      {"events", "event", "event || x'00'", "event 1 of job 11111111-"},
      {"events", "event", "x'' || replace(event, 'event', 'evens')", "event 1 of job 11111111-"},
      {"events", "sequence", "sequence + 8", "event 9 of job"},
      {"steps", "checksum", "checksum + 1", "step 0 of job 11111111-"},
      {"steps", "sum", "sum + 1", "step 0 of job 11111111-"},
      {"jobs", "device_kind", "device_kind + 1", "jobs/job1"},
      {"jobs", "ended", "1", "jobs/job1"},
      {"requests", "digest", "'other'", "the request request"},
      {"checkpoints", "step", "4", "checkpoint 4 of job 11111111-"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(absl::StrCat(one.table, ".", one.column, " = ", one.changed));
    ASSERT_TRUE(change(absl::StrCat("CREATE TABLE kept AS SELECT * FROM ", one.table)).ok());
    const absl::Status changed = change(absl::StrCat("UPDATE ", one.table, " SET ", one.column,
                                                     " = CAST(", one.changed, " AS ",
                                                     one.column == "event"    ? "BLOB"
                                                     : one.column == "digest" ? "TEXT"
                                                                              : "INTEGER",
                                                     ")"));
    ASSERT_TRUE(changed.ok()) << changed;
    const absl::Status status = read();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(one.name));
    ASSERT_TRUE(
        change(absl::StrCat("PRAGMA foreign_keys = OFF; DELETE FROM ", one.table, "; INSERT INTO ",
                            one.table, " SELECT * FROM kept; DROP TABLE kept"))
            .ok());
    EXPECT_TRUE(read().ok()) << read();
  }
}

TEST_F(StoreTest, ALookWritesNothing) {
  EXPECT_EQ(Store::Peek(path()).status().code(), absl::StatusCode::kNotFound);
  InDyingProcess([&] {
    Store* store = Store::Open(path()).value().release();
    return store->Load().ok() && store->Commit({JobAt(0)}).ok() &&
           store->Commit(StepRecords(0)).ok();
  });
  unlink((path() + "-shm").c_str());
  const std::string before = ReadFile(path()), log = ReadFile(path() + "-wal");
  ASSERT_FALSE(log.empty());
  const absl::StatusOr<Snapshot> seen = Store::Peek(path());
  ASSERT_TRUE(seen.ok()) << seen.status();
  ASSERT_THAT(seen->jobs, SizeIs(1));
  EXPECT_EQ(seen->jobs[0].job.committed_steps(), 1);
  EXPECT_EQ(ReadFile(path()), before);
  EXPECT_EQ(ReadFile(path() + "-wal"), log);
  EXPECT_NE(access((path() + "-shm").c_str(), F_OK), 0);
  // While it is open, it is not to be looked at, and nobody waits.
  const std::unique_ptr<Store> store = Open();
  EXPECT_EQ(Store::Peek(path()).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(StoreTest, AStoreOfDamagedStructureIsNotLookedAt) {
  {
    const std::unique_ptr<Store> store = Open();
    ASSERT_TRUE(store->Commit({JobAt(0)}).ok());
    // Many pages of what a look does not read.
    for (int64_t step = 0; step < 500; ++step) ASSERT_TRUE(store->Commit(StepRecords(step)).ok());
  }
  ASSERT_TRUE(Store::Peek(path()).ok());
  int64_t root = 0;
  {
    auto database = Database::Open(path(), Database::kReadWrite).value();
    root = database->QueryInt("SELECT rootpage FROM sqlite_schema WHERE name = 'steps'").value();
    root = (root - 1) * database->QueryInt("PRAGMA page_size").value();
  }
  std::fstream(path(), std::ios::in | std::ios::out | std::ios::binary).seekp(root).write("?", 1);
  const absl::Status status = Store::Peek(path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
}

TEST_F(StoreTest, ALockThatIsHeldForTooLongIsSaidAndNothingWasWritten) {
  Open();
  auto other = Database::Open(path(), Database::kReadWrite).value();
  ASSERT_TRUE(other->Execute("BEGIN IMMEDIATE").ok());
  auto database = Database::Open(path(), Database::kReadWrite).value();
  database->WaitForLocks(120);
  const absl::Status status = database->Execute("BEGIN IMMEDIATE");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  ASSERT_TRUE(other->Execute("ROLLBACK").ok());
  EXPECT_TRUE(database->Execute("BEGIN IMMEDIATE").ok());
}

TEST_F(StoreTest, FilesAreTheirOwnersAlone) {
  const mode_t old = umask(0);
  Open();
  umask(old);
  // As earlier coordinators left it.
  ASSERT_EQ(chmod(path().c_str(), 0644), 0);
  const std::unique_ptr<Store> store = Open();
  ASSERT_TRUE(store->Commit({JobAt(0)}).ok());
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat info;
    ASSERT_EQ(stat((path() + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777, 0600) << suffix;
  }
}

TEST_F(StoreTest, OneProcessOwnsADirectory) {
  const std::string data = dir_.path() + "/a/b";
  auto first = DataDir::Lock(data);
  ASSERT_TRUE(first.ok()) << first.status();
  // flock belongs to the open file: a second one in this process is as good as another process.
  const absl::Status second = DataDir::Lock(data).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()),
              HasSubstr(absl::StrCat("another coordinator (process ", getpid(), ")")));
  // Somebody who wants to help removes the lock's file.
  std::filesystem::remove(data + "/lock");
  const absl::Status third = DataDir::Lock(data).status();
  EXPECT_EQ(third.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(third.message()), HasSubstr("another program holds a lock on"));
  first->reset();
  EXPECT_TRUE(DataDir::Lock(data).ok());
  EXPECT_EQ(DataDir::Lock("/proc/nowhere").status().code(), absl::StatusCode::kFailedPrecondition);
}

// ---- Faults ----------------------------------------------------------------------------------

// Writes are counted; what happens at the `trigger`-th is the test's choice.
int64_t writes = 0;
int64_t trigger = -1;
enum { kNothing, kKill, kFull } fault = kNothing;

ssize_t FaultyWrite(int fd, const void* data, size_t size, off_t offset) {
  if (fault != kNothing && ++writes >= trigger) {
    if (fault == kKill) {
      // A torn write: the first half arrives.
      if (pwrite(fd, data, size / 2, offset) < 0) std::perror("pwrite");
      raise(SIGKILL);
    }
    errno = ENOSPC;
    return -1;
  }
  return pwrite(fd, data, size, offset);
}

void ReplaceWrites() {
  sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
  for (const char* name : {"pwrite", "pwrite64"}) {
    vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(FaultyWrite));
  }
}

constexpr int64_t kSteps = 6;

// Opens, commits `kSteps` steps, tells each through `told` as soon as it is answered, and ends the
// process.
[[noreturn]] void CommitSteps(const std::string& path, int told) {
  auto store = Store::Open(path);
  if (!store.ok() || !(*store)->Commit({JobAt(0)}).ok()) _exit(1);
  for (int64_t step = 0; step < kSteps; ++step) {
    if (!(*store)->Commit(StepRecords(step)).ok()) _exit(1);
    if (write(told, "x", 1) != 1) _exit(2);
  }
  _exit(0);
}

TEST_F(StoreTest, AKillAtAnyWriteLosesNothingThatWasAnswered) {
  ReplaceWrites();
  int64_t kills = 0, answered_in_all = 0;
  for (trigger = 1;; ++trigger) {
    SCOPED_TRACE(absl::StrCat("killed at write ", trigger));
    for (const char* suffix : {"", "-wal", "-shm"}) unlink((path() + suffix).c_str());
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      fault = kKill;
      CommitSteps(path(), ends[1]);
    }
    close(ends[1]);
    int64_t answered = 0;
    for (char byte; read(ends[0], &byte, 1) == 1;) ++answered;
    close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    answered_in_all += answered;
    // The step in flight may have become durable or not; nothing that was answered is missing.
    int64_t stored = 0;
    {
      const Snapshot snapshot = Open()->Load().value();
      if (!snapshot.jobs.empty()) stored = snapshot.jobs[0].job.committed_steps();
    }
    EXPECT_GE(stored, answered);
    EXPECT_LE(stored, answered + 1);
    ExpectSteps(stored);
    if (HasFailure()) return;
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_EQ(answered, kSteps);
      break;
    }
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
    ++kills;
  }
  EXPECT_GT(kills, 3 * kSteps);
  std::printf(
      "{\"name\": \"store kill points\", \"covered\": %ld, \"answered\": %ld, \"lost\": 0}\n",
      static_cast<long>(kills), static_cast<long>(answered_in_all));
}

TEST_F(StoreTest, AFullDiskIsSaidAndLosesNothingThatWasAnswered) {
  ReplaceWrites();
  int64_t full = 0;
  for (trigger = 1; trigger < 60; trigger += 3) {
    SCOPED_TRACE(absl::StrCat("full at write ", trigger));
    for (const char* suffix : {"", "-wal", "-shm"}) unlink((path() + suffix).c_str());
    std::unique_ptr<Store> store = Open();
    ASSERT_TRUE(store->Commit({JobAt(0)}).ok());
    writes = 0;
    fault = kFull;
    int64_t answered = 0;
    absl::Status status;
    for (; answered < kSteps && status.ok(); answered += status.ok())
      status = store->Commit(StepRecords(answered));
    fault = kNothing;
    if (!status.ok()) {
      ++full;
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("store.sqlite: its disk is full"));
      // There is room again, but what the disk holds is unknown to this process.
      EXPECT_FALSE(store->Commit(StepRecords(answered)).ok());
    }
    store.reset();
    ExpectSteps(answered);
  }
  EXPECT_GT(full, 5);
}

}  // namespace
}  // namespace evograd
