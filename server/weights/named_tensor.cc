#include "server/weights/named_tensor.h"

#include "absl/strings/str_cat.h"

namespace attention::weights {

std::vector<NamedTensor> NamedTensors(const WeightSetContents& contents) {
  std::vector<NamedTensor> tensors;
  const auto add = [&](const char* name, const StoredProjection& projection) {
    tensors.push_back({absl::StrCat(name, ".weight"), &projection.weight});
    if (projection.bias.has_value()) {
      tensors.push_back({absl::StrCat(name, ".bias"), &*projection.bias});
    }
  };
  add("query", contents.query);
  add("key", contents.key);
  add("value", contents.value);
  if (contents.output.has_value()) add("output", *contents.output);
  return tensors;
}

}  // namespace attention::weights
