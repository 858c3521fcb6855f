#include "server/core/strip_kernel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

// Compiles this file once for each instruction set; the best is chosen at run
// time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/core/strip_kernel.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// Comes last: it uses what highway.h defines for the present target.
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace attention::core::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
using Tag = hn::ScalableTag<T>;
template <typename T>
using V = hn::Vec<Tag<T>>;

template <typename T>
int64_t Lanes() {
  return static_cast<int64_t>(hn::Lanes(Tag<T>()));
}

// The two vectors of one row of a strip's matrix.
template <typename T>
struct Pair {
  V<T> low, high;
};

template <typename T>
HWY_INLINE Pair<T> LoadPair(const T* from) {
  const Tag<T> d;
  return {hn::Load(d, from), hn::Load(d, from + hn::Lanes(d))};
}

template <typename T>
HWY_INLINE void StorePair(const Pair<T>& pair, T* to) {
  const Tag<T> d;
  hn::Store(pair.low, d, to);
  hn::Store(pair.high, d, to + hn::Lanes(d));
}

template <typename T>
HWY_INLINE Pair<T> Both(T number) {
  const auto lanes = hn::Set(Tag<T>(), number);
  return {lanes, lanes};
}

// kWeightScale * exp(x) for x <= 0, within 1 ulp; 0 where exp(x) rounds to 0.
//
// x = q ln 2 + r with |r| <= ln 2 / 2, so exp(x) = 2^q exp(r), and exp(r) is
// 1 + r + r^2 p(r) with the polynomial p of degree 4 that is best in relative
// error (3.1e-9, a twentieth of a roundoff). q ln 2 is taken off in two parts,
// of which the first is exact. Adding 1.5 * 2^23 rounds to an integer and
// leaves it in the lowest bits. Cheaper than hn::Exp, which serves positive x,
// too.
HWY_INLINE V<float> ScaledExp(V<float> x) {
  const Tag<float> d;
  const hn::RebindToSigned<Tag<float>> d_int;
  static_assert(kWeightScale<float> == 0x1p24f);
  const auto to_integer = hn::Set(d, 0x1.8p23f + 24);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), to_integer);
  const auto q = hn::Sub(shifted, to_integer);
  auto r = hn::MulAdd(q, hn::Set(d, -0.693145752f), x);
  r = hn::MulAdd(q, hn::Set(d, -1.42860677e-6f), r);
  auto p = hn::Set(d, 0.00138145406f);
  p = hn::MulAdd(p, r, hn::Set(d, 0.00836874545f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.041668389f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665211f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.49999994f));
  const auto exp_r = hn::Add(hn::Set(d, 1.0f), hn::MulAdd(hn::Mul(r, r), p, r));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(d_int, shifted));
  const auto scaled =
      hn::BitCast(d, hn::Add(hn::BitCast(d_int, exp_r), exponent));
  // Half the smallest subnormal is exp(-103.97), and 2^24 times that the
  // smallest normal number: below it the exponent would wrap round.
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -103.9f)), scaled);
}

HWY_INLINE V<double> ScaledExp(V<double> x) {
  static_assert(kWeightScale<double> == 1);
  return hn::Exp(Tag<double>(), x);
}

template <typename T>
HWY_INLINE Pair<T> ScaledExpOfDifference(const Pair<T>& x,
                                         const Pair<T>& from) {
  return {ScaledExp(hn::Sub(x.low, from.low)),
          ScaledExp(hn::Sub(x.high, from.high))};
}

// Which way a product reads the matrix beside the strip.
enum class Read { kRows, kColumns };

// What a product does to what is in its place.
enum class Store { kReplaces, kAdds };

// Sums that each result of a product is collected in, by turns. A score may be
// small and its terms large, and two sums round less than one; they cost
// nothing but results that could be made at once.
constexpr int SumsOf(Read read) { return read == Read::kRows ? 2 : 1; }

// Results a product makes at once. With their two vectors each, two of the
// strip and one number they fill the registers: 32 with AVX-512, 16 without.
constexpr int ResultsOf(Read read) {
  return (HWY_MAX_BYTES >= 64 ? 14 : 6) / SumsOf(read);
}

