// dx = scale * (dy - constant - ((x - mean) - residual) * slope), in double whatever the elements:
// where batch statistics cancel most of dy, float would show.
#pragma once

#include "elementwise.h"
#include "statistics.h"

namespace kernel {
namespace {

constexpr std::int64_t EXPANDED_DOUBLES = 832;  // five of them per element in the first cache

template <class T, bool MASK, bool STREAM, class K>
BN_INLINE void gradient_run(const T* x, const T* dy, const T* y, T* out, T* kept,
                            std::int64_t length, const K& mean, const K& residual, const K& scale,
                            const K& constant, const K& slope) {
  using V = VectorOf<T>;
  along<STREAM>(
      out, length,
      [&](std::int64_t i) __attribute__((always_inline)) {
        V dx;
        const V g = gradient<T, MASK>(dy, y, i);
        const D d = (widen(load(x + i)) - mean.at(i)) - residual.at(i);
        narrow(((widen(g) - constant.at(i)) - d * slope.at(i)) * scale.at(i), dx);
        write<STREAM>(out + i, dx);
        if (MASK && kept) store(kept + i, g);
      },
      [&](std::int64_t i, int n) __attribute__((always_inline)) {
        V dx;
        const V g = gradient_part<T, MASK>(dy, y, i, n);
        const D d = (widen(load_part<T>(x + i, n, 0)) - mean.part(i, n)) - residual.part(i, n);
        const D rest = (widen(g) - constant.part(i, n)) - d * slope.part(i, n);
        narrow(rest * scale.part(i, n), dx);
        store_part(out + i, n, dx);
        if (MASK && kept) store_part(kept + i, n, g);
      });
}

template <class T, bool MASK, bool STREAM>
void input_gradient_first(const View& v, const Tensors& t, const Part& part,
                          const GradientCoefficients& k) {
  const T *x = (const T*)t.x, *dy = (const T*)t.dy, *y = (const T*)t.y;
  T *out = (T*)t.out, *kept = (T*)t.out_addend;
  const double* of_channel[5] = {k.mean, k.residual, k.scale, k.constant, k.slope};
  const std::int64_t rows = (part.block_end - part.block) * v.rows;
  const std::int64_t run = channels_per_run(v, rows, EXPANDED_DOUBLES);
  if (run > 1) {
    double expanded[5][EXPANDED_DOUBLES];
    for (std::int64_t c = part.channel; c < part.channel_end; c += run) {
      const std::int64_t channels = smaller(run, part.channel_end - c);
      for (int j = 0; j < 5; j++) expand(of_channel[j] + c, channels, v.inner, expanded[j]);
      each_block(part, [&](std::int64_t block) {
        const Box box = box_of(v, block);
        for (std::int64_t n = box.row; n < box.row_end; n++) {
          const std::int64_t i = (n * v.channels + c) * v.inner;
          gradient_run<T, MASK, STREAM>(
              x + i, dy + i, MASK ? y + i : y, out + i, kept ? kept + i : kept, channels * v.inner,
              Each<D>(expanded[0]), Each<D>(expanded[1]), Each<D>(expanded[2]),
              Each<D>(expanded[3]), Each<D>(expanded[4]));
        }
      });
    }
  } else {
    each_block(part, [&](std::int64_t block) {
      const Box box = box_of(v, block);
      for (std::int64_t n = box.row; n < box.row_end; n++) {
        for (std::int64_t c = part.channel; c < part.channel_end; c++) {
          const std::int64_t i = (n * v.channels + c) * v.inner + box.column;
          gradient_run<T, MASK, STREAM>(
              x + i, dy + i, MASK ? y + i : y, out + i, kept ? kept + i : kept,
              box.column_end - box.column, Same<D>(k.mean[c]), Same<D>(k.residual[c]),
              Same<D>(k.scale[c]), Same<D>(k.constant[c]), Same<D>(k.slope[c]));
        }
      }
    });
  }
  if (STREAM) stream_end();
}

template <class T, bool MASK, bool STREAM>
void input_gradient_last(const View& v, const Tensors& t, const Part& part,
                         const GradientCoefficients& k) {
  const T *x = (const T*)t.x, *dy = (const T*)t.dy, *y = (const T*)t.y;
  T *out = (T*)t.out, *kept = (T*)t.out_addend;
  const std::int64_t c0 = part.channel;
  each_block(part, [&](std::int64_t block) {
    const Box box = box_of(v, block);
    for (std::int64_t row = box.row; row < box.row_end; row++) {
      const std::int64_t i = row * v.channels + c0;
      gradient_run<T, MASK, STREAM>(
          x + i, dy + i, MASK ? y + i : y, out + i, kept ? kept + i : kept,
          part.channel_end - c0,
          Each<D>(k.mean + c0), Each<D>(k.residual + c0), Each<D>(k.scale + c0), Each<D>(k.constant + c0),
          Each<D>(k.slope + c0));
    }
  });
  if (STREAM) stream_end();
}

}  // namespace
}  // namespace kernel
