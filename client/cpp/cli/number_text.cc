#include "client/cpp/cli/number_text.h"

#include <cmath>
#include <vector>

#include "attention/tensor.h"

namespace attention::client {

double ShortestDouble(double number, v1::DataType dtype) {
  if (dtype == v1::DATA_TYPE_FLOAT64 || !std::isfinite(number)) return number;
  return files::ShortestDouble(static_cast<float>(number));
}

void MakeReadable(v1::Tensor& tensor) {
  if (tensor.dtype() == v1::DATA_TYPE_BOOL) {
    const auto mask = ReadMask(tensor);
    if (!mask.ok()) return;
    tensor.clear_data();
    tensor.mutable_values()->Assign(mask->begin(), mask->end());
    return;
  }
  const auto elements = ReadDoubles(tensor);
  if (!elements.ok()) return;
  tensor.clear_data();
  tensor.clear_values();
  tensor.mutable_values()->Reserve(static_cast<int>(elements->size()));
  for (const double element : *elements) {
    tensor.add_values(ShortestDouble(element, tensor.dtype()));
  }
}

}  // namespace attention::client