// Row pointers of a matrix that a product reads by rows. Three rows share one:
// what the processor can address from it, and few enough to stay in registers.
template <typename T, int kResults>
struct RowPointers {
  const T* of[(kResults + 2) / 3];
};

// results += a(., k) * strip[k][.], into sum number kSum.
template <Read kRead, int kResults, int kSum, typename T>
HWY_INLINE void AddTerm(const T* a, const RowPointers<T, kResults>& rows,
                        int64_t stride, int64_t k, const T* strip, V<T>* low,
                        V<T>* high) {
  const Tag<T> d;
  const Pair<T> b = LoadPair(strip + k * 2 * Lanes<T>());
  HWY_UNROLL(16)
  for (int m = 0; m < kResults; ++m) {
    const auto x =
        hn::Set(d, kRead == Read::kRows ? rows.of[m / 3][(m % 3) * stride + k]
                                        : a[k * stride + m]);
    constexpr int kFirst = kSum * kResults;
    low[kFirst + m] = hn::MulAdd(x, b.low, low[kFirst + m]);
    high[kFirst + m] = hn::MulAdd(x, b.high, high[kFirst + m]);
  }
}

// product[m][.] = scale * sum over k of a(m, k) * strip[k][.] for kResults
// values of m, where a(m, k) is a[m * stride + k] (rows) or a[k * stride + m]
// (columns). The order of the sum is the same for every element.
template <typename T, Read kRead, Store kStore, int kResults>
void StripProduct(const T* HWY_RESTRICT a, int64_t stride, int64_t depth,
                  const T* HWY_RESTRICT strip, T scale,
                  T* HWY_RESTRICT product) {
  constexpr int kSums = SumsOf(kRead);
  const Tag<T> d;
  V<T> low[kResults * kSums];
  V<T> high[kResults * kSums];
  HWY_UNROLL(16)
  for (int i = 0; i < kResults * kSums; ++i) low[i] = high[i] = hn::Zero(d);
  RowPointers<T, kResults> rows;
  for (int g = 0; g < (kResults + 2) / 3; ++g) {
    rows.of[g] = a + int64_t{3} * g * stride;
  }
  int64_t k = 0;
  for (; k + kSums <= depth; k += kSums) {
    if constexpr (kRead == Read::kColumns) {
      // The rows of value may lie far apart; the hardware does not foresee
      // them.
      __builtin_prefetch(a + (k + 24) * stride);
    }
    AddTerm<kRead, kResults, 0>(a, rows, stride, k, strip, low, high);
    if constexpr (kSums == 2) {
      AddTerm<kRead, kResults, 1>(a, rows, stride, k + 1, strip, low, high);
    }
  }
  if (k < depth) {
    AddTerm<kRead, kResults, 0>(a, rows, stride, k, strip, low, high);
  }
  const auto factor = hn::Set(d, scale);
  HWY_UNROLL(16)
  for (int m = 0; m < kResults; ++m) {
    T* const to = product + m * 2 * Lanes<T>();
    Pair<T> sum = {low[m], high[m]};
    if constexpr (kSums == 2) {
      sum = {hn::Add(sum.low, low[kResults + m]),
             hn::Add(sum.high, high[kResults + m])};
    }
    sum = {hn::Mul(sum.low, factor), hn::Mul(sum.high, factor)};
    if constexpr (kStore == Store::kAdds) {
      const Pair<T> before = LoadPair(to);
      sum = {hn::Add(before.low, sum.low), hn::Add(before.high, sum.high)};
    }
    StorePair(sum, to);
  }
}

template <typename T, Read kRead, Store kStore>
struct Products {
  using Function = void (*)(const T*, int64_t, int64_t, const T*, T, T*);

  template <int... kIndex>
  static constexpr std::array<Function, sizeof...(kIndex)> Table(
      std::integer_sequence<int, kIndex...>) {
    return {&StripProduct<T, kRead, kStore, kIndex + 1>...};
  }
  // of[m - 1] makes m results.
  static constexpr auto of =
      Table(std::make_integer_sequence<int, ResultsOf(kRead)>());
};

