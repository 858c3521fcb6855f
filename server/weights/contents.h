// The tensors of a weight set, as they were sent.
#ifndef SERVER_WEIGHTS_CONTENTS_H_
#define SERVER_WEIGHTS_CONTENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/core/layer/projection.h"

namespace attention::weights {

// Element types of weights. The numbers are those of the contract's DataType.
enum class DType { kFloat32 = 1, kFloat64 = 2, kFloat16 = 3, kBfloat16 = 4 };

// Bytes of one element; 0 for a number that is none of the above.
constexpr int64_t ElementSize(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return 8;
    case DType::kFloat32:
      return 4;
    case DType::kFloat16:
    case DType::kBfloat16:
      return 2;
  }
  return 0;
}

// A tensor as it was sent: row-major, little-endian.
struct StoredTensor {
  std::vector<int64_t> shape;
  std::string data;
};

struct StoredProjection {
  StoredTensor weight;
  std::optional<StoredTensor> bias;
};

// The projections of one attention layer as they were sent.
struct WeightSetContents {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  core::Layout layout = core::Layout::kInOut;
  DType dtype = DType::kFloat32;
  StoredProjection query;
  StoredProjection key;
  StoredProjection value;
  std::optional<StoredProjection> output;
};

// Widths derived from the shapes of a WeightSetContents.
struct WeightSetDims {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t query_width = 0;
  int64_t key_width = 0;
  int64_t value_width = 0;
  int64_t head_dim = 0;
  int64_t value_dim = 0;
  int64_t output_width = 0;  // num_heads * value_dim without output projection
};

// Bytes that the data of a tensor of this shape takes; saturates.
// REQUIRES: no axis is negative.
int64_t DataBytes(const StoredTensor& tensor, DType dtype);

// Bytes of all tensors together; saturates. The data need not have come yet.
// REQUIRES: as DataBytes.
int64_t DataBytes(const WeightSetContents& contents);

// Bytes that a version holds whose tensors have `data_bytes`: of those, and of
// the same in float where the dtype is not one to compute in (FLOAT16,
// BFLOAT16). Saturates.
int64_t HeldBytes(DType dtype, int64_t data_bytes);

// The widths, if the shapes agree with each other and the head counts;
// FieldErrors below "weights", such as "weights.key.weight.shape[1]". Does not
// look at data, which need not have come yet.
absl::StatusOr<WeightSetDims> DimsOf(const WeightSetContents& contents);

// The same, if the numbers of bytes agree with the shapes, too. Does not read
// elements.
absl::StatusOr<WeightSetDims> CheckShapes(const WeightSetContents& contents);

// Lower-case hexadecimal SHA-256 over the canonical form
// (docs/canonical-form.md). REQUIRES: CheckShapes(contents).ok().
std::string CanonicalSha256(const WeightSetContents& contents);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_CONTENTS_H_
