// The core beside the machine's matrix multiplication.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/cancel_trial.h"
#include "bench/float64_error.h"
#include "bench/fma_peak.h"
#include "bench/kernel_case.h"
#include "bench/layer_case.h"
#include "bench/memory_growth.h"
#include "bench/normal_numbers.h"
#include "bench/projection_case.h"
#include "bench/socket_exchange.h"
#include "bench/worker.h"
#include "server/core/attention/attention.h"
#include "server/core/blas/blas.h"
#include "server/core/blas/self_test.h"
#include "server/core/blas/start.h"
#include "server/core/kernel/strip_kernel.h"
#include "server/core/pool/compute_pool.h"

namespace attention::bench {
namespace {

core::ComputePool& Pool() {
  static core::ComputePool pool(core::AvailableCpus());
  return pool;
}

void Check(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

// Matrix multiplications of 1024 x 1024 x 1024, each in one thread. One for
// each core, all at once, is the most this machine's OpenBLAS can do.
class Sgemm {
 public:
  explicit Sgemm(int products) {
    for (int i = 0; i < products; ++i) {
      operands_.push_back({NormalNumbers(kSize * kSize, 10),
                           NormalNumbers(kSize * kSize, 11),
                           Zeros(kSize * kSize)});
    }
  }

  double Flops() const {
    return 2.0 * kSize * kSize * kSize * static_cast<double>(operands_.size());
  }

  // One alone on the calling thread.
  void Run() const {
    if (operands_.size() == 1) return Multiply(operands_.front());
    Check(Pool().Run({{static_cast<int64_t>(operands_.size()),
                       [this](int64_t task, core::Workspace&) {
                         Multiply(operands_[static_cast<size_t>(task)]);
                         return absl::OkStatus();
                       }}}));
  }

 private:
  static constexpr int64_t kSize = 1024;

  struct Operands {
    Numbers a, b, output;
  };

  static void Multiply(const Operands& operands) {
    core::Gemm<float>(core::Transpose::kNo, core::Transpose::kNo, kSize, kSize,
                      kSize, 1, operands.a.get(), kSize, operands.b.get(),
                      kSize, 0, operands.output.get(), kSize);
  }

  std::vector<Operands> operands_;
};

// Registers a benchmark of `run(made)`, where `made` is made at its first run
// and kept.
template <typename Make, typename Run>
void Register(const std::string& name, Make make, Run run) {
  auto made = std::make_shared<decltype(make())>();
  benchmark::RegisterBenchmark(
      name.c_str(),
      [made, make, run](benchmark::State& state) {
        if (*made == nullptr) *made = make();
        while (state.KeepRunning()) run(**made);
        state.SetItemsProcessed(state.iterations() *
                                static_cast<int64_t>((*made)->Flops()));
      })
      ->MeasureProcessCPUTime()
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

struct Kernel : KernelCase {
  using KernelCase::KernelCase;
  double Flops() const { return shape().UsefulFlops(); }
};

void RegisterKernels() {
  // The rows of the table, what the peers are compared at, growth, and inputs
  // whose scores are far apart.
  for (const char* name :
       {"1x12x1024x64", "8x12x384x64", "1x12x128x64", "1x32x2048x128",
        "causal_1x12x512x64", "causal_1x12x1024x64", "causal_1x12x4096x64",
        "1x2x4096x64", "1x2x16384x64", "steep_1x12x1024x64"}) {
    Register(
        std::string("kernel/") + name,
        [name] {
          return std::make_unique<Kernel>(KernelShape::FromName(name));
        },
        [](const Kernel& kernel) { Check(Pool().Run(kernel.Steps())); });
  }
}

void RegisterLayers() {
  for (const int64_t n : {128, 512, 1024}) {
    Register(
        "layer/" + std::to_string(n),
        [n] { return std::make_unique<LayerCase>(n); },
        [](const LayerCase& layer) { Check(Pool().Run(layer.Steps())); });
  }
}

// A layer whose input comes over a socket and whose output goes back over it.
class LayerOverSocket {
 public:
  explicit LayerOverSocket(int64_t n)
      : layer_(n),
        exchange_(n * LayerCase::kWidth * int64_t{sizeof(float)},
                  [this] { Check(Pool().Run(layer_.Steps())); }) {}

  double Flops() const { return layer_.Flops(); }
  void Run() { exchange_.Once(); }

 private:
  const LayerCase layer_;
  SocketExchange exchange_;
};

void RegisterLayersOverSockets() {
  for (const int64_t n : {512, 1024}) {
    Register(
        "layer_socket/" + std::to_string(n),
        [n] { return std::make_unique<LayerOverSocket>(n); },
        [](LayerOverSocket& layer) { layer.Run(); });
  }
}

void RegisterProjection(const ProjectionShape& shape) {
  Register(
      std::string("projection/") +
          (shape.layout == core::Layout::kOutIn ? "out_in/" : "in_out/") +
          std::to_string(shape.rows) + "x" + std::to_string(shape.width) +
          (shape.heads > 1 ? "/strips" : "/openblas"),
      [shape] { return std::make_unique<ProjectionCase>(shape); },
      [](const ProjectionCase& projection) {
        Check(Pool().Run({projection.Step()}));
      });
}

// Into heads of 64 columns, which is done in strips, and into one head, which
// is OpenBLAS's (docs/adr/0007-projections-in-strips.md).
void RegisterProjections() {
  for (const auto layout : {core::Layout::kOutIn, core::Layout::kInOut}) {
    for (const int64_t width : {768, 1024, 4096}) {
      for (const int64_t rows : {200, 512, 1024}) {
        RegisterProjection({layout, rows, width, width / 64});
        RegisterProjection({layout, rows, width, 1});
      }
    }
  }
}

// The chapter's six rows of two columns, on the calling thread.
void Tiny(benchmark::State& state) {
  const KernelCase tiny({1, 1, 6, 2});
  const Numbers memory = Zeros(12);
  core::AttentionOutputs<float> outputs;
  outputs.output = core::Dense(memory.get(), {1, 1, 6, 2});
  while (state.KeepRunning()) {
    Check(core::Attention(tiny.inputs(), tiny.options(), outputs));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(Tiny)->Name("tiny")->MeasureProcessCPUTime()->UseRealTime();

// MB (10^6 bytes) that a shape needs beyond its tensors. Asked once per
// process: threads, OpenBLAS's own buffers and code are there before, the
// memory of the computation is not.
Answer Memory(const Arguments& arguments) {
  const KernelCase kernel(KernelShape::FromName(arguments.at(0)));
  const Sgemm sgemm(Pool().threads());
  sgemm.Run();
  const KernelCase tiny({1, Pool().threads(), 6, 2});
  Check(Pool().Run(tiny.Steps()));
  malloc_trim(0);  // what was freed would hide what is allocated
  const int64_t bytes = PeakGrowth([&] { Check(Pool().Run(kernel.Steps())); });
  return {{static_cast<double>(bytes) / 1e6}, ""};
}

Answer Error(const Arguments& arguments) {
  const KernelCase kernel(KernelShape::FromName(arguments.at(0)));
  Check(Pool().Run(kernel.Steps()));
  const Float64Error error =
      ErrorOf(kernel, std::stoll(arguments.at(1)), Pool());
  return {{error.worst, static_cast<double>(error.rows)}, ""};
}

// cancel|deadline SHAPE TRIALS SEED: the milliseconds of each trial. The delay
// is anywhere in the computation, whose length a first run tells.
Answer Trials(Ending ending, const Arguments& arguments) {
  const KernelCase kernel(KernelShape::FromName(arguments.at(0)));
  const auto start = std::chrono::steady_clock::now();
  Check(Pool().Run(kernel.Steps()));
  const double length = std::chrono::duration<double, std::micro>(
                            std::chrono::steady_clock::now() - start)
                            .count();
  std::mt19937_64 bits(std::stoull(arguments.at(2)));
  std::uniform_real_distribution<double> delay(0.05 * length, 0.8 * length);
  Answer answer;
  const auto trials = static_cast<size_t>(std::stoul(arguments.at(1)));
  for (size_t tries = 0; answer.numbers.size() < trials; ++tries) {
    if (tries == 4 * trials) throw std::runtime_error("done too soon");
    const auto after =
        std::chrono::microseconds(static_cast<int64_t>(delay(bits)));
    const double ms = MillisecondsAfter(ending, after, kernel, Pool());
    if (ms >= 0) answer.numbers.push_back(ms);
  }
  return answer;
}

// Whether the matrix library computes right, and repeats its bits; why not.
Answer BlasTests() {
  const absl::Status right = core::BlasSelfTest();
  const absl::Status repeats = core::BlasRepeatTest();
  return {{right.ok() ? 1.0 : 0.0, repeats.ok() ? 1.0 : 0.0},
          absl::StrCat(right.message(), repeats.message())};
}

int Main(int argc, char** argv) {
  Register(
      "sgemm", [] { return std::make_unique<Sgemm>(Pool().threads()); },
      [](const Sgemm& sgemm) { sgemm.Run(); });
  Register(
      "sgemm/1", [] { return std::make_unique<Sgemm>(1); },
      [](const Sgemm& sgemm) { sgemm.Run(); });
  Register(
      "fma_peak", [] { return std::make_unique<FmaPeak>(); },
      [](const FmaPeak& peak) { peak.Run(); });
  RegisterKernels();
  RegisterLayers();
  RegisterLayersOverSockets();
  RegisterProjections();
  return RunWorker(
      argc, argv,
      {{"memory", Memory},
       {"error", Error},
       {"cancel", [](const auto& a) { return Trials(Ending::kCancel, a); }},
       {"deadline", [](const auto& a) { return Trials(Ending::kDeadline, a); }},
       {"blas", [](const auto&) { return BlasTests(); }},
       {"kernels",
        [](const auto&) {
          return Answer{
              {}, absl::StrCat(core::StripTarget(), " ", core::BlasKernel())};
        }},
       {"vector_targets",
        [](const auto&) {
          return Answer{{}, absl::StrJoin(core::StripTargets(), " ")};
        }},
       {"use_vector_target",
        [](const Arguments& arguments) {
          return Answer{{core::UseStripTarget(arguments.at(0)) ? 1.0 : 0.0},
                        ""};
        }},
       {"about", [](const auto&) {
          return Answer{
              {static_cast<double>(Pool().threads())},
              core::BlasKernel() + " kernel of " + core::BlasConfig()};
        }}});
}

}  // namespace
}  // namespace attention::bench

int main(int argc, char** argv) {
  attention::core::LoadBlasLikeTheServer(argv);
  return attention::bench::Main(argc, argv);
}
