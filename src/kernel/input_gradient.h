// dx = scale * (dy - constant + (x - mean) * slope), in double whatever the elements, and with the
// residual taken from x - mean as well where they are doubles (else it is in the constant):
// where batch statistics cancel most of dy, float would show.
#pragma once

#include "elementwise.h"
#include "gradient_sums.h"

namespace kernel {
namespace {

// One run's step, with the coefficients in `k`: mean, scale, constant, slope, residual.
template <class T>
struct InputGradient {
  using V = VectorOf<T>;
  const T *x, *dy, *y;
  T *out, *kept;
  bool around;
  std::int64_t ahead;

  BN_INLINE InputGradient(const Tensors& t, std::int64_t start, std::int64_t next)
      : x((const T*)t.x + start),
        dy((const T*)t.dy + start),
        y(t.relu ? (const T*)t.y + start : nullptr),
        out((T*)t.out + start),
        kept(t.out_addend ? (T*)t.out_addend + start : nullptr),
        around(t.stream),
        ahead(next) {}
  static BN_INLINE V dx(D x, D g, const D* k) {
    V narrowed;
    D d = x - k[0];
    if constexpr (sizeof(T) == 8) d = d - k[4];
    narrow(fma(d, k[3], g - k[2]) * k[1], narrowed);
    return narrowed;
  }
  BN_INLINE void whole(std::int64_t i, const D* k) const {
    if (ahead) {
      prefetch(x + i, ahead);
      prefetch(dy + i, ahead);
    }
    D g;
    if (y) {
      const V passed = gradient<T>(dy, y, i);
      if (kept) store(kept + i, passed);
      g = widen(passed);
    } else {
      g = wide(dy + i);
    }
    write(out + i, dx(wide(x + i), g, k), around);
  }
  BN_INLINE void part(std::int64_t i, int n, const D* k) const {
    const V passed = gradient_part<T>(dy, y, i, n);
    if (kept) store_part(kept + i, n, passed);
    store_part(out + i, n, dx(widen(load_part<T>(x + i, n, 0)), widen(passed), k));
  }
};

template <class T>
void input_gradient(const View& v, const Tensors& t, const Part& part,
                    const GradientCoefficients& k) {
  // A double holds the mean of narrower elements with digits to spare.
  constexpr int COUNT = sizeof(T) == 8 ? 5 : 4;
  const double* of[5] = {k.mean, k.scale, k.constant, k.slope, k.residual};
  each_run<COUNT, double, POSITIONS>(
      v, part, of, false,
      [&](std::int64_t start, std::int64_t length, const double* const* at) {
        const InputGradient<T> run(t, start, part.ahead);
        along_each<T, COUNT, D>(run, length, at);
      },
      [&](std::int64_t start, std::int64_t length, std::int64_t c, std::int64_t end) {
        const InputGradient<T> run(t, start, part.ahead);
        along_rows<T, COUNT, D>(run, length, c, end, of);
      });
  if (t.stream) stream_end();
}

}  // namespace
}  // namespace kernel
