// What writes one result per element has in common: runs of memory, and how a part falls into them.
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
  using Scalar = typename V::Scalar;
  V value;
  BN_INLINE explicit Same(const Scalar* v) : value(set(*v)) {}
  BN_INLINE V at(std::int64_t) const { return value; }
  BN_INLINE V part(std::int64_t, int) const { return value; }
};

template <class V>
struct Each {
  using Scalar = typename V::Scalar;
  const Scalar* values;
  BN_INLINE explicit Each(const Scalar* v) : values(v) {}
  BN_INLINE V at(std::int64_t i) const { return load(values + i); }
  BN_INLINE V part(std::int64_t i, int n) const { return load_part<Scalar>(values + i, n, 0); }
};

// Calls whole(i) for sixteen elements and part(i, n) for n fewer: at the end of a run, and at its
// beginning where whole steps must be aligned to write around the caches.
template <class T, class Whole, class Part>
BN_INLINE void along(const T* out, std::int64_t length, bool stream, Whole whole, Part part) {
  std::int64_t i = 0;
  if (stream) {
    i = (std::int64_t)(-(std::uintptr_t)out % stream_alignment<T> / sizeof(T));
    i = smaller(i, length);
    if (i > 0) part(0, (int)i);
  }
  for (; i + LANES <= length; i += LANES) whole(i);
  if (i < length) part(i, (int)(length - i));
}

template <class T>
BN_INLINE void write(T* p, VectorOf<T> v, bool around) {
  if (around) {
    stream(p, v);
  } else {
    store(p, v);
  }
}

template <class Visit>
BN_INLINE void each_block(const Part& part, Visit visit) {
  const std::int64_t blocks = part.block_end - part.block;
  for (std::int64_t j = 0; j < blocks; j++) {
    visit(part.backwards ? part.block_end - 1 - j : part.block + j);
  }
}

// Cuts a part into runs: each(i, length, at) with `at` the run's coefficients beside its elements,
// same(i, length, c) where all are channel c's. `coefficients` are `count` arrays per channel.
template <int count, class S, std::int64_t MOST, class RunEach, class RunSame>
BN_INLINE void each_run(const View& v, const Part& part, const S* const* coefficients,
                        bool by_channel, RunEach each, RunSame same) {
  const std::int64_t rows = (part.block_end - part.block) * v.rows;
  const bool last = v.inner == 1 && !by_channel;
  const std::int64_t run = by_channel || last ? 1 : channels_per_run(v, rows, MOST);
  if (run > 1 || last) {
    const std::int64_t at_once = last ? part.channel_end - part.channel : run;
    alignas(64) S expanded[count][MOST];
    const S* at[count];
    for (std::int64_t c = part.channel; c < part.channel_end; c += at_once) {
      const std::int64_t channels = smaller(at_once, part.channel_end - c);
      for (int j = 0; j < count; j++) {
        if (!last) expand(coefficients[j] + c, channels, v.inner, expanded[j]);
        at[j] = last ? coefficients[j] + c : expanded[j];
      }
      each_block(part, [&](std::int64_t block) {
        const Box box = box_of(v, block);
        for (std::int64_t n = box.row; n < box.row_end; n++) {
          each((n * v.channels + c) * v.inner, channels * v.inner, at);
        }
      });
    }
  } else {
    each_block(part, [&](std::int64_t block) {
      const Box box = box_of(v, block);
      for (std::int64_t n = box.row; n < box.row_end; n++) {
        for (std::int64_t c = part.channel; c < part.channel_end; c++) {
          same((n * v.channels + c) * v.inner + box.column, box.column_end - box.column, c);
        }
      }
    });
  }
}

}  // namespace
}  // namespace kernel