// The same for any number of results.
template <typename T, Read kRead, Store kStore>
void Multiply(const T* a, int64_t stride, int64_t results, int64_t depth,
              const T* strip, T scale, T* product) {
  constexpr int64_t kMost = ResultsOf(kRead);
  for (int64_t m = 0; m < results; m += kMost) {
    const int64_t now = std::min(kMost, results - m);
    Products<T, kRead, kStore>::of[static_cast<size_t>(now - 1)](
        a + m * (kRead == Read::kRows ? stride : 1), stride, depth, strip,
        scale, product + m * 2 * Lanes<T>());
  }
}

// Largest score of each row, and whether one was NaN or infinite.
template <typename T>
struct Peaks {
  Pair<T> max;
  Pair<T> poison;  // 0, or NaN once a score was not finite

  HWY_INLINE void Add(const Pair<T>& scores, const Pair<T>& attended) {
    const auto zero = hn::Zero(Tag<T>());
    max.low = hn::Max(max.low, scores.low);
    max.high = hn::Max(max.high, scores.high);
    poison.low = hn::MulAdd(attended.low, zero, poison.low);
    poison.high = hn::MulAdd(attended.high, zero, poison.high);
  }

  bool finite() const {
    const Tag<T> d;
    return hn::AllTrue(d,
                       hn::Eq(hn::Add(poison.low, poison.high), hn::Zero(d)));
  }
};

template <typename T>
HWY_INLINE Peaks<T> NoPeaks() {
  return {Both(-std::numeric_limits<T>::infinity()), Both(T{0})};
}

// Scores begin to end of a block that every row sees as they are.
template <typename T>
HWY_INLINE void FindPeaks(const T* scores, int64_t begin, int64_t end,
                          Peaks<T>& peaks) {
  const int64_t width = 2 * Lanes<T>();
  for (int64_t j = begin; j < end; ++j) {
    const Pair<T> row = LoadPair(scores + j * width);
    peaks.Add(row, row);
  }
}

// Whether each row sees key j and does not exclude it by `added`.
template <typename T>
HWY_INLINE hn::Mask<Tag<T>> Attended(const KeyBlock<T>& block, int64_t j,
                                     int64_t lane) {
  const Tag<T> d;
  const auto key = hn::Set(d, static_cast<T>(j));
  auto attended = hn::And(hn::Ge(key, hn::Load(d, block.visible_begin + lane)),
                          hn::Lt(key, hn::Load(d, block.visible_end + lane)));
  if (block.added != nullptr) {
    const auto added = hn::Load(d, block.added + j * 2 * Lanes<T>() + lane);
    attended =
        hn::And(attended,
                hn::Ne(added, hn::Set(d, -std::numeric_limits<T>::infinity())));
  }
  return attended;
}

// Scores begin to end of a block with softcap, bias and exclusions; an excluded
// one becomes -inf.
template <typename T>
void PrepareScores(const KeyBlock<T>& block, int64_t begin, int64_t end,
                   Peaks<T>& peaks) {
  const Tag<T> d;
  const int64_t lanes = Lanes<T>();
  const auto excluded = hn::Set(d, -std::numeric_limits<T>::infinity());
  for (int64_t j = begin; j < end; ++j) {
    T* const row = block.scores + j * 2 * lanes;
    if (block.softcap != 0) {
      // NaN and infinities have to reach the check below as they are.
      for (int64_t r = 0; r < 2 * lanes; ++r) {
        if (std::isfinite(row[r])) {
          row[r] = block.softcap * std::tanh(row[r] / block.softcap);
        }
      }
    }
    Pair<T> scores = LoadPair(row);
    if (block.added != nullptr) {
      const Pair<T> added = LoadPair(block.added + j * 2 * lanes);
      scores = {hn::Add(scores.low, added.low),
                hn::Add(scores.high, added.high)};
    }
    const auto low = Attended(block, j, 0);
    const auto high = Attended(block, j, lanes);
    const Pair<T> attended = {hn::IfThenElseZero(low, scores.low),
                              hn::IfThenElseZero(high, scores.high)};
    scores = {hn::IfThenElse(low, scores.low, excluded),
              hn::IfThenElse(high, scores.high, excluded)};
    peaks.Add(scores, attended);
    StorePair(scores, row);
  }
}

