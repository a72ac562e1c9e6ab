// Sums that gradients need, over a part of a tensor: of dy, dy * (x - mean), and dy * dy. Of 16- and
// 32-bit elements the largest |x| as well, which bounds how far x is from its mean.
#pragma once

#include "sums.h"

namespace kernel {
namespace {

// dy as the ReLU after the normalization lets it through; y is null without one.
template <class T>
BN_INLINE VectorOf<T> gradient(const T* dy, const T* y, std::int64_t i) {
  const auto g = load(dy + i);
  return y ? where_positive(load(y + i), g) : g;
}
template <class T>
BN_INLINE VectorOf<T> gradient_part(const T* dy, const T* y, std::int64_t i, int n) {
  const auto g = load_part<T>(dy + i, n, 0);
  return y ? where_positive(load_part<T>(y + i, n, 0), g) : g;
}

// 16-bit elements: sums in float of a few dy, dy * (x - mean) and dy * dy.
struct GradientStrip {
  F dy, dy_x, dy_dy;
  static BN_INLINE GradientStrip zero() { return {set(0.0f), set(0.0f), set(0.0f)}; }
};
template <class Lanes>
BN_INLINE void settle(const GradientStrip& strip, Lanes& to) {
  to.sums[0] = to.sums[0] + widen(strip.dy);
  to.sums[1] = to.sums[1] + widen(strip.dy_x);
  to.sums[2] = to.sums[2] + widen(strip.dy_dy);
}

// Computes in `Key`: F (in strips) or D.
template <class T, class V>
struct GradientLanes {
  // A double holds the mean of narrower elements with digits to spare.
  static constexpr bool DOUBLE = sizeof(T) == 8, STRIPS = sizeof(typename V::Scalar) == 4;
  static constexpr int SUMS = DOUBLE ? 3 : 4, KEYS = DOUBLE ? 2 : 1;
  static constexpr std::int64_t STRIP = STRIPS ? 8 : 1 << 20;
  using Key = V;
  using Strip = std::conditional_t<STRIPS, GradientStrip, NoStrip>;
  struct Lanes {
    D sums[3];
    F largest;
    BN_INLINE D sum(int j) const { return j < 3 ? sums[j] : widen(largest); }
    static BN_INLINE Lanes zero() {
      const D none = set(0.0);
      return {{none, none, none}, set(0.0f)};
    }
  };

  struct Source {
    const T *x, *dy, *y;
    T *packed_x, *packed_dy;
    BN_INLINE void fetch(std::int64_t i) const {
      kernel::fetch(x, i);
      kernel::fetch(dy, i);
    }
    BN_INLINE void add(Lanes& to, Strip& strip, std::int64_t i, std::int64_t copied,
                       const V* key) const {
      if (packed_x) copy(packed_x + copied, x + i);
      if constexpr (STRIPS) {
        const auto g = gradient<T>(dy, y, i);
        if (packed_dy) y ? store(packed_dy + copied, g) : copy(packed_dy + copied, dy + i);
        GradientLanes::add(strip, g, load(x + i), key);
      } else {
        D g;
        if (y) {
          const auto passed = gradient<T>(dy, y, i);
          if (packed_dy) store(packed_dy + copied, passed);
          g = widen(passed);
        } else {
          if (packed_dy) copy(packed_dy + copied, dy + i);
          g = wide(dy + i);
        }
        GradientLanes::add(to, g, wide(x + i), key);
      }
      if constexpr (!DOUBLE) to.largest = larger(load(x + i), to.largest);
    }
    BN_INLINE void add_part(Lanes& to, Strip& strip, std::int64_t i, std::int64_t copied, int n,
                            const V* key, ScalarOf<T> fill) const {
      const auto own = load_part<T>(x + i, n, fill), g = gradient_part<T>(dy, y, i, n);
      if (packed_x) {
        copy_part(packed_x + copied, x + i, n);
        store_part(packed_dy + copied, n, g);
      }
      if constexpr (STRIPS) {
        GradientLanes::add(strip, g, own, key);
      } else {
        GradientLanes::add(to, widen(g), widen(own), key);
      }
      if constexpr (!DOUBLE) to.largest = larger(own, to.largest);
    }
  };

  const View& v;
  const Source source;
  const GradientCoefficients& k;
  const GradientSums& out;
  const double* keys[KEYS] = {};

