// y = ((x - mean) - residual) * scale + shift, then the addend and the ReLU. Of 16-bit elements the
// residual is in the shift: they have no digits that could show the difference.
#pragma once

#include "elementwise.h"
#include "moments.h"

namespace kernel {
namespace {

// One element, in double where its channel's coefficients say so.
template <class T>
__attribute__((noinline)) void normalize_one(const Tensors& t, const Coefficients& k,
                                             Place at, std::int64_t c) {
  using S = ScalarOf<T>;
  const T *x = (const T*)t.x + at.read;
  const T* addend = t.addend ? (const T*)t.addend + at.start : nullptr;
  S y;
  if (k.careful[c]) {
    double d = ((double)get(x) - k.wide_mean[c]) - k.wide_residual[c];
    double wide = fma(d, k.wide_scale[c], k.wide_shift[c]);
    y = (S)(addend ? wide + (double)get(addend) : wide);
  } else {
    S d = get(x) - ((const S*)k.mean)[c];
    if constexpr (sizeof(T) != 2) d = d - ((const S*)k.residual)[c];
    y = fma(d, ((const S*)k.scale)[c], ((const S*)k.shift)[c]);
    if (addend) y = y + get(addend);
  }
  put((T*)t.out + at.start, t.relu && y < 0 ? 0 : y);
}

// One run's step, with the coefficients in `k`: mean, residual, scale, shift. PLAIN ones have no addend.
template <class T, Way WAY>
struct Normalizer {
  static constexpr bool PLAIN = WAY != Way::ANY;
  using V = VectorOf<T>;
  const T *x, *addend;
  T* out;
  V floor;
  bool around, cached;

  BN_INLINE Normalizer(const Tensors& t, const Place& at)
      : x((const T*)t.x + at.read),
        addend(t.addend ? (const T*)t.addend + at.start : nullptr),
        out((T*)t.out + at.start),
        floor(set((ScalarOf<T>)(t.relu ? 0 : -__builtin_inf()))),
        around(t.stream),
        cached(t.cached) {}
  BN_INLINE bool around_caches() const { return PLAIN ? WAY == Way::AROUND : around; }
  BN_INLINE std::int64_t lead() const { return before_lines(out, around_caches()); }
  BN_INLINE void ask(std::int64_t i) const {
    if (!cached) fetch(x, i + AHEAD);
  }
  static BN_INLINE V normal(V x, const V* k) {
    V d = x - k[0];
    if constexpr (sizeof(T) != 2) d = d - k[1];
    return fma(d, k[2], k[3]);
  }
  BN_INLINE V y(std::int64_t i, const V* k) const {
    V y = normal(load(x + i), k);
    if (!PLAIN && addend) y = y + load(addend + i);
    return at_least(floor, y);
  }
  BN_INLINE void whole(std::int64_t i, const V* k, bool in_line) const {
    write(out + i, y(i, k), around_caches() && in_line);
  }
  BN_INLINE void line(std::int64_t i, const V* k) const {
    stream_line(out + i, [&](int step) __attribute__((always_inline)) { return y(i + step, k); });
  }
  BN_INLINE void part(std::int64_t i, int n, const V* k) const {
    V y = normal(load_part<T>(x + i, n, 0), k);
    if (!PLAIN && addend) y = y + load_part<T>(addend + i, n, 0);
    store_part(out + i, n, at_least(floor, y));
  }
};

template <class T, Way WAY>
void normalize_as(const View& v, const Tensors& t, const Part& part, const Coefficients& k) {
  using V = VectorOf<T>;
  using S = ScalarOf<T>;
  const S* of[4] = {(const S*)k.mean, (const S*)k.residual, (const S*)k.scale, (const S*)k.shift};
  each_run<4, S>(
      v, part, of, k.careful != nullptr,
      [&](const Place& place, std::int64_t length, const S* const* at, std::int64_t period) {
        along_each<T, 4, V>(Normalizer<T, WAY>(t, place), length, at, period);
      },
      [&](const Place& place, std::int64_t length, std::int64_t c, std::int64_t end) {
        if (k.careful && (k.careful[c] || length == 1)) {
          for (std::int64_t j = 0; j < length; j++) {
            normalize_one<T>(t, k, {place.start + j, place.read + j}, c);
          }
        } else {
          along_rows<T, 4, V>(Normalizer<T, WAY>(t, place), length, c, end, of);
        }
      });
}

template <class T>
void normalize(const View& v, const Tensors& tensors, const Part& part, const Coefficients& k) {
  Tensors t = as_read(tensors, part);
  t.stream = t.stream && fill_lines<T, ScalarOf<T>>(v, part);
  if (t.addend) {
    normalize_as<T, Way::ANY>(v, t, part, k);
  } else if (t.stream) {
    normalize_as<T, Way::AROUND>(v, t, part, k);
  } else {
    normalize_as<T, Way::PLAIN>(v, t, part, k);
  }
  if (t.stream) stream_end();
}

template <class T, Way WAY>
void moments_and_normalize_as(const View& v, const Tensors& tensors, const Part& summed,
                              const Partials& out, const Part& written, const Coefficients& k) {
  using V = VectorOf<T>;
  using S = ScalarOf<T>;
  const Tensors t = as_read(tensors, written);
  const S* const of[] = {(const S*)k.mean, (const S*)k.residual, (const S*)k.scale,
                         (const S*)k.shift};
  auto sum = moments_of<T, WAY == Way::AROUND>(v, tensors, summed, out);
  sum_rows(v, summed, sum, RowsBeside<T, V, 4, Normalizer<T, WAY>>(v, t, written, of));
  stream_end();
}

// `moments` of one part while `normalize` writes another one of its shape around the caches, none of it
// careful; both have packed copies. Narrow elements would feel it if each step asked.
template <class T>
void moments_and_normalize(const View& v, const Tensors& tensors, const Part& summed,
                           const Partials& out, const Part& written, const Coefficients& k) {
  if (tensors.addend) {
    moments_and_normalize_as<T, Way::ANY>(v, tensors, summed, out, written, k);
  } else {
    moments_and_normalize_as<T, Way::AROUND>(v, tensors, summed, out, written, k);
  }
}

}  // namespace
}  // namespace kernel
