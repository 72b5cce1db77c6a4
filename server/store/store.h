// What the coordinator knows, on disk: an SQLite database in WAL mode with synchronous=FULL, so
// that what Commit answered OK survives kill -9 and power loss.
//
//   EVOGRAD_ASSIGN_OR_RETURN(auto data_dir, DataDir::Lock(path));
//   EVOGRAD_ASSIGN_OR_RETURN(auto store, Store::Open(data_dir->store_path()));
//   EVOGRAD_ASSIGN_OR_RETURN(Snapshot snapshot, store->Load());
//   EVOGRAD_RETURN_IF_ERROR(store->Commit(records));
//
// After an error of Commit it is unknown what the disk holds: every later Commit fails too, and the
// process must stop and recover by starting again. Every row has a checksum that is looked at when
// it is read (DATA_LOSS names the row). Errors are those of database.h. Threads: one; readers on
// other threads use EventReader.
#ifndef EVOGRAD_SERVER_STORE_STORE_H_
#define EVOGRAD_SERVER_STORE_STORE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/core/records.h"
#include "server/store/database.h"

namespace evograd {

class Store : public StepLog {
 public:
  // Creates the database where it is missing, for its owner alone, and brings an older one to the
  // present schema. FAILED_PRECONDITION: it was
  // written by a newer coordinator, or by another program, and is left as it is.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& path);
  // What an existing store holds, as Load, without writing to it or needing room on the disk, and
  // without a new incarnation. UNAVAILABLE: some other program has it open; DATA_LOSS: it is
  // damaged.
  static absl::StatusOr<Snapshot> Peek(const std::string& path);
  ~Store() override;

  // Everything that is stored, under a new incarnation number, which is made durable.
  absl::StatusOr<Snapshot> Load();

  // All records or none, durable when OK. Of several records of one job or hyperparameter state the
  // last counts.
  absl::Status Commit(const std::vector<Record>& records);

  absl::StatusOr<uint64_t> Checksum(const std::string& job_uid, int64_t step) const override;

 private:
  struct Statements;

  explicit Store(std::unique_ptr<Database> database);
  absl::Status Prepare();
  absl::Status WriteAll(const std::vector<Record>& records);
  absl::Status Write(const JobRecord& record);
  absl::Status Write(const RequestRecord& record);
  absl::Status Write(const HyperRecord& record);
  absl::Status Write(const StepRecord& record);
  absl::Status Write(const EventRecord& record);
  absl::Status Write(const CheckpointRecord& record);
  absl::Status Write(const CheckpointRemoval& removal);

  std::unique_ptr<Database> database_;
  std::unique_ptr<Statements> statements_;
  absl::Status failed_;
};

// Reads committed events. Threads: any, one at a time inside.
class EventReader {
 public:
  // `path` was opened by a Store before.
  static absl::StatusOr<std::unique_ptr<EventReader>> Open(const std::string& path);

  // Events after `after_sequence` in their order: at most `max_events`, and no more after
  // `max_bytes` are reached.
  absl::StatusOr<std::vector<v1::Event>> Read(const std::string& job_uid, int64_t after_sequence,
                                              int max_events, int64_t max_bytes);

 private:
  EventReader(std::unique_ptr<Database> database, Statement select)
      : database_(std::move(database)), select_(std::move(select)) {}

  std::mutex mutex_;
  std::unique_ptr<Database> database_;
  Statement select_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_STORE_H_