// scores = kWeightScale * exp(scores - max); returns the sums of the rows.
template <typename T>
Pair<T> Exponentiate(int64_t count, const Pair<T>& max, T* scores) {
  const int64_t width = 2 * Lanes<T>();
  Pair<T> even = Both(T{0});
  Pair<T> odd = even;
  int64_t j = 0;
  for (; j + 2 <= count; j += 2) {
    T* const row = scores + j * width;
    const Pair<T> first = ScaledExpOfDifference(LoadPair(row), max);
    const Pair<T> second = ScaledExpOfDifference(LoadPair(row + width), max);
    StorePair(first, row);
    StorePair(second, row + width);
    even = {hn::Add(even.low, first.low), hn::Add(even.high, first.high)};
    odd = {hn::Add(odd.low, second.low), hn::Add(odd.high, second.high)};
  }
  if (j < count) {
    T* const row = scores + j * width;
    const Pair<T> last = ScaledExpOfDifference(LoadPair(row), max);
    StorePair(last, row);
    even = {hn::Add(even.low, last.low), hn::Add(even.high, last.high)};
  }
  return {hn::Add(even.low, odd.low), hn::Add(even.high, odd.high)};
}

// numbers[i][.] *= factors for `count` rows of a strip's matrix.
template <typename T>
void Scale(const Pair<T>& factors, int64_t count, T* numbers) {
  const int64_t width = 2 * Lanes<T>();
  for (int64_t i = 0; i < count; ++i) {
    const Pair<T> row = LoadPair(numbers + i * width);
    StorePair<T>(
        {hn::Mul(row.low, factors.low), hn::Mul(row.high, factors.high)},
        numbers + i * width);
  }
}

// weights *= kept, element by element.
template <typename T>
void Drop(const T* kept, int64_t count, T* weights) {
  const int64_t width = 2 * Lanes<T>();
  for (int64_t j = 0; j < count; ++j) {
    Scale(LoadPair(kept + j * width), 1, weights + j * width);
  }
}

// Whether no row of a strip has attended to a key yet; its output is undefined
// then.
template <typename T>
bool IsNew(const Strip<T>& strip) {
  const Tag<T> d;
  const Pair<T> max = LoadPair(strip.max);
  const auto nothing = hn::Set(d, -std::numeric_limits<T>::infinity());
  return hn::AllTrue(d, hn::Eq(hn::Max(max.low, max.high), nothing));
}

// Moves the maxima of a strip on to those of a block, and shrinks what has been
// summed with them. Returns what to subtract from scores, which is 0 for a row
// that has attended to nothing yet.
template <typename T>
Pair<T> RaiseMax(const KeyBlock<T>& block, const Strip<T>& strip, bool is_new,
                 const Pair<T>& block_max) {
  const Tag<T> d;
  const auto nothing = hn::Set(d, -std::numeric_limits<T>::infinity());
  const Pair<T> before = LoadPair(strip.max);
  const Pair<T> after = {hn::Max(before.low, block_max.low),
                         hn::Max(before.high, block_max.high)};
  const Pair<T> subtract = {
      hn::IfThenZeroElse(hn::Eq(after.low, nothing), after.low),
      hn::IfThenZeroElse(hn::Eq(after.high, nothing), after.high)};
  const bool stays = hn::AllTrue(d, hn::Eq(before.low, after.low)) &&
                     hn::AllTrue(d, hn::Eq(before.high, after.high));
  if (!stays && !is_new) {
    // 1 where the maximum stays, 0 where there was none.
    const auto unscale = hn::Set(d, 1 / kWeightScale<T>);
    Pair<T> shrink = ScaledExpOfDifference(before, subtract);
    shrink = {hn::Mul(shrink.low, unscale), hn::Mul(shrink.high, unscale)};
    Scale(shrink, block.value_dim, strip.output);
    HWY_ALIGN T factors[2 * (HWY_MAX_BYTES / sizeof(T))];
    StorePair(shrink, factors);
    for (int64_t r = 0; r < 2 * Lanes<T>(); ++r) {
      strip.sum[r] *= static_cast<double>(factors[r]);
    }
  }
  StorePair(after, strip.max);
  return subtract;
}

