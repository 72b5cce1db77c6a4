#include "server/store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/data_folder.h"
#include "common/errno_status.h"
#include "common/folders.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr int64_t kSchemaVersion = 1;

// `job` is jobs.ordinal everywhere.
constexpr char kSchema[] = R"sql(
  CREATE TABLE jobs (
    ordinal INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,
    device_kind INTEGER NOT NULL,
    ended INTEGER NOT NULL, job BLOB NOT NULL) STRICT;
  CREATE TABLE requests (
    request_id TEXT PRIMARY KEY, digest TEXT NOT NULL, job INTEGER NOT NULL REFERENCES jobs) STRICT;
  CREATE TABLE hyper_states (job INTEGER PRIMARY KEY REFERENCES jobs, encoded BLOB NOT NULL) STRICT;
  CREATE TABLE steps (
    job INTEGER NOT NULL REFERENCES jobs, step INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (job, step)) STRICT, WITHOUT ROWID;
  CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs, sequence INTEGER NOT NULL, event BLOB NOT NULL,
    PRIMARY KEY (job, sequence)) STRICT;
  CREATE TABLE checkpoints (
    job INTEGER NOT NULL REFERENCES jobs, step INTEGER NOT NULL, checkpoint BLOB NOT NULL,
    PRIMARY KEY (job, step)) STRICT;
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  INSERT INTO counters VALUES ('incarnation', 0);
)sql";

constexpr char kJob[] = "(SELECT ordinal FROM jobs WHERE uid = ?1)";

absl::Status CreateSchema(Database* database) {
  return database->Execute(absl::StrCat("BEGIN IMMEDIATE;", kSchema,
                                        "PRAGMA application_id = ", kStoreApplicationId,
                                        ";PRAGMA user_version = ", kSchemaVersion, ";COMMIT;"));
}

// The store gets its name only when it is whole, so that its mark can be read from the file at any
// moment. SQLite gives the files beside it the rights that it has.
absl::Status CreateStore(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::string temporary = absl::StrCat(folder, "/", kNewStoreName);
  unlink(temporary.c_str());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("creating ", temporary));
  const bool ours = fchmod(fd, 0600) == 0;
  const int error = errno;
  close(fd);
  if (!ours) return ErrnoStatus(error, absl::StrCat("creating ", temporary));
  {
    EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<Database> database,
                             Database::Open(temporary, Database::kReadWrite));
    EVOGRAD_RETURN_IF_ERROR(
        database->Execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = FULL"));
    EVOGRAD_RETURN_IF_ERROR(CreateSchema(database.get()));
  }
  if (rename(temporary.c_str(), path.c_str()) != 0)
    return ErrnoStatus(errno, absl::StrCat("renaming ", temporary));
  return SyncFolder(folder);
}

// Nothing is written before the file is known to be ours.
absl::Status CheckSchema(Database* database) {
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t application, database->QueryInt("PRAGMA application_id"));
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t version, database->QueryInt("PRAGMA user_version"));
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t tables,
                           database->QueryInt("SELECT count(*) FROM sqlite_schema"));
  if (tables == 0 && version == 0 && application == 0) return CreateSchema(database);
  if (application != kStoreApplicationId) {
    return absl::FailedPreconditionError(
        "the data directory's store.sqlite was not written by EvoGrad");
  }
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the data directory was written by a newer coordinator (schema ", version,
                     ", this one reads up to ", kSchemaVersion, "); upgrade this coordinator"));
  }
  return absl::OkStatus();
}

absl::Status CheckStructure(Database* database) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string check, database->QueryText("PRAGMA quick_check(1)"));
  if (check != "ok") return absl::DataLossError(absl::StrCat("store.sqlite is damaged: ", check));
  return absl::OkStatus();
}

// Those of earlier coordinators followed the umask.
void MakePrivate(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) chmod(absl::StrCat(path, suffix).c_str(), 0600);
}

template <typename Message>
absl::StatusOr<Message> Parse(const std::string& bytes, const char* what) {
  Message message;
  if (!message.ParseFromString(bytes)) {
    return absl::DataLossError(absl::StrCat("store.sqlite holds a damaged ", what));
  }
  return message;
}

