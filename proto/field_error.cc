#include "proto/field_error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace attention {
namespace {

constexpr absl::string_view kFieldPayload = "attention/field";

}  // namespace

absl::Status FieldError(absl::StatusCode code, absl::string_view field,
                        absl::string_view description) {
  absl::Status status(code, absl::StrCat(field, " ", description));
  status.SetPayload(kFieldPayload, absl::Cord(field));
  return status;
}

absl::Status FieldError(absl::string_view field,
                        absl::string_view description) {
  return FieldError(absl::StatusCode::kInvalidArgument, field, description);
}

std::string ErrorField(const absl::Status& status) {
  const auto payload = status.GetPayload(kFieldPayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace attention
