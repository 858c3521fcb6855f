// From the shapes of a weight set to the projections to compute with.
#ifndef SERVER_WEIGHTS_LAYER_OF_H_
#define SERVER_WEIGHTS_LAYER_OF_H_

#include "server/core/layer/layer.h"
#include "server/weights/contents.h"

namespace attention::weights {

// The projections of `contents`, whose elements elements(tensor) points to, a
// const T*; their data is not looked at. REQUIRES: DimsOf(contents).ok().
template <typename T, typename Elements>
core::LayerWeights<T> LayerOf(const WeightSetContents& contents,
                              Elements elements) {
  const auto projection = [&](const StoredProjection& stored) {
    const bool in_out = contents.layout == core::Layout::kInOut;
    core::Projection<T> made;
    made.weight = elements(stored.weight);
    if (stored.bias.has_value()) made.bias = elements(*stored.bias);
    made.in = stored.weight.shape[in_out ? 0 : 1];
    made.out = stored.weight.shape[in_out ? 1 : 0];
    made.layout = contents.layout;
    return made;
  };
  core::LayerWeights<T> layer;
  layer.num_heads = contents.num_heads;
  layer.num_kv_heads = contents.num_kv_heads;
  layer.query = projection(contents.query);
  layer.key = projection(contents.key);
  layer.value = projection(contents.value);
  if (contents.output.has_value()) layer.output = projection(*contents.output);
  return layer;
}

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_LAYER_OF_H_
