// The sums of a backward, per channel over a part of a tensor: of dy, of dy * (x - mean), and of dy * dy;
// of 16- and 32-bit elements the largest |x| too, which bounds |x - mean|.
//
// The sums are doubles. Strips in float of 32-bit elements would move dx by 9e-7 of its largest value where
// rows repeat and one x lies far out, with nothing cancelled that would tell (tests/core/test_accuracy.py).
// For 16-bit elements, a backward that also writes dx first adds eight products each in float (a strip),
// which halves the operations; `prepare_gradient` finds the channels where float isn't enough, and their
// sums are taken again in double.
#pragma once

#include "sums.h"

namespace kernel {
namespace {

// dy where y, the output of a ReLU after the normalization, is positive, and 0 elsewhere; all of dy where
// y is null: without a ReLU.
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

// The lanes of `sum_part` (sums.h) for a backward. V is the type of a product: F, then strips are summed, or
// D. PLAIN: no ReLU, and x and dy are copied into the part's packed memory as they are read.
template <class T, class V, bool PLAIN = false>
struct GradientLanes {
  // Keys are what is subtracted from x: the mean, and for 64-bit elements the residual of the mean, too;
  // of narrower elements, the mean as a double has digits to spare.
  static constexpr bool DOUBLE = sizeof(T) == 8, STRIPS = sizeof(typename V::Scalar) == 4;
  static constexpr int SUMS = DOUBLE ? 3 : 4, KEYS = DOUBLE ? 2 : 1;
  static constexpr std::int64_t STRIP = STRIPS ? 8 : 1 << 20;
  using Element = T;
  using Key = V;
  using Strip = std::conditional_t<STRIPS, FloatStrip<3>, NoStrip>;
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
      V g;
      if (!PLAIN && y) {
        const auto passed = gradient<T>(dy, y, i);
        if (packed_dy) store(packed_dy + copied, passed);
        g = as<V>(passed);
      } else {
        if (PLAIN || packed_dy) copy(packed_dy + copied, dy + i);
        g = as<V>(dy + i);
      }
      if (PLAIN || packed_x) copy(packed_x + copied, x + i);
      add_to(to, strip, g, as<V>(x + i), key);
      if constexpr (!DOUBLE) to.largest = larger(load(x + i), to.largest);
    }
    BN_INLINE void add_part(Lanes& to, Strip& strip, std::int64_t i, std::int64_t copied, int n,
                            const V* key, ScalarOf<T> fill) const {
      const auto own = load_part<T>(x + i, n, fill), g = gradient_part<T>(dy, PLAIN ? nullptr : y, i, n);
      if (PLAIN || packed_x) {
        copy_part(packed_x + copied, x + i, n);
        store_part(packed_dy + copied, n, g);
      }
      add_to(to, strip, as<V>(g), as<V>(own), key);
      if constexpr (!DOUBLE) to.largest = larger(own, to.largest);
    }
    static BN_INLINE void add_to(Lanes& to, Strip& strip, V g, V x, const V* key) {
      if constexpr (STRIPS) {
        GradientLanes::add(strip.sums, g, x, key);
      } else {
        GradientLanes::add(to.sums, g, x, key);
      }
    }
  };

  const Source source;
  const GradientCoefficients& k;
  const GradientSums& out;
  const double* keys[KEYS] = {};

  void begin(const Box&, std::int64_t c0, std::int64_t, bool) {
    keys[0] = k.mean + c0;
    if constexpr (KEYS == 2) keys[1] = k.residual + c0;
  }
  // What stands in for x in lanes beyond a row's end, where dy is 0: the products are 0 if x - mean is
  // finite, and the mean is no larger than the largest |x|.
  BN_INLINE ScalarOf<T> fill(std::int64_t c) const {
    const double mean = keys[0][c];
    return mean - mean == 0 ? (ScalarOf<T>)mean : 0;
  }

  static BN_INLINE void add(V* sums, V g, V x, const V* key) {
    V d = x - key[0];
    if constexpr (KEYS == 2) d = d - key[1];
    sums[0] = sums[0] + g;
    sums[1] = fma(g, d, sums[1]);
    sums[2] = fma(g, g, sums[2]);
  }

  BN_INLINE void fold(const Columns<GradientLanes>& from, std::int64_t start, std::int64_t end,
                      Columns<GradientLanes>& to, std::int64_t c) const {
    BN_EACH(3) to.sums[j][c] = sum_run(from.sums[j], start, end);
    if constexpr (!DOUBLE) {
      to.sums[3][c] = largest_run(from.sums[3], start, end);
    }
  }
  void end(const Box&, std::int64_t c0, std::int64_t group, Columns<GradientLanes>& totals) {
    if constexpr (STRIPS) {  // the key was the mean as a float: `rest` is what that lacks of the mean
      for (std::int64_t c = 0; c < group; c++) {
        const double mean = keys[0][c], rest = mean - (double)(float)mean;
        totals.sums[1][c] -= rest * totals.sums[0][c];
      }
    }
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
};

template <class T, class V, bool PLAIN = false>
BN_INLINE GradientLanes<T, V, PLAIN> gradient_lanes(const Tensors& t, const Part& part,
                                                    const GradientCoefficients& k,
                                                    const GradientSums& out) {
  const T* y = t.relu ? (const T*)t.y : nullptr;
  return {{(const T*)t.x, (const T*)t.dy, y, (T*)part.packed.x, (T*)part.packed.dy}, k, out};
}

template <class T, class V>
void gradient_sums(const View& v, const Tensors& t, const Part& part, const GradientCoefficients& k,
                   const GradientSums& out) {
  auto sum = gradient_lanes<T, V>(t, part, k, out);
  sum_part(v, part, sum);
}

}  // namespace
}  // namespace kernel
