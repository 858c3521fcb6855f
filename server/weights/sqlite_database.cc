#include "server/weights/sqlite_database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace attention::weights {
namespace {

absl::StatusCode CodeOf(int result) {
  switch (result & 0xFF) {  // the rest says more about the same
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    default:
      return absl::StatusCode::kInternal;
  }
}

// What SQLite says of the last call; the system's words where it has any.
absl::Status ErrorOf(sqlite3* database, int result) {
  const int code = result & 0xFF;
  std::string message = code == SQLITE_BUSY
                            ? "another program has the database open"
                            : sqlite3_errmsg(database);
  const int system = sqlite3_system_errno(database);
  if (system != 0 && (code == SQLITE_IOERR || code == SQLITE_CANTOPEN)) {
    absl::StrAppend(&message, ": ", std::strerror(system));
  }
  return {CodeOf(result), message};
}

}  // namespace

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

SqliteStatement::SqliteStatement(sqlite3_stmt* statement, absl::Status error)
    : statement_(statement), error_(std::move(error)) {}

SqliteStatement& SqliteStatement::Bind(int place, int64_t number) {
  if (!error_.ok()) return *this;
  const int result = sqlite3_bind_int64(statement_.get(), place, number);
  if (result != SQLITE_OK) {
    error_ = ErrorOf(sqlite3_db_handle(statement_.get()), result);
  }
  return *this;
}

SqliteStatement& SqliteStatement::BindText(int place, absl::string_view text) {
  if (!error_.ok()) return *this;
  const int result =
      sqlite3_bind_text64(statement_.get(), place, text.data(), text.size(),
                          SQLITE_STATIC, SQLITE_UTF8);
  if (result != SQLITE_OK) {
    error_ = ErrorOf(sqlite3_db_handle(statement_.get()), result);
  }
  return *this;
}

SqliteStatement& SqliteStatement::BindBytes(int place,
                                            absl::string_view bytes) {
  if (!error_.ok()) return *this;
  // Without bytes there may be no address either, which would mean NULL.
  const int result =
      bytes.empty() ? sqlite3_bind_zeroblob(statement_.get(), place, 0)
                    : sqlite3_bind_blob64(statement_.get(), place, bytes.data(),
                                          bytes.size(), SQLITE_STATIC);
  if (result != SQLITE_OK) {
    error_ = ErrorOf(sqlite3_db_handle(statement_.get()), result);
  }
  return *this;
}

SqliteStatement& SqliteStatement::BindNull(int place) {
  if (!error_.ok()) return *this;
  const int result = sqlite3_bind_null(statement_.get(), place);
  if (result != SQLITE_OK) {
    error_ = ErrorOf(sqlite3_db_handle(statement_.get()), result);
  }
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  if (!error_.ok()) return error_;
  const int result = sqlite3_step(statement_.get());
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return ErrorOf(sqlite3_db_handle(statement_.get()), result);
}

absl::Status SqliteStatement::Run() {
  absl::Status status = Step().status();
  if (statement_ != nullptr) sqlite3_reset(statement_.get());
  return status;
}

bool SqliteStatement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

int64_t SqliteStatement::Number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

absl::string_view SqliteStatement::Bytes(int column) const {
  const void* const bytes = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return {static_cast<const char*>(bytes), static_cast<size_t>(size)};
}

void SqliteDatabase::Close::operator()(sqlite3* database) const {
  sqlite3_close_v2(database);
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::Open(const std::string& path) {
  // SQLite would create it readable for all, and would open one that is not
  // writable. The files it makes beside it get the same permissions.
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot be opened for writing: ", std::strerror(errno)));
  }
  close(file);

  sqlite3* opened = nullptr;
  const int result =
      sqlite3_open_v2(path.c_str(), &opened,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<sqlite3, Close> database(opened);
  if (database == nullptr) return absl::UnavailableError("out of memory");
  if (result != SQLITE_OK) return ErrorOf(database.get(), result);
  sqlite3_extended_result_codes(database.get(), 1);
  return SqliteDatabase(std::move(database));
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  const int result =
      sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (result == SQLITE_OK) return absl::OkStatus();
  return ErrorOf(database_.get(), result);
}

SqliteStatement SqliteDatabase::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int result =
      sqlite3_prepare_v2(database_.get(), sql.data(),
                         static_cast<int>(sql.size()), &statement, nullptr);
  return {statement, result == SQLITE_OK ? absl::OkStatus()
                                         : ErrorOf(database_.get(), result)};
}

absl::StatusOr<int64_t> SqliteDatabase::Number(absl::string_view sql) {
  SqliteStatement statement = Prepare(sql);
  const absl::StatusOr<bool> row = statement.Step();
  if (!row.ok()) return row.status();
  return *row ? statement.Number(0) : 0;
}

SqliteTransaction::~SqliteTransaction() {
  // Some errors have undone it already.
  if (sqlite3_get_autocommit(database_.database_.get()) == 0) {
    database_.Execute("ROLLBACK").IgnoreError();
  }
}

absl::Status SqliteTransaction::Begin() {
  return database_.Execute("BEGIN IMMEDIATE");
}

absl::Status SqliteTransaction::Commit() { return database_.Execute("COMMIT"); }

}  // namespace attention::weights
