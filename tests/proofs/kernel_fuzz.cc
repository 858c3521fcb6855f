// Searches for inputs at which the fused kernel is further from the reference
// than its bound allows: random computations, without an attention matrix and
// without top_k, of small shapes and of shapes that cross tiles.
//
//   kernel_fuzz [--cases N] [--seed FIRST] [--plant MISTAKE]
//
// Prints the seed of each finding and what its case is made of; ends with 1 if
// there is one. --seed N --cases 1 is that case alone. With --plant the core is
// given another problem than the reference, off by one, and the search ends at
// the first finding: the program ends with 0 if there is one. Prints last, as
// JSON, {cases, elements, findings, seconds}.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "nlohmann/json.hpp"
#include "server/core/blas/start.h"
#include "tests/layer_cases/layer_case_change.h"
#include "tests/layer_cases/property_suite.h"

namespace attention::core {
namespace {

using reference::Input;
using reference::Problem;

// Of four cases one in float64: its bound is tighter, its tiles are the same.
// The seeds of the property suite are below.
constexpr uint64_t kFirstSeed = 1'000'000;

LayerCase FusedCase(uint64_t seed) {
  LayerCase layer_case =
      RandomLayerCase(seed % 4 == 0 ? Dtype::kFloat64 : Dtype::kFloat32, seed);
  layer_case.stage.reset();
  layer_case.mean = false;
  layer_case.top_k.reset();
  return layer_case;
}

// Makes the case another one, which the core is given; leaves alone what the
// mistake does not concern.
using Plant = std::function<void(LayerCase&)>;

// Every row stands one key further.
void CausalOneTooFar(LayerCase& layer_case) {
  if (layer_case.problem.causal) ShiftQueries(layer_case.problem, 1);
}

void LastKeyLeftOut(LayerCase& layer_case) {
  for (int64_t& length : layer_case.problem.key_lengths) length -= length > 0;
}

void WindowOneTooWide(LayerCase& layer_case) {
  if (layer_case.problem.window_left) ++*layer_case.problem.window_left;
}

// The key at the edge of a tile of 512 is skipped.
void TileEdgeSkipped(LayerCase& layer_case) {
  constexpr int64_t kEdge = 512;
  Problem& problem = layer_case.problem;
  if (problem.kv_len() <= kEdge) return;
  if (!problem.attend_mask) {
    problem.attend_mask =
        reference::MakeTensor<double>({1, 1, 1, problem.kv_len()}, 1);
  }
  Input& mask = *problem.attend_mask;
  if (mask.shape[3] == 1) {
    mask = Select(mask, 3,
                  std::vector<int64_t>(static_cast<size_t>(problem.kv_len())));
  }
  const auto columns = static_cast<size_t>(mask.shape[3]);
  for (size_t i = kEdge; i < mask.elements.size(); i += columns) {
    mask.elements[i] = 0;
  }
}

const std::map<std::string, Plant>& Mistakes() {
  static const std::map<std::string, Plant> mistakes = {
      {"causal_one_too_far", CausalOneTooFar},
      {"last_key_left_out", LastKeyLeftOut},
      {"window_one_too_wide", WindowOneTooWide},
      {"tile_edge_skipped", TileEdgeSkipped},
  };
  return mistakes;
}

struct Settings {
  int64_t cases = 100'000;
  uint64_t first_seed = kFirstSeed;
  const Plant* plant = nullptr;
};

// The search, in as many threads as there are processors.
class Fuzz {
 public:
  explicit Fuzz(const Settings& settings) : settings_(settings) {}

  void Run() {
    const int count = AvailableCpus();
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([this] { Search(); });
    }
    for (std::thread& thread : threads) thread.join();
  }

  int64_t cases() const { return cases_; }
  int64_t elements() const { return elements_; }
  int64_t findings() const { return findings_; }

 private:
  void Search() {
    while (settings_.plant == nullptr || findings_ == 0) {
      const int64_t index = next_++;
      if (index >= settings_.cases) return;
      Try(settings_.first_seed + static_cast<uint64_t>(index));
    }
  }

  void Try(uint64_t seed) {
    const LayerCase original = FusedCase(seed);
    LayerCase given = original;
    if (settings_.plant != nullptr) (*settings_.plant)(given);
    const CoreAnswer answer = RunCore(given);
    // A refusal says nothing about a planted mistake.
    if (settings_.plant != nullptr && !answer.status.ok()) return;
    ++cases_;
    for (const auto& [name, comparison] : Judge(original, answer)) {
      elements_ += comparison.elements;
      if (comparison.ok) continue;
      ++findings_;
      const std::lock_guard<std::mutex> lock(printing_);
      std::cout << "seed " << seed << ": " << comparison.message << "\n  "
                << original.Describe() << '\n'
                << std::flush;
    }
  }

  const Settings settings_;
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> cases_{0};
  std::atomic<int64_t> elements_{0};
  std::atomic<int64_t> findings_{0};
  std::mutex printing_;
};

int Usage() {
  std::cerr << "usage: kernel_fuzz [--cases N] [--seed FIRST] [--plant ";
  const char* separator = "";
  for (const auto& [name, plant] : Mistakes()) {
    std::cerr << separator << name;
    separator = "|";
  }
  std::cerr << "]\n";
  return 2;
}

int Main(const std::vector<std::string>& arguments) {
  Settings settings;
  if (arguments.size() % 2 != 0) return Usage();
  for (size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& value = arguments[i + 1];
    if (arguments[i] == "--cases") {
      settings.cases = std::strtoll(value.c_str(), nullptr, 10);
    } else if (arguments[i] == "--seed") {
      settings.first_seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (arguments[i] == "--plant" && Mistakes().count(value) == 1) {
      settings.plant = &Mistakes().at(value);
    } else {
      return Usage();
    }
  }
  const auto start = std::chrono::steady_clock::now();
  Fuzz fuzz(settings);
  fuzz.Run();
  const std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - start;
  std::cout << nlohmann::ordered_json{{"cases", fuzz.cases()},
                                      {"elements", fuzz.elements()},
                                      {"findings", fuzz.findings()},
                                      {"seconds", elapsed.count()}}
            << '\n'
            << std::flush;
  return (fuzz.findings() > 0) == (settings.plant != nullptr) ? 0 : 1;
}

}  // namespace
}  // namespace attention::core

int main(int argc, char** argv) {
  attention::core::LoadBlasLikeTheServer(argv);
  return attention::core::Main({argv + 1, argv + argc});
}
