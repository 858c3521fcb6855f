// The service over a socket, beside a service that adds nothing to gRPC.
//
//   rpc_bench ATTENTION ECHO SERVER-PID [--serve | Google Benchmark flags]
//
// ATTENTION and ECHO are host:port or unix:PATH of attention-server and of
// echo_server, SERVER-PID the process of the former.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/request_loop.h"
#include "bench/requests.h"
#include "bench/rpc_cancel_trial.h"
#include "bench/stream_loop.h"
#include "bench/worker.h"

namespace attention::bench {
namespace {

constexpr int64_t kWidth = 768;  // of the layer of bench/layer_case.h

struct Targets {
  std::string attention;
  std::string echo;
  pid_t server = 0;
};

// Requests per second, as items.
template <typename Loop>
void RegisterLoop(const std::string& name, const std::shared_ptr<Loop>& loop,
                  int64_t batch, int in_flight) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) {
                                 while (state.KeepRunningBatch(batch)) {
                                   loop->Run(batch, in_flight);
                                 }
                                 state.SetItemsProcessed(state.iterations());
                               })
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

// An empty echo of the bytes of a layer's tensors.
void RegisterLayerEcho(const Targets& targets, int64_t n) {
  auto echo = std::make_shared<RequestLoop>(
      Connect(targets.echo), EchoOf(n * kWidth * int64_t{sizeof(float)}));
  echo->Once();
  RegisterLoop(absl::StrCat("layer_echo/", n), echo, 10, 1);
}

void RegisterTiny(const Targets& targets) {
  auto ours = std::make_shared<RequestLoop>(Connect(targets.attention), Tiny());
  // The reply's timing varies by a byte or two.
  const size_t reply_bytes = ours->Once().Length();
  auto echo = std::make_shared<RequestLoop>(
      Connect(targets.echo), EchoLike(ours->exchange(), reply_bytes));
  echo->Once();
  for (const int in_flight : {1, 64}) {
    const int64_t batch = in_flight == 1 ? 100 : 1600;
    RegisterLoop(absl::StrCat("tiny/", in_flight), ours, batch, in_flight);
    RegisterLoop(absl::StrCat("echo/", in_flight), echo, batch, in_flight);
  }
  auto stream =
      std::make_shared<StreamLoop>(Connect(targets.attention), TinyOnStream());
  stream->Run(1, 1);
  RegisterLoop("stream/64", stream, 1600, 64);
}

// A loop that is made, and its messages with it, when it is first used.
class LateLoop {
 public:
  LateLoop(std::string target, Exchange (*make)())
      : target_(std::move(target)), make_(make) {}

  // large|copy COUNT: one at a time; answers how many.
  Answer Run(const Arguments& arguments) {
    if (loop_ == nullptr) {
      loop_ = std::make_unique<RequestLoop>(Connect(target_), make_());
      loop_->Once();
    }
    const int64_t count = std::stoll(arguments.at(0));
    loop_->Run(count, 1);
    return {{static_cast<double>(count)}, ""};
  }

 private:
  const std::string target_;
  Exchange (*const make_)();
  std::unique_ptr<RequestLoop> loop_;
};

// cancel|deadline HEADS N TRIALS SEED: milliseconds of each trial, ended
// anywhere in the computation.
Answer Trials(Ending ending, const Targets& targets,
              const Arguments& arguments) {
  const auto channel = Connect(targets.attention);
  RequestLoop loop(channel, LongComputation(std::stoll(arguments.at(0)),
                                            std::stoll(arguments.at(1))));
  loop.Once();
  const auto start = std::chrono::steady_clock::now();
  loop.Once();
  const double length = std::chrono::duration<double, std::micro>(
                            std::chrono::steady_clock::now() - start)
                            .count();
  std::mt19937_64 bits(std::stoull(arguments.at(3)));
  std::uniform_real_distribution<double> delay(0.2 * length, 0.8 * length);
  const auto trials = static_cast<size_t>(std::stoul(arguments.at(2)));
  Answer answer;
  for (size_t tries = 0; answer.numbers.size() < trials; ++tries) {
    if (tries == 4 * trials) throw std::runtime_error("done too soon");
    const double ms = MillisecondsAfter(
        ending, std::chrono::microseconds(static_cast<int64_t>(delay(bits))),
        channel, loop.exchange(), targets.server);
    if (ms >= 0) answer.numbers.push_back(ms);
  }
  return answer;
}

int Run(const Targets& targets, int argc, char** argv) {
  for (const int64_t n : {512, 1024}) RegisterLayerEcho(targets, n);
  RegisterTiny(targets);
  auto large = std::make_shared<LateLoop>(targets.attention, Large);
  auto copy = std::make_shared<LateLoop>(targets.echo, LargeCopy);
  return RunWorker(
      argc, argv,
      {{"large", [large](const auto& a) { return large->Run(a); }},
       {"copy", [copy](const auto& a) { return copy->Run(a); }},
       {"cancel",
        [&](const auto& a) { return Trials(Ending::kCancel, targets, a); }},
       {"deadline",
        [&](const auto& a) { return Trials(Ending::kDeadline, targets, a); }}});
}

int Main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: rpc_bench ATTENTION ECHO SERVER-PID [FLAG...]\n",
               stderr);
    return 2;
  }
  const Targets targets{argv[1], argv[2], std::stoi(argv[3])};
  argv[3] = argv[0];
  try {
    return Run(targets, argc - 3, argv + 3);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rpc_bench: %s\n", e.what());
    return 1;
  }
}

}  // namespace
}  // namespace attention::bench

int main(int argc, char** argv) { return attention::bench::Main(argc, argv); }
