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
#include "server/store/row_sum.h"

namespace evograd {
namespace {

// 1 has no sums.
constexpr int64_t kSchemaVersion = 2;

// `job` is jobs.ordinal everywhere; `sum` is row_sum.h's, NULL where an earlier coordinator wrote
// the row. hyper_states carry a hash of their own.
constexpr char kSchema[] = R"sql(
  CREATE TABLE jobs (
    ordinal INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,
    device_kind INTEGER NOT NULL,
    ended INTEGER NOT NULL, job BLOB NOT NULL, sum INTEGER) STRICT;
  CREATE TABLE requests (
    request_id TEXT PRIMARY KEY, digest TEXT NOT NULL, job INTEGER NOT NULL REFERENCES jobs,
    sum INTEGER) STRICT;
  CREATE TABLE hyper_states (job INTEGER PRIMARY KEY REFERENCES jobs, encoded BLOB NOT NULL) STRICT;
  CREATE TABLE steps (
    job INTEGER NOT NULL REFERENCES jobs, step INTEGER NOT NULL, checksum INTEGER NOT NULL,
    sum INTEGER, PRIMARY KEY (job, step)) STRICT, WITHOUT ROWID;
  CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs, sequence INTEGER NOT NULL, event BLOB NOT NULL,
    sum INTEGER, PRIMARY KEY (job, sequence)) STRICT;
  CREATE TABLE checkpoints (
    job INTEGER NOT NULL REFERENCES jobs, step INTEGER NOT NULL, checkpoint BLOB NOT NULL,
    sum INTEGER, PRIMARY KEY (job, step)) STRICT;
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

absl::Status Upgrade(Database* database) {
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t version, database->QueryInt("PRAGMA user_version"));
  if (version == kSchemaVersion) return absl::OkStatus();
  std::string sql = "BEGIN IMMEDIATE;";
  for (const char* table : {"jobs", "requests", "steps", "events", "checkpoints"})
    absl::StrAppend(&sql, "ALTER TABLE ", table, " ADD COLUMN sum INTEGER;");
  return database->Execute(absl::StrCat(sql, "PRAGMA user_version = ", kSchemaVersion, ";COMMIT;"));
}

absl::Status CheckStructure(Database* database) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string check, database->QueryText("PRAGMA quick_check(1)"));
  if (check != "ok") return absl::DataLossError(absl::StrCat("store.sqlite is damaged: ", check));
  return absl::OkStatus();
}

// What is read of the log may be in this machine's memory alone: after an fsync that failed the
// kernel takes the pages for written. So all of it goes into the store, whose own fsync must then
// succeed, and new commits stand on nothing of the old log.
absl::Status FoldLogIn(Database* database) {
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t blocked,
                           database->QueryInt("PRAGMA wal_checkpoint(TRUNCATE)"));
  if (blocked == 0) return absl::OkStatus();
  return absl::UnavailableError("another program reads store.sqlite; let it end");
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

// `column` has the row's sum.
absl::Status CheckSum(const Statement& row, int column, int64_t sum, const std::string& what) {
  if (row.IsNull(column) || row.Int(column) == sum) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("store.sqlite is damaged: ", what,
                                          " does not have the checksum that was written with it; "
                                          "put a backup back"));
}

