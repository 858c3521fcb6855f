// Products with strips, and strips out of rows and back.
//
// Included by strip_kernel.cc once for each instruction set.
#if defined(SERVER_CORE_KERNEL_STRIP_PRODUCT_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef SERVER_CORE_KERNEL_STRIP_PRODUCT_INL_H_
#undef SERVER_CORE_KERNEL_STRIP_PRODUCT_INL_H_
#else
#define SERVER_CORE_KERNEL_STRIP_PRODUCT_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "hwy/highway.h"
#include "server/core/kernel/strip.h"

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

// What a product does to what is in its place.
enum class Store { kReplaces, kAdds };

// Sums that each result of a product is collected in, by turns. A score may be
// small and its terms large, and two sums round less than one; they cost
// results that could be made at once, so that the strip is read more often.
constexpr int kSumsOfScore = 2;

// Results a product makes at once. With their two vectors each, two of the
// strip and one number they fill the registers: 32 with AVX-512, 16 without.
constexpr int ResultsOf(int sums) {
  return (HWY_MAX_BYTES >= 64 ? 14 : 6) / sums;
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
template <typename T, Read kRead, Store kStore, int kSums, int kResults>
void StripProduct(const T* HWY_RESTRICT a, int64_t stride, int64_t depth,
                  const T* HWY_RESTRICT strip, T scale,
                  T* HWY_RESTRICT product) {
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

template <typename T, Read kRead, Store kStore, int kSums>
struct Products {
  using Function = void (*)(const T*, int64_t, int64_t, const T*, T, T*);

  template <int... kIndex>
  static constexpr std::array<Function, sizeof...(kIndex)> Table(
      std::integer_sequence<int, kIndex...>) {
    return {&StripProduct<T, kRead, kStore, kSums, kIndex + 1>...};
  }
  // of[m - 1] makes m results.
  static constexpr auto of =
      Table(std::make_integer_sequence<int, ResultsOf(kSums)>());
};

// The same for any number of results.
template <typename T, Read kRead, Store kStore, int kSums = 1>
void Multiply(const T* a, int64_t stride, int64_t results, int64_t depth,
              const T* strip, T scale, T* product) {
  constexpr int64_t kMost = ResultsOf(kSums);
  for (int64_t m = 0; m < results; m += kMost) {
    const int64_t now = std::min(kMost, results - m);
    Products<T, kRead, kStore, kSums>::of[static_cast<size_t>(now - 1)](
        a + m * (kRead == Read::kRows ? stride : 1), stride, depth, strip,
        scale, product + m * 2 * Lanes<T>());
  }
}

// Columns of a that are multiplied at once lie together in `packed`, row by
// row.
template <typename T>
void PackColumns(const T* a, int64_t stride, int64_t results, int64_t depth,
                 T* packed) {
  constexpr int64_t kMost = ResultsOf(1);
  constexpr int64_t kLine = 64 / sizeof(T);
  const int64_t whole = results / kMost * kMost;
  for (int64_t k = 0; k < depth; ++k) {
    const T* const from = a + k * stride;
    // The rows may lie far apart; the hardware does not foresee them.
    for (int64_t m = 0; m < results; m += kLine) {
      __builtin_prefetch(from + 8 * stride + m);
    }
    for (int64_t m = 0; m < whole; m += kMost) {
      std::memcpy(packed + m * depth + k * kMost, from + m, kMost * sizeof(T));
    }
    std::copy(from + whole, from + results,
              packed + whole * depth + k * (results - whole));
  }
}

// product += what was packed * strip.
template <typename T>
void AddPacked(const T* packed, int64_t results, int64_t depth, const T* strip,
               T* product) {
  constexpr int64_t kMost = ResultsOf(1);
  for (int64_t m = 0; m < results; m += kMost) {
    const int64_t now = std::min(kMost, results - m);
    Multiply<T, Read::kColumns, Store::kAdds>(packed + m * depth, now, now,
                                              depth, strip, T{1},
                                              product + m * 2 * Lanes<T>());
  }
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

// Columns that are transposed for all rows before the next ones, so that their
// part of the strip, 16 KiB where vectors are widest, stays in the first cache.
constexpr int64_t kColumnsAtOnce = 128;

// strip[c * width + r] = rows[r][c].
template <typename T>
void Pack(const T* const* rows, int64_t columns, T* strip) {
  const int64_t width = 2 * Lanes<T>();
  const int64_t whole = columns / kBlock<T> * kBlock<T>;
  const T* from[kBlock<T>];
  T* to[kBlock<T>];
  for (int64_t start = 0; start < whole; start += kColumnsAtOnce) {
    const int64_t end = std::min(start + kColumnsAtOnce, whole);
    for (int64_t r = 0; r < width; r += kBlock<T>) {
      for (int64_t c = start; c < end; c += kBlock<T>) {
        HWY_UNROLL(4)
        for (int64_t i = 0; i < kBlock<T>; ++i) {
          from[i] = rows[r + i] + c;
          to[i] = strip + (c + i) * width + r;
        }
        TransposeBlock(from, to);
      }
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
  for (int64_t start = 0; start < whole_columns; start += kColumnsAtOnce) {
    const int64_t end = std::min(start + kColumnsAtOnce, whole_columns);
    for (int64_t r = 0; r < whole_rows; r += kBlock<T>) {
      for (int64_t c = start; c < end; c += kBlock<T>) {
        HWY_UNROLL(4)
        for (int64_t i = 0; i < kBlock<T>; ++i) {
          from[i] = strip + (c + i) * width + r;
          to[i] = rows[r + i] + c;
        }
        TransposeBlock(from, to);
      }
    }
  }
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      rows[r][c] = strip[c * width + r];
    }
  }
}

}  // namespace attention::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard, once for each instruction set
