#include "server/weights/sqlite_store.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "server/weights/check_names.h"
#include "server/weights/sqlite_database.h"
#include "server/weights/sqlite_schema.h"
#include "server/weights/sqlite_version.h"

namespace attention::weights {
namespace {

// One connection, which no other program can open beside it: Debian's SQLite
// 3.40.1 can lose committed data when two connections write or checkpoint at
// once. What a commit has written is synced before the commit returns.
constexpr char kBeforeSchema[] =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA foreign_keys = ON;"
    "PRAGMA trusted_schema = OFF;";

// After a set of many MiB was written the log need not keep its size.
constexpr char kAfterSchema[] = "PRAGMA journal_size_limit = 67108864;";

absl::Status CheckPlace(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::UnavailableError("is a folder; expected a file in one");
  }
  const std::filesystem::path folder =
      std::filesystem::absolute(path, error).parent_path();
  if (std::filesystem::is_directory(folder, error)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the folder ", folder.string(),
                                             " does not exist; make it first"));
}

absl::Status UseWriteAheadLog(SqliteDatabase& database) {
  SqliteStatement statement = database.Prepare("PRAGMA journal_mode = WAL");
  const absl::StatusOr<bool> row = statement.Step();
  if (!row.ok()) return row.status();
  if (*row && statement.Text(0) == "wal") return absl::OkStatus();
  return absl::InternalError("SQLite cannot write this database ahead");
}

class SqliteStore : public Store {
 public:
  SqliteStore(std::unique_ptr<FileLock> lock, SqliteDatabase database)
      : lock_(std::move(lock)), database_(std::move(database)) {}

  absl::StatusOr<StoreContents> LoadAll(memory::Ledger& ledger) override {
    StoreContents contents;
    SqliteStatement rows = database_.Prepare(
        "SELECT name, revision, last_version FROM weight_set ORDER BY name");
    absl::Status loaded = rows.ForEachRow([&]() -> absl::Status {
      StoredWeightSet set;
      set.name = rows.Text(0);
      set.revision = rows.Number(1);
      set.last_version = rows.Number(2);
      if (!CheckName("name", set.name).ok()) {
        contents.damaged.push_back(
            absl::StrCat("a weight set whose name is ", Quoted(set.name)));
        return absl::OkStatus();
      }
      absl::Status status = LoadVersions(set, ledger, contents.damaged);
      if (status.ok()) status = LoadLabels(set, contents.damaged);
      if (status.ok()) contents.sets.push_back(std::move(set));
      return status;
    });
    if (!loaded.ok()) return loaded;
    return contents;
  }

  absl::Status AppendVersion(int64_t revision,
                             std::shared_ptr<const WeightSetVersion> version,
                             const std::vector<std::string>& labels) override {
    const WeightSetVersion::Record& record = version->record();
    return Write(revision, record.name, [&]() -> absl::Status {
      SqliteStatement update = database_.Prepare(
          "UPDATE weight_set SET last_version = ?2 WHERE name = ?1");
      absl::Status status =
          update.BindText(1, record.name).Bind(2, record.version).Run();
      if (status.ok()) status = InsertVersion(database_, record);
      for (const std::string& label : labels) {
        if (!status.ok()) return status;
        status = PointLabel(record.name, label, record.version);
      }
      return status;
    });
  }

  absl::Status MoveLabel(int64_t revision, const std::string& name,
                         const std::string& label, int64_t version) override {
    return Write(revision, name, [&] {
      if (version != 0) return PointLabel(name, label, version);
      SqliteStatement remove =
          database_.Prepare("DELETE FROM label WHERE name = ?1 AND label = ?2");
      return remove.BindText(1, name).BindText(2, label).Run();
    });
  }

  absl::Status Delete(int64_t revision, const std::string& name,
                      int64_t version) override {
    return Write(revision, name, [&] {
      // Labels that are left may point at a damaged version only.
      SqliteStatement labels = database_.Prepare(
          "DELETE FROM label WHERE name = ?1 AND (?2 = 0 OR version = ?2)");
      absl::Status status = labels.BindText(1, name).Bind(2, version).Run();
      if (!status.ok()) return status;
      SqliteStatement versions = database_.Prepare(
          "DELETE FROM version WHERE name = ?1 AND (?2 = 0 OR version = ?2)");
      return versions.BindText(1, name).Bind(2, version).Run();
    });
  }