bool Ended(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

int64_t SumOfJob(const std::string& uid, int64_t ordinal, const std::string& name,
                 int64_t device_kind, int64_t ended, const std::string& job) {
  return RowSum("job", {ordinal, device_kind, ended}, {uid, name, job});
}
int64_t SumOfRequest(const std::string& request_id, const std::string& digest,
                     const std::string& uid) {
  return RowSum("request", {}, {request_id, digest, uid});
}
int64_t SumOfStep(const std::string& uid, int64_t step, int64_t checksum) {
  return RowSum("step", {step, checksum}, {uid});
}
int64_t SumOfEvent(const std::string& uid, int64_t sequence, const std::string& event) {
  return RowSum("event", {sequence}, {uid, event});
}
int64_t SumOfCheckpoint(const std::string& uid, int64_t step, const std::string& checkpoint) {
  return RowSum("checkpoint", {step}, {uid, checkpoint});
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
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t version, database->QueryInt("PRAGMA user_version"));
  const auto sum_of = [&](const char* table) {
    return version >= 2 ? absl::StrCat(table, ".sum") : std::string("NULL");
  };
  EVOGRAD_RETURN_IF_ERROR(ForEach(
      database,
      absl::StrCat("SELECT ordinal, device_kind, job, uid, name, ended, ", sum_of("jobs"),
                   " FROM jobs ORDER BY ordinal"),
      [&](const Statement& row) {
        const std::string bytes = row.Bytes(2), name = row.Bytes(4);
        EVOGRAD_RETURN_IF_ERROR(CheckSum(
            row, 6, SumOfJob(row.Bytes(3), row.Int(0), name, row.Int(1), row.Int(5), bytes), name));
        EVOGRAD_ASSIGN_OR_RETURN(v1::Job job, Parse<v1::Job>(bytes, "job"));
        snapshot.jobs.push_back(
            {row.Int(0), static_cast<v1::DeviceKind>(row.Int(1)), std::move(job)});
        return absl::OkStatus();
      }));
  EVOGRAD_RETURN_IF_ERROR(
      ForEach(database,
              absl::StrCat("SELECT request_id, digest, uid, ", sum_of("requests"),
                           " FROM requests JOIN jobs ON requests.job = ordinal"),
              [&](const Statement& row) {
                RequestRecord request{row.Bytes(0), row.Bytes(1), row.Bytes(2)};
                EVOGRAD_RETURN_IF_ERROR(CheckSum(
                    row, 3, SumOfRequest(request.request_id, request.digest, request.job_uid),
                    absl::StrCat("the request ", request.request_id)));
                snapshot.requests.push_back(std::move(request));
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
                                  "ordinal) FROM jobs",
                                  [&](const Statement& row) {
                                    snapshot.last_events[row.Bytes(0)] = row.Int(1);
                                    return absl::OkStatus();
                                  }));
  EVOGRAD_RETURN_IF_ERROR(
      ForEach(database,
              absl::StrCat("SELECT uid, checkpoint, step, ", sum_of("checkpoints"),
                           " FROM checkpoints JOIN jobs ON checkpoints.job = ordinal"),
              [&](const Statement& row) {
                const std::string uid = row.Bytes(0), bytes = row.Bytes(1);
                EVOGRAD_RETURN_IF_ERROR(CheckSum(
                    row, 3, SumOfCheckpoint(uid, row.Int(2), bytes),
                    absl::StrCat("the record of checkpoint ", row.Int(2), " of job ", uid)));
                EVOGRAD_ASSIGN_OR_RETURN(v1::Checkpoint checkpoint,
                                         Parse<v1::Checkpoint>(bytes, "checkpoint's record"));
                snapshot.checkpoints.push_back({uid, std::move(checkpoint)});
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
  EVOGRAD_RETURN_IF_ERROR(FoldLogIn(database.get()));
  EVOGRAD_RETURN_IF_ERROR(CheckStructure(database.get()));
  EVOGRAD_RETURN_IF_ERROR(Upgrade(database.get()));
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
  // What a damaged one does not name may be somebody's.
  EVOGRAD_RETURN_IF_ERROR(CheckStructure(database.get()));
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
      prepare("INSERT INTO jobs (uid, ordinal, name, device_kind, ended, job, sum) "
              "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (ordinal) DO UPDATE SET "
              "device_kind = ?4, ended = ?5, job = ?6, sum = ?7"));
  EVOGRAD_ASSIGN_OR_RETURN(Statement request,
                           prepare("INSERT INTO requests (job, request_id, digest, sum) VALUES (" +
                                   job + ", ?2, ?3, ?4)"));
  EVOGRAD_ASSIGN_OR_RETURN(Statement hyper,
                           prepare("INSERT INTO hyper_states (job, encoded) VALUES (" + job +
                                   ", ?2) ON CONFLICT (job) DO UPDATE SET encoded = ?2"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement step,
      prepare("INSERT INTO steps (job, step, checksum, sum) VALUES (" + job + ", ?2, ?3, ?4)"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement event,
      prepare("INSERT INTO events (job, sequence, event, sum) VALUES (" + job + ", ?2, ?3, ?4)"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement checkpoint,
      prepare("INSERT INTO checkpoints (job, step, checkpoint, sum) VALUES (" + job +
              ", ?2, ?3, ?4) ON CONFLICT (job, step) DO UPDATE SET checkpoint = ?3, sum = ?4"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement remove_checkpoint,
      prepare("DELETE FROM checkpoints WHERE job = " + job + " AND step = ?2"));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement checksum,
      prepare("SELECT checksum, sum FROM steps WHERE job = " + job + " AND step = ?2"));
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
      .Bind(7, SumOfJob(record.job.uid(), record.ordinal, record.job.name(),
                        int64_t{record.device_kind}, int64_t{Ended(record.job.state())}, bytes))
      .Run();
}

absl::Status Store::Write(const RequestRecord& record) {
  return statements_->request.Bind(1, record.job_uid)
      .Bind(2, record.request_id)
      .Bind(3, record.digest)
      .Bind(4, SumOfRequest(record.request_id, record.digest, record.job_uid))
      .Run();
}

absl::Status Store::Write(const HyperRecord& record) {
  return statements_->hyper.Bind(1, record.job_uid).BindBlob(2, record.encoded).Run();
}

absl::Status Store::Write(const StepRecord& record) {
  const int64_t checksum = static_cast<int64_t>(record.checksum);
  return statements_->step.Bind(1, record.job_uid)
      .Bind(2, record.step)
      .Bind(3, checksum)
      .Bind(4, SumOfStep(record.job_uid, record.step, checksum))
      .Run();
}

absl::Status Store::Write(const EventRecord& record) {
  const std::string bytes = record.event.SerializeAsString();
  return statements_->event.Bind(1, record.job_uid)
      .Bind(2, record.event.sequence())
      .BindBlob(3, bytes)
      .Bind(4, SumOfEvent(record.job_uid, record.event.sequence(), bytes))
      .Run();
}

absl::Status Store::Write(const CheckpointRecord& record) {
  const std::string bytes = record.checkpoint.SerializeAsString();
  return statements_->checkpoint.Bind(1, record.job_uid)
      .Bind(2, record.checkpoint.step())
      .BindBlob(3, bytes)
      .Bind(4, SumOfCheckpoint(record.job_uid, record.checkpoint.step(), bytes))
      .Run();
}

absl::Status Store::Write(const CheckpointRemoval& removal) {
  return statements_->remove_checkpoint.Bind(1, removal.job_uid).Bind(2, removal.step).Run();
}

absl::StatusOr<uint64_t> Store::Checksum(const std::string& job_uid, int64_t step) const {
  Statement& select = statements_->checksum;
  EVOGRAD_ASSIGN_OR_RETURN(const bool found, select.Bind(1, job_uid).Bind(2, step).Next());
  if (!found) return absl::NotFoundError(absl::StrCat("step ", step, " is not in the log"));
  const int64_t checksum = select.Int(0);
  const absl::Status status = CheckSum(select, 1, SumOfStep(job_uid, step, checksum),
                                       absl::StrCat("step ", step, " of job ", job_uid));
  select.Reset();
  if (!status.ok()) return status;
  return static_cast<uint64_t>(checksum);
}

// ---- Events ----------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<EventReader>> EventReader::Open(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                           Database::Open(path, Database::kReadOnly));
  EVOGRAD_ASSIGN_OR_RETURN(
      Statement select,
      database->Prepare(
          "SELECT event, sequence, sum FROM events WHERE job = (SELECT ordinal FROM jobs WHERE "
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
    const int64_t sequence = select_.Int(1);
    absl::StatusOr<v1::Event> event = Parse<v1::Event>(encoded, "event");
    const absl::Status sum = CheckSum(select_, 2, SumOfEvent(job_uid, sequence, encoded),
                                      absl::StrCat("event ", sequence, " of job ", job_uid));
    if (!sum.ok() || !event.ok()) {
      select_.Reset();
      return sum.ok() ? event.status() : sum;
    }
    events.push_back(*std::move(event));
  }
  select_.Reset();
  return events;
}

}  // namespace evograd