// Largest scores of a block that has been multiplied, with all options applied;
// not finite if an attended score is not.
template <typename T>
Peaks<T> FinishScores(const KeyBlock<T>& block) {
  const bool plain = block.added == nullptr && block.softcap == 0;
  const int64_t plain_begin = plain ? block.all_begin : block.count;
  const int64_t plain_end = plain ? block.all_end : block.count;
  Peaks<T> peaks = NoPeaks<T>();
  PrepareScores(block, 0, plain_begin, peaks);
  FindPeaks(block.scores, plain_begin, plain_end, peaks);
  PrepareScores(block, plain_end, block.count, peaks);
  return peaks;
}

template <typename T>
void Score(const KeyBlock<T>& block, const T* query) {
  Multiply<T, Read::kRows, Store::kReplaces>(block.key, block.key_stride,
                                             block.count, block.head_dim, query,
                                             block.scale, block.scores);
}

template <typename T, Store kStore>
void Sum(const KeyBlock<T>& block, T* output) {
  if (block.count == 0) {  // and value may point nowhere
    std::fill_n(output, block.value_dim * 2 * Lanes<T>(), T{0});
    return;
  }
  Multiply<T, Read::kColumns, kStore>(block.value, block.value_stride,
                                      block.value_dim, block.count,
                                      block.scores, T{1}, output);
}

template <typename T>
bool Fold(const KeyBlock<T>& block, const Strip<T>& strip) {
  Score(block, strip.query);
  const Peaks<T> peaks = FinishScores(block);
  if (!peaks.finite()) return false;

  const bool is_new = IsNew(strip);
  const Pair<T> subtract = RaiseMax(block, strip, is_new, peaks.max);
  HWY_ALIGN T sums[2 * (HWY_MAX_BYTES / sizeof(T))];
  StorePair(Exponentiate(block.count, subtract, block.scores), sums);
  for (int64_t r = 0; r < 2 * Lanes<T>(); ++r) {
    strip.sum[r] += static_cast<double>(sums[r]);
  }
  if (block.kept != nullptr) Drop(block.kept, block.count, block.scores);

  if (is_new) {
    Sum<T, Store::kReplaces>(block, strip.output);
  } else {
    Sum<T, Store::kAdds>(block, strip.output);
  }
  return true;
}

bool FoldFloat(const KeyBlock<float>& block, const Strip<float>& strip) {
  return Fold(block, strip);
}
bool FoldDouble(const KeyBlock<double>& block, const Strip<double>& strip) {
  return Fold(block, strip);
}

// Rows and columns of what is transposed at once: vectors of 16 bytes, which
// every instruction set has.
template <typename T>
constexpr int64_t kBlock = HWY_TARGET == HWY_SCALAR ? 1 : 16 / sizeof(T);

// to[i][j] = from[j][i] for a block.
#if HWY_TARGET == HWY_SCALAR
template <typename T>
HWY_INLINE void TransposeBlock(const T* const* from, T* const* to) {
  *to[0] = *from[0];
}
#else
HWY_INLINE void TransposeBlock(const float* const* from, float* const* to) {
  const hn::Full128<float> d;
  const hn::Full128<double> d_two;
  const auto row0 = hn::LoadU(d, from[0]);
  const auto row1 = hn::LoadU(d, from[1]);
  const auto row2 = hn::LoadU(d, from[2]);
  const auto row3 = hn::LoadU(d, from[3]);
  const auto low01 = hn::BitCast(d_two, hn::InterleaveLower(d, row0, row1));
  const auto low23 = hn::BitCast(d_two, hn::InterleaveLower(d, row2, row3));
  const auto high01 = hn::BitCast(d_two, hn::InterleaveUpper(d, row0, row1));
  const auto high23 = hn::BitCast(d_two, hn::InterleaveUpper(d, row2, row3));
  const auto column0 = hn::InterleaveLower(d_two, low01, low23);
  const auto column1 = hn::InterleaveUpper(d_two, low01, low23);
  const auto column2 = hn::InterleaveLower(d_two, high01, high23);
  const auto column3 = hn::InterleaveUpper(d_two, high01, high23);
  hn::StoreU(hn::BitCast(d, column0), d, to[0]);
  hn::StoreU(hn::BitCast(d, column1), d, to[1]);
  hn::StoreU(hn::BitCast(d, column2), d, to[2]);
  hn::StoreU(hn::BitCast(d, column3), d, to[3]);
}

