#include "server/rpc/compute/request.h"

namespace attention::rpc {

v1::DataType ComputeRequest::compute_dtype() const {
  return dtype() == v1::DATA_TYPE_FLOAT64 ? v1::DATA_TYPE_FLOAT64
                                          : v1::DATA_TYPE_FLOAT32;
}

Axes ComputeRequest::WithBatch(Axes axes) const {
  if (has_batch) axes.insert(axes.begin(), shape.batch);
  return axes;
}

}  // namespace attention::rpc
