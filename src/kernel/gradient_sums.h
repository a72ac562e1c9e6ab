// Sums that gradients need, over a part of a tensor: of dy, dy * (x - mean), and dy * dy.
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

template <class T>
struct GradientLanes {
  // A double holds the mean of narrower elements with digits to spare.
  static constexpr int SUMS = 3, KEYS = sizeof(T) == 8 ? 2 : 1;
  struct Lanes {
    D sums[SUMS];
    static BN_INLINE Lanes zero() { return {{set(0.0), set(0.0), set(0.0)}}; }
  };

  const T *x, *dy, *y;
  const GradientCoefficients& k;
  const GradientSums& out;
  const double* keys[KEYS] = {};

  void begin(const Box&, std::int64_t c0, std::int64_t, bool) {
    keys[0] = k.mean + c0;
    if constexpr (KEYS == 2) keys[1] = k.residual + c0;
  }
  static BN_INLINE ScalarOf<T> fill(std::int64_t) { return 0; }

  BN_INLINE void add(Lanes& to, std::int64_t i, const D* key) const {
    const D g = y ? widen(gradient<T>(dy, y, i)) : wide(dy + i);
    add(to, g, wide(x + i), key);
  }
  BN_INLINE void add_part(Lanes& to, std::int64_t i, int n, const D* key, ScalarOf<T>) const {
    add(to, widen(gradient_part<T>(dy, y, i, n)), widen(load_part<T>(x + i, n, 0)), key);
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
    for (int j = 0; j < SUMS; j++) to.sums[j][c] = sum_run(from.sums[j], start, end);
  }
  void end(const Box&, std::int64_t c0, std::int64_t group, Columns<GradientLanes>& totals) {
    double* targets[SUMS] = {out.dy + c0, out.dy_x + c0, out.dy_dy + c0};
    for (int j = 0; j < SUMS; j++) {
      for (std::int64_t c = 0; c < group; c++) targets[j][c] += totals.sums[j][c];
    }
  }
};

template <class T>
void gradient_sums(const View& v, const Tensors& t, const Part& part, const GradientCoefficients& k,
                   const GradientSums& out) {
  const T* y = t.relu ? (const T*)t.y : nullptr;
  GradientLanes<T> sum{(const T*)t.x, (const T*)t.dy, y, k, out};
  sum_part(v, part, sum);
}

}  // namespace
}  // namespace kernel
