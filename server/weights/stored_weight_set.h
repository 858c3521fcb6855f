// Everything known under one name, and what each write does to it.
#ifndef SERVER_WEIGHTS_STORED_WEIGHT_SET_H_
#define SERVER_WEIGHTS_STORED_WEIGHT_SET_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/weights/weight_set.h"

namespace attention::weights {

// A value; copies share the versions.
struct StoredWeightSet {
  std::string name;
  // Counts the writes to this name, from 1; 0 for a name never written to.
  int64_t revision = 0;
  // The highest version ever used, deleted ones included. A name whose versions
  // are all deleted keeps it, so that no number is used twice.
  int64_t last_version = 0;
  std::vector<std::shared_ptr<const WeightSetVersion>> versions;  // ascending
  std::map<std::string, int64_t> labels;                          // to version
  // Versions the store holds but cannot answer for: not served, to be deleted.
  std::set<int64_t> damaged;
};

// The version with this number; null if there is none.
std::shared_ptr<const WeightSetVersion> FindVersion(const StoredWeightSet& set,
                                                    int64_t version);

// The labels that point at `version`, sorted.
std::vector<std::string> LabelsOf(const StoredWeightSet& set, int64_t version);

// The writes. Each raises revision by one.
//
// REQUIRES: version->record().version > set.last_version.
void AppendVersion(StoredWeightSet& set,
                   std::shared_ptr<const WeightSetVersion> version,
                   const std::vector<std::string>& labels);

// version 0 removes the label.
void MoveLabel(StoredWeightSet& set, const std::string& label, int64_t version);

// Deletes one version, or all of them and all labels for version 0.
void DeleteVersions(StoredWeightSet& set, int64_t version);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_STORED_WEIGHT_SET_H_
