#include "server/weights/catalog.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/weights/check_names.h"

namespace attention::weights {
namespace {

// How often a write is checked anew because another process came first.
constexpr int kWriteAttempts = 8;

absl::Status CheckExpectedVersion(std::optional<int64_t> expected) {
  if (!expected.has_value() || *expected >= 0) return absl::OkStatus();
  return FieldError("expected_version",
                    absl::StrCat("is ", *expected, "; expected at least 0"));
}

// ABORTED unless `expected`, if given, is `present`; 0 = there is none of what
// `subject` says: `the latest version of "a"`.
absl::Status Compare(std::optional<int64_t> expected, int64_t present,
                     absl::string_view subject) {
  if (!expected.has_value() || *expected == present) return absl::OkStatus();
  return FieldError(
      absl::StatusCode::kAborted, "expected_version",
      absl::StrCat("is ", *expected, " but ", subject, " is ",
                   present == 0 ? "none" : absl::StrCat(present)));
}

absl::Status CompareLatest(std::optional<int64_t> expected,
                           const StoredWeightSet& set) {
  return Compare(expected, LatestOf(set),
                 absl::StrCat("the latest version of ", Quoted(set.name)));
}

// The version a request with this key appended; null if there is none.
VersionPointer FindKey(const StoredWeightSet& set, const std::string& key) {
  if (key.empty()) return nullptr;
  const auto found =
      std::find_if(set.versions.begin(), set.versions.end(),
                   [&](const VersionPointer& version) {
                     return version->record().idempotency_key == key;
                   });
  return found == set.versions.end() ? nullptr : *found;
}

// Whether a request that repeats the key of `earlier` is the same request.
absl::Status CheckRepetition(const WeightSetVersion::Record& earlier,
                             const WeightSetVersion::Record& repeated) {
  const bool same_weights = earlier.sha256 == repeated.sha256;
  if (same_weights && earlier.annotations == repeated.annotations) {
    return absl::OkStatus();
  }
  return FieldError(
      "idempotency_key",
      absl::StrCat("is ", Quoted(repeated.idempotency_key),
                   ", which appended version ", earlier.version, " of ",
                   Quoted(earlier.name), " with other ",
                   same_weights ? "annotations" : "weights",
                   "; expected a key of its own for another request"));
}

// What is wrong with a version to append, whatever there is already.
absl::Status CheckFields(const WeightSetVersion::Record& record,
                         const AppendOptions& options) {
  for (const absl::Status& status :
       {CheckName("name", record.name), CheckLabels(options.labels),
        CheckExpectedVersion(options.expected_version),
        CheckIdempotencyKey(record.idempotency_key),
        CheckAnnotations(record.annotations)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// What a store must never hold.
absl::Status CheckLoaded(const StoredWeightSet& set) {
  int64_t previous = 0;
  for (const VersionPointer& version : set.versions) {
    const WeightSetVersion::Record& record = version->record();
    if (record.name != set.name || record.version <= previous ||
        record.version > set.last_version) {
      return absl::DataLossError(absl::StrCat(
          "the store holds version ", record.version, " of ",
          Quoted(record.name), " after version ", previous, " of ",
          Quoted(set.name), ", whose last version is ", set.last_version));
    }
    previous = record.version;
  }
  for (const auto& [label, version] : set.labels) {
    if (FindVersion(set, version) == nullptr) {
      return absl::DataLossError(absl::StrCat(
          "the store's label ", Quoted(label), " of ", Quoted(set.name),
          " points at version ", version, ", which it does not hold"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

// A write in three steps, each about what is known of one name at that time.
struct Catalog::Change {
  // Whether there is anything to write, or why it is refused.
  std::function<absl::StatusOr<bool>(const StoredWeightSet&)> check;
  std::function<void(StoredWeightSet&)> apply;
  std::function<absl::Status(const StoredWeightSet&)> store;
};

Catalog::Catalog(std::unique_ptr<Store> store, memory::Ledger& ledger)
    : ledger_(ledger), store_(std::move(store)) {}

std::shared_ptr<const Snapshot> Catalog::snapshot() const {
  return std::atomic_load(&snapshot_);
}

void Catalog::Publish(std::shared_ptr<const Snapshot> next) {
  std::atomic_store(&snapshot_, std::move(next));
}

absl::StatusOr<std::unique_ptr<Catalog>> Catalog::Open(
    std::unique_ptr<Store> store, memory::Ledger& ledger) {
  std::unique_ptr<Catalog> catalog(new Catalog(std::move(store), ledger));
  if (absl::Status status = catalog->Refresh(); !status.ok()) return status;
  return catalog;
}

absl::Status Catalog::Refresh() {
  const core::MutexLock lock(writer_);
  return Load();
}

absl::Status Catalog::Load() {
  absl::StatusOr<StoreContents> loaded = store_->LoadAll(ledger_);
  if (!loaded.ok()) return loaded.status();
  std::vector<SetPointer> sets;
  std::set<std::string> names;
  for (StoredWeightSet& set : loaded->sets) {
    if (!names.insert(set.name).second) {
      return absl::DataLossError(
          absl::StrCat("the store holds ", Quoted(set.name), " twice"));
    }
    if (absl::Status status = CheckLoaded(set); !status.ok()) return status;
    sets.push_back(std::make_shared<const StoredWeightSet>(std::move(set)));
  }
  damaged_ = std::move(loaded->damaged);
  Publish(std::make_shared<const Snapshot>(std::move(sets)));
  return absl::OkStatus();
}

std::vector<std::string> Catalog::damaged() const {
  const core::MutexLock lock(writer_);
  return damaged_;
}

absl::Status Catalog::Write(const std::string& name, const Change& change) {
  const core::MutexLock lock(writer_);
  for (int attempt = 0; attempt < kWriteAttempts; ++attempt) {
    const std::shared_ptr<const Snapshot> present = snapshot();
    SetPointer before = present->Known(name);
    if (before == nullptr) {
      before = std::make_shared<const StoredWeightSet>(StoredWeightSet{name});
    }
    const absl::StatusOr<bool> needed = change.check(*before);
    if (!needed.ok()) return needed.status();
    if (!*needed) return absl::OkStatus();

    // Everything that could run out of memory comes before the store.
    auto after = std::make_shared<StoredWeightSet>(*before);
    change.apply(*after);
    std::shared_ptr<const Snapshot> next = present->With(std::move(after));
    absl::Status stored = change.store(*before);
    if (stored.ok()) {
      Publish(std::move(next));
      return stored;
    }
    if (!absl::IsAborted(stored)) return stored;
    if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  }
  return absl::UnavailableError(
      absl::StrCat("other processes keep writing to weight set ", Quoted(name),
                   "; try again"));
}

absl::StatusOr<VersionPointer> Catalog::Find(const std::string& name,
                                             const Which& which) const {
  absl::StatusOr<Listed> listed = Describe(name, which);
  if (!listed.ok()) return listed.status();
  return std::move(listed->version);
}

absl::StatusOr<Listed> Catalog::Describe(const std::string& name,
                                         const Which& which) const {
  return snapshot()->Describe(name, which);
}

absl::StatusOr<ListPage> Catalog::List(const ListRequest& request) const {
  return snapshot()->List(request);
}

absl::StatusOr<VersionPointer> Catalog::Set(SetRequest request) {
  WeightSetVersion::Record record;
  record.name = std::move(request.name);
  record.idempotency_key = std::move(request.idempotency_key);
  record.annotations = std::move(request.annotations);
  record.contents = std::move(request.contents);
  const AppendOptions options = {request.expected_version,
                                 std::move(request.labels)};
  if (absl::Status status = CheckFields(record, options); !status.ok()) {
    return status;
  }
  const absl::StatusOr<WeightSetDims> dims = CheckShapes(record.contents);
  if (!dims.ok()) return dims.status();
  memory::Loan held(ledger_, memory::Kind::kWeights);
  absl::Status lent = held.TakeFor(
      "weights", HeldBytes(record.contents.dtype, DataBytes(record.contents)) +
                     WeightSetVersion::FactsBytes(record));
  if (!lent.ok()) return lent;
  // Reads every element; writers of other weight sets do not wait for it.
  absl::StatusOr<std::unique_ptr<WeightSetVersion>> made =
      WeightSetVersion::Make(std::move(record), std::move(held));
  if (!made.ok()) return made.status();
  return Append(*std::move(made), options);
}

absl::Status Catalog::CheckAppend(const WeightSetVersion::Record& record,
                                  const AppendOptions& options) const {
  if (absl::Status status = CheckFields(record, options); !status.ok()) {
    return status;
  }
  SetPointer known = snapshot()->Known(record.name);
  if (known == nullptr) {
    known =
        std::make_shared<const StoredWeightSet>(StoredWeightSet{record.name});
  }
  // A repetition does not compare; whether it is one, its contents will tell.
  if (FindKey(*known, record.idempotency_key) != nullptr) {
    return absl::OkStatus();
  }
  return CompareLatest(options.expected_version, *known);
}

absl::StatusOr<VersionPointer> Catalog::Append(
    std::unique_ptr<WeightSetVersion> made, const AppendOptions& options) {
  const std::shared_ptr<WeightSetVersion> version = std::move(made);
  const WeightSetVersion::Record& record = version->record();
  if (absl::Status status = CheckFields(record, options); !status.ok()) {
    return status;
  }
  VersionPointer answer = version;
  Change change;
  change.check = [&](const StoredWeightSet& set) -> absl::StatusOr<bool> {
    if (VersionPointer earlier = FindKey(set, record.idempotency_key)) {
      answer = std::move(earlier);
      if (absl::Status same = CheckRepetition(answer->record(), record);
          !same.ok()) {
        return same;
      }
      return false;
    }
    if (absl::Status status = CompareLatest(options.expected_version, set);
        !status.ok()) {
      return status;
    }
    version->Number(set.last_version + 1, std::chrono::system_clock::now());
    return true;
  };
  change.apply = [&](StoredWeightSet& set) {
    AppendVersion(set, version, options.labels);
  };
  change.store = [&](const StoredWeightSet& set) {
    return store_->AppendVersion(set.revision, version, options.labels);
  };
  if (absl::Status status = Write(record.name, change); !status.ok()) {
    return status;
  }
  return answer;
}

absl::StatusOr<VersionPointer> Catalog::SetLabel(
    const std::string& name, const std::string& label,
    std::optional<int64_t> version, std::optional<int64_t> expected_version) {
  for (const absl::Status& status :
       {CheckLabel("label", label),
        version.has_value() ? CheckVersionNumber("version", *version)
                            : absl::OkStatus(),
        CheckExpectedVersion(expected_version)}) {
    if (!status.ok()) return status;
  }
  VersionPointer answer;
  Change change;
  change.check = [&](const StoredWeightSet& set) -> absl::StatusOr<bool> {
    const absl::StatusOr<SetPointer> found = snapshot()->Find("name", name);
    if (!found.ok()) return found.status();
    const auto target = set.labels.find(label);
    const int64_t present = target == set.labels.end() ? 0 : target->second;
    if (absl::Status status =
            Compare(expected_version, present,
                    absl::StrCat("the version label ", Quoted(label), " of ",
                                 Quoted(name), " points to"));
        !status.ok()) {
      return status;
    }
    if (!version.has_value()) {
      if (present == 0) return NoSuchLabel("label", set, label);
      return true;
    }
    answer = FindVersion(set, *version);
    if (answer == nullptr) return NoSuchVersion("version", set, *version);
    return present != *version;
  };
  change.apply = [&](StoredWeightSet& set) {
    MoveLabel(set, label, version.value_or(0));
  };
  change.store = [&](const StoredWeightSet& set) {
    return store_->MoveLabel(set.revision, name, label, version.value_or(0));
  };
  if (absl::Status status = Write(name, change); !status.ok()) return status;
  return answer;
}

absl::StatusOr<int32_t> Catalog::Delete(
    const std::string& name, std::optional<int64_t> version,
    std::optional<int64_t> expected_version) {
  for (const absl::Status& status :
       {version.has_value() ? CheckVersionNumber("version", *version)
                            : absl::OkStatus(),
        CheckExpectedVersion(expected_version)}) {
    if (!status.ok()) return status;
  }
  int32_t deleted = 0;
  Change change;
  change.check = [&](const StoredWeightSet& set) -> absl::StatusOr<bool> {
    const bool is_damaged =
        version.has_value() && set.damaged.contains(*version);
    // What is damaged is not to be found, and a name may have nothing else.
    if (version.has_value() ? !is_damaged : set.damaged.empty()) {
      const absl::StatusOr<SetPointer> found = snapshot()->Find("name", name);
      if (!found.ok()) return found.status();
    }
    if (absl::Status status = CompareLatest(expected_version, set);
        !status.ok()) {
      return status;
    }
    deleted = static_cast<int32_t>(set.versions.size() + set.damaged.size());
    if (!version.has_value()) return true;
    deleted = 1;
    if (is_damaged) return true;
    if (FindVersion(set, *version) == nullptr) {
      return NoSuchVersion("version", set, *version);
    }
    const std::vector<std::string> labels = LabelsOf(set, *version);
    if (labels.empty()) return true;
    return FieldError(
        absl::StatusCode::kFailedPrecondition, "version",
        absl::StrCat("is ", *version, ", which has the labels ",
                     QuotedEnumeration(labels), "; move or remove them first"));
  };
  change.apply = [&](StoredWeightSet& set) {
    DeleteVersions(set, version.value_or(0));
  };
  change.store = [&](const StoredWeightSet& set) {
    return store_->Delete(set.revision, name, version.value_or(0));
  };
  if (absl::Status status = Write(name, change); !status.ok()) return status;
  return deleted;
}

}  // namespace attention::weights
