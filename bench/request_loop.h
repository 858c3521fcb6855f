// Requests over one channel, a fixed number of them in flight.
#ifndef BENCH_REQUEST_LOOP_H_
#define BENCH_REQUEST_LOOP_H_

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <string>

#include "bench/requests.h"

namespace attention::bench {

// A channel with the arguments that both sides of a comparison get.
std::shared_ptr<grpc::Channel> Connect(const std::string& target);

// Sends one exchange over and over, through gRPC's callback interface and
// without parsing what comes back: the client costs the same whoever answers.
class RequestLoop {
 public:
  RequestLoop(std::shared_ptr<grpc::Channel> channel, Exchange exchange);

  // One request; throws std::runtime_error if it fails or its reply is wrong.
  grpc::ByteBuffer Once();

  // `count` requests, `in_flight` of them at a time; returns when all have been
  // answered. Throws std::runtime_error if one failed.
  void Run(int64_t count, int in_flight);

  const Exchange& exchange() const { return exchange_; }

 private:
  class Batch;

  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  const Exchange exchange_;
};

}  // namespace attention::bench

#endif  // BENCH_REQUEST_LOOP_H_