 private:
  // Adds the versions that are whole to `set`.
  absl::Status LoadVersions(StoredWeightSet& set, memory::Ledger& ledger,
                            std::vector<std::string>& damaged) {
    SqliteStatement rows = database_.Prepare(
        "SELECT version FROM version WHERE name = ?1 ORDER BY version");
    rows.BindText(1, set.name);
    return rows.ForEachRow([&]() -> absl::Status {
      const int64_t number = rows.Number(0);
      // Even a damaged version keeps its number to itself.
      set.last_version = std::max(set.last_version, number);
      auto version = LoadVersion(database_, set.name, number, ledger);
      if (version.ok()) {
        set.versions.push_back(*std::move(version));
        return absl::OkStatus();
      }
      if (!absl::IsDataLoss(version.status())) return version.status();
      set.damaged.insert(number);
      damaged.push_back(absl::StrCat("version ", number, " of ",
                                     Quoted(set.name), ": ",
                                     version.status().message()));
      return absl::OkStatus();
    });
  }

  // Adds the labels of the versions there are to `set`.
  absl::Status LoadLabels(StoredWeightSet& set,
                          std::vector<std::string>& damaged) {
    SqliteStatement rows = database_.Prepare(
        "SELECT label, version FROM label WHERE name = ?1 ORDER BY label");
    rows.BindText(1, set.name);
    return rows.ForEachRow([&] {
      const std::string label = rows.Text(0);
      const int64_t version = rows.Number(1);
      if (CheckLabel("label", label).ok() &&
          FindVersion(set, version) != nullptr) {
        set.labels[label] = version;
      } else {
        damaged.push_back(absl::StrCat("label ", Quoted(label), " of ",
                                       Quoted(set.name),
                                       ", which points at version ", version));
      }
      return absl::OkStatus();
    });
  }

  absl::Status PointLabel(const std::string& name, const std::string& label,
                          int64_t version) {
    SqliteStatement statement = database_.Prepare(
        "INSERT INTO label (name, label, version) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (name, label) DO UPDATE SET version = excluded.version");
    return statement.BindText(1, name)
        .BindText(2, label)
        .Bind(3, version)
        .Run();
  }

  // Makes `change` and the next revision of `name` one transaction.
  template <typename Change>
  absl::Status Write(int64_t revision, const std::string& name, Change change) {
    SqliteTransaction transaction(database_);
    absl::Status status = transaction.Begin();
    if (status.ok()) status = AdvanceRevision(revision, name);
    if (status.ok()) status = change();
    if (status.ok()) status = transaction.Commit();
    if (status.ok() || absl::IsAborted(status)) return status;
    return {absl::IsUnavailable(status) ? absl::StatusCode::kUnavailable
                                        : absl::StatusCode::kInternal,
            absl::StrCat("the weight store cannot write: ", status.message(),
                         "; nothing was changed")};
  }

  absl::Status AdvanceRevision(int64_t revision, const std::string& name) {
    SqliteStatement select =
        database_.Prepare("SELECT revision FROM weight_set WHERE name = ?1");
    const absl::StatusOr<bool> known = select.BindText(1, name).Step();
    if (!known.ok()) return known.status();
    const int64_t present = *known ? select.Number(0) : 0;
    if (present != revision) {
      return absl::AbortedError(absl::StrCat(Quoted(name), " is at revision ",
                                             present, ", not ", revision));
    }
    SqliteStatement advance = database_.Prepare(
        "INSERT INTO weight_set (name, revision, last_version) "
        "VALUES (?1, 1, 0) "
        "ON CONFLICT (name) DO UPDATE SET revision = weight_set.revision + 1");
    return advance.BindText(1, name).Run();
  }

  // The lock outlives the connection.
  const std::unique_ptr<FileLock> lock_;
  SqliteDatabase database_;
};

}  // namespace

std::string SqliteLockPath(const std::string& path) { return path + ".lock"; }

absl::StatusOr<std::unique_ptr<FileLock>> LockSqliteStore(
    const std::string& path) {
  if (absl::Status place = CheckPlace(path); !place.ok()) return place;
  return FileLock::Acquire(SqliteLockPath(path));
}

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(
    const std::string& path, std::unique_ptr<FileLock> lock) {
  absl::StatusOr<SqliteDatabase> database = SqliteDatabase::Open(path);
  if (!database.ok()) return database.status();
  // Another program's database is refused before anything of it is changed.
  absl::Status status = database->Execute(kBeforeSchema);
  if (status.ok()) status = MigrateSchema(*database, SchemaMigrations());
  if (status.ok()) status = UseWriteAheadLog(*database);
  if (status.ok()) status = database->Execute(kAfterSchema);
  if (!status.ok()) return status;
  return std::make_unique<SqliteStore>(std::move(lock), *std::move(database));
}

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(
    const std::string& path) {
  absl::StatusOr<std::unique_ptr<FileLock>> lock = LockSqliteStore(path);
  if (!lock.ok()) return lock.status();
  return OpenSqliteStore(path, *std::move(lock));
}

}  // namespace attention::weights
