// Errors that name the request field they are about.
#ifndef PROTO_FIELD_ERROR_H_
#define PROTO_FIELD_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace attention {

// An INVALID_ARGUMENT about one field. `field` is its path in the request, such
// as "key.shape[2]"; `description` says what was found and what was expected,
// and reads on after the path: "is 64 but query.shape[2] is 128; both are
// head_dim". The message of the status is "<field> <description>".
absl::Status FieldError(absl::string_view field, absl::string_view description);

// The same with another code, such as FAILED_PRECONDITION.
absl::Status FieldError(absl::StatusCode code, absl::string_view field,
                        absl::string_view description);

// The path given to FieldError; empty if `status` was not made by it.
std::string ErrorField(const absl::Status& status);

}  // namespace attention

#endif  // PROTO_FIELD_ERROR_H_
