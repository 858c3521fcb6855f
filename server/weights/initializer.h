// Weights from a seed.
#ifndef SERVER_WEIGHTS_INITIALIZER_H_
#define SERVER_WEIGHTS_INITIALIZER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/weights/contents.h"

namespace attention::weights {

// Weights and biases of one projection are drawn from:
enum class Distribution {
  kUniform,        // [0, 1), like torch.rand
  kLinear,         // within 1 / sqrt(in), like torch.nn.Linear
  kXavierUniform,  // within sqrt(6 / (in + out)); biases are 0 and draw nothing
};

struct Initializer {
  Distribution distribution = Distribution::kUniform;
  uint32_t seed = 0;
  core::Layout layout = core::Layout::kInOut;
  WeightSetDims dims;  // output_width 0: no output projection
  bool input_bias = false;
  bool output_bias = false;
};

// Bytes of all tensors that an initializer describes; saturates. FieldErrors
// below "initializer": INVALID_ARGUMENT if a size is out of range.
absl::StatusOr<int64_t> InitializedBytes(const Initializer& initializer);

// FLOAT32 weights drawn in the order query, key, value, output, of each the
// weight in row-major order of the layout and then the bias, from one mt19937,
// as PyTorch draws float32 on a CPU: 24 bits of each 32-bit number, times
// 2^-24. The chapter's weights are {kUniform, 123, kInOut}, {kLinear, 789,
// kOutIn} and {kLinear, 123, kOutIn}. The bits are the same on every machine.
//
// Dims must be complete: no width but output_width is taken from another.
//
// Throws std::bad_alloc. REQUIRES: InitializedBytes is OK, and there is room
// for so many.
WeightSetContents Initialize(const Initializer& initializer);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_INITIALIZER_H_
