// One immutable state of a weight set.
#ifndef SERVER_WEIGHTS_WEIGHT_SET_H_
#define SERVER_WEIGHTS_WEIGHT_SET_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/core/layer.h"

namespace attention::weights {

// Element types of weights. The numbers are those of the contract's DataType.
enum class DType { kFloat32 = 1, kFloat64 = 2, kFloat16 = 3, kBfloat16 = 4 };

// Bytes of one element; 0 for a number that is none of the above.
int64_t ElementSize(DType dtype);

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

// The widths, if the shapes agree with each other and the head counts;
// FieldErrors below "weights", such as "weights.key.weight.shape[1]". Does not
// look at data, which need not have come yet.
absl::StatusOr<WeightSetDims> DimsOf(const WeightSetContents& contents);

// The same, if the numbers of bytes agree with the shapes, too. Does not read
// elements.
absl::StatusOr<WeightSetDims> CheckShapes(const WeightSetContents& contents);

// FieldError naming the first NaN or Inf, such as "weights.key.weight.data at
// index [0, 1] is NaN". REQUIRES: CheckShapes(contents).ok().
absl::Status CheckFinite(const WeightSetContents& contents);

// The same of a run of one tensor: `bytes`, whole elements, from element
// `first` of a tensor of `shape` on. `path` is "key.weight".
absl::Status CheckFinite(absl::string_view path,
                         const std::vector<int64_t>& shape, DType dtype,
                         int64_t first, absl::string_view bytes);

// Lower-case hexadecimal SHA-256 over the canonical form
// (docs/canonical-form.md). REQUIRES: CheckShapes(contents).ok().
std::string CanonicalSha256(const WeightSetContents& contents);

// A version: its contents, what identifies it, and its projections ready to
// compute with. Immutable and thread-safe once it is shared.
class WeightSetVersion {
 public:
  // What is stored beside the tensors.
  struct Record {
    std::string name;
    int64_t version = 0;
    std::chrono::system_clock::time_point create_time;
    std::string idempotency_key;
    std::map<std::string, std::string> annotations;
    WeightSetContents contents;
    std::string sha256;  // of contents; Make fills it in
  };

  // Checks shapes and elements as CheckShapes and CheckFinite do, and prepares
  // the projections for the compute type that dtype implies: double for
  // FLOAT64, float otherwise. DATA_LOSS if record.sha256 is given and is not
  // that of the contents.
  static absl::StatusOr<std::unique_ptr<WeightSetVersion>> Make(Record record);

  // Prepares the projections alone: of contents that were checked while they
  // came (server/weights/weight_set_builder.h).
  // REQUIRES: shapes and elements are as Make wants them, `dims` is
  // DimsOf(record.contents), and record.sha256 is theirs.
  static absl::StatusOr<std::unique_ptr<WeightSetVersion>> MakeChecked(
      Record record, const WeightSetDims& dims);

  // Gives the memory of the tensors back to the system.
  ~WeightSetVersion();

  // Says which version this is, where it was not known before the contents were
  // checked. Before it is shared only.
  void Number(int64_t version, std::chrono::system_clock::time_point time);

  const Record& record() const { return record_; }
  const WeightSetDims& dims() const { return dims_; }

  // Bytes of all tensors together, as they were sent.
  int64_t tensor_bytes() const;

  // The projections in T, float or double; they point into this version. The
  // other compute type than dtype's is prepared at its first use, while callers
  // wait, and kept. Double to float rounds to nearest; FAILED_PRECONDITION
  // about "weight_set", naming the element, if one is beyond the range of
  // float.
  template <typename T>
  absl::StatusOr<core::LayerWeights<T>> As() const;

 private:
  template <typename T>
  struct Prepared {
    std::once_flag once;
    absl::Status status;
    core::LayerWeights<T> layer;
    std::vector<std::vector<T>> storage;  // what is not used in place
  };
  explicit WeightSetVersion(Record record) : record_(std::move(record)) {}

  template <typename T>
  void Prepare(Prepared<T>& prepared) const;

  Record record_;
  WeightSetDims dims_;
  mutable Prepared<float> as_float_;
  mutable Prepared<double> as_double_;
};

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_WEIGHT_SET_H_
