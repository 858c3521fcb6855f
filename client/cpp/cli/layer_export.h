// One attention layer into a file of tensors.
#ifndef CLIENT_CPP_CLI_LAYER_EXPORT_H_
#define CLIENT_CPP_CLI_LAYER_EXPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "attention/client.h"
#include "client/cpp/cli/layer_names.h"
#include "client/cpp/cli/tensor_file.h"
#include "client/cpp/files/array_bundle.h"

namespace attention::client {

struct LayerExport {
  LayerForm form = LayerForm::kPlain;
  int64_t layer = 0;
  std::string prefix;
};

// A layer as a file holds it.
struct LayerFile {
  std::vector<NamedOutput> tensors;
  files::Metadata metadata;
};

// The tensors of `stored` under the names of the form and in its layout, bit
// for bit what ImportLayer reads back. A usage error if the form cannot hold
// the weight set: kGpt2 and kBert have one width throughout, all biases, an
// output projection, and as many key/value heads as heads. Takes the set's
// memory over; a layout that is turned takes that of one tensor more.
absl::StatusOr<LayerFile> ExportLayer(StoredWeightSet stored,
                                      const LayerExport& layer_export);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_LAYER_EXPORT_H_
