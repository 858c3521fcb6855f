#include "server/weights/stored_weight_set.h"

#include <algorithm>
#include <utility>

namespace attention::weights {
namespace {

// Where `version` is, or would be, in the ascending list. Set may be const.
template <typename Set>
auto LowerBound(Set& set, int64_t version) {
  return std::lower_bound(
      set.versions.begin(), set.versions.end(), version,
      [](const std::shared_ptr<const WeightSetVersion>& element,
         int64_t number) { return element->record().version < number; });
}

}  // namespace

std::shared_ptr<const WeightSetVersion> FindVersion(const StoredWeightSet& set,
                                                    int64_t version) {
  const auto found = LowerBound(set, version);
  const bool exists =
      found != set.versions.end() && (*found)->record().version == version;
  return exists ? *found : nullptr;
}

std::vector<std::string> LabelsOf(const StoredWeightSet& set, int64_t version) {
  std::vector<std::string> labels;
  for (const auto& [label, target] : set.labels) {
    if (target == version) labels.push_back(label);
  }
  return labels;
}

void AppendVersion(StoredWeightSet& set,
                   std::shared_ptr<const WeightSetVersion> version,
                   const std::vector<std::string>& labels) {
  ++set.revision;
  set.last_version = version->record().version;
  for (const std::string& label : labels) set.labels[label] = set.last_version;
  set.versions.push_back(std::move(version));
}

void MoveLabel(StoredWeightSet& set, const std::string& label,
               int64_t version) {
  ++set.revision;
  if (version == 0) {
    set.labels.erase(label);
  } else {
    set.labels[label] = version;
  }
}

void DeleteVersions(StoredWeightSet& set, int64_t version) {
  ++set.revision;
  if (version == 0) {
    set.versions.clear();
    set.damaged.clear();
    set.labels.clear();
  } else if (FindVersion(set, version) != nullptr) {
    set.versions.erase(LowerBound(set, version));
  } else {
    set.damaged.erase(version);
  }
}

}  // namespace attention::weights
