// Tensors in files.
#ifndef CLIENT_CPP_CLI_TENSOR_FILE_H_
#define CLIENT_CPP_CLI_TENSOR_FILE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/files/array.h"
#include "client/cpp/files/array_bundle.h"
#include "client/cpp/files/file_format.h"
#include "command_line/cli_fwd.h"

namespace attention::client {

using files::FileFormat;

// How a command reads its files of tensors.
struct InputFlags {
  std::optional<FileFormat> format;  // absent: by ending and content
  files::ReadLimits limits;
};

// Adds --input-format and --max-tensor-bytes. REQUIRES: `flags` outlives
// `command`.
void AddInputFlags(CLI::App& command, InputFlags& flags);

// What the service has for an element type; UNSPECIFIED for int64.
v1::DataType DataTypeOf(files::ElementType type);

// Reads the tensor at `place`, FILE or FILE:NAME ("-" is the standard input):
// .npy, one of an .npz or a .safetensors, JSON arrays, CSV, or a Tensor in
// proto3 JSON. JSON arrays and CSV become `dtype`; the others have a type of
// their own and keep it. If `dtype` is BOOL a mask is wanted: arrays of numbers
// are refused, since 0 means the opposite in an additive one. Errors are usage
// errors.
absl::StatusOr<v1::Tensor> ReadTensor(const std::string& place,
                                      v1::DataType dtype,
                                      const InputFlags& flags = {});

// The same of an array that was read; its bytes move, they are not copied.
absl::StatusOr<v1::Tensor> TensorOf(files::Array array,
                                    const std::string& source);

// Rounds the elements to `dtype`, to nearest even. `source` is what an error,
// of an element beyond dtype or one that is NaN or +inf, calls the tensor.
absl::Status ConvertTensor(v1::DataType dtype, const std::string& source,
                           v1::Tensor& tensor);

// The elements of a tensor of any dtype as an array, bit for bit.
absl::StatusOr<files::Array> ArrayOf(v1::Tensor tensor);

// An array with its name in a file.
struct NamedOutput {
  std::string name;
  files::Array array;
};

// Writes arrays to the file at `path` ("-" is the standard output).
absl::Status WriteArrays(const std::string& path, FileFormat format,
                         absl::Span<const NamedOutput> outputs,
                         const files::Metadata& metadata = {});

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_TENSOR_FILE_H_
