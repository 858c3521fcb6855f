// One version of a weight set as rows of the database.
#ifndef SERVER_WEIGHTS_SQLITE_VERSION_H_
#define SERVER_WEIGHTS_SQLITE_VERSION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/memory/ledger.h"
#include "server/weights/sqlite_database.h"
#include "server/weights/weight_set.h"

namespace attention::weights {

// Adds the rows of a version; within a transaction of the caller. The tensors'
// bytes are in chunks of at most 1 MiB.
absl::Status InsertVersion(SqliteDatabase& database,
                           const WeightSetVersion::Record& record);

// The version these rows are. DATA_LOSS, saying what is wrong, unless they are
// all there and the contents have the SHA-256 they were stored with;
// RESOURCE_EXHAUSTED if `ledger` does not lend what they take, before they are
// read; other errors are the database's.
absl::StatusOr<std::shared_ptr<const WeightSetVersion>> LoadVersion(
    SqliteDatabase& database, const std::string& name, int64_t version,
    memory::Ledger& ledger);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_SQLITE_VERSION_H_
