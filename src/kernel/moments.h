// The statistics of x over a part of a tensor, and how two partial results are joined.
//
// 16- and 32-bit elements: sums of (x - shift) and (x - shift)^2 in double, `shift` a value of the
// block, blocks joined by Chan's rule. One shift for a whole channel would not do: where it is an
// outlier, its square hides the others. 64-bit elements have no wider type: every rounding error of
// the sums is kept (Knuth's two-sum, as if in twice double), which makes one shift enough.
#pragma once

#include "sums.h"

namespace kernel {
namespace {

// The rounding error of sum = a + b.
template <class V>
BN_INLINE V sum_error(V a, V b, V sum) {
  V b_part = sum - a;
  return (a - (sum - b_part)) + (b - b_part);
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

template <class T>
struct Moments {
  static constexpr bool DOUBLE = sizeof(T) == 8;
  static constexpr int SUMS = DOUBLE ? 4 : 2, KEYS = 1;  // s, q, and for double their low parts
  struct Lanes {
    D sums[SUMS];
    BN_INLINE D sum(int j) const { return sums[j]; }
    static BN_INLINE Lanes zero() {
      Lanes lanes;
      for (D& sum : lanes.sums) sum = set(0.0);
      return lanes;
    }
  };

  struct Source {
    const T* x;
    T* packed;
    BN_INLINE void fetch(std::int64_t i) const { kernel::fetch(x, i); }
    BN_INLINE void add(Lanes& to, std::int64_t i, std::int64_t copied, const D* key) const {
      if (packed) copy(packed + copied, x + i);
      Moments::add(to, wide(x + i), *key);
    }
    BN_INLINE void add_part(Lanes& to, std::int64_t i, std::int64_t copied, int n, const D* key,
                            ScalarOf<T> fill) const {
      if (packed) copy_part(packed + copied, x + i, n);
      Moments::add(to, widen(load_part<T>(x + i, n, fill)), *key);
    }
  };

  const View& v;
  const Source source;
  const Partials& out;
  double count = 0;
  alignas(64) double keys[KEYS][POSITIONS];

  Moments(const View& view, const Tensors& t, const Part& part, const Partials& partials)
      : v(view), source{(const T*)t.x, (T*)part.packed.x}, out(partials) {}

  // Subtracted first: finite, so that inf in a channel does not make its mean NaN.
  void begin(const Box& box, std::int64_t c0, std::int64_t group, bool first) {
    if (first) count = 0;
    const T* p = source.x + (DOUBLE ? 0 : box.row * v.channels * v.inner + box.column) + c0 * v.inner;
    for (std::int64_t c = 0; c < group; c++) {
      const double value = get(p + c * v.inner);
      keys[0][c] = value - value == 0 ? value : 0;
    }
  }
  BN_INLINE ScalarOf<T> fill(std::int64_t c) const { return (ScalarOf<T>)keys[0][c]; }

  static BN_INLINE void add(Lanes& to, D x, D shift) {
    const D d = x - shift;
    D *s = to.sums, *q = to.sums + 1;
    if constexpr (DOUBLE) {
      const D lost = (x - (d - (d - x))) - (shift + (d - x));
      const D sum = *s + d, square = d * d, twice = d * lost, total = *q + square;
      to.sums[2] = to.sums[2] + (sum_error(*s, d, sum) + lost);
      to.sums[3] = to.sums[3] + (sum_error(*q, square, total) +
                                 (square_error(d, square) + (twice + twice)));
      *s = sum;
      *q = total;
    } else {
      *s = *s + d;
      *q = fma(d, d, *q);
    }
  }

  void fold(const Columns<Moments>& from, std::int64_t start, std::int64_t end,
            Columns<Moments>& to, std::int64_t c) const {
    for (int j = 0; j < 2; j++) {
      if constexpr (DOUBLE) {
        double high = 0, low = 0;
        for (std::int64_t i = start; i < end; i++) {
          const double more = from.sums[j][i], sum = high + more;
          low += from.sums[j + 2][i] + sum_error(high, more, sum);
          high = sum;
        }
        to.sums[j][c] = high, to.sums[j + 2][c] = low;
      } else {
        to.sums[j][c] = sum_run(from.sums[j], start, end);
      }
    }
  }

  void end(const Box& box, std::int64_t c0, std::int64_t group, Columns<Moments>& totals) {
    const double block_count = count_of(box);
    double *s = totals.sums[0], *q = totals.sums[1];
    if constexpr (!DOUBLE) {
      for (std::int64_t c = 0; c < group; c++) {
        const double sum = s[c];
        s[c] = sum / block_count;
        q[c] -= sum * s[c];
      }
    }
    const Partials all = {out.shift + c0, out.a + c0, out.a_low + c0, out.b + c0, out.b_low + c0};
    const Partials block = {keys[0], s, totals.sums[DOUBLE ? 2 : 0], q, totals.sums[DOUBLE ? 3 : 1]};
    join<T>(all, count, block, block_count, group);
    count += block_count;
  }
};

template <class T>
void moments(const View& v, const Tensors& t, const Part& part, const Partials& out) {
  Moments<T> sum(v, t, part, out);
  sum_part(v, part, sum);
}

}  // namespace
}  // namespace kernel
