#include "tests/reference/reference_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/reference/reference_softmax.h"

namespace attention::reference {
namespace {

constexpr long double kMinusInfinity =
    -std::numeric_limits<long double>::infinity();

Tensor<Bounded> ToBounded(const Input& input) {
  Tensor<Bounded> result = MakeTensor<Bounded>(input.shape);
  for (size_t i = 0; i < input.elements.size(); ++i) {
    result.elements[i] = Exact(input.elements[i]);
  }
  return result;
}

// A mask or bias at a position; an axis of size 1 stands for all of it.
double Broadcast(const Input& input, int64_t item, int64_t head, int64_t row,
                 int64_t key) {
  return input.At(input.shape[0] == 1 ? 0 : item,
                  input.shape[1] == 1 ? 0 : head, input.shape[2] == 1 ? 0 : row,
                  input.shape[3] == 1 ? 0 : key);
}

double Weight(const Projection& projection, int64_t in, int64_t out) {
  return projection.weight[static_cast<size_t>(
      projection.out_in ? out * projection.in + in
                        : in * projection.out + out)];
}

// One element of x W + b; `x` calls back with each element of the row.
template <typename Row>
Bounded Project(const Projection& projection, int64_t out,
                const Precision& precision, Row row) {
  DotProduct dot;
  for (int64_t in = 0; in < projection.in; ++in) {
    dot.Add(row(in), Exact(Weight(projection, in, out)));
  }
  if (projection.bias.empty()) return dot.Result(precision);
  return dot.PlusExact(projection.bias[static_cast<size_t>(out)], precision);
}

// [batch, 1, len, width] -> [batch, heads, len, dim]. Only the first
// rows(item) rows of an item are read; the others stay zero.
template <typename Rows>
Tensor<Bounded> SplitIntoHeads(const Input& input, const Projection& projection,
                               int64_t heads, const Precision& precision,
                               Rows rows) {
  const int64_t dim = projection.out / heads;
  Tensor<Bounded> result =
      MakeTensor<Bounded>({input.shape[0], heads, input.shape[2], dim});
  for (int64_t item = 0; item < input.shape[0]; ++item) {
    for (int64_t row = 0; row < rows(item); ++row) {
      for (int64_t out = 0; out < projection.out; ++out) {
        result.At(item, out / dim, row, out % dim) = Project(
            projection, out, precision,
            [&](int64_t in) { return Exact(input.At(item, 0, row, in)); });
      }
    }
  }
  return result;
}

Tensor<Bounded> ProjectOutput(const Tensor<Bounded>& heads,
                              const Projection& projection,
                              const Precision& precision) {
  const int64_t dim = heads.shape[3];
  Tensor<Bounded> result =
      MakeTensor<Bounded>({heads.shape[0], 1, heads.shape[2], projection.out});
  for (int64_t item = 0; item < heads.shape[0]; ++item) {
    for (int64_t row = 0; row < heads.shape[2]; ++row) {
      for (int64_t out = 0; out < projection.out; ++out) {
        result.At(item, 0, row, out) =
            Project(projection, out, precision, [&](int64_t in) {
              return heads.At(item, in / dim, row, in % dim);
            });
      }
    }
  }
  return result;
}

// [batch, heads, len, dim] -> [batch, 1, len, heads * dim].
Tensor<Bounded> JoinHeads(const Tensor<Bounded>& heads) {
  const auto [batch, num_heads, len, dim] = heads.shape;
  Tensor<Bounded> result =
      MakeTensor<Bounded>({batch, 1, len, num_heads * dim});
  for (int64_t item = 0; item < batch; ++item) {
    for (int64_t head = 0; head < num_heads; ++head) {
      for (int64_t row = 0; row < len; ++row) {
        for (int64_t column = 0; column < dim; ++column) {
          result.At(item, 0, row, head * dim + column) =
              heads.At(item, head, row, column);
        }
      }
    }
  }
  return result;
}

// Where the first row of the query of this item stands among the keys.
int64_t Offset(const Problem& problem, int64_t item) {
  if (!problem.query_offsets.empty()) {
    return problem.query_offsets[static_cast<size_t>(item)];
  }
  if (problem.alignment == Alignment::kBottomRight) {
    return problem.valid_kv_len(item) - problem.query_len();
  }
  return 0;
}

bool Attended(const Problem& problem, int64_t item, int64_t head, int64_t row,
              int64_t key) {
  if (key >= problem.valid_kv_len(item)) return false;
  const int64_t position = row + Offset(problem, item);
  if (problem.causal && key > position) return false;
  if (problem.window_left && key < position - *problem.window_left) {
    return false;
  }
  if (problem.window_right && key > position + *problem.window_right) {
    return false;
  }
  if (problem.attend_mask &&
      Broadcast(*problem.attend_mask, item, head, row, key) == 0) {
    return false;
  }
  return !problem.bias ||
         Broadcast(*problem.bias, item, head, row, key) != kMinusInfinity;
}

Bounded Scale(const Problem& problem, const Precision& precision) {
  const long double value =
      problem.softmax_scale
          ? static_cast<long double>(*problem.softmax_scale)
          : 1 / std::sqrt(static_cast<long double>(problem.head_dim()));
  if (value == 0) return Exact(0);
  return Rounded(Exact(value), 2, precision);
}

// Point 7 of the header.
Bounded Drop(const Dropout& dropout, Bounded weight, bool dropped,
             const Precision& precision) {
  if (dropped) return Exact(0);
  const long double factor =
      1 / (1 - static_cast<long double>(dropout.probability));
  return Product(weight, Rounded(Exact(factor), 3, precision), precision);
}

// The query, key and value that attention proper works on.
struct Heads {
  Tensor<Bounded> query;
  Tensor<Bounded> key;
  Tensor<Bounded> value;
};

Heads MakeHeads(const Problem& problem, const Precision& precision) {
  if (!problem.weights) {
    return {ToBounded(problem.query), ToBounded(problem.key),
            ToBounded(problem.value)};
  }
  const auto all_rows = [&](int64_t) { return problem.query_len(); };
  const auto valid_rows = [&](int64_t item) {
    return problem.valid_kv_len(item);
  };
  const Weights& weights = *problem.weights;
  return {SplitIntoHeads(problem.query, weights.query, problem.num_heads,
                         precision, all_rows),
          SplitIntoHeads(problem.key, weights.key, problem.num_kv_heads,
                         precision, valid_rows),
          SplitIntoHeads(problem.value, weights.value, problem.num_kv_heads,
                         precision, valid_rows)};
}

// One row of the attention of one head, all stages.
class RowComputation {
 public:
  RowComputation(const Problem& problem, const Precision& precision,
                 const Heads& heads, Answer& answer)
      : problem_(problem),
        precision_(precision),
        heads_(heads),
        scale_(Scale(problem, precision)),
        answer_(answer) {}