HWY_INLINE void TransposeBlock(const double* const* from, double* const* to) {
  const hn::Full128<double> d;
  const auto row0 = hn::LoadU(d, from[0]);
  const auto row1 = hn::LoadU(d, from[1]);
  hn::StoreU(hn::InterleaveLower(d, row0, row1), d, to[0]);
  hn::StoreU(hn::InterleaveUpper(d, row0, row1), d, to[1]);
}
#endif

// strip[c * width + r] = rows[r][c].
template <typename T>
void Pack(const T* const* rows, int64_t columns, T* strip) {
  const int64_t width = 2 * Lanes<T>();
  const int64_t whole = columns / kBlock<T> * kBlock<T>;
  const T* from[kBlock<T>];
  T* to[kBlock<T>];
  for (int64_t r = 0; r < width; r += kBlock<T>) {
    for (int64_t c = 0; c < whole; c += kBlock<T>) {
      HWY_UNROLL(4)
      for (int64_t i = 0; i < kBlock<T>; ++i) {
        from[i] = rows[r + i] + c;
        to[i] = strip + (c + i) * width + r;
      }
      TransposeBlock(from, to);
    }
  }
  for (int64_t c = whole; c < columns; ++c) {
    for (int64_t r = 0; r < width; ++r) strip[c * width + r] = rows[r][c];
  }
}

// rows[r][c] = strip[c * width + r] for `count` rows.
template <typename T>
void Unpack(const T* strip, int64_t columns, int64_t count, T* const* rows) {
  const int64_t width = 2 * Lanes<T>();
  const int64_t whole_rows = count / kBlock<T> * kBlock<T>;
  const int64_t whole_columns = columns / kBlock<T> * kBlock<T>;
  const T* from[kBlock<T>];
  T* to[kBlock<T>];
  for (int64_t r = 0; r < whole_rows; r += kBlock<T>) {
    for (int64_t c = 0; c < whole_columns; c += kBlock<T>) {
      HWY_UNROLL(4)
      for (int64_t i = 0; i < kBlock<T>; ++i) {
        from[i] = strip + (c + i) * width + r;
        to[i] = rows[r + i] + c;
      }
      TransposeBlock(from, to);
    }
  }
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      rows[r][c] = strip[c * width + r];
    }
  }
}

void ScoreFloat(const KeyBlock<float>& block, const float* query) {
  Score(block, query);
}
void ScoreDouble(const KeyBlock<double>& block, const double* query) {
  Score(block, query);
}
void SumFloat(const KeyBlock<float>& block, float* output) {
  Sum<float, Store::kReplaces>(block, output);
}
void SumDouble(const KeyBlock<double>& block, double* output) {
  Sum<double, Store::kReplaces>(block, output);
}

void UnpackFloat(const float* strip, int64_t columns, int64_t count,
                 float* const* rows) {
  Unpack(strip, columns, count, rows);
}
void UnpackDouble(const double* strip, int64_t columns, int64_t count,
                  double* const* rows) {
  Unpack(strip, columns, count, rows);
}

void PackFloat(const float* const* rows, int64_t columns, float* strip) {
  Pack(rows, columns, strip);
}
void PackDouble(const double* const* rows, int64_t columns, double* strip) {
  Pack(rows, columns, strip);
}

template <typename T>
bool Finish(const Strip<T>& strip, int64_t value_dim, int64_t count,
            T* const* rows) {
  if (IsNew(strip)) {
    for (int64_t r = 0; r < count; ++r) std::fill_n(rows[r], value_dim, T{0});
    return true;
  }
  const int64_t width = 2 * Lanes<T>();
  HWY_ALIGN T factors[2 * (HWY_MAX_BYTES / sizeof(T))];
  for (int64_t r = 0; r < width; ++r) {
    factors[r] = strip.sum[r] > 0 ? static_cast<T>(1 / strip.sum[r]) : T{0};
  }
  const Pair<T> factor = LoadPair(factors);
  Peaks<T> peaks = NoPeaks<T>();
  for (int64_t c = 0; c < value_dim; ++c) {
    T* const column = strip.output + c * width;
    Scale(factor, 1, column);
    const Pair<T> quotients = LoadPair(column);
    peaks.Add(quotients, quotients);
  }
  Unpack(strip.output, value_dim, count, rows);
  return peaks.finite();
}

