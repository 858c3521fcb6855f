#include "bench/request_loop.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bench/channel.h"

namespace attention::bench {

std::shared_ptr<grpc::Channel> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
  // One connection each, though both servers are on this machine.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                   arguments);
}

// The requests of one Run. Each lane has one request in flight and sends the
// next when it is answered.
class RequestLoop::Batch {
 public:
  Batch(RequestLoop& loop, int64_t count, int in_flight)
      : loop_(loop), to_send_(count), lanes_(static_cast<size_t>(in_flight)) {}

  void Run() {
    running_ = static_cast<int>(lanes_.size());
    for (Lane& lane : lanes_) Next(lane);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
    if (!failure_.empty()) throw std::runtime_error(failure_);
  }

 private:
  struct Lane {
    std::optional<grpc::ClientContext> context;
    grpc::ByteBuffer reply;
  };

  void Next(Lane& lane) {
    if (to_send_.fetch_sub(1, std::memory_order_relaxed) <= 0) {
      return Leave(grpc::Status::OK);
    }
    lane.context.emplace();
    loop_.stub_.UnaryCall(&*lane.context, loop_.exchange_.method, {},
                          &loop_.exchange_.request, &lane.reply,
                          [this, &lane](const grpc::Status& status) {
                            if (!status.ok()) return Leave(status);
                            Next(lane);
                          });
  }

  void Leave(const grpc::Status& status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!status.ok()) failure_ = status.error_message();
    if (--running_ == 0) done_.notify_one();
  }

  RequestLoop& loop_;
  std::atomic<int64_t> to_send_;
  std::vector<Lane> lanes_;
  std::mutex mutex_;
  std::condition_variable done_;
  int running_ = 0;
  std::string failure_;
};

RequestLoop::RequestLoop(std::shared_ptr<grpc::Channel> channel,
                         Exchange exchange)
    : stub_(std::move(channel)), exchange_(std::move(exchange)) {}

grpc::ByteBuffer RequestLoop::Once() {
  grpc::ClientContext context;
  grpc::ByteBuffer reply;
  std::mutex mutex;
  std::condition_variable done;
  std::optional<grpc::Status> status;
  stub_.UnaryCall(&context, exchange_.method, {}, &exchange_.request, &reply,
                  [&](grpc::Status result) {
                    const std::lock_guard<std::mutex> lock(mutex);
                    status = std::move(result);
                    done.notify_one();
                  });
  std::unique_lock<std::mutex> lock(mutex);
  done.wait(lock, [&] { return status.has_value(); });
  if (!status->ok()) throw std::runtime_error(status->error_message());
  const std::string wrong = exchange_.check(reply);
  if (!wrong.empty()) throw std::runtime_error(wrong);
  return reply;
}

void RequestLoop::Run(int64_t count, int in_flight) {
  Batch(*this, count, in_flight).Run();
}

}  // namespace attention::bench
