// What is computed from a channel's sums, between the sweep that sums x and the sweep that writes y:
// mean and m2, 1/std, the coefficients of y, those of dx. Sixteen channels at a time: with many channels
// and few rows, these are as many operations as the sweeps'.
#pragma once

#include "moments.h"

namespace kernel {
namespace {

// Lanes for which something holds: all bits set, or none.
struct Lanewise {
  decltype(RegisterD{} < RegisterD{}) r[COUNT_D];
};
#define BN_COMPARISON(op)                      \
  BN_INLINE Lanewise operator op(D a, D b) {   \
    Lanewise m;                                \
    BN_LANES(COUNT_D) m.r[i] = a.r[i] op b.r[i]; \
    return m;                                  \
  }
BN_COMPARISON(<)
BN_COMPARISON(<=)
BN_COMPARISON(==)
#undef BN_COMPARISON
BN_INLINE Lanewise operator&(Lanewise a, Lanewise b) {
  BN_LANES(COUNT_D) a.r[i] &= b.r[i];
  return a;
}
BN_INLINE Lanewise operator|(Lanewise a, Lanewise b) {
  BN_LANES(COUNT_D) a.r[i] |= b.r[i];
  return a;
}
BN_INLINE D choose(Lanewise m, D yes, D no) {
  BN_LANES(COUNT_D) yes.r[i] = m.r[i] ? yes.r[i] : no.r[i];
  return yes;
}
BN_INLINE D operator/(D a, D b) {
  BN_LANES(COUNT_D) a.r[i] = a.r[i] / b.r[i];
  return a;
}
BN_INLINE D root(D v) {
#if BN_LEVEL == 4
  BN_LANES(COUNT_D) v.r[i] = _mm512_sqrt_pd(v.r[i]);
#elif BN_LEVEL == 3
  BN_LANES(COUNT_D) v.r[i] = _mm256_sqrt_pd(v.r[i]);
#else
  BN_LANES(COUNT_D) v.r[i] = RegisterD{__builtin_sqrt(v.r[i][0]), __builtin_sqrt(v.r[i][1])};
#endif
  return v;
}
BN_INLINE D size_of(D v) { return choose(v < set(0.0), set(0.0) - v, v); }
BN_INLINE Lanewise finite(D v) { return v - v == set(0.0); }
BN_INLINE D finite_or_zero(D v) { return choose(finite(v), v, set(0.0)); }
BN_INLINE D as_float(D v, F& narrowed) {
  narrow(v, narrowed);
  return widen(narrowed);
}

// Loads, and stores, values c .. c + n of an array; n is LANES but at the array's end.
template <class S>
BN_INLINE VectorOf<S> take(const S* p, std::int64_t c, int n) {
  return n == LANES ? load(p + c) : load_part<S>(p + c, n, 0);
}
template <class S>
BN_INLINE void give(S* p, std::int64_t c, int n, VectorOf<S> v) {
  n == LANES ? store(p + c, v) : store_part(p + c, n, v);
}
// Stores 1 for lanes where m holds, else 0; true where m holds for any of the n lanes.
BN_INLINE bool give(unsigned char* p, std::int64_t c, int n, Lanewise m) {
  alignas(64) double flags[LANES];
  store(flags, choose(m, set(1.0), set(0.0)));
  bool any = false;
  for (int i = 0; i < n; i++) any |= p[c + i] = flags[i] != 0;
  return any;
}

// Calls step(c, n) for sixteen channels at a time; n is less than sixteen for the last ones only.
template <class Step>
BN_INLINE void each_sixteen(std::int64_t c, std::int64_t end, Step step) {
  for (; c + LANES <= end; c += LANES) step(c, LANES);
  if (c < end) step(c, (int)(end - c));
}

// Mean, residual and m2 of channels [c, end) from the joined sums of `count` values each.
template <class T>
void conclude(const Partials& p, double count, std::int64_t c, std::int64_t end,
              const Statistics& out) {
  const D values = set(count), zero = set(0.0);
  each_sixteen(c, end, [&](std::int64_t i, int n) __attribute__((always_inline)) {
    const D shift = take(p.shift, i, n);
    D offset = take(p.a, i, n), offset_low = zero, m2 = take(p.b, i, n);
    if constexpr (sizeof(T) == 8) {
      const D s = offset, s_low = finite_or_zero(take(p.a_low, i, n));
      offset = s / values;
      // offset_low: the remainder of the division, and the low part of the sum, both over the count.
      const D product = offset * values, left = (s - product) - product_error(offset, values, product);
      offset_low = finite_or_zero((left + s_low) / values);
      const D square = s * offset, square_low = product_error(s, offset, square);
      const D rest = s_low * offset + s * offset_low + square_low;
      m2 = (m2 - square) + (finite_or_zero(take(p.b_low, i, n)) - finite_or_zero(rest));
    }
    D mean = shift + offset;
    const D part = mean - shift;
    D residual = finite_or_zero((shift - (mean - part)) + (offset - part) + offset_low);
    const D nearest = mean + residual;  // rounded; `residual` keeps what the rounding took
    residual = residual - finite_or_zero(nearest - mean);
    give(out.mean, i, n, nearest);
    give(out.residual, i, n, residual);
    give(out.m2, i, n, at_least(zero, m2));
  });
}

// 1 / sqrt(m2 / count + epsilon) of channels [c, end).
void deviations(const double* m2, double count, double epsilon, std::int64_t c, std::int64_t end,
                double* inv_std) {
  each_sixteen(c, end, [&](std::int64_t i, int n) __attribute__((always_inline)) {
    give(inv_std, i, n, set(1.0) / root(take(m2, i, n) / set(count) + set(epsilon)));
  });
}

// Fills the coefficients of y = (x - mean) * scale + shift for channels [c, end). A channel needs care
// where x - mean could overflow a float, or where its scale or shift as a float would lose digits; true
// where a channel does.
template <class T>
bool prepare(const Statistics& s, const Affine& affine, std::int64_t c, std::int64_t end,
             const NormalizeArrays& out) {
  bool any = false;
  each_sixteen(c, end, [&](std::int64_t i, int n) __attribute__((always_inline)) {
    const D mean = take(s.mean, i, n);
    D scale = take(s.inv_std, i, n);
    if (affine.gamma) scale = scale * take(affine.gamma, i, n);
    const D shift = affine.beta ? take(affine.beta, i, n) : set(0.0);
    give(out.scale, i, n, scale);
    give(out.shift, i, n, shift);
    if constexpr (sizeof(T) != 8) {
      F mean_f, residual_f, scale_f, shift_f;
      const D near = as_float(mean, mean_f);
      const D beyond = choose(finite(near), (mean - near) + take(s.residual, i, n), set(0.0));
      const D residual = as_float(beyond, residual_f);
      D rest = set(0.0);
      if constexpr (sizeof(T) == 2) rest = choose(residual == rest, rest, residual * scale);
      narrow(scale, scale_f);
      narrow(shift - rest, shift_f);
      if constexpr (sizeof(T) == 2) {
        mean_f = usual(mean_f), scale_f = usual(scale_f), shift_f = usual(shift_f);
      }
      give(out.mean_f, i, n, mean_f);
      give(out.residual_f, i, n, residual_f);
      give(out.scale_f, i, n, scale_f);
      give(out.shift_f, i, n, shift_f);
      const D size = size_of(scale), none = set(0.0);
      const Lanewise care = (finite(mean) & (set(0x1p100) < size_of(mean))) |
                            (finite(scale) & (none < size) & ((size < set(0x1p-100)) | (set(0x1p126) < size))) |
                            (finite(shift) & (set(0x1p127) < size_of(shift))) |
                            (set(0x1p126) < size_of(rest));
      any |= give(out.careful, i, n, care);
    }
  });
  return any;
}

// Turns each channel's sum of dy * (x - mean) into its sum of dy * x_hat.
template <class T>
void finish_sums(const Statistics& s, std::int64_t c, std::int64_t end, const GradientSums& sums) {
  each_sixteen(c, end, [&](std::int64_t i, int n) __attribute__((always_inline)) {
    D dy_x = take(sums.dy_x, i, n);
    if constexpr (sizeof(T) != 8) {
      const D residual = take(s.residual, i, n);
      dy_x = choose(residual == set(0.0), dy_x, dy_x - residual * take(sums.dy, i, n));
    }
    give(sums.dy_x, i, n, dy_x * take(s.inv_std, i, n));
  });
}

BN_INLINE Lanewise within(D v, double least, double most) {
  return (set(least) <= size_of(v)) & (size_of(v) <= set(most));
}
BN_INLINE Lanewise fits(D v) { return (v == set(0.0)) | within(v, 0x1p-100, 0x1p100); }

// Whether the strips (sums of eight elements in float) of a channel lost nothing, judged by three means
// over the channel: `dy` of dy, `dy_d` of dy * (x - mean), `size` the root of that of dy * dy. Either all
// three are 0, or all are so large and so small that float had all digits. `constant`: no |x| is larger
// than |mean|, so x is constant, and a `dy_d` of 0 is right.
BN_INLINE Lanewise held(D dy, D dy_d, D size, Lanewise constant) {
  const D none = set(0.0);
  return ((dy == none) & (dy_d == none) & (size == none)) |
         (within(size, 0x1p-55, 0x1p55) &
          (within(dy_d, 0x1p-100, 0x1p100) | ((dy_d == none) & constant)));
}

// Fills the coefficients of dx = scale * (dy - constant + (x - mean) * slope) for channels [c, end). The
// arguments `constant` and `slope` hold, per channel, means of dy and of dy * x_hat (`share` 1), or sums
// of both (`share` 1 / count); null for 0. `sums`, where known, decide `out.in_float`: whether float is
// enough for the channel, for dx and, where strips summed it, for the sums themselves.
//
// Float is enough where the error of dx stays within 6.7 u of the channel's largest |dx|, u = 2^-24. That
// error is at most u * (2 |dx| + 3 |shift| + 4 |(x - mean) slope|), and without fused multiply-add
// u * (3 |dx| + 4 |shift| + 6 |(x - mean) slope|), of `mean` and `shift` as floats. The largest |dx| isn't
// known, but it is no less than the root mean square of dx / scale times scale: the mean square of dy,
// less the square of its mean, less at most twice the square of the mean of dy * x_hat (once, if epsilon
// were 0). A little of (6.7 - 2) / 4, or (6.7 - 3) / 6, is left for what these bounds neglect.
template <class T>
void prepare_gradient(const Statistics& s, const double* gamma, const double* constant,
                      const double* slope, double share, const GradientSums* sums, std::int64_t c,
                      std::int64_t end, const GradientArrays& out) {
  const double spare = (BN_FUSED ? 1.14 : 0.58) * (sizeof(T) == 2 ? 0x1p7 : 1);
  const D none = set(0.0);
  each_sixteen(c, end, [&](std::int64_t i, int n) __attribute__((always_inline)) {
    const D mean = take(s.mean, i, n), residual = take(s.residual, i, n), inv_std = take(s.inv_std, i, n);
    const D scale = gamma ? inv_std * take(gamma, i, n) : inv_std;
    const D mean_dy = constant ? take(constant, i, n) * set(share) : none;
    const D mean_dy_x = slope ? take(slope, i, n) * set(share) : none;
    const D slope_in_x = none - mean_dy_x * inv_std;
    give(out.scale, i, n, scale);
    give(out.slope, i, n, slope_in_x);
    if constexpr (sizeof(T) == 8) {
      give(out.constant, i, n, mean_dy);
    } else {
      // The loops over narrow elements leave the residual to the constant.
      give(out.constant, i, n, choose(residual == none, mean_dy, mean_dy + residual * slope_in_x));
      F mean_f, scale_f, shift_f, slope_f;
      const D near = as_float(mean, mean_f), slope_of_dx = slope_in_x * scale;
      const D shift = slope ? ((mean - near) + residual) * slope_of_dx : none;
      narrow(scale, scale_f);
      narrow(none - mean_dy * scale - shift, shift_f);
      narrow(slope_of_dx, slope_f);
      give(out.mean_f, i, n, usual(mean_f));
      give(out.scale_f, i, n, usual(scale_f));
      give(out.shift_f, i, n, usual(shift_f));
      give(out.slope_f, i, n, usual(slope_f));
      Lanewise enough = fits(scale);
      if (sums) {
        const D largest = take(sums->largest, i, n), squares = take(sums->dy_dy, i, n) * set(share);
        if constexpr (std::is_same_v<SummedIn<T>, F>) {
          const D dy = take(sums->dy, i, n), dy_d = take(sums->dy_x, i, n) * set(share) / inv_std;
          enough = enough & held(dy, dy_d, root(squares), largest <= size_of(mean));
        }
        if (slope) {
          const D furthest = largest + size_of(near) + size_of(mean - near + residual);
          const D left = squares - mean_dy * mean_dy - set(2.0) * mean_dy_x * mean_dy_x;
          const D size = root(left);  // NaN where nothing is left
          const D taken = set(0.75) * size_of(mean_dy) + size_of(mean_dy_x) * furthest * inv_std;
          enough = enough & (taken <= set(spare) * size) & fits(slope_of_dx) & fits(size * scale) &
                   (size_of(mean) <= set(0x1p100));
        }
      } else if (slope) {
        enough = none < none;
      }
      give(out.in_float, i, n, enough);
    }
  });
}

// Overwrites sums.dy_dy of channels [c, end) with flags: 1 where batch statistics cancel so much of dy
// that dx would consist of rounding errors, else 0; true where one is 1. Of dy = a + b * x_hat + r, with r
// orthogonal to 1 and to x_hat, dx keeps r + b * x_hat * epsilon / (var + epsilon).
template <class T>
bool mark_cancelled(const Statistics& s, double count, double epsilon, std::int64_t c,
                    std::int64_t end, const GradientSums& sums) {
  // The share of the sum of dy * dy below which a channel counts as cancelled. A float result stands
  // rounding of 2^-20 of |dy|, a double one needs nearly all digits of double.
  const D least = set(sizeof(T) == 8 ? 0x1p-12 : 0x1p-40), none = set(0.0), values = set(count);
  bool any = false;
  each_sixteen(c, end, [&](std::int64_t i, int n) __attribute__((always_inline)) {
    const D inv_std = take(s.inv_std, i, n), whole = take(sums.dy_dy, i, n);
    const D dy = take(sums.dy, i, n), dy_x = take(sums.dy_x, i, n);
    const D share = set(epsilon) * inv_std * inv_std;
    const D x_hat_squares = values * (set(1.0) - share);
    const D fit = choose(none < x_hat_squares, dy_x * dy_x / x_hat_squares, none);
    const D left = whole - dy * dy / values - fit, rest = choose(none < left, left, none);
    const Lanewise cancelled = (none < whole) & (rest + fit * share * share <= least * whole);
    const D flags = choose(cancelled, set(1.0), none);
    give(sums.dy_dy, i, n, flags);
    any |= largest_lane(flags) > 0;
  });
  return any;
}

}  // namespace
}  // namespace kernel
