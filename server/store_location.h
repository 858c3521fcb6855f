// Where weight sets are kept: --store.
#ifndef SERVER_STORE_LOCATION_H_
#define SERVER_STORE_LOCATION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/weights/file_lock.h"
#include "server/weights/store.h"

namespace attention::server {

struct StoreLocation {
  std::string
      sqlite_path;  // empty: in memory, for as long as the process lives
};

// "sqlite:" and the file attention-service/weights.db in $XDG_STATE_HOME, or in
// ~/.local/state without that; empty if there is no HOME either.
std::string DefaultStore();

// "memory", or "sqlite:PATH". INVALID_ARGUMENT about --store.
absl::StatusOr<StoreLocation> ParseStoreLocation(const std::string& text);

// Keeps other servers away from the store; null of one in memory. Folders of
// the default place are made, for their owner alone; those of any other have to
// exist. Errors are about --store.
absl::StatusOr<std::unique_ptr<weights::FileLock>> LockStore(
    const StoreLocation& location);

// The store that is there, with what LockStore returned. Errors as above.
absl::StatusOr<std::unique_ptr<weights::Store>> OpenStore(
    const StoreLocation& location, std::unique_ptr<weights::FileLock> lock);

}  // namespace attention::server

#endif  // SERVER_STORE_LOCATION_H_
