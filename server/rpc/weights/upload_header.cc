#include "server/rpc/weights/upload_header.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/rpc/weights/weight_set_proto.h"

namespace attention::rpc {

absl::StatusOr<weights::WeightSetVersion::Record> RecordOf(
    const v1::UploadWeightsRequest::Header& header, int64_t max_axis) {
  if (!header.has_weights()) return FieldError("weights", "is required");
  CodecLimits codec_limits;
  codec_limits.max_axis = max_axis;
  absl::StatusOr<weights::WeightSetContents> contents =
      ContentsFromHeader(header.weights(), codec_limits);
  if (!contents.ok()) return contents.status();
  weights::WeightSetVersion::Record record;
  record.name = header.name();
  record.idempotency_key = header.idempotency_key();
  record.annotations.insert(header.annotations().begin(),
                            header.annotations().end());
  record.contents = *std::move(contents);
  return record;
}

weights::AppendOptions OptionsOf(
    const v1::UploadWeightsRequest::Header& header) {
  weights::AppendOptions options;
  if (header.has_expected_version()) {
    options.expected_version = header.expected_version();
  }
  options.labels.assign(header.labels().begin(), header.labels().end());
  return options;
}

absl::Status CheckSha256(const std::string& text) {
  const bool hexadecimal =
      std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
      });
  if (text.size() == 64 && hexadecimal) return absl::OkStatus();
  return FieldError("sha256", absl::StrCat("is ", Quoted(text),
                                           "; expected 64 lower-case "
                                           "hexadecimal digits"));
}

}  // namespace attention::rpc
