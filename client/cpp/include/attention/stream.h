// Many requests over one stream.
//
//   auto stream = client.OpenStream([](AttentionStream::Answer answer) {
//     if (answer.response.ok()) Use(answer.id, answer.response->output());
//   });
//   for (uint64_t id = 0; id < requests.size(); ++id) {
//     absl::Status sent = stream->Send(id, requests[id]);
//     if (!sent.ok()) break;
//   }
//   absl::Status ended = stream->Finish();
#ifndef ATTENTION_STREAM_H_
#define ATTENTION_STREAM_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"

namespace attention::client {

struct StreamOptions {
  // While this many requests have no answer yet, Send waits until an eighth of
  // them has one, so that requests travel together; at least 1. The server has
  // a bound of its own (GetServerInfoResponse.limits.max_stream_in_flight).
  int max_in_flight = 64;
};

// One StreamAttention. Cheaper for each request than a call of its own, and
// like a call in everything else: what a request is refused with is its own
// answer and does not end the stream. Thread-safe.
class AttentionStream {
 public:
  struct Answer {
    uint64_t id = 0;
    // An error is what ComputeAttention would have returned; if the stream has
    // ended without an answer to this request, it is what ended it.
    absl::StatusOr<v1::ComputeAttentionResponse> response;
  };

  // Called once for each request that Send took, in the order of completion, on
  // one thread, before Finish returns. Nothing more is read meanwhile, so it
  // must not call, or wait for, a method of the stream.
  using OnAnswer = std::function<void(Answer answer)>;

  // Cancels what has no answer yet, and waits for that.
  ~AttentionStream();
  AttentionStream(const AttentionStream&) = delete;
  AttentionStream& operator=(const AttentionStream&) = delete;

  // Takes a request, which another thread sends; `id` comes back with its
  // answer. Waits as max_in_flight says. An error means that the request was
  // not taken, because the stream has ended: UNAVAILABLE if the server shuts
  // down, FAILED_PRECONDITION after Finish.
  absl::Status Send(uint64_t id, v1::ComputeAttentionRequest request);

  // Says that no request will follow, waits for all answers, and returns how
  // the stream ended.
  absl::Status Finish();

  // Gives up everything that has no answer yet.
  void Cancel();

 private:
  friend class Client;
  class Impl;
  explicit AttentionStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace attention::client

#endif  // ATTENTION_STREAM_H_
