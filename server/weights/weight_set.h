// One immutable state of a weight set.
#ifndef SERVER_WEIGHTS_WEIGHT_SET_H_
#define SERVER_WEIGHTS_WEIGHT_SET_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/core/layer/layer.h"
#include "server/core/mutex.h"
#include "server/memory/ledger.h"
#include "server/weights/contents.h"

namespace attention::weights {

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

  // Bytes that a version holds beside its tensors: its facts. Some more than
  // they are.
  static int64_t FactsBytes(const Record& record);

  // Checks shapes and elements as CheckShapes and CheckFinite do, and prepares
  // the projections for the compute type that dtype implies: double for
  // FLOAT64, float otherwise. DATA_LOSS if record.sha256 is given and is not
  // that of the contents. `held` is what was taken out of the ledger for it
  // (HeldBytes, FactsBytes), and is given back with the version.
  static absl::StatusOr<std::unique_ptr<WeightSetVersion>> Make(
      Record record, memory::Loan held = {});

  // Prepares the projections alone: of contents that were checked while they
  // came (server/weights/weight_set_builder.h).
  // REQUIRES: shapes and elements are as Make wants them, `dims` is
  // DimsOf(record.contents), and record.sha256 is theirs.
  static absl::StatusOr<std::unique_ptr<WeightSetVersion>> MakeChecked(
      Record record, const WeightSetDims& dims, memory::Loan held = {});

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
  // float; RESOURCE_EXHAUSTED about "weight_set" if the ledger does not lend
  // what it takes.
  template <typename T>
  absl::StatusOr<core::LayerWeights<T>> As() const;

 private:
  template <typename T>
  struct Prepared {
    // Of who prepares. What follows is written under it and read by anyone
    // once it is done.
    core::Mutex mutex;
    std::atomic<bool> done{false};
    memory::Loan held;
    absl::Status status;
    core::LayerWeights<T> layer;
    std::vector<std::vector<T>> storage;  // what is not used in place
  };
  WeightSetVersion(Record record, const WeightSetDims& dims, memory::Loan held)
      : held_(std::move(held)), record_(std::move(record)), dims_(dims) {}

  template <typename T>
  Prepared<T>& prepared() const;
  // Bytes of the elements that do not lie as T.
  template <typename T>
  int64_t ConvertedBytes() const;
  // RESOURCE_EXHAUSTED, and nothing has changed, if the memory is not lent; any
  // other error is kept in `prepared`.
  template <typename T>
  absl::Status Prepare(Prepared<T>& prepared) const;

  memory::Loan held_;  // given back after all that it is for
  Record record_;
  const WeightSetDims dims_;
  mutable Prepared<float> as_float_;
  mutable Prepared<double> as_double_;
};

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_WEIGHT_SET_H_
