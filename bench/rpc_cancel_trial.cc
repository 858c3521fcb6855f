#include "bench/rpc_cancel_trial.h"

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <ctime>
#include <future>
#include <stdexcept>
#include <thread>

namespace attention::bench {
namespace {

using Clock = std::chrono::system_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

// Less processor time than this between two looks is gRPC's, not a task's.
constexpr double kComputingMs = 0.2;
constexpr std::chrono::microseconds kBetweenLooks(300);
// A task that runs is counted at the kernel's ticks, at most 10 ms apart.
constexpr std::chrono::milliseconds kQuiet(30);
constexpr std::chrono::seconds kPatience(10);

double ProcessorMs(clockid_t clock) {
  timespec time{};
  if (clock_gettime(clock, &time) != 0) {
    throw std::runtime_error("the server has ended");
  }
  return static_cast<double>(time.tv_sec) * 1e3 +
         static_cast<double>(time.tv_nsec) / 1e6;
}

// When the server was last seen computing, once it has been quiet.
Clock::time_point LastComputing(clockid_t clock) {
  const Clock::time_point start = Clock::now();
  Clock::time_point last = start;
  double before = ProcessorMs(clock);
  while (Clock::now() - last < kQuiet) {
    if (Clock::now() - start > kPatience) {
      throw std::runtime_error("the server computes on and on");
    }
    std::this_thread::sleep_for(kBetweenLooks);
    const double now = ProcessorMs(clock);
    if (now - before >= kComputingMs) last = Clock::now();
    before = now;
  }
  return last;
}

}  // namespace

double MillisecondsAfter(Ending ending, std::chrono::microseconds delay,
                         const std::shared_ptr<grpc::Channel>& channel,
                         const Exchange& exchange, pid_t server) {
  clockid_t clock{};
  if (clock_getcpuclockid(server, &clock) != 0) {
    throw std::runtime_error("there is no such server");
  }
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel);
  grpc::ClientContext context;
  grpc::ByteBuffer reply;
  std::promise<grpc::Status> answered;
  const Clock::time_point end = Clock::now() + delay;
  if (ending == Ending::kDeadline) context.set_deadline(end);
  stub.UnaryCall(
      &context, exchange.method, {}, &exchange.request, &reply,
      [&](grpc::Status status) { answered.set_value(std::move(status)); });
  std::this_thread::sleep_until(end);
  if (ending == Ending::kCancel) context.TryCancel();
  const Clock::time_point last = LastComputing(clock);
  const grpc::Status status = answered.get_future().get();
  if (status.ok()) return -1;
  const grpc::StatusCode expected = ending == Ending::kDeadline
                                        ? grpc::StatusCode::DEADLINE_EXCEEDED
                                        : grpc::StatusCode::CANCELLED;
  if (status.error_code() != expected) {
    throw std::runtime_error(status.error_message());
  }
  return Milliseconds(last - end).count();
}

}  // namespace attention::bench
