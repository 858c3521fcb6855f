// A request that goes out from where it lies.
#ifndef CLIENT_CPP_SHARED_REQUEST_H_
#define CLIENT_CPP_SHARED_REQUEST_H_

#include <memory>

#include "attention/v1/attention.pb.h"
#include "grpcpp/support/byte_buffer.h"

namespace attention::client {

// The bytes that protobuf makes of `request`. Those of a string of 4 KiB and
// more, such as Tensor.data, are not copied: the buffer, and what gRPC takes
// from it, hold `request` as long as they refer to them.
// REQUIRES: not null; fewer than 2^31 bytes.
grpc::ByteBuffer Serialize(
    const std::shared_ptr<const v1::ComputeAttentionRequest>& request);

}  // namespace attention::client

#endif  // CLIENT_CPP_SHARED_REQUEST_H_
