#include "client/cpp/cli/tensor_file.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "attention/tensor.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/number_text.h"
#include "proto/codec.h"

namespace attention::client {
namespace {

absl::StatusOr<v1::Tensor> MaskOf(const Array& array,
                                  const std::string& source) {
  std::vector<uint8_t> attend;
  attend.reserve(array.elements.size());
  for (const double element : array.elements) {
    if (element != 0 && element != 1) {
      return UsageError(absl::StrCat(source, ": element ", attend.size(),
                                     " is ", ShortestText(element),
                                     "; a mask takes 0 and 1, true and false"));
    }
    attend.push_back(element != 0);
  }
  return MakeMask(attend, array.shape);
}

}  // namespace

absl::StatusOr<v1::Tensor> ReadTensor(const std::string& path,
                                      v1::DataType dtype) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  if (absl::StripLeadingAsciiWhitespace(*text).substr(0, 1) == "{") {
    v1::Tensor tensor;
    const absl::Status status = MessageFromJson(*text, path, tensor);
    if (!status.ok()) return status;
    return tensor;
  }
  const absl::StatusOr<Array> array = LooksLikeJson(*text)
                                          ? ArrayFromJson(*text, path)
                                          : ArrayFromCsv(*text, path);
  if (!array.ok()) return array.status();
  if (dtype == v1::DATA_TYPE_BOOL) return MaskOf(*array, path);

  v1::Tensor tensor;
  const absl::Status status =
      EncodeTensor<double>(array->elements, array->shape, dtype,
                           /*as_values=*/false, path, tensor);
  if (!status.ok()) return UsageError(status.message());
  return tensor;
}

absl::StatusOr<std::string> TensorText(const v1::Tensor& tensor,
                                       FileFormat format) {
  v1::Tensor readable = tensor;
  MakeReadable(readable);
  const Array array = {{readable.shape().begin(), readable.shape().end()},
                       {readable.values().begin(), readable.values().end()}};
  if (format == FileFormat::kJson) return ArrayToJson(array);
  if (array.shape.size() != 2) {
    return UsageError(absl::StrCat("--format csv holds rank 2, but output is ",
                                   ShapeString(array.shape),
                                   "; use --format json"));
  }
  return ArrayToCsv(array);
}

}  // namespace attention::client
