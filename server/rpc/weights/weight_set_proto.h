// Weight sets, between the contract's messages and server/weights.
#ifndef SERVER_RPC_WEIGHTS_WEIGHT_SET_PROTO_H_
#define SERVER_RPC_WEIGHTS_WEIGHT_SET_PROTO_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "proto/codec.h"
#include "server/rpc/tensors/input.h"
#include "server/rpc/tensors/received_request.h"
#include "server/weights/catalog.h"
#include "server/weights/initializer.h"
#include "server/weights/weight_set.h"

namespace attention::rpc {

// Name and version or label; FieldErrors below "weight_set".
absl::StatusOr<weights::Which> WhichOf(const v1::WeightSetSelector& selector);

// Copies the tensors, those sent as values rounded to their dtype. FieldErrors
// below "weights" for what can be seen without comparing shapes: layout, a
// missing projection or weight, more than one dtype, what TensorView refuses.
// The rest is left to weights::WeightSetVersion::Make.
absl::StatusOr<weights::WeightSetContents> ContentsFromProto(
    const v1::WeightSet& message, const CodecLimits& limits);

// The same of a header, whose tensors have dtype and shape alone: contents
// without data. Refuses a tensor that carries elements, and an axis beyond
// limits.max_axis; shapes are left to weights::DimsOf.
absl::StatusOr<weights::WeightSetContents> ContentsFromHeader(
    const v1::WeightSet& message, const CodecLimits& limits);

// The same of weights that came with a request, at "weights": contents without
// data, and their tensors, in the order of NamedTensors, with the places where
// that was received. Refuses what ContentsFromProto refuses but for elements,
// which are not looked at; shapes are left to weights::DimsOf.
absl::StatusOr<weights::WeightSetContents> ContentsFromRequest(
    const ReceivedRequest& request, const v1::WeightSet& message,
    const CodecLimits& limits, std::vector<InputTensor>& tensors);

// FieldErrors below "initializer" for enums and contradictions; sizes are left
// to weights::Initialize.
absl::StatusOr<weights::Initializer> InitializerFromProto(
    const v1::Initializer& message);

// Everything of the contents but the tensors' data.
v1::WeightSet HeaderToProto(const weights::WeightSetContents& contents);

v1::WeightSetVersion VersionToProto(const weights::WeightSetVersion& version);

v1::WeightSetSummary SummaryToProto(const weights::Listed& listed);

}  // namespace attention::rpc

#endif  // SERVER_RPC_WEIGHTS_WEIGHT_SET_PROTO_H_
