// y = ((x - mean) - residual) * scale + shift, then the addend and the ReLU.
#pragma once

#include "elementwise.h"

namespace kernel {
namespace {

// One element, in double where its channel's coefficients say so.
template <class T>
__attribute__((noinline)) void normalize_one(const Tensors& t, const Coefficients& k,
                                             std::int64_t i, std::int64_t c) {
  using S = ScalarOf<T>;
  const T *x = (const T*)t.x + i, *addend = t.addend ? (const T*)t.addend + i : nullptr;
  S y;
  if (k.careful[c]) {
    double d = ((double)get(x) - k.wide_mean[c]) - k.wide_residual[c];
    double wide = fma(d, k.wide_scale[c], k.wide_shift[c]);
    y = (S)(addend ? wide + (double)get(addend) : wide);
  } else {
    S d = (get(x) - ((const S*)k.mean)[c]) - ((const S*)k.residual)[c];
    y = fma(d, ((const S*)k.scale)[c], ((const S*)k.shift)[c]);
    if (addend) y = y + get(addend);
  }
  put((T*)t.out + i, t.relu && y < 0 ? 0 : y);
}

template <class T, class K>
BN_INLINE void normalize_run(const Tensors& t, std::int64_t start, std::int64_t length,
                             std::int64_t ahead, const K& mean, const K& residual, const K& scale,
                             const K& shift) {
  using V = VectorOf<T>;
  const T *x = (const T*)t.x + start, *addend = t.addend ? (const T*)t.addend + start : nullptr;
  T* out = (T*)t.out + start;
  const V floor = set((ScalarOf<T>)(t.relu ? 0 : -__builtin_inf()));
  const bool around = t.stream;
  along(
      out, length, around,
      [&](std::int64_t i) __attribute__((always_inline)) {
        if (ahead) prefetch(x + i, ahead);
        V y = fma((load(x + i) - mean.at(i)) - residual.at(i), scale.at(i), shift.at(i));
        if (addend) y = y + load(addend + i);
        write(out + i, at_least(floor, y), around);
      },
      [&](std::int64_t i, int n) __attribute__((always_inline)) {
        V y = (load_part<T>(x + i, n, 0) - mean.part(i, n)) - residual.part(i, n);
        y = fma(y, scale.part(i, n), shift.part(i, n));
        if (addend) y = y + load_part<T>(addend + i, n, 0);
        store_part(out + i, n, at_least(floor, y));
      });
}

template <class T>
void normalize(const View& v, const Tensors& t, const Part& part, const Coefficients& k) {
  using V = VectorOf<T>;
  using S = ScalarOf<T>;
  const S* of[4] = {(const S*)k.mean, (const S*)k.residual, (const S*)k.scale, (const S*)k.shift};
  each_run<4, S, 2048>(
      v, part, of, k.careful != nullptr,
      [&](std::int64_t i, std::int64_t length, const S* const* at) {
        normalize_run<T>(t, i, length, part.ahead, Each<V>(at[0]), Each<V>(at[1]), Each<V>(at[2]),
                         Each<V>(at[3]));
      },
      [&](std::int64_t i, std::int64_t length, std::int64_t c) {
        if (k.careful && (k.careful[c] || length == 1)) {
          for (std::int64_t j = 0; j < length; j++) normalize_one<T>(t, k, i + j, c);
        } else {
          normalize_run<T>(t, i, length, part.ahead, Same<V>(of[0] + c), Same<V>(of[1] + c),
                           Same<V>(of[2] + c), Same<V>(of[3] + c));
        }
      });
  if (t.stream) stream_end();
}

}  // namespace
}  // namespace kernel
