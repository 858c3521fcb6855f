// Where weight sets live between processes.
#ifndef SERVER_WEIGHTS_STORE_H_
#define SERVER_WEIGHTS_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/memory/ledger.h"
#include "server/weights/stored_weight_set.h"

namespace attention::weights {

// What a store holds.
struct StoreContents {
  std::vector<StoredWeightSet> sets;
  // What it should hold but cannot answer for, and left out of `sets`: a line
  // each, such as "version 3 of \"a\": ..." or "label \"x\" of ...".
  std::vector<std::string> damaged;
};

// Keeps versions and labels. The catalog is its only caller: one call at a
// time, already checked, and never from a thread that must not block.
//
// A write says which revision of the name it was checked against. If the name
// is at another one, because another process wrote, the write changes nothing
// and answers ABORTED; otherwise the name is at revision + 1 afterwards. A
// write that returns OK is durable, as far as the store is; one that fails
// changed nothing. Other errors are UNAVAILABLE (try again) or INTERNAL.
class Store {
 public:
  virtual ~Store() = default;

  // Everything there is: at start-up, and again to see what other processes
  // wrote. The number of a damaged version is not above last_version. A store
  // that loads from afar should return the object it returned before for a
  // version it has already loaded; versions never change. What a version holds
  // is taken out of `ledger` before it is read: RESOURCE_EXHAUSTED if that does
  // not lend it.
  virtual absl::StatusOr<StoreContents> LoadAll(memory::Ledger& ledger) = 0;

  // Adds a version above last_version, which becomes last_version, and points
  // `labels` at it, in one step.
  virtual absl::Status AppendVersion(
      int64_t revision, std::shared_ptr<const WeightSetVersion> version,
      const std::vector<std::string>& labels) = 0;

  // Points a label at a version; 0 removes it.
  virtual absl::Status MoveLabel(int64_t revision, const std::string& name,
                                 const std::string& label, int64_t version) = 0;

  // Deletes the versions and labels of `name`, or one version (0 = all). No
  // label points at that one version.
  virtual absl::Status Delete(int64_t revision, const std::string& name,
                              int64_t version) = 0;
};

// A store that ends with the process.
std::unique_ptr<Store> NewMemoryStore();

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_STORE_H_
