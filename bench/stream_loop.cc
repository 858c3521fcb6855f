#include "bench/stream_loop.h"

#include <stdexcept>
#include <string>
#include <utility>

namespace attention::bench {

StreamLoop::StreamLoop(std::shared_ptr<grpc::Channel> channel,
                       Exchange exchange)
    : stub_(std::move(channel)), exchange_(std::move(exchange)) {
  stub_.PrepareBidiStreamingCall(&context_, exchange_.method, {}, this);
  AddHold();  // the stream outlives every pause between two operations
  StartRead(&reply_);
  StartCall();
}

StreamLoop::~StreamLoop() {
  context_.TryCancel();
  RemoveHold();
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return ended_; });
}

void StreamLoop::Run(int64_t count, int in_flight) {
  std::unique_lock<std::mutex> lock(mutex_);
  to_send_ = to_receive_ = count;
  may_send_ = in_flight;
  WriteNext();
  changed_.wait(lock, [this] { return to_receive_ == 0 || ended_early_; });
  if (to_receive_ != 0) {
    throw std::runtime_error("the stream ended");
  }
  const std::string wrong = exchange_.check(reply_);
  if (!wrong.empty()) throw std::runtime_error(wrong);
  lock.unlock();
  StartRead(&reply_);
}

void StreamLoop::WriteNext() {
  if (writing_ || to_send_ == 0 || may_send_ == 0) return;
  writing_ = true;
  --to_send_;
  --may_send_;
  grpc::WriteOptions options;
  // What follows at once may travel in one packet with this.
  if (to_send_ > 0 && may_send_ > 0) options.set_buffer_hint();
  StartWrite(&exchange_.request, options);
}

void StreamLoop::OnWriteDone(bool ok) {
  const std::lock_guard<std::mutex> lock(mutex_);
  writing_ = false;
  if (ok) WriteNext();
}

void StreamLoop::OnReadDone(bool ok) {
  if (!ok) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_early_ = true;
    changed_.notify_all();
    return;
  }
  bool more = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++may_send_;
    WriteNext();
    more = --to_receive_ > 0;
    // Run looks at the last answer before the next is read.
    if (!more) changed_.notify_all();
  }
  if (more) StartRead(&reply_);
}

void StreamLoop::OnDone(const grpc::Status&) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

}  // namespace attention::bench