  void Run(int64_t item, int64_t head, int64_t row) {
    const int64_t kv_head = head / (problem_.num_heads / problem_.num_kv_heads);
    Row work;
    for (int64_t key = 0; key < problem_.kv_len(); ++key) {
      ScoreOf(item, head, kv_head, row, key, work);
    }
    const SoftmaxOfRow whole = Softmax(work, kWholeRow, precision_);
    const SoftmaxOfRow folded =
        Softmax(work, InTiles(problem_.kv_len()), precision_);
    answer_.lse.At(item, head, row, 0) = folded.lse;

    // By key: whether it is dropped does not depend on how the row is folded.
    std::vector<Bounded> weights(work.scores.size(), Exact(0));
    for (size_t k = 0; k < weights.size(); ++k) {
      const auto key = static_cast<int64_t>(k);
      weights[k] = folded.weights[k];
      Bounded shown = whole.weights[k];
      if (problem_.dropout && work.attended[k]) {
        const bool dropped = Dropped(*problem_.dropout, item, head, row, key);
        weights[k] = Drop(*problem_.dropout, weights[k], dropped, precision_);
        shown = Drop(*problem_.dropout, shown, dropped, precision_);
      }
      answer_.attention_weights.At(item, head, row, key) = shown;
    }
    for (int64_t column = 0; column < problem_.value_dim(); ++column) {
      DotProduct dot;
      for (int64_t key = 0; key < problem_.valid_kv_len(item); ++key) {
        dot.Add(weights[static_cast<size_t>(key)],
                heads_.value.At(item, kv_head, key, column));
      }
      answer_.output.At(item, head, row, column) = dot.Result(precision_);
    }
  }

