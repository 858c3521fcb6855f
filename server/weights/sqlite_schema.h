// The tables weight sets are kept in, and how older ones become them.
#ifndef SERVER_WEIGHTS_SQLITE_SCHEMA_H_
#define SERVER_WEIGHTS_SQLITE_SCHEMA_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/weights/sqlite_database.h"

namespace attention::weights {

// SQL that turns schema version 0, an empty database, into 1, 1 into 2, and so
// on. What has been released is never edited: a change is one more entry. Plain
// enough for PostgreSQL, where BLOB is BYTEA.
absl::Span<const char* const> SchemaMigrations();

// Takes the database through the migrations it has not been through, each whole
// or not at all. FAILED_PRECONDITION, and nothing is changed, if its schema is
// newer than the last of them or if it is another program's database.
absl::Status MigrateSchema(SqliteDatabase& database,
                           absl::Span<const char* const> migrations);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_SQLITE_SCHEMA_H_
