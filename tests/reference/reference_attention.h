// Attention written as nested loops in long double, and how far a computation
// in float or double may be from it.
//
// Shares nothing with server/ or proto/: what it says was written from the
// contract's text (attention.proto), so that it can disagree.
//
// The bound. Let u be the unit roundoff, e(x) the bound on the error of x, and
// gamma(k) as in bounded.h, whose rules propagate every error through products
// and sums. What is left:
//
// 1. Projections, x W + b: a dot product of `in` terms and one addition.
//
// 2. Scores: a dot product of head_dim terms, times the scale. The scale has
//    relative error 2u: 1 / sqrt(head_dim) is a square root and a division, a
//    given one is rounded at most once. A scale so small that T cannot hold it
//    is off by at most the smallest subnormal.
//
// 3. Softcap, c tanh(s / c). The argument a = s / c is off by
//      da = e(s) / c + gamma(3) (|s| + e(s)) / c,
//    the roundings being those of c to T, of 1 / c, and of the product; so
//    tanh(a) by da times the largest derivative in reach, 1 - tanh(t)^2 with
//    t = max(0, |a| - da); glibc's tanh by 2 ulp, which is 4u relative; and c
//    times it is one more rounding of c and one of the product.
//
// 4. + bias: one sum. Nothing at excluded positions.
//
// 5. Softmax. Write s_k for the biased scores attended to, and x_k = s_k - max.
//    The computed scores s_k + d_k, |d_k| <= e(s_k), get a maximum subtracted
//    that cancels exactly, whichever it is; the difference is rounded once, off
//    by at most u D_k with D_k = max_i(s_i + e(s_i)) - (s_k - e(s_k)); exp of
//    it is off by 1 ulp, 2u relative, which glibc's keeps and every vectorised
//    one must. So the computed exponential is
//      t_k = exp(x_k + f_k), |f_k| <= F_k = e(s_k) + u D_k - log(1 - 2u),
//    up to a common factor, which cancels, and an underflow of at most the
//    smallest subnormal. Each weight t_j / sum_k t_k grows with t_j and falls
//    with every other t_k, so it is largest where f_j = F_j and f_k = -F_k, and
//    smallest the other way round: an interval, with no linearisation. Then
//    1 + gamma(n - 1) at the roundoff of double for the sum, which whole rows
//    add up in double; one rounding of the sum to T; one division.
//    The bound is honest where scores are huge: at s_k near the largest float,
//    u s_k dwarfs every difference between scores, and the interval is [0, 1].
//
//    Where only output and lse are wanted a row may be folded a tile of 512
//    keys or more at a time (online softmax). What has been added up is then
//    scaled by exp(max before - max after) at most t - 1 times, t = kv_len /
//    512 rounded up: each time 1 ulp of exp more in F_k, and one product. The
//    differences that exp is taken of add up to max - s_k still, so u D_k
//    remains. Within a tile the sum is in T with two accumulators or more:
//    gamma(min(n - 1, 257)).
//
// 6. lse = max + log(sum t_k): the interval of the sum, again its roundings;
// log
//    within 1 ulp and the sum of both, in double; one rounding to T.
//
// 7. Dropout: which weights are dropped is exact, integers and one exact
//    comparison; a kept one is multiplied by 1 / (1 - p) rounded to T: 3
//    roundings, for 1 - p, the quotient and the conversion, and one of the
//    product.
//
// 8. Output: a dot product of the weights with value; the division before or
//    after it is the same bound. Output projection as 1.
//
// 9. Mean over heads: num_heads - 1 additions and a division, or a product with
//    a rounded 1 / num_heads: gamma(num_heads + 1).
//
// 10. FLOAT16 and BFLOAT16 output: RoundedToFormat.
#ifndef TESTS_REFERENCE_REFERENCE_ATTENTION_H_
#define TESTS_REFERENCE_REFERENCE_ATTENTION_H_

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "tests/reference/bounded.h"

