// The calls of SQLite that the store needs, with absl::Status for errors.
#ifndef SERVER_WEIGHTS_SQLITE_DATABASE_H_
#define SERVER_WEIGHTS_SQLITE_DATABASE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace attention::weights {

// One SQL statement, compiled. Errors are SqliteDatabase's.
class SqliteStatement {
 public:
  // Values for the statement's ?1, ?2, ... `text` and `bytes` must stay as they
  // are until the statement has run.
  SqliteStatement& Bind(int place, int64_t number);
  SqliteStatement& BindText(int place, absl::string_view text);
  SqliteStatement& BindBytes(int place, absl::string_view bytes);
  SqliteStatement& BindNull(int place);

  // Goes to the next row; false after the last one.
  absl::StatusOr<bool> Step();

  // Calls `row`, which returns a Status, at each row until one is not OK.
  template <typename Row>
  absl::Status ForEachRow(Row row) {
    for (;;) {
      const absl::StatusOr<bool> there = Step();
      if (!there.ok()) return there.status();
      if (!*there) return absl::OkStatus();
      if (absl::Status status = row(); !status.ok()) return status;
    }
  }

  // Runs a statement that has no rows, and makes it ready to run again.
  absl::Status Run();

  // Columns of the present row, counted from 0. The bytes are good until the
  // next Step.
  bool IsNull(int column) const;
  int64_t Number(int column) const;
  absl::string_view Bytes(int column) const;
  std::string Text(int column) const { return std::string(Bytes(column)); }

 private:
  friend class SqliteDatabase;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  SqliteStatement(sqlite3_stmt* statement, absl::Status error);

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  absl::Status error_;  // the first of compiling and binding; told by Step
};

// An open connection. For one thread at a time.
//
// Errors say what SQLite said, and leave it to the caller to name the file:
// UNAVAILABLE for what may pass (busy, disk full, not writable, an input or
// output error), DATA_LOSS if the file is damaged or no database, INTERNAL for
// the rest.
class SqliteDatabase {
 public:
  // Opens `path` for reading and writing; it is created, for its owner alone,
  // if its folder exists.
  static absl::StatusOr<SqliteDatabase> Open(const std::string& path);

  // Runs statements that take no values and whose rows do not matter.
  absl::Status Execute(const std::string& sql);

  // A statement whose error, if it has one, its first Step tells.
  SqliteStatement Prepare(absl::string_view sql);

  // The one number that `sql` answers with; 0 if it answers with no row.
  absl::StatusOr<int64_t> Number(absl::string_view sql);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit SqliteDatabase(std::unique_ptr<sqlite3, Close> database)
      : database_(std::move(database)) {}

  friend class SqliteTransaction;
  std::unique_ptr<sqlite3, Close> database_;
};

// Everything between Begin and Commit happens, or nothing of it.
class SqliteTransaction {
 public:
  explicit SqliteTransaction(SqliteDatabase& database) : database_(database) {}
  // Undoes what was not committed.
  ~SqliteTransaction();
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;

  absl::Status Begin();
  // OK once everything is on the disk.
  absl::Status Commit();

 private:
  SqliteDatabase& database_;
};

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_SQLITE_DATABASE_H_