bool Ended(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

// Calls `row(statement)` for each row.
template <typename Row>
absl::Status ForEach(Database* database, const std::string& sql, Row row) {
  EVOGRAD_ASSIGN_OR_RETURN(Statement statement, database->Prepare(sql));
  while (true) {
    EVOGRAD_ASSIGN_OR_RETURN(const bool more, statement.Next());
    if (!more) return absl::OkStatus();
    EVOGRAD_RETURN_IF_ERROR(row(statement));
  }
}

absl::StatusOr<Snapshot> ReadAll(Database* database) {
  Snapshot snapshot;
  EVOGRAD_ASSIGN_OR_RETURN(
      snapshot.incarnation,
      database->QueryInt("SELECT value FROM counters WHERE name = 'incarnation'"));
  EVOGRAD_RETURN_IF_ERROR(
      ForEach(database, "SELECT ordinal, device_kind, job FROM jobs ORDER BY ordinal",
              [&](const Statement& row) {
                EVOGRAD_ASSIGN_OR_RETURN(v1::Job job, Parse<v1::Job>(row.Bytes(2), "job"));
                snapshot.jobs.push_back(
                    {row.Int(0), static_cast<v1::DeviceKind>(row.Int(1)), std::move(job)});
                return absl::OkStatus();
              }));
  EVOGRAD_RETURN_IF_ERROR(ForEach(
      database, "SELECT request_id, digest, uid FROM requests JOIN jobs ON requests.job = ordinal",
      [&](const Statement& row) {
        snapshot.requests.push_back({row.Bytes(0), row.Bytes(1), row.Bytes(2)});
        return absl::OkStatus();
      }));
  EVOGRAD_RETURN_IF_ERROR(ForEach(database,
                                  "SELECT uid, encoded FROM hyper_states JOIN jobs ON "
                                  "hyper_states.job = ordinal WHERE NOT ended",
                                  [&](const Statement& row) {
                                    snapshot.hyper_states[row.Bytes(0)] = row.Bytes(1);
                                    return absl::OkStatus();
                                  }));
  EVOGRAD_RETURN_IF_ERROR(ForEach(database,
                                  "SELECT uid, (SELECT max(sequence) FROM events WHERE job = "
                                  "ordinal) FROM jobs WHERE NOT ended",
                                  [&](const Statement& row) {
                                    snapshot.last_events[row.Bytes(0)] = row.Int(1);
                                    return absl::OkStatus();
                                  }));
  EVOGRAD_RETURN_IF_ERROR(ForEach(
      database, "SELECT uid, checkpoint FROM checkpoints JOIN jobs ON checkpoints.job = ordinal",
      [&](const Statement& row) {
        EVOGRAD_ASSIGN_OR_RETURN(v1::Checkpoint checkpoint,
                                 Parse<v1::Checkpoint>(row.Bytes(1), "checkpoint's record"));
        snapshot.checkpoints.push_back({row.Bytes(0), std::move(checkpoint)});
        return absl::OkStatus();
      }));
  return snapshot;
}

}  // namespace

struct Store::Statements {
  Statement begin, commit, rollback, job, request, hyper, step, event, checkpoint,
      remove_checkpoint, checksum;
};

Store::Store(std::unique_ptr<Database> database) : database_(std::move(database)) {}

Store::~Store() = default;

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(const StoreKind kind, InspectStore(path));
  if (kind == StoreKind::kNone) EVOGRAD_RETURN_IF_ERROR(CreateStore(path));
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                           Database::Open(path, Database::kReadWrite));
  EVOGRAD_RETURN_IF_ERROR(CheckSchema(database.get()));
  MakePrivate(path);
  EVOGRAD_ASSIGN_OR_RETURN(const std::string mode,
                           database->QueryText("PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return absl::FailedPreconditionError(
        absl::StrCat(path,
                     " cannot use a write-ahead log (its file system lacks shared memory); choose "
                     "a local disk"));
  }
  EVOGRAD_RETURN_IF_ERROR(
      database->Execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON"));
  EVOGRAD_RETURN_IF_ERROR(CheckStructure(database.get()));
  std::unique_ptr<Store> store(new Store(std::move(database)));
  EVOGRAD_RETURN_IF_ERROR(store->Prepare());
  return store;
}

