// The messages that are sent, and what is expected back.
#ifndef BENCH_REQUESTS_H_
#define BENCH_REQUESTS_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <string>

#include "attention/v1/attention.pb.h"
#include "google/protobuf/message_lite.h"

namespace attention::bench {

// A method, a request in the form it takes on the wire, and whether an answer
// is one to it.
struct Exchange {
  std::string method;
  grpc::ByteBuffer request;
  std::string (*check)(const grpc::ByteBuffer& reply);  // what is wrong, or ""
};

grpc::ByteBuffer Serialized(const google::protobuf::MessageLite& message);
std::string Text(const grpc::ByteBuffer& buffer);

// Six rows of two columns.
v1::ComputeAttentionRequest TinyRequest();
Exchange Tiny();

// The same as a message of a stream.
Exchange TinyOnStream();

// An empty echo with messages of the size of a tiny exchange.
// `tiny_reply_bytes` is the size of ours.
Exchange EchoLike(const Exchange& tiny, size_t tiny_reply_bytes);

// An empty echo with `bytes` there and back.
Exchange EchoOf(int64_t bytes);

// 64 MiB of numbers there and back, with one key, so that next to nothing is
// computed; and the same bytes copied by a handler that parses them.
Exchange Large();
Exchange LargeCopy();

// One item, `heads` heads of head_dim 64 without weights.
Exchange LongComputation(int64_t heads, int64_t n);

}  // namespace attention::bench

#endif  // BENCH_REQUESTS_H_
