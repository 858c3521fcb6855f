// Weight sets to test with.
#ifndef TESTS_WEIGHTS_WEIGHT_SETS_H_
#define TESTS_WEIGHTS_WEIGHT_SETS_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "proto/elements.h"
#include "server/weights/weight_set.h"

namespace attention::weights {

// A tensor whose element i is `first` + i, as long as that is below 128, and
// then counts from 0 again, so that every dtype holds it exactly.
inline StoredTensor Numbered(std::vector<int64_t> shape, DType dtype,
                             int64_t first = 0) {
  int64_t count = 1;
  for (const int64_t axis : shape) count *= axis;
  StoredTensor tensor{std::move(shape), {}};
  VisitFloat(static_cast<int>(dtype), [&](auto type) {
    using Element = decltype(type);
    for (int64_t i = 0; i < count; ++i) {
      const auto number = static_cast<double>((first + i) % 128);
      const auto element = RoundTo<Element>(number);
      char bytes[sizeof(Element)];
      std::memcpy(bytes, &element, sizeof(Element));
      tensor.data.append(bytes, sizeof(Element));
    }
  });
  return tensor;
}

// The elements of a tensor.
inline std::vector<double> ElementsOf(const StoredTensor& tensor, DType dtype) {
  std::vector<double> elements;
  VisitFloat(static_cast<int>(dtype), [&](auto type) {
    using Element = decltype(type);
    elements.resize(tensor.data.size() / sizeof(Element));
    WidenBytes<Element>(tensor.data.data(),
                        static_cast<int64_t>(elements.size()), elements.data());
  });
  return elements;
}

// A weight set of numbered tensors; dims.output_width 0 = no output projection.
inline WeightSetContents NumberedContents(const WeightSetDims& dims,
                                          core::Layout layout, DType dtype,
                                          bool biases, int64_t first = 0) {
  const auto projection = [&](int64_t in, int64_t out) {
    StoredProjection numbered;
    numbered.weight =
        Numbered(layout == core::Layout::kInOut ? std::vector<int64_t>{in, out}
                                                : std::vector<int64_t>{out, in},
                 dtype, first);
    if (biases) numbered.bias = Numbered({out}, dtype, first);
    return numbered;
  };
  WeightSetContents contents;
  contents.num_heads = dims.num_heads;
  contents.num_kv_heads = dims.num_kv_heads;
  contents.layout = layout;
  contents.dtype = dtype;
  contents.query = projection(dims.query_width, dims.num_heads * dims.head_dim);
  contents.key = projection(dims.key_width, dims.num_kv_heads * dims.head_dim);
  contents.value =
      projection(dims.value_width, dims.num_kv_heads * dims.value_dim);
  if (dims.output_width > 0) {
    contents.output =
        projection(dims.num_heads * dims.value_dim, dims.output_width);
  }
  return contents;
}

}  // namespace attention::weights

#endif  // TESTS_WEIGHTS_WEIGHT_SETS_H_
