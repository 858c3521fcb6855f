// The weight sets a server holds at one moment.
#ifndef SERVER_WEIGHTS_SNAPSHOT_H_
#define SERVER_WEIGHTS_SNAPSHOT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/weights/stored_weight_set.h"

namespace attention::weights {

using VersionPointer = std::shared_ptr<const WeightSetVersion>;
using SetPointer = std::shared_ptr<const StoredWeightSet>;

// Which version: an exact one, the one a label points to, or the latest.
struct Latest {};
using Which = std::variant<Latest, int64_t, std::string>;

// A version and the labels that point at it.
struct Listed {
  VersionPointer version;
  std::vector<std::string> labels;
};

// As ListWeightsRequest in the contract.
struct ListRequest {
  std::string name;  // empty: all
  bool latest_only = false;
  int32_t page_size = 0;  // 0: 100
  std::string page_token;
};

struct ListPage {
  std::vector<Listed> versions;
  std::string next_page_token;
};

// An immutable state of all names, versions and labels. A name without versions
// is only remembered for its last version; to readers it does not exist.
class Snapshot {
 public:
  // In any order, each name once.
  explicit Snapshot(std::vector<SetPointer> sets);

  // What is known about `name`, versions or not; null if nothing is.
  SetPointer Known(const std::string& name) const;

  // A copy in which `set` stands for its name. Shares everything else.
  std::shared_ptr<const Snapshot> With(SetPointer set) const;

  // The weight set of that name. INVALID_ARGUMENT or NOT_FOUND about `field`.
  absl::StatusOr<SetPointer> Find(absl::string_view field,
                                  const std::string& name) const;

  // As Catalog has them.
  absl::StatusOr<Listed> Describe(const std::string& name,
                                  const Which& which) const;
  absl::StatusOr<ListPage> List(const ListRequest& request) const;

 private:
  // Where `name` is or would be.
  std::vector<SetPointer>::const_iterator LowerBound(
      const std::string& name) const;

  std::vector<SetPointer> sets_;  // names ascending
};

// The latest version; 0 if there is none.
int64_t LatestOf(const StoredWeightSet& set);

// NOT_FOUND about `field`, naming what `set` has.
absl::Status NoSuchVersion(absl::string_view field, const StoredWeightSet& set,
                           int64_t version);
absl::Status NoSuchLabel(absl::string_view field, const StoredWeightSet& set,
                         const std::string& label);

// INVALID_ARGUMENT about `field` if `version` is below 1.
absl::Status CheckVersionNumber(absl::string_view field, int64_t version);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_SNAPSHOT_H_