namespace attention::reference {

using Shape = std::array<int64_t, 4>;

int64_t ElementCount(const Shape& shape);

// A dense row-major tensor of four axes.
template <typename T>
struct Tensor {
  Shape shape{};
  std::vector<T> elements;

  int64_t Index(int64_t i0, int64_t i1, int64_t i2, int64_t i3) const {
    return ((i0 * shape[1] + i1) * shape[2] + i2) * shape[3] + i3;
  }
  const T& At(int64_t i0, int64_t i1, int64_t i2, int64_t i3) const {
    return elements[static_cast<size_t>(Index(i0, i1, i2, i3))];
  }
  T& At(int64_t i0, int64_t i1, int64_t i2, int64_t i3) {
    return elements[static_cast<size_t>(Index(i0, i1, i2, i3))];
  }
};

template <typename T>
Tensor<T> MakeTensor(Shape shape, T fill = T{}) {
  return {shape,
          std::vector<T>(static_cast<size_t>(ElementCount(shape)), fill)};
}

// double holds every element of every dtype exactly.
using Input = Tensor<double>;

struct Projection {
  int64_t in = 0;
  int64_t out = 0;
  bool out_in = false;  // weight is [out, in] rather than [in, out]
  std::vector<double> weight;
  std::vector<double> bias;  // [out], or empty
};

struct Weights {
  Projection query;
  Projection key;
  Projection value;
  std::optional<Projection> output;
};

enum class Alignment { kUnspecified, kTopLeft, kBottomRight };

struct Dropout {
  double probability = 0;
  uint64_t seed = 0;
};

// A whole computation of attention. The words are the contract's.
struct Problem {
  int64_t num_heads = 1;
  int64_t num_kv_heads = 1;
  std::optional<Weights> weights;

  // [batch, heads, len, dim]; with weights [batch, 1, len, width].
  Input query;
  Input key;
  Input value;

  // [batch, num_heads, query_len, kv_len], any axis of size 1 instead.
  std::optional<Input> attend_mask;
  std::optional<Input> bias;

  std::optional<double> softmax_scale;
  std::optional<double> softcap;
  bool causal = false;
  std::optional<int64_t> window_left;
  std::optional<int64_t> window_right;
  Alignment alignment = Alignment::kUnspecified;
  std::vector<int64_t> query_offsets;
  std::vector<int64_t> key_lengths;
  std::optional<Dropout> dropout;

  int64_t batch() const { return query.shape[0]; }
  int64_t query_len() const { return query.shape[2]; }
  int64_t kv_len() const { return key.shape[2]; }
  int64_t valid_kv_len(int64_t item) const {
    return key_lengths.empty() ? kv_len()
                               : key_lengths[static_cast<size_t>(item)];
  }
  int64_t head_dim() const;
  int64_t value_dim() const;
};

// Every stage of the computation, with its bound.
struct Answer {
  // [batch, num_heads, query_len, value_dim]; with weights
  // [batch, 1, query_len, width].
  Tensor<Bounded> output;
  // [batch, num_heads, query_len, kv_len].
  Tensor<Bounded> scores;
  Tensor<Bounded> softcapped;
  Tensor<Bounded> biased;
  Tensor<Bounded> attention_weights;  // after dropout
  Tensor<uint8_t> attended;
  // [batch, 1, query_len, kv_len].
  Tensor<Bounded> mean_weights;
  // [batch, num_heads, query_len, 1].
  Tensor<Bounded> lse;
};

// REQUIRES: shapes that agree; finite elements wherever they are read.
Answer Attention(const Problem& problem, const Precision& precision);

// Philox4x32-10.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key);

// Whether dropout drops the attention weight at this position.
bool Dropped(const Dropout& dropout, int64_t item, int64_t head, int64_t row,
             int64_t key);

}  // namespace attention::reference

#endif  // TESTS_REFERENCE_REFERENCE_ATTENTION_H_
