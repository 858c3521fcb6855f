// From what frames an upload to what the catalog takes.
#ifndef SERVER_RPC_WEIGHTS_UPLOAD_HEADER_H_
#define SERVER_RPC_WEIGHTS_UPLOAD_HEADER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "server/weights/catalog.h"
#include "server/weights/weight_set.h"

namespace attention::rpc {

// What the header says of the version: shapes, without data. INVALID_ARGUMENT
// naming the field, no axis longer than `max_axis`.
absl::StatusOr<weights::WeightSetVersion::Record> RecordOf(
    const v1::UploadWeightsRequest::Header& header, int64_t max_axis);

// How the version is to be appended.
weights::AppendOptions OptionsOf(
    const v1::UploadWeightsRequest::Header& header);

// INVALID_ARGUMENT about "sha256" unless `text` is lower-case hexadecimal of 32
// bytes.
absl::Status CheckSha256(const std::string& text);

}  // namespace attention::rpc

#endif  // SERVER_RPC_WEIGHTS_UPLOAD_HEADER_H_
