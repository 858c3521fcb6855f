#include "server/weights/snapshot.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/weights/check_names.h"
#include "server/weights/page_token.h"

namespace attention::weights {
namespace {

constexpr int32_t kDefaultPageSize = 100;
constexpr int32_t kLargestPageSize = 1000;

// The place after which `request` goes on; an empty one for the first page.
absl::StatusOr<PageToken> CheckToken(const ListRequest& request) {
  if (request.page_token.empty()) return PageToken{};
  absl::StatusOr<PageToken> token = DecodePageToken(request.page_token);
  if (!token.ok()) return token;
  if (token->listed_name != request.name ||
      token->latest_only != request.latest_only) {
    return FieldError(
        "page_token",
        absl::StrCat("is of a listing with name ", Quoted(token->listed_name),
                     " and latest_only ", token->latest_only ? "true" : "false",
                     "; expected the same name and latest_only here"));
  }
  return token;
}

}  // namespace

int64_t LatestOf(const StoredWeightSet& set) {
  return set.versions.empty() ? 0 : set.versions.back()->record().version;
}

absl::Status NoSuchVersion(absl::string_view field, const StoredWeightSet& set,
                           int64_t version) {
  std::vector<std::string> versions;
  for (const VersionPointer& present : set.versions) {
    if (versions.size() == kMostNamed) break;
    versions.push_back(absl::StrCat(present->record().version));
  }
  return FieldError(
      absl::StatusCode::kNotFound, field,
      absl::StrCat("is ", version, "; ", Quoted(set.name), " has the versions ",
                   Enumeration(versions, set.versions.size())));
}

absl::Status NoSuchLabel(absl::string_view field, const StoredWeightSet& set,
                         const std::string& label) {
  std::vector<std::string> labels;
  for (const auto& [name, version] : set.labels) {
    if (labels.size() == kMostNamed) break;
    labels.push_back(name);
  }
  return FieldError(
      absl::StatusCode::kNotFound, field,
      absl::StrCat("is ", Quoted(label), "; ", Quoted(set.name),
                   labels.empty() ? " has no labels" : " has the labels ",
                   QuotedEnumeration(labels, set.labels.size())));
}

absl::Status CheckVersionNumber(absl::string_view field, int64_t version) {
  if (version >= 1) return absl::OkStatus();
  return FieldError(field,
                    absl::StrCat("is ", version, "; expected at least 1"));
}

Snapshot::Snapshot(std::vector<SetPointer> sets) : sets_(std::move(sets)) {
  std::sort(sets_.begin(), sets_.end(),
            [](const SetPointer& left, const SetPointer& right) {
              return left->name < right->name;
            });
}

std::vector<SetPointer>::const_iterator Snapshot::LowerBound(
    const std::string& name) const {
  return std::lower_bound(sets_.begin(), sets_.end(), name,
                          [](const SetPointer& set, const std::string& key) {
                            return set->name < key;
                          });
}

SetPointer Snapshot::Known(const std::string& name) const {
  const auto found = LowerBound(name);
  return found != sets_.end() && (*found)->name == name ? *found : nullptr;
}

std::shared_ptr<const Snapshot> Snapshot::With(SetPointer set) const {
  auto next = std::make_shared<Snapshot>(*this);
  const auto place =
      next->sets_.begin() + (LowerBound(set->name) - sets_.begin());
  if (place != next->sets_.end() && (*place)->name == set->name) {
    *place = std::move(set);
  } else {
    next->sets_.insert(place, std::move(set));
  }
  return next;
}

absl::StatusOr<SetPointer> Snapshot::Find(absl::string_view field,
                                          const std::string& name) const {
  if (absl::Status status = CheckName(field, name); !status.ok()) return status;
  SetPointer known = Known(name);
  if (known != nullptr && !known->versions.empty()) return known;
  // Anyone can ask for a name that is not there, so not every name is copied.
  std::vector<std::string> present;
  size_t all = 0;
  for (const SetPointer& set : sets_) {
    if (set->versions.empty()) continue;
    if (++all <= kMostNamed) present.push_back(set->name);
  }
  return FieldError(
      absl::StatusCode::kNotFound, field,
      absl::StrCat("is ", Quoted(name), "; there are ",
                   present.empty() ? "no weight sets" : "the weight sets ",
                   QuotedEnumeration(present, all)));
}

absl::StatusOr<Listed> Snapshot::Describe(const std::string& name,
                                          const Which& which) const {
  const absl::StatusOr<SetPointer> found = Find("weight_set.name", name);
  if (!found.ok()) return found.status();
  const StoredWeightSet& set = **found;

  int64_t number = LatestOf(set);
  if (const auto* version = std::get_if<int64_t>(&which)) {
    number = *version;
    if (absl::Status status = CheckVersionNumber("weight_set.version", number);
        !status.ok()) {
      return status;
    }
  } else if (const auto* label = std::get_if<std::string>(&which)) {
    if (absl::Status status = CheckLabel("weight_set.label", *label);
        !status.ok()) {
      return status;
    }
    const auto target = set.labels.find(*label);
    if (target == set.labels.end()) {
      return NoSuchLabel("weight_set.label", set, *label);
    }
    number = target->second;
  }
  VersionPointer version = FindVersion(set, number);
  if (version == nullptr) {
    return NoSuchVersion("weight_set.version", set, number);
  }
  return Listed{std::move(version), LabelsOf(set, number)};
}

absl::StatusOr<ListPage> Snapshot::List(const ListRequest& request) const {
  if (request.page_size < 0 || request.page_size > kLargestPageSize) {
    return FieldError(
        "page_size",
        absl::StrCat("is ", request.page_size, "; expected 0 (for ",
                     kDefaultPageSize, ") to ", kLargestPageSize));
  }
  const absl::StatusOr<PageToken> token = CheckToken(request);
  if (!token.ok()) return token.status();
  const PageToken& last = *token;  // of no name, on the first page
  auto begin = LowerBound(last.name);
  auto end = sets_.end();
  if (!request.name.empty()) {
    const absl::StatusOr<SetPointer> found = Find("name", request.name);
    if (!found.ok()) return found.status();
    begin = LowerBound(request.name);
    end = begin + 1;
  }

  const auto page_size = static_cast<size_t>(
      request.page_size == 0 ? kDefaultPageSize : request.page_size);
  ListPage page;
  for (auto set = begin; set != end; ++set) {
    for (const VersionPointer& version : (*set)->versions) {
      const int64_t number = version->record().version;
      const bool listed_before =
          (*set)->name == last.name &&
          (request.latest_only || number <= last.version);
      const bool wanted = !request.latest_only || number == LatestOf(**set);
      if (listed_before || !wanted) continue;
      if (page.versions.size() == page_size) {
        const WeightSetVersion::Record& record =
            page.versions.back().version->record();
        page.next_page_token = EncodePageToken(
            {record.name, record.version, request.name, request.latest_only});
        return page;
      }
      page.versions.push_back({version, LabelsOf(**set, number)});
    }
  }
  return page;
}

}  // namespace attention::weights
