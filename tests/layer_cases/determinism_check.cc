#include "tests/layer_cases/determinism_check.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "tests/layer_cases/layer_case_change.h"
#include "tests/reference/compare.h"

namespace attention::core {
namespace {

using reference::Input;

// Requests of every dtype in turn, in batches of at least two.
class Requests {
 public:
  explicit Requests(uint64_t first_seed) : seed_(first_seed) {}

  LayerCase Next() {
    constexpr Dtype kDtypes[] = {Dtype::kFloat32, Dtype::kFloat64,
                                 Dtype::kFloat16, Dtype::kBfloat16};
    while (true) {
      const Dtype dtype = kDtypes[seed_ % 4];
      LayerCase layer_case = RandomLayerCase(dtype, seed_++);
      if (layer_case.problem.batch() > 1) return layer_case;
    }
  }

 private:
  uint64_t seed_;
};

// Other requests, as long as it lives: two threads that keep the pool busy, one
// that computes by itself.
class Load {
 public:
  Load(const Compute& compute, ComputePool* pool) {
    for (ComputePool* where :
         {pool, pool, static_cast<ComputePool*>(nullptr)}) {
      // Drawn before, so that a thread does nothing but compute.
      Requests source(1000000 + threads_.size());
      std::vector<LayerCase> requests(20);
      for (LayerCase& request : requests) request = source.Next();
      threads_.emplace_back(
          [this, &compute, where, requests = std::move(requests)] {
            for (size_t i = 0; !stop_; ++i) {
              compute(requests[i % requests.size()], where);
              ++computed_;
            }
          });
    }
    while (computed_ < 1) std::this_thread::yield();
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  ~Load() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> computed_{0};
  std::vector<std::thread> threads_;
};

// One item of the answer to a batch.
CoreAnswer ItemOf(const CoreAnswer& answer, int64_t item) {
  if (!answer.status.ok()) return answer;
  const auto select = [item](const Input& input) {
    return input.shape[0] == 0 ? input : Select(input, 0, {item});
  };
  return {answer.status,
          select(answer.output),
          select(answer.matrix),
          select(answer.top_k_weights),
          select(answer.top_k_indices),
          select(answer.lse)};
}

// Counts the differences between two answers to the same request.
void CountDifferences(const CoreAnswer& actual, const CoreAnswer& alone,
                      const std::string& what, DeterminismReport& report) {
  ++report.answers;
  std::string difference;
  if (!actual.status.ok() || !alone.status.ok()) {
    ++report.differing_elements;
    difference =
        std::string((actual.status.ok() ? alone : actual).status.message());
  }
  const std::pair<const char*, Input CoreAnswer::*> tensors[] = {
      {"output", &CoreAnswer::output},
      {"matrix", &CoreAnswer::matrix},
      {"top_k weights", &CoreAnswer::top_k_weights},
      {"top_k indices", &CoreAnswer::top_k_indices},
      {"lse", &CoreAnswer::lse}};
  for (const auto& [name, tensor] : tensors) {
    const reference::Comparison comparison =
        CompareBits(name, actual.*tensor, alone.*tensor);
    report.elements += comparison.elements;
    report.differing_elements += comparison.failed_elements;
    if (difference.empty()) difference = comparison.message;
  }
  if (report.first_difference.empty() && !difference.empty()) {
    report.first_difference = difference + "; " + what;
  }
}

// The item alone, as it must come out at `position` of a batch.
LayerCase Alone(const LayerCase& batch, int64_t item, int64_t position) {
  LayerCase alone = SelectItems(batch, {item});
  if (alone.problem.dropout) {
    alone.problem.dropout->seed += static_cast<uint64_t>(position);
  }
  return alone;
}

// A batch, and each of its items alone.
class BatchCheck {
 public:
  // Computes the items alone, on the calling thread.
  BatchCheck(const Compute& compute, LayerCase batch)
      : batch_(std::move(batch)), items_(batch_.problem.batch()) {
    for (int64_t item = 0; item < items_; ++item) {
      for (int64_t position = 0; position < Positions(); ++position) {
        alone_.push_back(compute(Alone(batch_, item, position), nullptr));
      }
    }
  }

  // Compares them with themselves on `pool`, alone and at every position of the
  // batch.
  void Run(const Compute& compute, ComputePool* pool,
           const std::string& setting, DeterminismReport& report) const {
    const std::string what = batch_.Describe() + "; " + setting;
    ++report.requests;
    for (int64_t shift = 0; shift < items_; ++shift) {
      std::vector<int64_t> order = FirstIndices(items_);
      std::rotate(order.begin(), order.begin() + shift, order.end());
      const CoreAnswer together = compute(SelectItems(batch_, order), pool);
      for (int64_t position = 0; position < items_; ++position) {
        const int64_t item = order[static_cast<size_t>(position)];
        CountDifferences(ItemOf(together, position),
                         AnswerAlone(item, position), what + "; in a batch",
                         report);
        CountDifferences(compute(Alone(batch_, item, position), pool),
                         AnswerAlone(item, position), what + "; alone", report);
      }
    }
  }

 private:
  // Only dropout tells one position from another.
  int64_t Positions() const { return batch_.problem.dropout ? items_ : 1; }

