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

// One run's step, with the coefficients in `k`: mean, residual, scale, shift.
template <class T>
struct Normalizer {
  using V = VectorOf<T>;
  const T *x, *addend;
  T* out;
  V floor;
  bool around;
  std::int64_t ahead;

  BN_INLINE Normalizer(const Tensors& t, std::int64_t start, std::int64_t next)
      : x((const T*)t.x + start),
        addend(t.addend ? (const T*)t.addend + start : nullptr),
        out((T*)t.out + start),
        floor(set((ScalarOf<T>)(t.relu ? 0 : -__builtin_inf()))),
        around(t.stream),
        ahead(next) {}
  BN_INLINE void whole(std::int64_t i, const V* k) const {
    if (ahead) prefetch(x + i, ahead);
    V y = fma((load(x + i) - k[0]) - k[1], k[2], k[3]);
    if (addend) y = y + load(addend + i);
    write(out + i, at_least(floor, y), around);
  }
  BN_INLINE void part(std::int64_t i, int n, const V* k) const {
    V y = fma((load_part<T>(x + i, n, 0) - k[0]) - k[1], k[2], k[3]);
    if (addend) y = y + load_part<T>(addend + i, n, 0);
    store_part(out + i, n, at_least(floor, y));
  }
};

template <class T>
void normalize(const View& v, const Tensors& t, const Part& part, const Coefficients& k) {
  using V = VectorOf<T>;
  using S = ScalarOf<T>;
  const S* of[4] = {(const S*)k.mean, (const S*)k.residual, (const S*)k.scale, (const S*)k.shift};
  each_run<4, S, 2048>(
      v, part, of, k.careful != nullptr,
      [&](std::int64_t start, std::int64_t length, const S* const* at) {
        const Normalizer<T> run(t, start, part.ahead);
        along_each<T, 4, V>(run, length, at);
      },
      [&](std::int64_t start, std::int64_t length, std::int64_t c, std::int64_t end) {
        if (k.careful && (k.careful[c] || length == 1)) {
          for (std::int64_t j = 0; j < length; j++) normalize_one<T>(t, k, start + j, c);
        } else {
          const Normalizer<T> run(t, start, part.ahead);
          along_rows<T, 4, V>(run, length, c, end, of);
        }
      });
  if (t.stream) stream_end();
}

}  // namespace
}  // namespace kernel
