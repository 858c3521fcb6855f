// Weight sets in a file that outlives the process.
#ifndef SERVER_WEIGHTS_SQLITE_STORE_H_
#define SERVER_WEIGHTS_SQLITE_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/weights/file_lock.h"
#include "server/weights/store.h"

namespace attention::weights {

// A store in the SQLite database at `path`, which is made if it is not there
// but its folder is (docs/adr/0009-embedded-store.md).
//
// A write that returns OK has been committed and synced to the disk; one that
// is cut short, by an error or by the end of the process, has changed nothing.
// One object holds the database: path + ".lock" keeps other servers away, and
// SQLite's own lock every other program. LoadAll reads the file anew each time.
//
// Errors of opening, which do not name the path: UNAVAILABLE if it is in use,
// cannot be read or written, or its folder is missing; FAILED_PRECONDITION if
// its schema is newer than this program, or it belongs to another one;
// DATA_LOSS if it is damaged beyond single versions, or no database.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);

// The same in two steps: what keeps other servers away, which takes no time,
// and the rest. Errors of the first are those of UNAVAILABLE.
std::string SqliteLockPath(const std::string& path);
absl::StatusOr<std::unique_ptr<FileLock>> LockSqliteStore(
    const std::string& path);
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(
    const std::string& path, std::unique_ptr<FileLock> lock);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_SQLITE_STORE_H_
