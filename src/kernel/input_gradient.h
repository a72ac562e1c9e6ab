// dx = scale * (dy - constant - (x - mean) * slope), in double whatever the elements, and with the
// residual taken from x - mean as well where they are doubles (else it is in the constant):
// where batch statistics cancel most of dy, float would show.
#pragma once

#include "elementwise.h"
#include "gradient_sums.h"

namespace kernel {
namespace {

template <class T, class K>
BN_INLINE void gradient_run(const Tensors& t, std::int64_t start, std::int64_t length,
                            std::int64_t ahead, const K* k) {
  using V = VectorOf<T>;
  const T *x = (const T*)t.x + start, *dy = (const T*)t.dy + start;
  const T* y = t.relu ? (const T*)t.y + start : nullptr;
  T *out = (T*)t.out + start, *kept = t.out_addend ? (T*)t.out_addend + start : nullptr;
  const bool around = t.stream;
  along(
      out, length, around,
      [&](std::int64_t i) __attribute__((always_inline)) {
        if (ahead) {
          prefetch(x + i, ahead);
          prefetch(dy + i, ahead);
        }
        V dx;
        D d = wide(x + i) - k[0].at(i), g;
        if (y) {
          const V passed = gradient<T>(dy, y, i);
          if (kept) store(kept + i, passed);
          g = widen(passed);
        } else {
          g = wide(dy + i);
        }
        if constexpr (sizeof(T) == 8) d = d - k[4].at(i);
        narrow(((g - k[2].at(i)) - d * k[3].at(i)) * k[1].at(i), dx);
        write(out + i, dx, around);
      },
      [&](std::int64_t i, int n) __attribute__((always_inline)) {
        V dx;
        const V passed = gradient_part<T>(dy, y, i, n);
        if (kept) store_part(kept + i, n, passed);
        D d = widen(load_part<T>(x + i, n, 0)) - k[0].part(i, n);
        if constexpr (sizeof(T) == 8) d = d - k[4].part(i, n);
        narrow(((widen(passed) - k[2].part(i, n)) - d * k[3].part(i, n)) * k[1].part(i, n), dx);
        store_part(out + i, n, dx);
      });
}

template <class T>
void input_gradient(const View& v, const Tensors& t, const Part& part,
                    const GradientCoefficients& k) {
  // A double holds the mean of narrower elements with digits to spare.
  constexpr int COUNT = sizeof(T) == 8 ? 5 : 4;
  const double* of[5] = {k.mean, k.scale, k.constant, k.slope, k.residual};
  each_run<COUNT, double, POSITIONS>(
      v, part, of, false,
      [&](std::int64_t i, std::int64_t length, const double* const* at) {
        const Each<D> each[5] = {Each<D>(at[0]), Each<D>(at[1]), Each<D>(at[2]), Each<D>(at[3]),
                                 Each<D>(at[COUNT - 1])};
        gradient_run<T>(t, i, length, part.ahead, each);
      },
      [&](std::int64_t i, std::int64_t length, std::int64_t c) {
        const Same<D> same[5] = {Same<D>(of[0] + c), Same<D>(of[1] + c), Same<D>(of[2] + c),
                                 Same<D>(of[3] + c), Same<D>(of[4] + c)};
        gradient_run<T>(t, i, length, part.ahead, same);
      });
  if (t.stream) stream_end();
}

}  // namespace
}  // namespace kernel
