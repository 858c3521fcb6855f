// From received bytes, which anyone may have sent, to a message.
#ifndef SERVER_RPC_DOOR_MESSAGE_H_
#define SERVER_RPC_DOOR_MESSAGE_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/wire_walk.h"

namespace attention::rpc {

// What a message of this type may hold.
template <typename Message>
const WireContract& ContractOf() {
  static const WireContract contract(*Message::descriptor());
  return contract;
}

// The bytes of one message, where they were received. One thread at a time.
class ReceivedBytes {
 public:
  ReceivedBytes() = default;
  ReceivedBytes(const ReceivedBytes&) = delete;
  ReceivedBytes& operator=(const ReceivedBytes&) = delete;

  // Takes what is in `bytes`, which is empty afterwards. Throws std::bad_alloc.
  void Take(grpc::ByteBuffer& bytes);

  // The bytes, in the pieces they came in.
  absl::Span<const absl::string_view> pieces() const { return pieces_; }
  size_t size() const;
  // Of the data of tensors. REQUIRES: Check().ok().
  size_t data_bytes() const { return data_bytes_; }

  // INVALID_ARGUMENT if they are not what `contract` allows (WireContract::
  // Walk), with reason MALFORMED_MESSAGE if they are no such message at all.
  // What protobuf would have to keep of unknown fields is left out from here
  // on: then, and where there are more than `max_scattered` bytes, the pieces
  // become one. Takes as long as there are bytes. Throws std::bad_alloc.
  absl::Status Check(const WireContract& contract, int64_t max_axis,
                     size_t max_scattered = SIZE_MAX);

  // Gives the memory back.
  void Clear();

 private:
  std::vector<grpc::Slice> slices_;
  std::string known_;  // in place of slices_
  size_t data_bytes_ = 0;
  absl::InlinedVector<absl::string_view, 4> pieces_;
};

// A message of up to this many bytes is read where it arrives. It takes some
// microseconds, however it is made.
inline constexpr size_t kInlineBytes = 4096;

// Reads `bytes` into `message` and gives their memory back. Errors are those of
// ReceivedBytes::Check. `message` is undefined after an error. Throws
// std::bad_alloc.
absl::Status ParseMessage(grpc::ByteBuffer& bytes, const WireContract& contract,
                          int64_t max_axis, google::protobuf::Message& message);

// The bytes of `message`. Throws std::length_error if gRPC cannot hold them.
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_MESSAGE_H_
