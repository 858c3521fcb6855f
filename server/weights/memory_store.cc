#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "server/weights/store.h"

namespace attention::weights {
namespace {

class MemoryStore : public Store {
 public:
  absl::StatusOr<StoreContents> LoadAll(memory::Ledger&) override {
    StoreContents contents;
    contents.sets.reserve(sets_.size());
    for (const auto& [name, set] : sets_) contents.sets.push_back(set);
    return contents;
  }

  absl::Status AppendVersion(int64_t revision,
                             std::shared_ptr<const WeightSetVersion> version,
                             const std::vector<std::string>& labels) override {
    const std::string name = version->record().name;
    return Write(revision, name, [&](StoredWeightSet& set) {
      weights::AppendVersion(set, std::move(version), labels);
    });
  }

  absl::Status MoveLabel(int64_t revision, const std::string& name,
                         const std::string& label, int64_t version) override {
    return Write(revision, name, [&](StoredWeightSet& set) {
      weights::MoveLabel(set, label, version);
    });
  }

  absl::Status Delete(int64_t revision, const std::string& name,
                      int64_t version) override {
    return Write(revision, name, [&](StoredWeightSet& set) {
      weights::DeleteVersions(set, version);
    });
  }

 private:
  // Applies `change` to a copy, so that one that throws changes nothing.
  template <typename Change>
  absl::Status Write(int64_t revision, const std::string& name, Change change) {
    const auto found = sets_.find(name);
    StoredWeightSet set;
    set.name = name;
    if (found != sets_.end()) set = found->second;
    if (set.revision != revision) {
      return absl::AbortedError(absl::StrCat(Quoted(name), " is at revision ",
                                             set.revision, ", not ", revision));
    }
    change(set);
    sets_[name] = std::move(set);
    return absl::OkStatus();
  }

  std::map<std::string, StoredWeightSet> sets_;
};

}  // namespace

std::unique_ptr<Store> NewMemoryStore() {
  return std::make_unique<MemoryStore>();
}

}  // namespace attention::weights