 private:
  void ScoreOf(int64_t item, int64_t head, int64_t kv_head, int64_t row,
               int64_t key, Row& work) {
    Bounded score = Exact(kMinusInfinity);
    Bounded softcapped = score;
    if (key < problem_.valid_kv_len(item)) {
      DotProduct dot;
      for (int64_t column = 0; column < problem_.head_dim(); ++column) {
        dot.Add(heads_.query.At(item, head, row, column),
                heads_.key.At(item, kv_head, key, column));
      }
      score = Product(dot.Result(precision_), scale_, precision_);
      softcapped = problem_.softcap
                       ? Softcap(score, *problem_.softcap, precision_)
                       : score;
    }
    const bool attended = Attended(problem_, item, head, row, key);
    Bounded biased = Exact(kMinusInfinity);
    if (attended) {
      biased = problem_.bias
                   ? Sum(softcapped,
                         Exact(Broadcast(*problem_.bias, item, head, row, key)),
                         precision_)
                   : softcapped;
    }
    answer_.scores.At(item, head, row, key) = score;
    answer_.softcapped.At(item, head, row, key) = softcapped;
    answer_.biased.At(item, head, row, key) = biased;
    answer_.attended.At(item, head, row, key) = attended ? 1 : 0;
    work.scores.push_back(biased);
    work.attended.push_back(attended ? 1 : 0);
  }

  const Problem& problem_;
  const Precision& precision_;
  const Heads& heads_;
  const Bounded scale_;
  Answer& answer_;
};

// Point 9 of the header.
Tensor<Bounded> MeanOverHeads(const Tensor<Bounded>& weights,
                              const Precision& precision) {
  const auto [batch, num_heads, query_len, kv_len] = weights.shape;
  const auto heads = static_cast<long double>(num_heads);
  Tensor<Bounded> mean = MakeTensor<Bounded>({batch, 1, query_len, kv_len});
  for (int64_t item = 0; item < batch; ++item) {
    for (int64_t row = 0; row < query_len; ++row) {
      for (int64_t key = 0; key < kv_len; ++key) {
        Bounded sum = Exact(0);
        for (int64_t head = 0; head < num_heads; ++head) {
          sum.value += weights.At(item, head, row, key).value;
          sum.error += weights.At(item, head, row, key).error;
        }
        mean.At(item, 0, row, key) =
            sum.Magnitude() == 0
                ? Exact(0)
                : Rounded({sum.value / heads, sum.error / heads}, num_heads + 1,
                          precision);
      }
    }
  }
  return mean;
}

}  // namespace

int64_t ElementCount(const Shape& shape) {
  return shape[0] * shape[1] * shape[2] * shape[3];
}

int64_t Problem::head_dim() const {
  return weights ? weights->query.out / num_heads : query.shape[3];
}

int64_t Problem::value_dim() const {
  return weights ? weights->value.out / num_kv_heads : value.shape[3];
}

Answer Attention(const Problem& problem, const Precision& precision) {
  const Heads heads = MakeHeads(problem, precision);
  const int64_t batch = problem.batch();
  const int64_t num_heads = problem.num_heads;
  const int64_t query_len = problem.query_len();
  const Shape matrix = {batch, num_heads, query_len, problem.kv_len()};
  Answer answer;
  answer.output =
      MakeTensor<Bounded>({batch, num_heads, query_len, problem.value_dim()});
  answer.scores = MakeTensor<Bounded>(matrix);
  answer.softcapped = MakeTensor<Bounded>(matrix);
  answer.biased = MakeTensor<Bounded>(matrix);
  answer.attention_weights = MakeTensor<Bounded>(matrix);
  answer.attended = MakeTensor<uint8_t>(matrix);
  answer.lse = MakeTensor<Bounded>({batch, num_heads, query_len, 1});

  RowComputation computation(problem, precision, heads, answer);
  for (int64_t item = 0; item < batch; ++item) {
    for (int64_t head = 0; head < num_heads; ++head) {
      for (int64_t row = 0; row < query_len; ++row) {
        computation.Run(item, head, row);
      }
    }
  }
  answer.mean_weights = MeanOverHeads(answer.attention_weights, precision);
  if (problem.weights) {
    answer.output =
        problem.weights->output
            ? ProjectOutput(answer.output, *problem.weights->output, precision)
            : JoinHeads(answer.output);
  }
  return answer;
}

}  // namespace attention::reference
