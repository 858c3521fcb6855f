#include "bench/stream_loop.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace attention::bench {
namespace {

// The part of what may be in flight that is sent together.
constexpr int kPart = 8;

}  // namespace

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
  group_ = std::max(in_flight / kPart, 1);
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
  if (writing_ || to_send_ == 0) return;
  if (left_of_group_ == 0) {
    if (may_send_ < std::min(group_, to_send_)) return;
    left_of_group_ = std::min(may_send_, to_send_);
  }
  writing_ = true;
  --left_of_group_;
  --to_send_;
  --may_send_;
  grpc::WriteOptions options;
  // What follows at once may travel in one packet with this.
  if (left_of_group_ > 0) options.set_buffer_hint();
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
