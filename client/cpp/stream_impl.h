// What is behind an AttentionStream.
#ifndef CLIENT_CPP_STREAM_IMPL_H_
#define CLIENT_CPP_STREAM_IMPL_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "attention/stream.h"
#include "attention/v1/attention.grpc.pb.h"
#include "grpcpp/client_context.h"

namespace attention::client {

// Owns the call, the thread that writes requests and the one that reads
// answers.
class AttentionStream::Impl {
 public:
  // `context` has its deadline. `with_cure` words a status of gRPC for the
  // user.
  Impl(v1::AttentionService::Stub& stub,
       std::unique_ptr<grpc::ClientContext> context,
       const StreamOptions& options, OnAnswer on_answer,
       std::function<absl::Status(const grpc::Status&)> with_cure);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  absl::Status Send(uint64_t id, v1::ComputeAttentionRequest request);
  absl::Status Finish();
  void Cancel() { context_->TryCancel(); }

 private:
  // Sends what is in outgoing_: what is there together in one packet, if it is
  // small.
  void Write();
  void Read();
  // Whether `id` was without an answer; it has one now.
  bool TakeOut(uint64_t id);

  const std::unique_ptr<grpc::ClientContext> context_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::StreamAttentionRequest,
                                                 v1::StreamAttentionResponse>>
      call_;
  const size_t max_in_flight_;
  const size_t group_;  // requests there must be room for once it was full
  const OnAnswer on_answer_;
  const std::function<absl::Status(const grpc::Status&)> with_cure_;

  std::mutex mutex_;                  // guards what follows
  std::condition_variable to_write_;  // what Write waits for
  std::condition_variable changed_;   // what others wait for
  std::deque<v1::StreamAttentionRequest> outgoing_;
  std::multiset<uint64_t> unanswered_;
  bool full_ = false;    // and there is no room for a group yet
  bool closed_ = false;  // no request will follow
  bool over_ = false;    // nothing will be read; status_ tells why
  bool ended_ = false;   // and every request has its answer
  absl::Status status_;

  std::thread writer_;
  std::thread reader_;
};

}  // namespace attention::client

#endif  // CLIENT_CPP_STREAM_IMPL_H_
