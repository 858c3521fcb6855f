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
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/wire_contract.h"

namespace attention::rpc {

// What a message of this type may hold.
template <typename Message>
const WireContract& ContractOf() {
  static const WireContract contract(*Message::descriptor());
  return contract;
}

// A message of up to this many bytes is read where it arrives. It takes some
// microseconds, however it is made.
inline constexpr size_t kInlineBytes = 4096;

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

  // How a message is read.
  enum class Reading {
    kWhole,  // by protobuf
    kSplit,  // by SplitMessage, which leaves the data of tensors where it is
  };
  // Takes so many bytes out of the ledger, or says why not.
  using Charge = absl::FunctionRef<absl::Status(int64_t bytes)>;

  // INVALID_ARGUMENT if they are not what `contract` allows (WireContract::
  // Walk), with reason MALFORMED_MESSAGE if they are no such message at all.
  // What copies and `reading` will take beside the bytes, if it is more than
  // kInlineBytes, is charged before any of it is allocated. What protobuf would
  // have to keep of unknown fields is left out from here on: then, and where
  // protobuf would be given many pieces, they become one. Takes as long as
  // there are bytes. Throws std::bad_alloc.
  absl::Status Check(const WireContract& contract, int64_t max_axis,
                     Reading reading, Charge charge);

  // Entries of repeated numbers. REQUIRES: Check was OK.
  int64_t numbers() const { return numbers_; }

  // Gives the memory back.
  void Clear();

 private:
  // Holds what the slices share, and goes after them: where gRPC is short of
  // memory, 1.51 ends the process if the last of a slice goes on a thread that
  // is not its own (no ExecCtx), which only a buffer sees to.
  grpc::ByteBuffer bytes_;
  std::vector<grpc::Slice> slices_;  // of bytes_
  std::string known_;                // in place of both
  size_t data_bytes_ = 0;
  int64_t numbers_ = 0;
  absl::InlinedVector<absl::string_view, 4> pieces_;
};

// Reads `bytes` into `message` and gives their memory back. Errors are those of
// ReceivedBytes::Check. `message` is undefined after an error. Throws
// std::bad_alloc.
absl::Status ParseMessage(grpc::ByteBuffer& bytes, const WireContract& contract,
                          int64_t max_axis, google::protobuf::Message& message,
                          ReceivedBytes::Charge charge);

// The bytes of `message`. Throws std::length_error if gRPC cannot hold them.
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_MESSAGE_H_
