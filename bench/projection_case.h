// One projection, into heads or into one.
#ifndef BENCH_PROJECTION_CASE_H_
#define BENCH_PROJECTION_CASE_H_

#include <cstdint>

#include "bench/normal_numbers.h"
#include "server/core/layer/projection.h"

namespace attention::bench {

// `rows` rows of `width` columns times a square weight with a bias.
struct ProjectionShape {
  core::Layout layout = core::Layout::kOutIn;
  int64_t rows = 1;
  int64_t width = 1;
  int64_t heads = 1;
};

class ProjectionCase {
 public:
  explicit ProjectionCase(const ProjectionShape& shape);

  // Multiply-adds twice.
  double Flops() const;
  core::Step Step() const;
  // [1, heads, rows, width / heads]
  core::Tensor4<float> output() const;

 private:
  const ProjectionShape shape_;
  const Numbers input_, weight_, bias_, output_;
};

}  // namespace attention::bench

#endif  // BENCH_PROJECTION_CASE_H_
