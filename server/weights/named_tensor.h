// The tensors of a weight set, one after the other.
#ifndef SERVER_WEIGHTS_NAMED_TENSOR_H_
#define SERVER_WEIGHTS_NAMED_TENSOR_H_

#include <string>
#include <vector>

#include "server/weights/contents.h"

namespace attention::weights {

struct NamedTensor {
  std::string path;  // "query.weight"
  const StoredTensor* tensor;
};

// The tensors that are there, in the order of the contract: query, key, value,
// output, of each the weight and then the bias. They point into `contents`.
std::vector<NamedTensor> NamedTensors(const WeightSetContents& contents);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_NAMED_TENSOR_H_
