// One result per element: normalize and input_gradient, over runs of memory.
//
// A run is a stretch of elements whose coefficients are either one channel's (`Same`), or lie in
// memory beside them, one per element (`Each`): channels last, and channels first with short rows,
// where several channels' rows are written as one long aligned run from expanded coefficients.
#pragma once

#include "sums.h"

namespace kernel {
namespace {

template <class V>
struct Same {
  V value;
  BN_INLINE explicit Same(typename V::Scalar v) : value(set(v)) {}
  BN_INLINE V at(std::int64_t) const { return value; }
  BN_INLINE V part(std::int64_t, int) const { return value; }
};

template <class V>
struct Each {
  const typename V::Scalar* values;
  BN_INLINE explicit Each(const typename V::Scalar* v) : values(v) {}
  BN_INLINE V at(std::int64_t i) const { return load(values + i); }
  BN_INLINE V part(std::int64_t i, int n) const {
    return load_part<typename V::Scalar>(values + i, n, 0);
  }
};

// Calls whole(i) for sixteen elements and part(i, n) for n fewer: at the end of a run, and at its
// beginning where whole steps must be aligned to write around the caches.
template <bool STREAM, class T, class Whole, class Part>
BN_INLINE void along(const T* out, std::int64_t length, Whole whole, Part part) {
  std::int64_t i = 0;
  if (STREAM) {
    i = (std::int64_t)(-(std::uintptr_t)out % stream_alignment<T> / sizeof(T));
    i = smaller(i, length);
    if (i > 0) part(0, (int)i);
  }
  for (; i + LANES <= length; i += LANES) whole(i);
  if (i < length) part(i, (int)(length - i));
}

template <bool STREAM, class T>
BN_INLINE void write(T* p, VectorOf<T> v) {
  if constexpr (STREAM) {
    stream(p, v);
  } else {
    store(p, v);
  }
}

template <class T, bool ADD, bool STREAM, class K>
BN_INLINE void normalize_run(const T* x, const T* addend, T* out, std::int64_t length,
                             VectorOf<T> floor, const K& mean, const K& residual, const K& scale,
                             const K& shift) {
  using V = VectorOf<T>;
  along<STREAM>(
      out, length,
      [&](std::int64_t i) __attribute__((always_inline)) {
        V y = fma((load(x + i) - mean.at(i)) - residual.at(i), scale.at(i), shift.at(i));
        if constexpr (ADD) y = y + load(addend + i);
        write<STREAM>(out + i, at_least(floor, y));
      },
      [&](std::int64_t i, int n) __attribute__((always_inline)) {
        V y = (load_part<T>(x + i, n, 0) - mean.part(i, n)) - residual.part(i, n);
        y = fma(y, scale.part(i, n), shift.part(i, n));
        if constexpr (ADD) y = y + load_part<T>(addend + i, n, 0);
        store_part(out + i, n, at_least(floor, y));
      });
}

// One element, in double where its channel's coefficients say so.
template <class T>
__attribute__((noinline)) void normalize_one(const Tensors& t, const Coefficients& k,
                                             std::int64_t i, std::int64_t c) {
  using S = ScalarOf<T>;
  const T *x = (const T*)t.x + i, *addend = (const T*)t.addend + i;
  S y;
  if (k.careful[c]) {
    double d = ((double)get(x) - k.wide_mean[c]) - k.wide_residual[c];
    double wide = fma(d, k.wide_scale[c], k.wide_shift[c]);
    y = (S)(t.addend ? wide + (double)get(addend) : wide);
  } else {
    S d = (get(x) - ((const S*)k.mean)[c]) - ((const S*)k.residual)[c];
    y = fma(d, ((const S*)k.scale)[c], ((const S*)k.shift)[c]);
    if (t.addend) y = y + get(addend);
  }
  put((T*)t.out + i, t.relu && y < 0 ? 0 : y);
}

constexpr std::int64_t EXPANDED = 2048;  // elements whose coefficients fit the first cache

// How many channels make a run of whole steps, if their rows don't: 1 where rows are long enough.
BN_INLINE std::int64_t channels_per_run(const View& v, std::int64_t rows, std::int64_t most) {
  if (v.inner >= 256 || v.inner % LANES == 0 || rows < 4) return 1;
  std::int64_t unit = LANES;
  while (unit > 1 && v.inner * (unit / 2) % LANES == 0) unit /= 2;
  const std::int64_t fitting = most / v.inner / unit * unit;
  return fitting > 0 ? fitting : 1;
}

template <class S>
void expand(const S* values, std::int64_t channels, std::int64_t inner, S* out) {
  for (std::int64_t c = 0; c < channels; c++) {
    for (std::int64_t i = 0; i < inner; i++) *out++ = values[c];
  }
}

template <class Visit>
BN_INLINE void each_block(const Part& part, Visit visit) {
  const std::int64_t blocks = part.block_end - part.block;
  for (std::int64_t j = 0; j < blocks; j++) {
    visit(part.backwards ? part.block_end - 1 - j : part.block + j);
  }
}

template <class T, bool ADD, bool STREAM>
void normalize_first(const View& v, const Tensors& t, const Part& part, const Coefficients& k) {
  using V = VectorOf<T>;
  using S = ScalarOf<T>;
  const T *x = (const T*)t.x, *addend = (const T*)t.addend;
  T* out = (T*)t.out;
  const V floor = set((S)(t.relu ? 0 : -__builtin_inf()));
  const S *mean = (const S*)k.mean, *residual = (const S*)k.residual;
  const S *scale = (const S*)k.scale, *shift = (const S*)k.shift;
  const std::int64_t rows = (part.block_end - part.block) * v.rows;
  const std::int64_t run = k.careful ? 1 : channels_per_run(v, rows, EXPANDED);
  if (run > 1) {
    S expanded[4][EXPANDED];
    for (std::int64_t c = part.channel; c < part.channel_end; c += run) {
      const std::int64_t channels = smaller(run, part.channel_end - c);
      expand(mean + c, channels, v.inner, expanded[0]);
      expand(residual + c, channels, v.inner, expanded[1]);
      expand(scale + c, channels, v.inner, expanded[2]);
      expand(shift + c, channels, v.inner, expanded[3]);
      each_block(part, [&](std::int64_t block) {
        const Box box = box_of(v, block);
        for (std::int64_t n = box.row; n < box.row_end; n++) {
          const std::int64_t i = (n * v.channels + c) * v.inner;
          normalize_run<T, ADD, STREAM>(x + i, addend + (ADD ? i : 0), out + i,
                                              channels * v.inner, floor, Each<V>(expanded[0]),
                                              Each<V>(expanded[1]), Each<V>(expanded[2]),
                                              Each<V>(expanded[3]));
        }
      });
    }
  } else {
    each_block(part, [&](std::int64_t block) {
      const Box box = box_of(v, block);
      const std::int64_t length = box.column_end - box.column;
      for (std::int64_t n = box.row; n < box.row_end; n++) {
        for (std::int64_t c = part.channel; c < part.channel_end; c++) {
          const std::int64_t i = (n * v.channels + c) * v.inner + box.column;
          const T* added = addend + (ADD ? i : 0);
          if (k.careful && k.careful[c]) {
            for (std::int64_t j = 0; j < length; j++) {
              normalize_one<T>(t, k, i + j, c);
            }
          } else {
            normalize_run<T, ADD, STREAM>(x + i, added, out + i, length, floor, Same<V>(mean[c]),
                                                Same<V>(residual[c]), Same<V>(scale[c]),
                                                Same<V>(shift[c]));
          }
        }
      }
    });
  }
  if (STREAM) stream_end();
}

template <class T, bool ADD, bool STREAM>
void normalize_last(const View& v, const Tensors& t, const Part& part, const Coefficients& k) {
  using V = VectorOf<T>;
  using S = ScalarOf<T>;
  const T *x = (const T*)t.x, *addend = (const T*)t.addend;
  T* out = (T*)t.out;
  const V floor = set((S)(t.relu ? 0 : -__builtin_inf()));
  const std::int64_t c0 = part.channel;
  each_block(part, [&](std::int64_t block) {
    const Box box = box_of(v, block);
    for (std::int64_t row = box.row; row < box.row_end; row++) {
      const std::int64_t i = row * v.channels + c0;
      if (k.careful) {
        for (std::int64_t c = c0; c < part.channel_end; c++) {
          normalize_one<T>(t, k, row * v.channels + c, c);
        }
      } else {
        normalize_run<T, ADD, STREAM>(
            x + i, addend + (ADD ? i : 0), out + i, part.channel_end - c0, floor, Each<V>((const S*)k.mean + c0),
            Each<V>((const S*)k.residual + c0), Each<V>((const S*)k.scale + c0), Each<V>((const S*)k.shift + c0));
      }
    }
  });
  if (STREAM) stream_end();
}

}  // namespace
}  // namespace kernel
