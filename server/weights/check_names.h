// What the contract says about names, labels, keys and annotations.
#ifndef SERVER_WEIGHTS_CHECK_NAMES_H_
#define SERVER_WEIGHTS_CHECK_NAMES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace attention::weights {

// INVALID_ARGUMENT about `field` unless `name` is 1 to 128 of letters, digits
// and "._-/" (all ASCII), starting with a letter or a digit.
absl::Status CheckName(absl::string_view field, absl::string_view name);

// ... unless `label` is 1 to 64 of letters, digits and "._-", starting with a
// letter.
absl::Status CheckLabel(absl::string_view field, absl::string_view label);

// ... about "labels": at most 64, each as CheckLabel has it.
absl::Status CheckLabels(const std::vector<std::string>& labels);

// ... about "idempotency_key": at most 128 bytes.
absl::Status CheckIdempotencyKey(absl::string_view key);

// ... about "annotations": at most 64 entries, keys of 1 to 128 and values of
// at most 1024 bytes.
absl::Status CheckAnnotations(
    const std::map<std::string, std::string>& annotations);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_CHECK_NAMES_H_
