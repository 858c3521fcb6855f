#include "bench/projection_case.h"

namespace attention::bench {

ProjectionCase::ProjectionCase(const ProjectionShape& shape)
    : shape_(shape),
      input_(NormalNumbers(shape.rows * shape.width, 1)),
      weight_(NormalNumbers(shape.width * shape.width, 2)),
      bias_(NormalNumbers(shape.width, 3)),
      output_(Zeros(shape.rows * shape.width)) {}

double ProjectionCase::Flops() const {
  return 2.0 * static_cast<double>(shape_.rows * shape_.width * shape_.width);
}

core::Step ProjectionCase::Step() const {
  const core::Projection<float> projection{
      weight_.get(), bias_.get(), shape_.width, shape_.width, shape_.layout};
  return core::ProjectionStep<float>(
      core::Dense<const float>(input_.get(), {1, 1, shape_.rows, shape_.width}),
      {{projection, output(), {}, "query projection"}});
}

core::Tensor4<float> ProjectionCase::output() const {
  return core::Dense(output_.get(), {1, shape_.heads, shape_.rows,
                                     shape_.width / shape_.heads});
}

}  // namespace attention::bench
