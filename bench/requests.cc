#include "bench/requests.h"

#include <grpcpp/support/slice.h>

#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "attention/tensor.h"
#include "bench/echo.pb.h"

namespace attention::bench {
namespace {

constexpr char kComputeAttention[] =
    "/attention.v1.AttentionService/ComputeAttention";
constexpr char kStreamAttention[] =
    "/attention.v1.AttentionService/StreamAttention";
constexpr char kEcho[] = "/attention.bench.Echo/Echo";
constexpr char kCopy[] = "/attention.bench.Echo/Copy";

constexpr int64_t kLargeRows = 16384;
constexpr int64_t kLargeWidth = 1024;

std::vector<float> NormalFloats(int64_t count) {
  std::mt19937_64 bits(1);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& number : numbers) number = normal(bits);
  return numbers;
}

// An answer with `elements` floats.
template <int64_t elements>
std::string CheckOutput(const grpc::ByteBuffer& reply) {
  v1::ComputeAttentionResponse response;
  if (!response.ParseFromString(Text(reply))) return "the reply does not parse";
  if (response.output().data().size() != elements * sizeof(float)) {
    return "the output has another size";
  }
  return "";
}

std::string CheckStreamed(const grpc::ByteBuffer& reply) {
  v1::StreamAttentionResponse answer;
  if (!answer.ParseFromString(Text(reply))) return "the reply does not parse";
  return answer.response().output().data().size() == 12 * sizeof(float)
             ? ""
             : "the message was refused: " + answer.error().message();
}

std::string CheckEcho(const grpc::ByteBuffer& reply) {
  EchoReply echo;
  return echo.ParseFromString(Text(reply)) ? "" : "the echo does not parse";
}

std::string CheckCopy(const grpc::ByteBuffer& reply) {
  CopyReply copy;
  return copy.ParseFromString(Text(reply)) &&
                 copy.data().size() == kLargeRows * kLargeWidth * sizeof(float)
             ? ""
             : "the copy is not one";
}

std::string CheckNothing(const grpc::ByteBuffer&) { return ""; }

}  // namespace

grpc::ByteBuffer Serialized(const google::protobuf::MessageLite& message) {
  const std::string text = message.SerializeAsString();
  const grpc::Slice slice(text);
  return {&slice, 1};
}

std::string Text(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

v1::ComputeAttentionRequest TinyRequest() {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = client::MakeTensor(NormalFloats(12), {6, 2});
  return request;
}

Exchange Tiny() {
  return {kComputeAttention, Serialized(TinyRequest()), CheckOutput<12>};
}

Exchange TinyOnStream() {
  v1::StreamAttentionRequest message;
  message.set_id(1);
  *message.mutable_request() = TinyRequest();
  return {kStreamAttention, Serialized(message), CheckStreamed};
}

Exchange EchoLike(const Exchange& tiny, size_t tiny_reply_bytes) {
  // A field of bytes is its tag, its length, and itself.
  constexpr size_t kOverhead = 2;
  EchoRequest request;
  request.set_bytes_of_reply(
      static_cast<uint32_t>(tiny_reply_bytes - kOverhead));
  request.set_data(std::string(
      tiny.request.Length() - request.ByteSizeLong() - kOverhead, 'x'));
  if (request.ByteSizeLong() != tiny.request.Length()) {
    throw std::logic_error("the echo has another size");
  }
  return {kEcho, Serialized(request), CheckEcho};
}

Exchange EchoOf(int64_t bytes) {
  EchoRequest request;
  request.set_bytes_of_reply(static_cast<uint32_t>(bytes));
  request.mutable_data()->resize(static_cast<size_t>(bytes));
  return {kEcho, Serialized(request), CheckEcho};
}

Exchange Large() {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = client::MakeTensor(
      NormalFloats(kLargeRows * kLargeWidth), {kLargeRows, kLargeWidth});
  *request.mutable_key() =
      client::MakeTensor(NormalFloats(kLargeWidth), {1, kLargeWidth});
  return {kComputeAttention, Serialized(request),
          CheckOutput<kLargeRows * kLargeWidth>};
}

Exchange LargeCopy() {
  CopyRequest request;
  request.mutable_data()->resize(kLargeRows * kLargeWidth * sizeof(float));
  const std::vector<float> numbers = NormalFloats(kLargeRows * kLargeWidth);
  std::memcpy(request.mutable_data()->data(), numbers.data(),
              request.data().size());
  return {kCopy, Serialized(request), CheckCopy};
}

Exchange LongComputation(int64_t heads, int64_t n) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() =
      client::MakeTensor(NormalFloats(n * heads * 64), {n, heads * 64});
  request.set_num_heads(static_cast<int32_t>(heads));
  return {kComputeAttention, Serialized(request), CheckNothing};
}

}  // namespace attention::bench
