// A version of a weight set whose tensors come in pieces.
#ifndef SERVER_WEIGHTS_WEIGHT_SET_BUILDER_H_
#define SERVER_WEIGHTS_WEIGHT_SET_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/memory/ledger.h"
#include "server/weights/canonical_form.h"
#include "server/weights/named_tensor.h"
#include "server/weights/weight_set.h"

namespace attention::weights {

// Takes the data of each tensor in the order of NamedTensors, in pieces without
// gap or overlap; copies, checks and hashes a piece when it comes, so that
// nothing is left to be read at the end. What was taken lies where the version
// will have it. For one thread at a time.
//
// Errors are FieldErrors: INVALID_ARGUMENT below "weights" and "chunk".
class WeightSetBuilder {
 public:
  // `record` with heads, layout, dtype and shapes, and without data. Allocates
  // nothing of the size of the tensors: what it holds grows with what comes and
  // is taken out of `ledger`, as uploads. Errors as DimsOf, if the tensors
  // together are more bytes than can be counted, or of the ledger.
  static absl::StatusOr<std::unique_ptr<WeightSetBuilder>> Start(
      WeightSetVersion::Record record, memory::Ledger& ledger);

  WeightSetBuilder(const WeightSetBuilder&) = delete;
  WeightSetBuilder& operator=(const WeightSetBuilder&) = delete;

  // Bytes of all tensors together, as they are sent.
  int64_t tensor_bytes() const { return tensor_bytes_; }
  // Bytes that the version will hold of them (HeldBytes).
  int64_t version_bytes() const {
    return HeldBytes(record_.contents.dtype, tensor_bytes_);
  }
  // Bytes that came of them.
  int64_t taken_bytes() const { return taken_bytes_; }

  // The bytes from `offset` on of the tensor with this path: whole elements.
  // RESOURCE_EXHAUSTED, and nothing has changed, if the ledger lends no room
  // for them. Throws std::bad_alloc.
  absl::Status Take(absl::string_view tensor, int64_t offset,
                    absl::string_view data);

  // INVALID_ARGUMENT about "sha256", which came too early, unless every byte
  // has come.
  absl::Status CheckComplete() const;

  // The version, not numbered yet. DATA_LOSS if `sha256` is not that of what
  // came; RESOURCE_EXHAUSTED, and it can be asked again, if the ledger does not
  // lend what it takes to compute with. REQUIRES: CheckComplete().ok().
  absl::StatusOr<std::unique_ptr<WeightSetVersion>> Finish(
      absl::string_view sha256);

 private:
  WeightSetBuilder(WeightSetVersion::Record record, const WeightSetDims& dims,
                   memory::Ledger& ledger);

  // Makes room for `bytes` more of a tensor that will have `size`.
  absl::Status Grow(std::string& data, int64_t bytes, int64_t size);

  // Whether a piece stands where the next one has to.
  absl::Status CheckPlace(absl::string_view tensor, int64_t offset,
                          absl::string_view data) const;

  memory::Loan held_;  // for the capacity of all data
  WeightSetVersion::Record record_;
  const WeightSetDims dims_;
  CanonicalHash hash_;
  std::vector<NamedTensor> tensors_;  // into record_
  std::vector<int64_t> sizes_;        // of their data once all has come
  size_t next_ = 0;                   // the tensor that the next piece is of
  int64_t tensor_bytes_ = 0;
  int64_t taken_bytes_ = 0;
};

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_WEIGHT_SET_BUILDER_H_
