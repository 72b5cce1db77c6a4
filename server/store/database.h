// SQLite with Status: one connection and its prepared statements.
//
//   EVOGRAD_ASSIGN_OR_RETURN(auto database, Database::Open(path, Database::kReadWrite));
//   EVOGRAD_ASSIGN_OR_RETURN(Statement insert, database->Prepare("INSERT INTO t VALUES (?, ?)"));
//   EVOGRAD_RETURN_IF_ERROR(insert.Bind(1, name).Bind(2, number).Run());
//
// Another program that holds the file's lock (a backup, a shell) is waited for, and standard error
// says so when it takes long.
//
// Errors: RESOURCE_EXHAUSTED: the disk is full, or no more files can be opened; UNAVAILABLE:
// another program held the lock all the time, and nothing was written; DATA_LOSS: the file is
// damaged or no database; FAILED_PRECONDITION: it cannot be opened or written; INTERNAL: anything
// else. Threads: one at a time per connection.
#ifndef EVOGRAD_SERVER_STORE_DATABASE_H_
#define EVOGRAD_SERVER_STORE_DATABASE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace evograd {

class Statement {
 public:
  Statement(sqlite3* connection, sqlite3_stmt* statement);

  // Parameters count from 1. What is bound must live until the next Run or the end of the rows.
  Statement& Bind(int parameter, int64_t value);
  Statement& Bind(int parameter, absl::string_view text);
  Statement& BindBlob(int parameter, absl::string_view bytes);

  // Executes a statement without rows; the parameters are then unbound.
  absl::Status Run();

  // Moves to the next row; false after the last, when the statement is ready for its next use.
  absl::StatusOr<bool> Next();
  // Gives up the rows that are left.
  void Reset();
  int64_t Int(int column) const;
  std::string Bytes(int column) const;
  bool IsNull(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };

  sqlite3* connection_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Database {
 public:
  enum Mode { kReadWrite, kReadOnly };

  // Read-write creates what is missing.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path, Mode mode);

  absl::StatusOr<Statement> Prepare(const std::string& sql);
  // Statements without parameters whose rows do not matter.
  absl::Status Execute(const std::string& sql);
  // How long a lock of another program is waited for; limits::kStoreBusyMs unless told otherwise.
  void WaitForLocks(int64_t max_ms);
  // The end of the last connection leaves the log as it is, and writes nothing.
  void KeepLogAtEnd();

  // The first column of the first row.
  absl::StatusOr<int64_t> QueryInt(const std::string& sql);
  absl::StatusOr<std::string> QueryText(const std::string& sql);

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };

  Database(sqlite3* connection, const std::string& path) : path_(path), connection_(connection) {}

  // SQLite's busy handler: waits a little; 0 gives up.
  static int OnBusy(void* database, int count);

  const std::string path_;
  int64_t max_wait_ms_ = 0;
  int64_t waited_ms_ = 0;
  bool wait_told_ = false;
  std::unique_ptr<sqlite3, Close> connection_;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_DATABASE_H_
