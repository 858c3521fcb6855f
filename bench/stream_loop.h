// Requests over one stream, a fixed number of them in flight.
#ifndef BENCH_STREAM_LOOP_H_
#define BENCH_STREAM_LOOP_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "bench/requests.h"

namespace attention::bench {

// Sends one message of an exchange over and over on one stream, which stays
// open from the constructor to the destructor.
class StreamLoop
    : private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  StreamLoop(std::shared_ptr<grpc::Channel> channel, Exchange exchange);
  ~StreamLoop() override;
  StreamLoop(const StreamLoop&) = delete;
  StreamLoop& operator=(const StreamLoop&) = delete;

  // `count` messages, `in_flight` of them at a time; returns when all have been
  // answered. Once there is room for an eighth of them, what there is room for
  // is sent together: a stream is for those who have many requests. Throws
  // std::runtime_error if the stream ends or the last answer is none.
  void Run(int64_t count, int in_flight);

 private:
  void OnWriteDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void WriteNext();  // with mutex_ held

  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  const Exchange exchange_;
  grpc::ClientContext context_;
  grpc::ByteBuffer reply_;

  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t to_send_ = 0;
  int64_t to_receive_ = 0;
  int64_t may_send_ = 0;  // before another answer comes
  int64_t group_ = 1;     // messages there must be room for
  int64_t left_of_group_ = 0;
  bool writing_ = false;
  bool ended_early_ = false;  // no answer comes any more
  bool ended_ = false;
};

}  // namespace attention::bench

#endif  // BENCH_STREAM_LOOP_H_
