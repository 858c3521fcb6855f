#include "tests/layer_cases/layer_case_change.h"

#include <numeric>
#include <optional>
#include <utility>

#include "tests/layer_cases/dice.h"

namespace attention::core {
namespace {

using reference::Input;

// Selects along an axis that may be of size 1 for all of it.
void SelectWhereFull(std::optional<Input>& mask, size_t axis, int64_t full,
                     const std::vector<int64_t>& indices) {
  if (!mask || mask->shape[axis] != full || full == 1) return;
  mask = Select(*mask, axis, indices);
}

void SelectEntries(std::vector<int64_t>& entries,
                   const std::vector<int64_t>& indices) {
  if (entries.empty()) return;
  std::vector<int64_t> selected;
  selected.reserve(indices.size());
  for (const int64_t i : indices) {
    selected.push_back(entries[static_cast<size_t>(i)]);
  }
  entries = std::move(selected);
}

}  // namespace

Input OrdinaryNumbers(Dtype dtype, uint64_t seed, reference::Shape shape) {
  Dice dice(seed);
  Input input = reference::MakeTensor<double>(shape);
  const auto format = OutputFormat(dtype);
  for (double& element : input.elements) {
    element = dice.Bell();
    if (dtype == Dtype::kFloat32) element = static_cast<float>(element);
    if (format) {
      element = static_cast<double>(reference::RoundToFormat(element, *format));
    }
  }
  return input;
}

LayerCase PlainCase(Dtype dtype, uint64_t seed, const PlainSizes& sizes) {
  LayerCase layer_case;
  layer_case.seed = seed;
  layer_case.dtype = dtype;
  reference::Problem& problem = layer_case.problem;
  problem.num_heads = sizes.num_heads;
  problem.num_kv_heads = sizes.num_kv_heads;
  problem.query = OrdinaryNumbers(
      dtype, 3 * seed,
      {sizes.batch, sizes.num_heads, sizes.query_len, sizes.head_dim});
  problem.key = OrdinaryNumbers(
      dtype, 3 * seed + 1,
      {sizes.batch, sizes.num_kv_heads, sizes.kv_len, sizes.head_dim});
  problem.value = OrdinaryNumbers(
      dtype, 3 * seed + 2,
      {sizes.batch, sizes.num_kv_heads, sizes.kv_len, sizes.value_dim});
  return layer_case;
}

std::vector<int64_t> FirstIndices(int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

std::vector<int64_t> Shuffled(int64_t count, uint64_t seed) {
  Dice dice(seed);
  std::vector<int64_t> indices = FirstIndices(count);
  for (int64_t i = count - 1; i > 0; --i) {
    std::swap(indices[static_cast<size_t>(i)],
              indices[static_cast<size_t>(dice.Between(0, i))]);
  }
  return indices;
}

LayerCase SelectItems(const LayerCase& layer_case,
                      const std::vector<int64_t>& items) {
  LayerCase result = layer_case;
  reference::Problem& problem = result.problem;
  const int64_t batch = problem.batch();
  problem.query = Select(problem.query, 0, items);
  problem.key = Select(problem.key, 0, items);
  problem.value = Select(problem.value, 0, items);
  SelectWhereFull(problem.attend_mask, 0, batch, items);
  SelectWhereFull(problem.bias, 0, batch, items);
  SelectEntries(problem.query_offsets, items);
  SelectEntries(problem.key_lengths, items);
  return result;
}

LayerCase SelectKeys(const LayerCase& layer_case,
                     const std::vector<int64_t>& keys) {
  LayerCase result = layer_case;
  reference::Problem& problem = result.problem;
  const int64_t kv_len = problem.kv_len();
  result.key_is_query = false;
  problem.key = Select(problem.key, 2, keys);
  problem.value = Select(problem.value, 2, keys);
  SelectWhereFull(problem.attend_mask, 3, kv_len, keys);
  SelectWhereFull(problem.bias, 3, kv_len, keys);
  return result;
}

void ShiftQueries(reference::Problem& problem, int64_t by) {
  if (!problem.causal && !problem.window_left && !problem.window_right) return;
  if (problem.query_offsets.empty()) {
    for (int64_t item = 0; item < problem.batch(); ++item) {
      problem.query_offsets.push_back(
          problem.alignment == reference::Alignment::kBottomRight
              ? problem.valid_kv_len(item) - problem.query_len()
              : 0);
    }
    if (!problem.query_offsets.empty()) {
      problem.alignment = reference::Alignment::kUnspecified;
    }
  }
  for (int64_t& offset : problem.query_offsets) offset += by;
}

}  // namespace attention::core
