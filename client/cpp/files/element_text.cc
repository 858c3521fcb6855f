#include "client/cpp/files/element_text.h"

#include <cmath>

#include "client/cpp/files/number_text.h"

namespace attention::files {

std::string ElementText(const ArrayView& array, int64_t index) {
  const double element = ElementAt(array, index);
  if (std::isnan(element)) return "nan";  // without its sign
  const bool is_double =
      array.type == ElementType::kFloat64 || array.type == ElementType::kInt64;
  return ShortestText(is_double ? element
                                : ShortestDouble(static_cast<float>(element)));
}

}  // namespace attention::files