bool FinishFloat(const Strip<float>& strip, int64_t value_dim, int64_t count,
                 float* const* rows) {
  return Finish(strip, value_dim, count, rows);
}
bool FinishDouble(const Strip<double>& strip, int64_t value_dim, int64_t count,
                  double* const* rows) {
  return Finish(strip, value_dim, count, rows);
}

int64_t RowsFloat() { return 2 * Lanes<float>(); }
int64_t RowsDouble() { return 2 * Lanes<double>(); }

}  // namespace attention::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attention::core {

HWY_EXPORT(RowsFloat);
HWY_EXPORT(RowsDouble);
HWY_EXPORT(PackFloat);
HWY_EXPORT(PackDouble);
HWY_EXPORT(UnpackFloat);
HWY_EXPORT(UnpackDouble);
HWY_EXPORT(ScoreFloat);
HWY_EXPORT(ScoreDouble);
HWY_EXPORT(SumFloat);
HWY_EXPORT(SumDouble);
HWY_EXPORT(FoldFloat);
HWY_EXPORT(FoldDouble);
HWY_EXPORT(FinishFloat);
HWY_EXPORT(FinishDouble);

template <>
int64_t StripRows<float>() {
  return HWY_DYNAMIC_DISPATCH(RowsFloat)();
}
template <>
int64_t StripRows<double>() {
  return HWY_DYNAMIC_DISPATCH(RowsDouble)();
}

template <>
void PackStrip<float>(const float* const* rows, int64_t columns, float* strip) {
  HWY_DYNAMIC_DISPATCH(PackFloat)(rows, columns, strip);
}
template <>
void PackStrip<double>(const double* const* rows, int64_t columns,
                       double* strip) {
  HWY_DYNAMIC_DISPATCH(PackDouble)(rows, columns, strip);
}

template <>
void UnpackStrip<float>(const float* strip, int64_t columns, int64_t count,
                        float* const* rows) {
  HWY_DYNAMIC_DISPATCH(UnpackFloat)(strip, columns, count, rows);
}
template <>
void UnpackStrip<double>(const double* strip, int64_t columns, int64_t count,
                         double* const* rows) {
  HWY_DYNAMIC_DISPATCH(UnpackDouble)(strip, columns, count, rows);
}

template <>
void ScoreBlock<float>(const KeyBlock<float>& block, const float* query) {
  HWY_DYNAMIC_DISPATCH(ScoreFloat)(block, query);
}
template <>
void ScoreBlock<double>(const KeyBlock<double>& block, const double* query) {
  HWY_DYNAMIC_DISPATCH(ScoreDouble)(block, query);
}

template <>
void SumValues<float>(const KeyBlock<float>& block, float* output) {
  HWY_DYNAMIC_DISPATCH(SumFloat)(block, output);
}
template <>
void SumValues<double>(const KeyBlock<double>& block, double* output) {
  HWY_DYNAMIC_DISPATCH(SumDouble)(block, output);
}

template <>
bool FoldBlock<float>(const KeyBlock<float>& block, const Strip<float>& strip) {
  return HWY_DYNAMIC_DISPATCH(FoldFloat)(block, strip);
}
template <>
bool FoldBlock<double>(const KeyBlock<double>& block,
                       const Strip<double>& strip) {
  return HWY_DYNAMIC_DISPATCH(FoldDouble)(block, strip);
}

template <>
bool FinishStrip<float>(const Strip<float>& strip, int64_t value_dim,
                        int64_t count, float* const* rows) {
  return HWY_DYNAMIC_DISPATCH(FinishFloat)(strip, value_dim, count, rows);
}
template <>
bool FinishStrip<double>(const Strip<double>& strip, int64_t value_dim,
                         int64_t count, double* const* rows) {
  return HWY_DYNAMIC_DISPATCH(FinishDouble)(strip, value_dim, count, rows);
}

}  // namespace attention::core
#endif  // HWY_ONCE
