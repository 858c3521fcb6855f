#include "client/cpp/named_tensor.h"

#include <utility>

namespace attention::client {

std::vector<NamedTensor> NamedTensors(const v1::WeightSet& weights) {
  const std::pair<const char*, const v1::Projection&> projections[] = {
      {"query", weights.query()},
      {"key", weights.key()},
      {"value", weights.value()},
      {"output", weights.output()}};
  std::vector<NamedTensor> tensors;
  for (const auto& [name, projection] : projections) {
    const std::string path = name;
    if (projection.has_weight()) {
      tensors.push_back({path + ".weight", &projection.weight()});
    }
    if (projection.has_bias()) {
      tensors.push_back({path + ".bias", &projection.bias()});
    }
  }
  return tensors;
}

}  // namespace attention::client
