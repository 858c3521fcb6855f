// Linear projections.
#ifndef SERVER_CORE_LAYER_PROJECTION_H_
#define SERVER_CORE_LAYER_PROJECTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/core/pool/compute_pool.h"
#include "server/core/tensor.h"

namespace attention::core {

enum class Layout {
  kInOut,  // weight [in, out], x * W
  kOutIn,  // weight [out, in], x * W^T
};

// One trainable matrix with an optional bias. A view.
template <typename T>
struct Projection {
  const T* weight = nullptr;
  const T* bias = nullptr;  // [out], or null
  int64_t in = 0;
  int64_t out = 0;
  Layout layout = Layout::kInOut;
};

// output = input * weight + bias, row by row, and where it goes.
template <typename T>
struct ProjectionOf {
  Projection<T> projection;
  Tensor4<T> output;  // [batch, heads, rows, out / heads]
  // Of batch item b only the first row_counts[b] rows are read and written, all
  // if row_counts is empty.
  std::vector<int64_t> row_counts;
  std::string name;  // such as "query projection"
};

// Projects an input, [batch, 1, rows, in]; head h of an output is columns
// h * out / heads and on. A result that overflows T ends with INVALID_ARGUMENT
// naming the projection and the index. Bits of a row depend on its place in its
// item, not on the batch, nor on what else is projected.
//
// REQUIRES: finite elements; no aliasing; views outlive the step.
template <typename T>
Step ProjectionStep(ConstTensor4<T> input,
                    std::vector<ProjectionOf<T>> projections);

// Bytes of Workspace that a task of ProjectionStep takes at most, with this
// projection of `rows` rows of an item to `output` alone or with others of its
// input; saturating. Reads no memory behind them.
template <typename T>
int64_t ProjectionWorkspaceBytes(int64_t rows, const Projection<T>& projection,
                                 const Tensor4<T>& output);

// Multiply-adds of one projection over `rows` rows; saturating.
int64_t ProjectionMultiplyAdds(int64_t rows, int64_t in, int64_t out);

}  // namespace attention::core

#endif  // SERVER_CORE_LAYER_PROJECTION_H_
