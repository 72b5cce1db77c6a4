#include "server/store/database.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/errno_status.h"
#include "common/service_limits.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// A wait that is shorter is nobody's business.
constexpr int64_t kToldWaitMs = 2000;
constexpr int64_t kBusyPauseMs = 50;

absl::StatusCode CodeOf(int result, int error) {
  // SQLite's own code says only which call failed.
  if (ErrnoCode(error) == absl::StatusCode::kResourceExhausted)
    return absl::StatusCode::kResourceExhausted;
  switch (result & 0xff) {
    case SQLITE_FULL:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::StatusCode::kUnavailable;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

// In words for a person; which statement it was is of use only where the statement is to blame.
absl::Status ErrorOf(sqlite3* connection, const char* file, int result, absl::string_view sql) {
  const int primary = result & 0xff;
  const int error =
      primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN ? sqlite3_system_errno(connection) : 0;
  const absl::StatusCode code = CodeOf(result, error);
  std::string why = error != 0 ? std::strerror(error) : sqlite3_errmsg(connection);
  if (code == absl::StatusCode::kResourceExhausted) why = "its disk is full";
  if (code == absl::StatusCode::kUnavailable) why = "another program holds its lock";
  return absl::Status(code,
                      absl::StrCat("the store ", file, ": ", why, " (SQLite code ", result,
                                   primary == SQLITE_ERROR ? absl::StrCat(", ", sql) : "", ")"));
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }

Statement::Statement(sqlite3* connection, sqlite3_stmt* statement)
    : connection_(connection), statement_(statement) {}

Statement& Statement::Bind(int parameter, int64_t value) {
  EVOGRAD_CHECK(sqlite3_bind_int64(statement_.get(), parameter, value) == SQLITE_OK,
                "the parameter exists");
  return *this;
}

Statement& Statement::Bind(int parameter, absl::string_view text) {
  const int result = sqlite3_bind_text64(statement_.get(), parameter, text.data(), text.size(),
                                         SQLITE_STATIC, SQLITE_UTF8);
  EVOGRAD_CHECK(result == SQLITE_OK, "the parameter exists");
  return *this;
}

Statement& Statement::BindBlob(int parameter, absl::string_view bytes) {
  // A null pointer would be NULL, not an empty blob.
  const char* data = bytes.empty() ? "" : bytes.data();
  const int result =
      sqlite3_bind_blob64(statement_.get(), parameter, data, bytes.size(), SQLITE_STATIC);
  EVOGRAD_CHECK(result == SQLITE_OK, "the parameter exists");
  return *this;
}

absl::Status Statement::Run() {
  EVOGRAD_ASSIGN_OR_RETURN(const bool row, Next());
  if (row) Reset();
  return absl::OkStatus();
}

absl::StatusOr<bool> Statement::Next() {
  const int result = sqlite3_step(statement_.get());
  if (result == SQLITE_ROW) return true;
  const absl::Status status = result == SQLITE_DONE
                                  ? absl::OkStatus()
                                  : ErrorOf(connection_, sqlite3_db_filename(connection_, "main"),
                                            result, sqlite3_sql(statement_.get()));
  Reset();
  if (!status.ok()) return status;
  return false;
}

void Statement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string Statement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return size == 0 ? std::string()
                   : std::string(static_cast<const char*>(data), static_cast<size_t>(size));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path, Mode mode) {
  sqlite3* connection = nullptr;
  const int flags =
      (mode == kReadWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) |
      SQLITE_OPEN_NOMUTEX;
  const int result = sqlite3_open_v2(path.c_str(), &connection, flags, nullptr);
  std::unique_ptr<Database> database(new Database(connection, path));
  if (result != SQLITE_OK) return ErrorOf(connection, path.c_str(), result, "");
  sqlite3_extended_result_codes(connection, 1);
  database->WaitForLocks(limits::kStoreBusyMs);
  sqlite3_busy_handler(connection, OnBusy, database.get());
  return database;
}

void Database::WaitForLocks(int64_t max_ms) { max_wait_ms_ = max_ms; }

void Database::KeepLogAtEnd() {
  sqlite3_db_config(connection_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

int Database::OnBusy(void* database, int count) {
  Database& self = *static_cast<Database*>(database);
  if (count == 0) {
    self.waited_ms_ = 0;
    self.wait_told_ = false;
  }
  if (self.waited_ms_ >= self.max_wait_ms_) return 0;
  if (!self.wait_told_ && self.waited_ms_ >= kToldWaitMs) {
    self.wait_told_ = true;
    std::fprintf(stderr,
                 "coordinator: another program holds the lock of %s; waiting for up to %lld s\n",
                 self.path_.c_str(), static_cast<long long>(self.max_wait_ms_ / 1000));
  }
  self.waited_ms_ += std::max(1, sqlite3_sleep(static_cast<int>(kBusyPauseMs)));
  return 1;
}

absl::StatusOr<Statement> Database::Prepare(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const int result =
      sqlite3_prepare_v3(connection_.get(), sql.c_str(), static_cast<int>(sql.size()) + 1,
                         SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (result != SQLITE_OK) return ErrorOf(connection_.get(), path_.c_str(), result, sql);
  return Statement(connection_.get(), statement);
}

absl::Status Database::Execute(const std::string& sql) {
  const int result = sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? absl::OkStatus()
                             : ErrorOf(connection_.get(), path_.c_str(), result, sql);
}

absl::StatusOr<int64_t> Database::QueryInt(const std::string& sql) {
  EVOGRAD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  EVOGRAD_ASSIGN_OR_RETURN(const bool row, statement.Next());
  if (!row) return absl::NotFoundError(absl::StrCat("no row: ", sql));
  return statement.Int(0);
}

absl::StatusOr<std::string> Database::QueryText(const std::string& sql) {
  EVOGRAD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  EVOGRAD_ASSIGN_OR_RETURN(const bool row, statement.Next());
  if (!row) return absl::NotFoundError(absl::StrCat("no row: ", sql));
  return statement.Bytes(0);
}

}  // namespace evograd
