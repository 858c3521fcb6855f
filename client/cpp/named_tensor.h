// The tensors of a weight set, one after the other.
#ifndef CLIENT_CPP_NAMED_TENSOR_H_
#define CLIENT_CPP_NAMED_TENSOR_H_

#include <string>
#include <vector>

#include "attention/v1/attention.pb.h"

namespace attention::client {

struct NamedTensor {
  std::string path;  // "query.weight"
  const v1::Tensor* tensor;
};

// The tensors that are there, in the order of the contract: query, key, value,
// output, of each the weight and then the bias. They point into `weights`.
std::vector<NamedTensor> NamedTensors(const v1::WeightSet& weights);

}  // namespace attention::client

#endif  // CLIENT_CPP_NAMED_TENSOR_H_