absl::StatusOr<Snapshot> Store::Peek(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(const StoreKind kind, InspectStore(path));
  if (kind != StoreKind::kOurs) return absl::NotFoundError(absl::StrCat(path, " is no store yet"));
  EVOGRAD_ASSIGN_OR_RETURN(const std::unique_ptr<Database> database,
                           Database::Open(path, Database::kReadWrite));
  database->WaitForLocks(0);
  database->KeepLogAtEnd();
  // Alone with the file, SQLite needs no shared memory, which would be a file to be written.
  EVOGRAD_RETURN_IF_ERROR(database->Execute("PRAGMA locking_mode = EXCLUSIVE"));
  EVOGRAD_RETURN_IF_ERROR(CheckSchema(database.get()));
  return ReadAll(database.get());
}

absl::Status Store::Prepare() {
  const std::string job = kJob;
  const auto prepare = [this](const std::string& sql) { return database_->Prepare(sql); };
  EVOGRAD_ASSIGN_OR_RETURN(Statement begin, prepare("BEGIN IMMEDIATE"));
  EVOGRAD_ASSIGN_OR_RETURN(Statement commit, prepare("COMMIT"));
  EVOGRAD_ASSIGN_OR_RETURN(Statement rollback, prepare("ROLLBACK"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement upsert_job,
      prepare("INSERT INTO jobs (uid, ordinal, name, device_kind, ended, job) "
              "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (ordinal) DO UPDATE SET "
              "device_kind = ?4, ended = ?5, job = ?6"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement request,
      prepare("INSERT INTO requests (job, request_id, digest) VALUES (" + job + ", ?2, ?3)"));
  EVOGRAD_ASSIGN_OR_RETURN(Statement hyper,
                           prepare("INSERT INTO hyper_states (job, encoded) VALUES (" + job +
                                   ", ?2) ON CONFLICT (job) DO UPDATE SET encoded = ?2"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement step,
      prepare("INSERT INTO steps (job, step, checksum) VALUES (" + job + ", ?2, ?3)"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement event,
      prepare("INSERT INTO events (job, sequence, event) VALUES (" + job + ", ?2, ?3)"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement checkpoint,
      prepare("INSERT INTO checkpoints (job, step, checkpoint) VALUES (" + job +
              ", ?2, ?3) ON CONFLICT (job, step) DO UPDATE SET checkpoint = ?3"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement remove_checkpoint,
      prepare("DELETE FROM checkpoints WHERE job = " + job + " AND step = ?2"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement checksum,
      prepare("SELECT checksum FROM steps WHERE job = " + job + " AND step = ?2"));
  statements_.reset(new Statements{std::move(begin), std::move(commit), std::move(rollback),
                                   std::move(upsert_job), std::move(request), std::move(hyper),
                                   std::move(step), std::move(event), std::move(checkpoint),
                                   std::move(remove_checkpoint), std::move(checksum)});
  return absl::OkStatus();
}

absl::StatusOr<Snapshot> Store::Load() {
  EVOGRAD_RETURN_IF_ERROR(
      database_->Execute("UPDATE counters SET value = value + 1 WHERE name = 'incarnation'"));
  return ReadAll(database_.get());
}

absl::Status Store::Commit(const std::vector<Record>& records) {
  EVOGRAD_RETURN_IF_ERROR(failed_);
  if (records.empty()) return absl::OkStatus();
  failed_ = statements_->begin.Run();
  if (!failed_.ok()) return failed_;
  failed_ = WriteAll(records);
  if (failed_.ok()) failed_ = statements_->commit.Run();
  // Whether the rollback succeeds does not matter: nothing is written any more.
  if (!failed_.ok()) statements_->rollback.Run().IgnoreError();
  return failed_;
}

absl::Status Store::WriteAll(const std::vector<Record>& records) {
  std::map<std::string, const JobRecord*> jobs;
  std::map<std::string, const HyperRecord*> hyper_states;
  for (const Record& record : records) {
    if (const auto* job = std::get_if<JobRecord>(&record)) jobs[job->job.uid()] = job;
    if (const auto* hyper = std::get_if<HyperRecord>(&record)) hyper_states[hyper->job_uid] = hyper;
  }
  // The others refer to jobs.
  for (const auto& [uid, job] : jobs) EVOGRAD_RETURN_IF_ERROR(Write(*job));
  for (const auto& [uid, hyper] : hyper_states) EVOGRAD_RETURN_IF_ERROR(Write(*hyper));
  for (const Record& record : records) {
    if (std::holds_alternative<JobRecord>(record) || std::holds_alternative<HyperRecord>(record))
      continue;
    EVOGRAD_RETURN_IF_ERROR(std::visit([this](const auto& one) { return Write(one); }, record));
  }
  return absl::OkStatus();
}

absl::Status Store::Write(const JobRecord& record) {
  const std::string bytes = record.job.SerializeAsString();
  return statements_->job.Bind(1, record.job.uid())
      .Bind(2, record.ordinal)
      .Bind(3, record.job.name())
      .Bind(4, int64_t{record.device_kind})
      .Bind(5, int64_t{Ended(record.job.state())})
      .BindBlob(6, bytes)
      .Run();
}

absl::Status Store::Write(const RequestRecord& record) {
  return statements_->request.Bind(1, record.job_uid)
      .Bind(2, record.request_id)
      .Bind(3, record.digest)
      .Run();
}

absl::Status Store::Write(const HyperRecord& record) {
  return statements_->hyper.Bind(1, record.job_uid).BindBlob(2, record.encoded).Run();
}

absl::Status Store::Write(const StepRecord& record) {
  return statements_->step.Bind(1, record.job_uid)
      .Bind(2, record.step)
      .Bind(3, static_cast<int64_t>(record.checksum))
      .Run();
}

absl::Status Store::Write(const EventRecord& record) {
  const std::string bytes = record.event.SerializeAsString();
  return statements_->event.Bind(1, record.job_uid)
      .Bind(2, record.event.sequence())
      .BindBlob(3, bytes)
      .Run();
}

absl::Status Store::Write(const CheckpointRecord& record) {
  const std::string bytes = record.checkpoint.SerializeAsString();
  return statements_->checkpoint.Bind(1, record.job_uid)
      .Bind(2, record.checkpoint.step())
      .BindBlob(3, bytes)
      .Run();
}

absl::Status Store::Write(const CheckpointRemoval& removal) {
  return statements_->remove_checkpoint.Bind(1, removal.job_uid).Bind(2, removal.step).Run();
}

absl::StatusOr<uint64_t> Store::Checksum(const std::string& job_uid, int64_t step) const {
  Statement& select = statements_->checksum;
  EVOGRAD_ASSIGN_OR_RETURN(const bool found, select.Bind(1, job_uid).Bind(2, step).Next());
  if (!found) return absl::NotFoundError(absl::StrCat("step ", step, " is not in the log"));
  const uint64_t checksum = static_cast<uint64_t>(select.Int(0));
  select.Reset();
  return checksum;
}

// ---- Events ----------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<EventReader>> EventReader::Open(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                           Database::Open(path, Database::kReadOnly));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement select,
      database->Prepare("SELECT event FROM events WHERE job = (SELECT ordinal FROM jobs WHERE "
                        "uid = ?1) AND sequence > ?2 ORDER BY sequence LIMIT ?3"));
  return std::unique_ptr<EventReader>(new EventReader(std::move(database), std::move(select)));
}

absl::StatusOr<std::vector<v1::Event>> EventReader::Read(const std::string& job_uid,
                                                         int64_t after_sequence, int max_events,
                                                         int64_t max_bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<v1::Event> events;
  select_.Bind(1, job_uid).Bind(2, after_sequence).Bind(3, int64_t{max_events});
  for (int64_t bytes = 0; bytes < max_bytes;) {
    EVOGRAD_ASSIGN_OR_RETURN(const bool more, select_.Next());
    if (!more) return events;
    const std::string encoded = select_.Bytes(0);
    bytes += static_cast<int64_t>(encoded.size());
    absl::StatusOr<v1::Event> event = Parse<v1::Event>(encoded, "event");
    if (!event.ok()) {
      select_.Reset();
      return event.status();
    }
    events.push_back(*std::move(event));
  }
  select_.Reset();
  return events;
}

}  // namespace evograd