  void begin(const Box&, std::int64_t c0, std::int64_t, bool) {
    keys[0] = k.mean + c0;
    if constexpr (KEYS == 2) keys[1] = k.residual + c0;
  }
  // Beside dy = 0 it adds nothing to the sums; and the mean of others is no larger than they are.
  BN_INLINE ScalarOf<T> fill(std::int64_t c) const {
    const double mean = keys[0][c];
    return mean - mean == 0 ? (ScalarOf<T>)mean : 0;
  }

  static BN_INLINE void add(GradientStrip& to, F g, F x, const F* key) {
    to.dy = to.dy + g;
    to.dy_x = fma(g, x - key[0], to.dy_x);
    to.dy_dy = fma(g, g, to.dy_dy);
  }
  static BN_INLINE void add(Lanes& to, D g, D x, const D* key) {
    D d = x - key[0];
    if constexpr (KEYS == 2) d = d - key[1];
    to.sums[0] = to.sums[0] + g;
    to.sums[1] = fma(g, d, to.sums[1]);
    to.sums[2] = fma(g, g, to.sums[2]);
  }

  void fold(const Columns<GradientLanes>& from, std::int64_t start, std::int64_t end,
            Columns<GradientLanes>& to, std::int64_t c) const {
    for (int j = 0; j < 3; j++) to.sums[j][c] = sum_run(from.sums[j], start, end);
    if constexpr (!DOUBLE) {
      to.sums[3][c] = largest_run(from.sums[3], start, end);
    }
  }
  void end(const Box& box, std::int64_t c0, std::int64_t group, Columns<GradientLanes>& totals) {
    if constexpr (STRIPS) in_double(box, c0, group, totals);
    double* targets[3] = {out.dy + c0, out.dy_x + c0, out.dy_dy + c0};
    for (int j = 0; j < 3; j++) {
      for (std::int64_t c = 0; c < group; c++) targets[j][c] += totals.sums[j][c];
    }
    if constexpr (!DOUBLE) {
      for (std::int64_t c = 0; out.largest && c < group; c++) {
        const double own = totals.sums[3][c];
        if (own > out.largest[c0 + c]) out.largest[c0 + c] = own;
      }
    }
  }

  // What float took from the mean goes back into the sums; where it doesn't hold products or squares, as
  // it does those of finite halves, the sums are taken once more in double.
  void in_double(const Box& box, std::int64_t c0, std::int64_t group, Columns<GradientLanes>& totals) {
    const double values = count_of(box), least = 0x1p-100 * values, least_product = 0x1p-160 * values;
    for (std::int64_t c = 0; c < group; c++) {
      double &dy = totals.sums[0][c], &dy_x = totals.sums[1][c], &dy_dy = totals.sums[2][c];
      const double largest = totals.sums[3][c];
      // x - mean is 0, or hardly less than 2^-40 of the largest |x|.
      const bool small = dy_dy < least || (largest > 0 && dy_dy * largest * largest < least_product);
      const bool none = dy_dy == 0 && dy == 0 && dy_x == 0;
      const bool held = !small && dy_dy <= 0x1p120 && __builtin_fabs(dy_x) <= 0x1p120;
      if (std::is_same_v<T, Half> || none || held) {
        if (dy - dy == 0) dy_x += ((double)(float)keys[0][c] - keys[0][c]) * dy;
        continue;
      }
      GradientLanes<T, D> wide{v, {source.x, source.dy, source.y, nullptr, nullptr}, k, out};
      Columns<GradientLanes<T, D>> own;
      Nothing beside;
      wide.begin(box, c0 + c, 1, true);
      sum_block(v, {}, box, c0 + c, 1, wide, own, beside);
      dy = own.sums[0][0], dy_x = own.sums[1][0], dy_dy = own.sums[2][0];
    }
  }
};

template <class T>
BN_INLINE GradientLanes<T, SummedIn<T>> gradient_lanes(const View& v, const Tensors& t,
                                                       const Part& part,
                                                       const GradientCoefficients& k,
                                                       const GradientSums& out) {
  const T* y = t.relu ? (const T*)t.y : nullptr;
  return {v, {(const T*)t.x, (const T*)t.dy, y, (T*)part.packed.x, (T*)part.packed.dy}, k, out};
}

template <class T>
void gradient_sums(const View& v, const Tensors& t, const Part& part, const GradientCoefficients& k,
                   const GradientSums& out) {
  auto sum = gradient_lanes<T>(v, t, part, k, out);
  sum_part(v, part, sum);
}

}  // namespace
}  // namespace kernel
