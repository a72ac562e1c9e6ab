// The accumulators of statistics and gradients, and how two partial results are joined.
//
// 16- and 32-bit elements: sums of (x - shift) and (x - shift)^2 in double, `shift` a value of the
// block, blocks joined by Chan's rule. One shift for a whole channel would not do: where it is an
// outlier, its square hides the others. 64-bit elements have no wider type: every rounding error of
// the sums is kept (Knuth's two-sum, as if in twice double), which makes one shift enough.
#pragma once

#include "memory.h"

namespace kernel {
namespace {

// The rounding error of sum = a + b.
template <class V>
BN_INLINE V sum_error(V a, V b, V sum) {
  V b_part = sum - a;
  return (a - (sum - b_part)) + (b - b_part);
}

template <class T>
struct Sums {
  D s, q;

  static BN_INLINE Sums zero() { return {set(0.0), set(0.0)}; }
  BN_INLINE void add(D x, D shift) {
    D d = x - shift;
    s = s + d;
    q = fma(d, d, q);
  }
};

template <>
struct Sums<double> {
  D s, q, s_low, q_low;

  static BN_INLINE Sums zero() { return {set(0.0), set(0.0), set(0.0), set(0.0)}; }
  BN_INLINE void add(D x, D shift) {
    D d = x - shift, lost = (x - (d - (d - x))) - (shift + (d - x));
    D sum = s + d;
    s_low = s_low + (sum_error(s, d, sum) + lost);
    s = sum;
    D square = d * d, twice = d * lost;
    D total = q + square;
    q_low = q_low + (sum_error(q, square, total) + (square_error(d, square) + (twice + twice)));
    q = total;
  }
};

struct Pair {
  double high, low;
};

BN_INLINE Pair sum_lanes(D high, D low) {
  double h[LANES], l[LANES];
  __builtin_memcpy(h, &high, sizeof h);
  __builtin_memcpy(l, &low, sizeof l);
  for (int step = LANES / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; i++) {
      double sum = h[i] + h[i + step];
      l[i] = (l[i] + l[i + step]) + sum_error(h[i], h[i + step], sum);
      h[i] = sum;
    }
  }
  return {h[0], l[0]};
}

BN_INLINE double sum_lanes(D high) {
  double h[LANES];
  __builtin_memcpy(h, &high, sizeof h);
  for (int step = LANES / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; i++) h[i] = h[i] + h[i + step];
  }
  return h[0];
}

// total += more, per channel. `count`s are the values behind each; total may be empty (count 0).
template <class T>
void join(const Partials& total, double count, const Partials& more, double more_count,
          std::int64_t channels) {
  if (more_count == 0) return;
  if (count == 0) {
    for (std::int64_t c = 0; c < channels; c++) {
      total.shift[c] = more.shift[c];
      total.a[c] = more.a[c];
      total.b[c] = more.b[c];
      if constexpr (sizeof(T) == 8) {
        total.a_low[c] = more.a_low[c];
        total.b_low[c] = more.b_low[c];
      }
    }
    return;
  }
  if constexpr (sizeof(T) == 8) {
    for (std::int64_t c = 0; c < channels; c++) {
      double a = total.a[c] + more.a[c], b = total.b[c] + more.b[c];
      total.a_low[c] += more.a_low[c] + sum_error(total.a[c], more.a[c], a);
      total.b_low[c] += more.b_low[c] + sum_error(total.b[c], more.b[c], b);
      total.a[c] = a;
      total.b[c] = b;
    }
  } else {
    double part = more_count / (count + more_count), both = count * part;
    double *shift = total.shift, *mean = total.a, *m2 = total.b;
    for (std::int64_t c = 0; c < channels; c++) {
      double delta = (more.shift[c] - shift[c]) + (more.a[c] - mean[c]);
      double joined = mean[c] + delta * part;
      // inf - inf would make NaN of a channel that holds inf of one sign only.
      mean[c] = delta - delta == 0 ? joined : mean[c] + more.a[c];
      m2[c] = (m2[c] + more.b[c]) + delta * delta * both;
    }
  }
}

// A value to subtract first: finite, so that inf in a channel does not make its mean NaN.
template <class T>
BN_INLINE double shift_of(const T* p) {
  double value = get(p);
  return value - value == 0 ? value : 0;
}

BN_INLINE Partials from(const Partials& p, std::int64_t c) {
  return {p.shift + c, p.a + c, p.a_low + c, p.b + c, p.b_low + c};
}

struct Box {
  std::int64_t row, row_end, column, column_end;
};

BN_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Which outer and inner indices a block holds.
BN_INLINE Box box_of(const View& v, std::int64_t block) {
  std::int64_t chunks = (v.inner + v.chunk - 1) / v.chunk;
  std::int64_t row = block / chunks * v.rows, column = block % chunks * v.chunk;
  return {row, smaller(row + v.rows, v.outer), column, smaller(column + v.chunk, v.inner)};
}

BN_INLINE double count_of(const Box& box) {
  return (double)(box.row_end - box.row) * (double)(box.column_end - box.column);
}

}  // namespace
}  // namespace kernel
