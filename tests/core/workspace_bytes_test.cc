// What a computation says its tasks need against what they take.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "server/core/attention/attention.h"
#include "server/core/attention/cost.h"
#include "server/core/layer/layer.h"
#include "server/core/pool/compute_pool.h"

namespace attention::core {
namespace {

// A workspace never has less.
constexpr int64_t kSmallest = int64_t{64} << 10;

// What the largest task of `steps` made a workspace hold.
int64_t Taken(const Computation& steps) {
  Workspace workspace;
  const absl::Status status = RunInline(steps, nullptr, workspace);
  EXPECT_TRUE(status.ok()) << status;
  return workspace.held_bytes();
}

// Zeros of every tensor that attention may have.
template <typename T>
struct Problem {
  explicit Problem(const AttentionShape& shape)
      : query(Size(shape.query())),
        key(Size(shape.key())),
        value(Size(shape.value())),
        output(Size(shape.output())),
        scores(static_cast<size_t>(shape.batch * shape.num_heads *
                                   shape.query_len * shape.kv_len)),
        indices(scores.size()),
        mask(static_cast<size_t>(shape.kv_len), 1) {
    inputs.query = Dense<const T>(query.data(), shape.query());
    inputs.key = Dense<const T>(key.data(), shape.key());
    inputs.value = Dense<const T>(value.data(), shape.value());
    outputs.output = Dense(output.data(), shape.output());
    full = {shape.batch, shape.num_heads, shape.query_len, shape.kv_len};
  }

  static size_t Size(const std::array<int64_t, 4>& shape) {
    return static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
  }

  void Mask() { inputs.attend_mask = {mask.data(), full, {0, 0, 0, 1}}; }
  void Matrix() {
    outputs.matrix = Dense(scores.data(), full);
    outputs.matrix_stage = Stage::kScores;
  }
  void TopK() {
    outputs.top_k_weights = Dense(scores.data(), full);
    outputs.top_k_indices = Dense(indices.data(), full);
  }

  std::vector<T> query, key, value, output, scores;
  std::vector<int32_t> indices;
  std::vector<uint8_t> mask;
  std::array<int64_t, 4> full{};
  AttentionInputs<T> inputs;
  AttentionOptions options;
  AttentionOutputs<T> outputs;
};

template <typename T>
void ExpectExact(const Problem<T>& problem) {
  const int64_t said =
      AttentionWorkspaceBytes(problem.inputs, problem.options, problem.outputs);
  EXPECT_EQ(
      Taken(AttentionSteps(problem.inputs, problem.options, problem.outputs)),
      std::max(said, kSmallest));
  EXPECT_GT(said, kSmallest);  // else nothing was compared
}

// Keys are few enough for a tile to be what takes most.
template <typename T>
void TilesTakeWhatIsSaid() {
  for (const AttentionShape& shape :
       {AttentionShape{1, 1, 1, 200, 300, 64, 96},
        AttentionShape{2, 4, 2, 70, 512, 128, 64},
        AttentionShape{1, 6, 1, 33, 500, 96, 96}}) {
    for (int options = 0; options < 4; ++options) {
      Problem<T> problem(shape);
      if ((options & 1) != 0) problem.Mask();
      if ((options & 2) != 0) problem.options.dropout = Dropout{0.5, 1};
      SCOPED_TRACE(options);
      ExpectExact(problem);
    }
  }
}

TEST(WorkspaceBytes, TilesTakeWhatIsSaid) {
  TilesTakeWhatIsSaid<float>();
  TilesTakeWhatIsSaid<double>();
}

template <typename T>
void WholeRowsTakeWhatIsSaid() {
  for (const AttentionShape& shape : {AttentionShape{1, 1, 1, 40, 3000, 16, 24},
                                      AttentionShape{1, 2, 1, 7, 5001, 8, 8}}) {
    Problem<T> matrix(shape);
    matrix.Matrix();
    ExpectExact(matrix);
    Problem<T> top_k(shape);
    top_k.TopK();
    ExpectExact(top_k);
    // A tile whose numbers leave the range on the way.
    Problem<T> overflow(shape);
    std::fill(overflow.value.begin(), overflow.value.end(),
              std::numeric_limits<T>::max() / 2);
    ExpectExact(overflow);
  }
}

TEST(WorkspaceBytes, WholeRowsTakeWhatIsSaid) {
  WholeRowsTakeWhatIsSaid<float>();
  WholeRowsTakeWhatIsSaid<double>();
}

// Projections that take more than the attention between them, in strips and by
// OpenBLAS, one row and many.
TEST(WorkspaceBytes, ProjectionsTakeWhatIsSaid) {
  for (const int64_t rows : {1, 100, 129, 600}) {
    for (const Layout layout : {Layout::kInOut, Layout::kOutIn}) {
      constexpr int64_t kWidth = 2000;
      constexpr int64_t kDim = 8;
      const std::vector<float> weight(kWidth * 2 * kDim);
      LayerWeights<float> weights;
      weights.num_heads = 2;
      weights.num_kv_heads = 1;
      weights.query = {weight.data(), nullptr, kWidth, 2 * kDim, layout};
      weights.key =
          weights.value = {weight.data(), nullptr, kWidth, kDim, layout};
      const std::vector<float> input(static_cast<size_t>(rows) * kWidth);
      std::vector<float> output(static_cast<size_t>(rows) * 2 * kDim);
      AttentionInputs<float> inputs;
      inputs.query = inputs.key = inputs.value =
          Dense<const float>(input.data(), {1, 1, rows, kWidth});
      AttentionOutputs<float> outputs;
      outputs.output = Dense(output.data(), {1, 1, rows, 2 * kDim});
      const int64_t said = LayerWorkspaceBytes(weights, inputs, {}, outputs);
      EXPECT_EQ(Taken(LayerSteps(weights, inputs, {}, outputs)),
                std::max(said, kSmallest))
          << rows << " rows";
      // One row of OpenBLAS's takes next to nothing.
      EXPECT_EQ(said > kSmallest, rows > 1);
    }
  }
}

}  // namespace
}  // namespace attention::core
