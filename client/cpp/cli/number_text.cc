#include "client/cpp/cli/number_text.h"

#include <charconv>
#include <cmath>
#include <vector>

#include "attention/tensor.h"

namespace attention::client {

std::string ShortestText(double number) {
  // JSON readers take -0 for the integer 0.
  if (number == 0 && std::signbit(number)) return "-0.0";
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), number).ptr};
}

double ShortestDouble(double number, v1::DataType dtype) {
  if (dtype == v1::DATA_TYPE_FLOAT64 || !std::isfinite(number)) return number;
  const auto single = static_cast<float>(number);
  char text[32];
  auto* const end = std::to_chars(text, text + sizeof(text), single).ptr;
  double shortest = 0;
  std::from_chars(text, end, shortest);
  // Text to double to float rounds twice, which can miss by one.
  return static_cast<float>(shortest) == single ? shortest : number;
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
