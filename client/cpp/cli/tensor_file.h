// Tensors in files.
#ifndef CLIENT_CPP_CLI_TENSOR_FILE_H_
#define CLIENT_CPP_CLI_TENSOR_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"

namespace attention::client {

// Reads a tensor from a file of JSON arrays or CSV, which become `dtype`, or of
// a Tensor in proto3 JSON, which states its own. "-" is the standard input.
// Errors are usage errors.
absl::StatusOr<v1::Tensor> ReadTensor(const std::string& path,
                                      v1::DataType dtype);

enum class FileFormat { kJson, kCsv };

// `tensor` as JSON arrays or as CSV, which holds rank 2 only, with the shortest
// digits that read back as the same elements.
absl::StatusOr<std::string> TensorText(const v1::Tensor& tensor,
                                       FileFormat format);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_TENSOR_FILE_H_
