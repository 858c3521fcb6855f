// Ways to make one computation of attention into another.
#ifndef TESTS_LAYER_CASES_LAYER_CASE_CHANGE_H_
#define TESTS_LAYER_CASES_LAYER_CASE_CHANGE_H_

#include <cstdint>
#include <vector>

#include "tests/layer_cases/layer_case.h"

namespace attention::core {

// Attention without weights or options, of ordinary numbers.
struct PlainSizes {
  int64_t batch = 1;
  int64_t num_heads = 1;
  int64_t num_kv_heads = 1;
  int64_t query_len = 1;
  int64_t kv_len = 1;
  int64_t head_dim = 1;
  int64_t value_dim = 1;
};
LayerCase PlainCase(Dtype dtype, uint64_t seed, const PlainSizes& sizes);

// A tensor of ordinary numbers of `dtype`.
reference::Input OrdinaryNumbers(Dtype dtype, uint64_t seed,
                                 reference::Shape shape);

// The tensor whose slice i along `axis` is slice indices[i] of `tensor`.
template <typename T>
reference::Tensor<T> Select(const reference::Tensor<T>& tensor, size_t axis,
                            const std::vector<int64_t>& indices) {
  reference::Shape shape = tensor.shape;
  shape[axis] = static_cast<int64_t>(indices.size());
  auto result = reference::MakeTensor<T>(shape);
  reference::Shape at{};
  for (at[0] = 0; at[0] < shape[0]; ++at[0]) {
    for (at[1] = 0; at[1] < shape[1]; ++at[1]) {
      for (at[2] = 0; at[2] < shape[2]; ++at[2]) {
        for (at[3] = 0; at[3] < shape[3]; ++at[3]) {
          reference::Shape from = at;
          from[axis] = indices[static_cast<size_t>(at[axis])];
          result.At(at[0], at[1], at[2], at[3]) =
              tensor.At(from[0], from[1], from[2], from[3]);
        }
      }
    }
  }
  return result;
}

// 0 .. count-1.
std::vector<int64_t> FirstIndices(int64_t count);

// 0 .. count-1 in a random order.
std::vector<int64_t> Shuffled(int64_t count, uint64_t seed);

// The batch whose item i is item items[i] of `layer_case`. Item i of any batch
// draws its dropout from seed + i.
LayerCase SelectItems(const LayerCase& layer_case,
                      const std::vector<int64_t>& items);

// The case with its keys and values, and what masks and biases say about them,
// in another order, or fewer of them. REQUIRES: no key_lengths; masks and
// biases of full size along keys, or of size 1.
LayerCase SelectKeys(const LayerCase& layer_case,
                     const std::vector<int64_t>& keys);

// Every query row stands `by` keys further. Nothing without causal or a window.
void ShiftQueries(reference::Problem& problem, int64_t by);

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_LAYER_CASE_CHANGE_H_
