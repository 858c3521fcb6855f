// The weight sets a server holds.
#ifndef SERVER_WEIGHTS_CATALOG_H_
#define SERVER_WEIGHTS_CATALOG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/core/mutex.h"
#include "server/weights/snapshot.h"
#include "server/weights/store.h"
#include "server/weights/weight_set.h"

namespace attention::weights {

// As SetWeightsRequest in the contract.
struct SetRequest {
  std::string name;
  WeightSetContents contents;
  std::optional<int64_t> expected_version;
  std::string idempotency_key;
  std::vector<std::string> labels;
  std::map<std::string, std::string> annotations;
};

// What a version that is appended depends on and brings, beside itself.
struct AppendOptions {
  std::optional<int64_t> expected_version;
  std::vector<std::string> labels;
};

// Names, versions and labels, held in a snapshot that is replaced as a whole: a
// reader takes it without waiting for any writer, and keeps what it holds
// alive. Writers go one after the other, first to the store, then to the
// snapshot, so nothing is ever seen that the store does not hold. Thread-safe;
// Set, Append, SetLabel, Delete and Refresh may block on the store, the others
// never block.
//
// Errors name fields as the contract does, those about a WeightSetSelector
// below "weight_set": INVALID_ARGUMENT, NOT_FOUND (naming what there is),
// ABORTED (naming the present version), FAILED_PRECONDITION,
// RESOURCE_EXHAUSTED; or they are the store's.
class Catalog {
 public:
  // Loads what the store holds; DATA_LOSS if that contradicts itself,
  // RESOURCE_EXHAUSTED if it is more than `ledger` lends. What versions hold is
  // taken out of that, which outlives this and them.
  static absl::StatusOr<std::unique_ptr<Catalog>> Open(
      std::unique_ptr<Store> store, memory::Ledger& ledger);

  absl::StatusOr<std::shared_ptr<const WeightSetVersion>> Find(
      const std::string& name, const Which& which) const;

  // As Find, with its labels.
  absl::StatusOr<Listed> Describe(const std::string& name,
                                  const Which& which) const;

  // A version that is there from the first page to the last is on exactly one
  // of them, whatever is written in between.
  absl::StatusOr<ListPage> List(const ListRequest& request) const;

  // Appends a version, or returns the one an earlier request with the same
  // idempotency key and contents appended. Contents are the weights (by their
  // SHA-256) and the annotations; such a repetition neither compares
  // expected_version nor moves labels.
  absl::StatusOr<std::shared_ptr<const WeightSetVersion>> Set(
      SetRequest request);

  // The same with a version that is made already and has no number yet; name,
  // idempotency key and annotations are its record's.
  absl::StatusOr<std::shared_ptr<const WeightSetVersion>> Append(
      std::unique_ptr<WeightSetVersion> made, const AppendOptions& options);

  // What Append would refuse as things stand, whatever the contents of
  // `record`, which are not looked at: to be known before they have come.
  absl::Status CheckAppend(const WeightSetVersion::Record& record,
                           const AppendOptions& options) const;

  // Points `label` at `version`, or removes it if there is none; returns the
  // version it points to, null if removed. expected_version compares with where
  // the label points now, 0 = nowhere.
  absl::StatusOr<std::shared_ptr<const WeightSetVersion>> SetLabel(
      const std::string& name, const std::string& label,
      std::optional<int64_t> version, std::optional<int64_t> expected_version);

  // Deletes one version, or all versions and labels of `name`, damaged ones
  // included. Returns the number of versions deleted.
  absl::StatusOr<int32_t> Delete(const std::string& name,
                                 std::optional<int64_t> version,
                                 std::optional<int64_t> expected_version);

  // Takes over what other processes wrote to the store.
  absl::Status Refresh();

  // What the store should have held when it was last loaded but could not
  // answer for: a line each. None of it is served. Waits for writers.
  std::vector<std::string> damaged() const;

 private:
  struct Change;
  Catalog(std::unique_ptr<Store> store, memory::Ledger& ledger);
  std::shared_ptr<const Snapshot> snapshot() const;
  void Publish(std::shared_ptr<const Snapshot> next)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_);
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_);
  absl::Status Write(const std::string& name, const Change& change);

  memory::Ledger& ledger_;
  const std::unique_ptr<Store> store_;
  mutable core::Mutex writer_;  // one writer at a time; readers never take it
  std::vector<std::string> damaged_ ABSL_GUARDED_BY(writer_);
  // Read by std::atomic_load and replaced by std::atomic_store, which exclude
  // each other for the time it takes to copy a pointer.
  std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_CATALOG_H_
