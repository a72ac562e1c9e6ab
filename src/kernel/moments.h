// The statistics of x over a part of a tensor, and how two partial results are joined.
//
// 16- and 32-bit elements: sums of (x - shift) and (x - shift)^2 in double, `shift` a value of the
// block, blocks joined by Chan's rule. One shift for a whole channel would not do: where it is an
// outlier, its square hides the others. Eight values of 16 bits at a time are summed in float before
// that, which takes half the operations. 64-bit elements have no wider type: every rounding error of
// the sums is kept (Knuth's two-sum, as if in twice double), which makes one shift enough.
#pragma once

#include "sums.h"
#include "turned.h"

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

BN_INLINE double middle_of(double a, double b, double c) {
  const double low = a < b ? a : b, high = a < b ? b : a;
  return c < low ? low : c < high ? c : high;
}

// Computes in `Key`: F (in strips) or D. PLAIN ones copy all they read.
template <class T, class V, bool PLAIN = false>
struct Moments {
  static constexpr bool DOUBLE = sizeof(T) == 8, STRIPS = sizeof(typename V::Scalar) == 4;
  static constexpr int SUMS = DOUBLE ? 4 : 2, KEYS = 1;  // s, q, and for double their low parts
  static constexpr std::int64_t STRIP = STRIPS ? 8 : 1 << 20;
  using Element = T;
  using Key = V;
  using Strip = std::conditional_t<STRIPS, FloatStrip<2>, NoStrip>;
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
    BN_INLINE void add(Lanes& to, Strip& strip, std::int64_t i, std::int64_t copied,
                       const V* key) const {
      if (PLAIN || packed) copy(packed + copied, x + i);
      if constexpr (STRIPS) {
        Moments::add(strip, load(x + i), *key);
      } else {
        Moments::add(to, wide(x + i), *key);
      }
    }
    BN_INLINE void add_part(Lanes& to, Strip& strip, std::int64_t i, std::int64_t copied, int n,
                            const V* key, ScalarOf<T> fill) const {
      if (PLAIN || packed) copy_part(packed + copied, x + i, n);
      const auto own = load_part<T>(x + i, n, fill);
      if constexpr (STRIPS) {
        Moments::add(strip, own, *key);
      } else {
        Moments::add(to, widen(own), *key);
      }
    }
  };

  const View& v;
  const Source source;
  const Partials& out;
  double count = 0;
  alignas(64) double keys[KEYS][POSITIONS];

  Moments(const View& view, const Source& from, const Partials& partials)
      : v(view), source(from), out(partials) {}

  // Subtracted first: finite, so that inf in a channel does not make its mean NaN. Where strips leave
  // but float's digits it is the middle one of three, since the farther from the mean the more it costs.
  void begin(const Box& box, std::int64_t c0, std::int64_t group, bool first) {
    if (first) count = 0;
    const std::int64_t stride = v.channels * v.inner;
    const T* p = source.x + (DOUBLE ? 0 : box.row * stride + box.column) + c0 * v.inner;
    const std::int64_t rows = box.row_end - box.row - 1, columns = box.column_end - box.column - 1;
    const std::int64_t last = rows * stride + columns;
    const std::int64_t middle = (rows + 1) / 2 * stride + columns / 2;
    for (std::int64_t c = 0; c < group; c++) {
      double value = get(p + c * v.inner);
      if constexpr (STRIPS) {
        const double other = get(p + c * v.inner + middle), third = get(p + c * v.inner + last);
        value = middle_of(value, other, third);
      }
      keys[0][c] = value - value == 0 ? value : 0;
    }
  }
  BN_INLINE ScalarOf<T> fill(std::int64_t c) const { return (ScalarOf<T>)keys[0][c]; }

  static BN_INLINE void add(FloatStrip<2>& to, F x, F shift) {
    const F d = x - shift;
    to.sums[0] = to.sums[0] + d;
    to.sums[1] = fma(d, d, to.sums[1]);
  }
  static BN_INLINE void add(Lanes& to, D x, D shift) {
    const D d = x - shift;
    D *s = to.sums, *q = to.sums + 1;
    if constexpr (DOUBLE) {
      const D lost = (x - (d - (d - x))) - (shift + (d - x));
      const D sum = *s + d, square = d * d, twice = d * lost, total = *q + square;
      to.sums[2] = to.sums[2] + (sum_error(*s, d, sum) + lost);
      to.sums[3] = to.sums[3] + (sum_error(*q, square, total) +
                                 (product_error(d, d, square) + (twice + twice)));
      *s = sum;
      *q = total;
    } else {
      *s = *s + d;
      *q = fma(d, d, *q);
    }
  }

  BN_INLINE void fold(const Columns<Moments>& from, std::int64_t start, std::int64_t end,
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
    if constexpr (STRIPS) in_double(box, c0, group, totals);
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

  // Once more in double the channels whose squares float doesn't hold, or whose shift is so far from
  // their mean, two deviations, that its square would hide the others. Squares of finite halves it holds;
  // of bfloat16 a variance below 2^-150 may come out 0, where what is added to it cancels.
  void in_double(const Box& box, std::int64_t c0, std::int64_t group, Columns<Moments>& totals) {
    constexpr bool HALF = std::is_same_v<T, Half>;
    const double values = count_of(box), least = 0x1p-80 * values;
    for (std::int64_t c = 0; c < group; c++) {
      double &s = totals.sums[0][c], &q = totals.sums[1][c];
      const double of_shift = s * s / values;
      const bool held = HALF || (q >= least && q <= 0x1p120) || (q == 0 && s == 0);
      if (held && !(of_shift > 4 * (q - of_shift))) continue;
      Moments<T, D> wide(v, {source.x, nullptr}, out);
      Columns<Moments<T, D>> own;
      Nothing beside;
      wide.begin(box, c0 + c, 1, true);
      sum_block(v, {}, box, c0 + c, 1, wide, own, beside);
      keys[0][c] = wide.keys[0][0], s = own.sums[0][0], q = own.sums[1][0];
    }
  }
};

template <class T, bool PLAIN = false>
BN_INLINE Moments<T, SummedIn<T>, PLAIN> moments_of(const View& v, const Tensors& t,
                                                    const Part& part, const Partials& out) {
  return {v, {(const T*)t.x, (T*)part.packed.x}, out};
}

template <class T>
void moments(const View& v, const Tensors& t, const Part& part, const Partials& out) {
  if (v.inner == 1 || !has_few_values(v)) {  // channels last need no turning
    auto sum = moments_of<T>(v, t, part, out);
    return sum_part(v, part, sum);
  }
  alignas(64) T x[FEW_VALUES * TURNED];
  const View rows = turned(v);
  for (std::int64_t c = part.channel; c < part.channel_end; c += TURNED) {
    const std::int64_t count = smaller(TURNED, part.channel_end - c);
    turn<false>(v, c, count, t.x, x);
    const Partials own = {out.shift + c, out.a + c, out.a_low + c, out.b + c, out.b_low + c};
    Moments<T, SummedIn<T>> sum(rows, {x, nullptr}, own);
    sum_part(rows, {0, count, 0, 1, false, {}}, sum);
  }
}

}  // namespace
}  // namespace kernel
