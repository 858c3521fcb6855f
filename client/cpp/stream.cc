#include "attention/stream.h"

#include <algorithm>
#include <utility>

#include "client/cpp/grpc_status.h"
#include "client/cpp/stream_impl.h"

namespace attention::client {
namespace {

// The part of max_in_flight that Send waits for once all of it is in flight, so
// that requests are sent together rather than each when an answer comes.
constexpr int kGroups = 8;

// The details of a google.rpc.Status are those of a call's trailers.
absl::Status FromProto(const google::rpc::Status& error) {
  return FromGrpc(grpc::Status(static_cast<grpc::StatusCode>(error.code()),
                               error.message(), error.SerializeAsString()));
}

AttentionStream::Answer FromProto(v1::StreamAttentionResponse message) {
  switch (message.result_case()) {
    case v1::StreamAttentionResponse::kResponse:
      return {message.id(), std::move(*message.mutable_response())};
    case v1::StreamAttentionResponse::kError: {
      absl::Status error = FromProto(message.error());
      if (error.ok()) error = absl::UnknownError("an error with code OK");
      return {message.id(), std::move(error)};
    }
    default:
      return {message.id(), absl::DataLossError("an answer without a result")};
  }
}

}  // namespace

AttentionStream::Impl::Impl(
    v1::AttentionService::Stub& stub,
    std::unique_ptr<grpc::ClientContext> context, const StreamOptions& options,
    OnAnswer on_answer,
    std::function<absl::Status(const grpc::Status&)> with_cure)
    : context_(std::move(context)),
      call_(stub.StreamAttention(context_.get())),
      max_in_flight_(static_cast<size_t>(std::max(options.max_in_flight, 1))),
      group_(std::max<size_t>(max_in_flight_ / kGroups, 1)),
      on_answer_(std::move(on_answer)),
      with_cure_(std::move(with_cure)),
      writer_([this] { Write(); }),
      reader_([this] { Read(); }) {}

AttentionStream::Impl::~Impl() {
  bool ended = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended = ended_;
  }
  if (!ended) Cancel();
  reader_.join();
  writer_.join();
}

absl::Status AttentionStream::Impl::Send(uint64_t id,
                                         v1::ComputeAttentionRequest request) {
  v1::StreamAttentionRequest message;
  message.set_id(id);
  *message.mutable_request() = std::move(request);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return over_ || closed_ || !full_; });
    if (closed_) {
      return absl::FailedPreconditionError("the stream has been finished");
    }
    if (over_) return status_;
    unanswered_.insert(id);
    full_ = unanswered_.size() >= max_in_flight_;
    outgoing_.push_back(std::move(message));
  }
  to_write_.notify_one();
  return absl::OkStatus();
}

void AttentionStream::Impl::Write() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    to_write_.wait(lock,
                   [this] { return over_ || closed_ || !outgoing_.empty(); });
    if (over_) return;
    if (outgoing_.empty()) break;
    const v1::StreamAttentionRequest message = std::move(outgoing_.front());
    outgoing_.pop_front();
    grpc::WriteOptions options;
    // What follows at once can travel with this.
    if (!outgoing_.empty()) options.set_buffer_hint();
    lock.unlock();
    // A failure means that the stream has ended, and then the reader answers.
    if (!call_->Write(message, options)) return;
    lock.lock();
  }
  lock.unlock();
  call_->WritesDone();
}

absl::Status AttentionStream::Impl::Finish() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  to_write_.notify_one();
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return ended_; });
  return status_;
}

bool AttentionStream::Impl::TakeOut(uint64_t id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = unanswered_.find(id);
  if (found == unanswered_.end()) return false;
  unanswered_.erase(found);
  if (full_ && unanswered_.size() + group_ <= max_in_flight_) {
    full_ = false;
    changed_.notify_all();
  }
  return true;
}

void AttentionStream::Impl::Read() {
  v1::StreamAttentionResponse message;
  while (call_->Read(&message)) {
    Answer answer = FromProto(std::move(message));
    message.Clear();
    // An id that nobody waits for is an answer to a message that was damaged on
    // its way; whoever sent it hears of the end of the stream.
    if (!TakeOut(answer.id)) continue;
    on_answer_(std::move(answer));
  }
  const absl::Status status = with_cure_(call_->Finish());
  std::multiset<uint64_t> left;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    over_ = true;
    outgoing_.clear();
    left.swap(unanswered_);
    status_ = status.ok() && !closed_
                  ? absl::UnknownError("the server ended the stream")
                  : status;
  }
  to_write_.notify_one();
  for (const uint64_t id : left) {
    on_answer_({id, status.ok() ? absl::DataLossError(
                                      "the stream ended without an answer")
                                : status});
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

AttentionStream::AttentionStream(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

AttentionStream::~AttentionStream() = default;

absl::Status AttentionStream::Send(uint64_t id,
                                   v1::ComputeAttentionRequest request) {
  return impl_->Send(id, std::move(request));
}

absl::Status AttentionStream::Finish() { return impl_->Finish(); }

void AttentionStream::Cancel() { impl_->Cancel(); }

}  // namespace attention::client
