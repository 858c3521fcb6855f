// A layer through the client library, as its users call it, in a program that
// does nothing else: the callback API, which the benchmarks of rpc_bench use,
// has threads of its own, and a program that waits for its answers has none.
//
//   client_bench ATTENTION [--serve | Google Benchmark flags]
//
// ATTENTION is host:port or unix:PATH of attention-server.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "attention/client.h"
#include "attention/tensor.h"
#include "bench/worker.h"

namespace attention::bench {
namespace {

constexpr char kLayer[] = "bench/layer";
constexpr int kWidth = 768;
constexpr int kHeads = 12;

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *std::move(result);
}

// The layer of bench/layer_case.h, with weights drawn by the server.
v1::SetWeightsRequest LayerWeights() {
  v1::SetWeightsRequest request;
  request.set_name(kLayer);
  v1::Initializer& initializer = *request.mutable_initializer();
  initializer.set_distribution(v1::Initializer::DISTRIBUTION_LINEAR);
  initializer.set_layout(v1::LAYOUT_OUT_IN);
  initializer.set_num_heads(kHeads);
  initializer.set_query_width(kWidth);
  initializer.set_head_dim(kWidth / kHeads);
  initializer.set_output_width(kWidth);
  initializer.set_input_bias(true);
  initializer.set_output_bias(true);
  return request;
}

std::shared_ptr<const v1::ComputeAttentionRequest> LayerRequest(int64_t n) {
  std::mt19937_64 bits(5);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<size_t>(n * kWidth));
  for (float& number : numbers) number = normal(bits);
  auto request = std::make_shared<v1::ComputeAttentionRequest>();
  request->mutable_weight_set()->set_name(kLayer);
  *request->mutable_query() = client::MakeTensor(numbers, {n, kWidth});
  return request;
}

void RegisterLayer(const std::shared_ptr<const client::Client>& client,
                   int64_t n) {
  benchmark::RegisterBenchmark(
      absl::StrCat("layer/", n).c_str(),
      [client, n](benchmark::State& state) {
        const auto request = LayerRequest(n);
        while (state.KeepRunning()) {
          benchmark::DoNotOptimize(
              Value(client->ComputeAttentionShared(request)));
        }
      })
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: client_bench ATTENTION [FLAG...]\n", stderr);
    return 2;
  }
  const auto client = std::make_shared<const client::Client>(argv[1]);
  argv[1] = argv[0];
  try {
    Value(client->SetWeights(LayerWeights()));
    for (const int64_t n : {512, 1024}) RegisterLayer(client, n);
    return RunWorker(argc - 1, argv + 1, {});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "client_bench: %s\n", e.what());
    return 1;
  }
}

}  // namespace
}  // namespace attention::bench

int main(int argc, char** argv) { return attention::bench::Main(argc, argv); }
