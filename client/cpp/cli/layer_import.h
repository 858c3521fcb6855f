// One attention layer out of a file of tensors.
#ifndef CLIENT_CPP_CLI_LAYER_IMPORT_H_
#define CLIENT_CPP_CLI_LAYER_IMPORT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/cli/layer_names.h"
#include "client/cpp/files/array_bundle.h"

namespace attention::client {

// Which layer to read, and what the file does not say of it.
struct LayerImport {
  LayerForm form = LayerForm::kPlain;
  int64_t layer = 0;
  // Absent: whichever of UsualPrefixes the file has.
  std::optional<std::string> prefix;
  // Names of one's own, of kPlain: a projection without a weight here has the
  // usual name, but one with a weight and no bias has no bias.
  LayerNames names;
  // Absent: as the file's metadata says, which only files of `weights export`
  // have; the form may say the layout.
  std::optional<int32_t> num_heads;
  std::optional<int32_t> num_kv_heads;
  v1::Layout layout = v1::LAYOUT_UNSPECIFIED;
  // What the tensors are rounded to; absent: as they are.
  std::optional<v1::DataType> dtype;
};

// Reads the tensors and checks all of their shapes against each other and the
// heads. A usage error names the tensor, its shape and the shape that was
// wanted.
absl::StatusOr<v1::WeightSet> ImportLayer(const files::ArrayBundle& bundle,
                                          const LayerImport& import,
                                          const files::ReadLimits& limits);

// Keys of the metadata that an export writes.
constexpr char kNumHeadsKey[] = "num_heads";
constexpr char kNumKvHeadsKey[] = "num_kv_heads";
constexpr char kLayoutKey[] = "layout";

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_LAYER_IMPORT_H_
