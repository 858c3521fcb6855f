#include "server/weights/check_names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "proto/field_error.h"

namespace attention::weights {
namespace {

constexpr size_t kLongestName = 128;
constexpr size_t kLongestLabel = 64;
constexpr size_t kMostLabels = 64;
constexpr size_t kLongestKey = 128;
constexpr size_t kMostAnnotations = 64;
constexpr size_t kLongestAnnotationKey = 128;
constexpr size_t kLongestAnnotation = 1024;

// Whether `text` is letters, digits and `marks`.
bool ConsistsOf(absl::string_view text, absl::string_view marks) {
  return std::all_of(text.begin(), text.end(), [marks](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return absl::ascii_isalnum(byte) ||
           marks.find(c) != absl::string_view::npos;
  });
}

}  // namespace

absl::Status CheckName(absl::string_view field, absl::string_view name) {
  if (!name.empty() && name.size() <= kLongestName &&
      absl::ascii_isalnum(static_cast<unsigned char>(name[0])) &&
      ConsistsOf(name, "._-/")) {
    return absl::OkStatus();
  }
  return FieldError(
      field,
      absl::StrCat("is ", Quoted(name), " (", name.size(),
                   " bytes); expected 1 to 128 letters, digits and \"._-/\", "
                   "starting with a letter or a digit"));
}

absl::Status CheckLabel(absl::string_view field, absl::string_view label) {
  if (!label.empty() && label.size() <= kLongestLabel &&
      absl::ascii_isalpha(static_cast<unsigned char>(label[0])) &&
      ConsistsOf(label, "._-")) {
    return absl::OkStatus();
  }
  return FieldError(
      field,
      absl::StrCat("is ", Quoted(label), " (", label.size(),
                   " bytes); expected 1 to 64 letters, digits and \"._-\", "
                   "starting with a letter"));
}

absl::Status CheckLabels(const std::vector<std::string>& labels) {
  if (labels.size() > kMostLabels) {
    return FieldError("labels",
                      absl::StrCat("has ", labels.size(),
                                   " entries; expected at most ", kMostLabels));
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (absl::Status status =
            CheckLabel(absl::StrCat("labels[", i, "]"), labels[i]);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckIdempotencyKey(absl::string_view key) {
  if (key.size() <= kLongestKey) return absl::OkStatus();
  return FieldError("idempotency_key",
                    absl::StrCat("has ", key.size(),
                                 " bytes; expected at most ", kLongestKey));
}

absl::Status CheckAnnotations(
    const std::map<std::string, std::string>& annotations) {
  if (annotations.size() > kMostAnnotations) {
    return FieldError("annotations", absl::StrCat("has ", annotations.size(),
                                                  " entries; expected at most ",
                                                  kMostAnnotations));
  }
  for (const auto& [key, value] : annotations) {
    if (key.empty() || key.size() > kLongestAnnotationKey) {
      return FieldError(
          "annotations",
          absl::StrCat("has the key ", Quoted(key), " (", key.size(),
                       " bytes); expected keys of 1 to ", kLongestAnnotationKey,
                       " bytes"));
    }
    if (value.size() > kLongestAnnotation) {
      return FieldError(
          absl::StrCat("annotations[", Quoted(key), "]"),
          absl::StrCat("has ", value.size(), " bytes; expected at most ",
                       kLongestAnnotation));
    }
  }
  return absl::OkStatus();
}

}  // namespace attention::weights