  const CoreAnswer& AnswerAlone(int64_t item, int64_t position) const {
    return alone_[static_cast<size_t>(item * Positions() +
                                      position % Positions())];
  }

  LayerCase batch_;
  int64_t items_;
  std::vector<CoreAnswer> alone_;
};

std::string Describe(const DeterminismSetting& setting) {
  std::ostringstream text;
  text << setting.threads << " threads" << (setting.load ? " under load" : "");
  return text.str();
}

enum class Tile { kByThreads, kByBatch, kByLoad };

// term(0) + ... + term(count - 1), tile by tile.
template <typename T, typename Term>
T SumInTiles(int64_t count, int64_t tile, const Term& term) {
  T sum{0};
  for (int64_t first = 0; first < count; first += tile) {
    T part{0};
    for (int64_t i = first; i < std::min(first + tile, count); ++i) {
      part += term(i);
    }
    sum += part;
  }
  return sum;
}

// sum over keys of weight * value, tile by tile of keys.
template <typename T>
Input TimesValue(const Input& weights, const Input& value, int64_t tile) {
  const auto [batch, heads, rows, keys] = weights.shape;
  const int64_t group = heads / value.shape[1];
  Input output =
      reference::MakeTensor<double>({batch, heads, rows, value.shape[3]});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t c = 0; c < value.shape[3]; ++c) {
          output.At(b, h, i, c) = SumInTiles<T>(keys, tile, [&](int64_t key) {
            const T weight = static_cast<T>(weights.At(b, h, i, key));
            if (weight == 0) return T{0};  // value may be NaN there
            return weight * static_cast<T>(value.At(b, h / group, key, c));
          });
        }
      }
    }
  }
  return output;
}

class PlantedTile {
 public:
  explicit PlantedTile(Tile tile) : tile_(tile) {}

  CoreAnswer operator()(const LayerCase& layer_case, ComputePool* pool) const {
    const int running = running_->fetch_add(1) + 1;
    CoreAnswer answer = Answer(layer_case, pool, running);
    running_->fetch_sub(1);
    return answer;
  }

 private:
  CoreAnswer Answer(const LayerCase& layer_case, ComputePool* pool,
                    int running) const {
    CoreAnswer answer = RunCore(layer_case, pool);
    if (layer_case.problem.weights || !answer.status.ok()) return answer;
    LayerCase with_weights = layer_case;
    with_weights.stage = Stage::kAttentionWeights;
    with_weights.mean = false;
    with_weights.top_k.reset();
    const Input weights = RunCore(with_weights, pool).matrix;
    int64_t parts = running;
    if (tile_ == Tile::kByThreads) {
      parts = pool == nullptr ? 1 : pool->threads();
    }
    if (tile_ == Tile::kByBatch) parts = layer_case.problem.batch();
    const int64_t keys = layer_case.problem.kv_len();
    const int64_t tile = std::max<int64_t>(1, (keys + parts - 1) / parts);
    const Input& value = layer_case.problem.value;
    answer.output = layer_case.dtype == Dtype::kFloat64
                        ? TimesValue<double>(weights, value, tile)
                        : TimesValue<float>(weights, value, tile);
    return answer;
  }

  Tile tile_;
  std::shared_ptr<std::atomic<int>> running_ =
      std::make_shared<std::atomic<int>>(0);
};

}  // namespace

void DeterminismReport::Merge(const DeterminismReport& other) {
  requests = std::max(requests, other.requests);
  answers += other.answers;
  elements += other.elements;
  differing_elements += other.differing_elements;
  if (first_difference.empty()) first_difference = other.first_difference;
}

DeterminismReport CheckDeterminism(const Compute& compute, int64_t requests,
                                   uint64_t first_seed,
                                   const DeterminismSetting& setting) {
  std::unique_ptr<ComputePool> pool;
  if (setting.threads > 0) {
    pool = std::make_unique<ComputePool>(setting.threads);
  }
  Requests source(first_seed);
  std::vector<BatchCheck> checks;
  checks.reserve(static_cast<size_t>(requests));
  for (int64_t i = 0; i < requests; ++i) {
    checks.emplace_back(compute, source.Next());
  }
  // Not before: what the answers are compared with was computed at rest.
  std::unique_ptr<Load> load;
  if (setting.load) load = std::make_unique<Load>(compute, pool.get());
  DeterminismReport report;
  for (const BatchCheck& check : checks) {
    check.Run(compute, pool.get(), Describe(setting), report);
  }
  return report;
}

DeterminismReport CheckDeterminism(const Compute& compute, int64_t requests,
                                   uint64_t first_seed) {
  DeterminismReport report;
  for (const DeterminismSetting& setting :
       {DeterminismSetting{0, false}, DeterminismSetting{1, false},
        DeterminismSetting{2, false}, DeterminismSetting{4, false},
        DeterminismSetting{1, true}, DeterminismSetting{2, true},
        DeterminismSetting{4, true}}) {
    report.Merge(CheckDeterminism(compute, requests, first_seed, setting));
  }
  return report;
}

Compute ThreadDependentTile() { return PlantedTile(Tile::kByThreads); }
Compute BatchDependentTile() { return PlantedTile(Tile::kByBatch); }
Compute LoadDependentTile() { return PlantedTile(Tile::kByLoad); }

}  // namespace attention::core
