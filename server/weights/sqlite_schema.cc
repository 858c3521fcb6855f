#include "server/weights/sqlite_schema.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace attention::weights {
namespace {

// Free text is a BLOB: it may hold the byte 0, which PostgreSQL's TEXT refuses.
// Numbers of dtype and layout are the contract's. byte_offset and data of the
// chunks of one tensor follow each other without a gap.
constexpr char kFirstSchema[] = R"sql(
CREATE TABLE weight_set (
  name TEXT NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL,
  last_version BIGINT NOT NULL
);
CREATE TABLE version (
  name TEXT NOT NULL REFERENCES weight_set (name),
  version BIGINT NOT NULL,
  create_time_unix_ns BIGINT NOT NULL,
  idempotency_key BLOB NOT NULL,
  dtype BIGINT NOT NULL,
  layout BIGINT NOT NULL,
  num_heads BIGINT NOT NULL,
  num_kv_heads BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  PRIMARY KEY (name, version)
);
CREATE TABLE label (
  name TEXT NOT NULL,
  label TEXT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (name, label),
  FOREIGN KEY (name, version) REFERENCES version (name, version)
);
CREATE TABLE annotation (
  name TEXT NOT NULL,
  version BIGINT NOT NULL,
  annotation_key BLOB NOT NULL,
  annotation_value BLOB NOT NULL,
  PRIMARY KEY (name, version, annotation_key),
  FOREIGN KEY (name, version) REFERENCES version (name, version)
    ON DELETE CASCADE
);
CREATE TABLE tensor (
  name TEXT NOT NULL,
  version BIGINT NOT NULL,
  path TEXT NOT NULL,
  first_axis BIGINT NOT NULL,
  second_axis BIGINT,
  PRIMARY KEY (name, version, path),
  FOREIGN KEY (name, version) REFERENCES version (name, version)
    ON DELETE CASCADE
);
CREATE TABLE chunk (
  name TEXT NOT NULL,
  version BIGINT NOT NULL,
  path TEXT NOT NULL,
  byte_offset BIGINT NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (name, version, path, byte_offset),
  FOREIGN KEY (name, version, path) REFERENCES tensor (name, version, path)
    ON DELETE CASCADE
);
)sql";

constexpr const char* kMigrations[] = {kFirstSchema};

// Tells our databases from those of other programs: "attn".
constexpr int64_t kApplicationId = 0x6174746E;

absl::Status CheckOurs(SqliteDatabase& database) {
  const auto id = database.Number("PRAGMA application_id");
  if (!id.ok()) return id.status();
  const auto tables = database.Number("SELECT count(*) FROM sqlite_master");
  if (!tables.ok()) return tables.status();
  const bool fresh = *id == 0 && *tables == 0;
  if (fresh || *id == kApplicationId) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "is a database of another program; expected one of attention-server, or "
      "a file that does not exist yet");
}

}  // namespace

absl::Span<const char* const> SchemaMigrations() { return kMigrations; }

absl::Status MigrateSchema(SqliteDatabase& database,
                           absl::Span<const char* const> migrations) {
  if (absl::Status ours = CheckOurs(database); !ours.ok()) return ours;
  const auto present = database.Number("PRAGMA user_version");
  if (!present.ok()) return present.status();
  const auto known = static_cast<int64_t>(migrations.size());
  if (*present < 0 || *present > known) {
    return absl::FailedPreconditionError(
        absl::StrCat("has schema version ", *present,
                     ", but this attention-server knows versions up to ", known,
                     "; expected a server at least as new as the one "
                     "that wrote it"));
  }
  for (int64_t version = *present; version < known; ++version) {
    SqliteTransaction transaction(database);
    if (absl::Status begun = transaction.Begin(); !begun.ok()) return begun;
    for (const std::string& sql :
         {std::string(migrations[static_cast<size_t>(version)]),
          absl::StrCat("PRAGMA application_id = ", kApplicationId),
          absl::StrCat("PRAGMA user_version = ", version + 1)}) {
      if (absl::Status status = database.Execute(sql); !status.ok()) {
        return status;
      }
    }
    if (absl::Status status = transaction.Commit(); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace attention::weights
