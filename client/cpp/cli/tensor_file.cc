#include "client/cpp/cli/tensor_file.h"

#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "attention/tensor.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/files/array_file.h"
#include "client/cpp/files/byte_source.h"
#include "proto/codec.h"

namespace attention::client {
namespace {

using files::ElementType;

// The server's limits are its own affair.
constexpr CodecLimits kNoLimits = {int64_t{1} << 62, int64_t{1} << 62};

ElementType ElementTypeOf(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT64:
      return ElementType::kFloat64;
    case v1::DATA_TYPE_FLOAT16:
      return ElementType::kFloat16;
    case v1::DATA_TYPE_BFLOAT16:
      return ElementType::kBfloat16;
    case v1::DATA_TYPE_BOOL:
      return ElementType::kBool;
    default:
      return ElementType::kFloat32;
  }
}

absl::Status CheckMask(const files::Array& array, const std::string& source) {
  if (array.type == ElementType::kBool) return absl::OkStatus();
  return UsageError(absl::StrCat(
      source, ": is ", std::string(files::ElementTypeName(array.type)),
      "; a mask is bool, true = attend: save array.astype(bool), or give what "
      "is added to the scores as --bias"));
}

absl::StatusOr<v1::Tensor> TensorFromMessage(const files::ByteSource& source) {
  std::string text(static_cast<size_t>(source.size()), '\0');
  absl::Status status = source.Read(0, source.size(), text.data());
  if (!status.ok()) return UsageError(status.message());
  v1::Tensor tensor;
  status = MessageFromJson(text, source.name(), tensor);
  if (!status.ok()) return status;
  return tensor;
}

}  // namespace

void AddInputFlags(CLI::App& command, InputFlags& flags) {
  constexpr char kGroup[] = "Files of tensors";
  AddWordOption(command, "--input-format", flags.format,
                "of every tensor file; absent: by its ending and content",
                files::FileFormatWords())
      ->group(kGroup);
  command
      .add_option("--max-tensor-bytes", flags.limits.max_array_bytes,
                  "the most memory that one tensor of a file may take")
      ->capture_default_str()
      ->check(AboveZero())
      ->group(kGroup);
}

v1::DataType DataTypeOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return v1::DATA_TYPE_FLOAT32;
    case ElementType::kFloat64:
      return v1::DATA_TYPE_FLOAT64;
    case ElementType::kFloat16:
      return v1::DATA_TYPE_FLOAT16;
    case ElementType::kBfloat16:
      return v1::DATA_TYPE_BFLOAT16;
    case ElementType::kBool:
      return v1::DATA_TYPE_BOOL;
    case ElementType::kInt64:
      break;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

absl::StatusOr<v1::Tensor> ReadTensor(const std::string& place,
                                      v1::DataType dtype,
                                      const InputFlags& flags) {
  const files::ArrayPlace where = files::PlaceOf(place);
  const auto source = files::OpenSource(where.path, flags.limits);
  if (!source.ok()) return UsageError(source.status().message());
  const FileFormat format =
      flags.format.value_or(files::FormatOfFile(where.path, **source));
  if (format == FileFormat::kJson && files::FirstCharacter(**source) == '{') {
    return TensorFromMessage(**source);
  }
  absl::StatusOr<files::Array> array = files::ReadArray(
      **source, format, where.name, ElementTypeOf(dtype), flags.limits);
  if (!array.ok()) return UsageError(array.status().message());
  if (dtype == v1::DATA_TYPE_BOOL) {
    absl::Status status = CheckMask(*array, (*source)->name());
    if (!status.ok()) return status;
  }
  return TensorOf(*std::move(array), (*source)->name());
}

absl::StatusOr<v1::Tensor> TensorOf(files::Array array,
                                    const std::string& source) {
  if (array.type == ElementType::kInt64) {
    return UsageError(absl::StrCat(
        source,
        ": is int64; expected a float type: save array.astype(numpy.float32)"));
  }
  if (array.shape.empty()) {
    return UsageError(absl::StrCat(
        source, ": is a single number without axes; save array.reshape(1, 1)"));
  }
  v1::Tensor tensor;
  tensor.set_dtype(DataTypeOf(array.type));
  tensor.mutable_shape()->Assign(array.shape.begin(), array.shape.end());
  *tensor.mutable_data() = std::move(array.data);
  return tensor;
}

absl::Status ConvertTensor(v1::DataType dtype, const std::string& source,
                           v1::Tensor& tensor) {
  if (tensor.dtype() == dtype) return absl::OkStatus();
  const absl::StatusOr<std::vector<double>> elements = ReadDoubles(tensor);
  if (!elements.ok()) {
    return UsageError(absl::StrCat(source, ": ", elements.status().message()));
  }
  absl::StatusOr<v1::Tensor> converted = MakeTensor(
      *elements,
      {tensor.shape().data(), static_cast<size_t>(tensor.shape_size())}, dtype);
  if (!converted.ok()) {
    return UsageError(absl::StrCat(source, ": ", converted.status().message()));
  }
  tensor = *std::move(converted);
  return absl::OkStatus();
}

absl::StatusOr<files::Array> ArrayOf(v1::Tensor tensor) {
  const absl::StatusOr<TensorView> view =
      TensorView::Of(tensor, "tensor", kNoLimits);
  if (!view.ok()) return view.status();
  files::Array array = {ElementTypeOf(tensor.dtype()),
                        {tensor.shape().begin(), tensor.shape().end()},
                        {}};
  if (!view->has_values()) {
    array.data = std::move(*tensor.mutable_data());
    return array;
  }
  for (const double value : tensor.values()) {
    files::AppendElement(value, array.type, array.data);
  }
  return array;
}

absl::Status WriteArrays(const std::string& path, FileFormat format,
                         absl::Span<const NamedOutput> outputs,
                         const files::Metadata& metadata) {
  std::vector<files::NamedArray> arrays;
  arrays.reserve(outputs.size());
  for (const NamedOutput& output : outputs) {
    arrays.push_back({output.name, output.array});
  }
  const absl::Status writable = files::CheckWritable(arrays, format);
  if (!writable.ok()) return UsageError(writable.message());
  return WriteFile(path, [&](std::ostream& out) -> absl::Status {
    absl::Status status = files::WriteArrays(arrays, metadata, format, out);
    return status.ok() ? status : UsageError(status.message());
  });
}

}  // namespace attention::client
