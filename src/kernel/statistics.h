// Sums over a part of a tensor: the statistics of x, and the sums that gradients need.
//
// Channels first keeps a channel's sixteen lanes in registers along its rows, for eight rows of many
// channels in turn, so that memory is read in long runs even where rows are short (7x7). Channels
// last keeps sixteen channels in the lanes, for eight rows in turn.
#pragma once

#include "sums.h"

namespace kernel {
namespace {

constexpr std::int64_t TILE = 8;            // rows in turn
constexpr std::int64_t GROUP_FIRST = 64;    // channels whose sums are on the stack
constexpr std::int64_t GROUP_LAST = 512;

template <class T>
BN_INLINE void finish(const Sums<T>& sums, double shift, double count, const Partials& p,
                      std::int64_t c) {
  p.shift[c] = shift;
  if constexpr (sizeof(T) == 8) {
    Pair s = sum_lanes(sums.s, sums.s_low), q = sum_lanes(sums.q, sums.q_low);
    p.a[c] = s.high, p.a_low[c] = s.low, p.b[c] = q.high, p.b_low[c] = q.low;
  } else {
    double s = sum_lanes(sums.s), q = sum_lanes(sums.q);
    p.a[c] = s / count;
    p.b[c] = q - s * p.a[c];
  }
}

template <class T>
void moments_first(const View& v, const Tensors& t, const Part& part, const Partials& out) {
  const T* x = (const T*)t.x;
  const std::int64_t outer_stride = v.channels * v.inner;
  Sums<T> sums[GROUP_FIRST];
  double shift[GROUP_FIRST], block_values[5][GROUP_FIRST];
  const Partials block_sums = {block_values[0], block_values[1], block_values[2], block_values[3],
                               block_values[4]};
  for (std::int64_t c0 = part.channel; c0 < part.channel_end; c0 += GROUP_FIRST) {
    const std::int64_t group = smaller(GROUP_FIRST, part.channel_end - c0);
    double count = 0;
    for (std::int64_t b = part.block; b < part.block_end; b++) {
      const Box box = box_of(v, b);
      for (std::int64_t row = box.row; row < box.row_end; row += TILE) {
        const std::int64_t row_end = smaller(row + TILE, box.row_end);
        for (std::int64_t c = 0; c < group; c++) {
          const T* channel = x + (c0 + c) * v.inner;
          if (row == box.row) {
            shift[c] = sizeof(T) == 8 ? shift_of(channel)
                                      : shift_of(channel + row * outer_stride + box.column);
          }
          Sums<T> own = row == box.row ? Sums<T>::zero() : sums[c];
          const D shift_lanes = set(shift[c]);
          for (std::int64_t n = row; n < row_end; n++) {
            const T* p = channel + n * outer_stride;
            std::int64_t i = box.column;
            for (; i + LANES <= box.column_end; i += LANES) {
              own.add(widen(load(p + i)), shift_lanes);
            }
            if (i < box.column_end) {
              const auto rest = load_part<T>(p + i, (int)(box.column_end - i), shift[c]);
              own.add(widen(rest), shift_lanes);
            }
          }
          sums[c] = own;
        }
      }
      const double block_count = count_of(box);
      const bool first = count == 0;
      for (std::int64_t c = 0; c < group; c++) {
        if (first) {
          finish<T>(sums[c], shift[c], block_count, from(out, c0), c);
        } else {
          finish<T>(sums[c], shift[c], block_count, block_sums, c);
        }
      }
      if (!first) join<T>(from(out, c0), count, block_sums, block_count, group);
      count += block_count;
    }
  }
}

template <class T>
void moments_last(const View& v, const Tensors& t, const Part& part, const Partials& out) {
  const T* x = (const T*)t.x;
  Sums<T> sums[GROUP_LAST / LANES];
  double shift[GROUP_LAST], values[4][GROUP_LAST];
  for (std::int64_t c0 = part.channel; c0 < part.channel_end; c0 += GROUP_LAST) {
    const std::int64_t group = smaller(GROUP_LAST, part.channel_end - c0);
    double count = 0;
    for (std::int64_t b = part.block; b < part.block_end; b++) {
      const Box box = box_of(v, b);
      const T* first = x + (sizeof(T) == 8 ? 0 : box.row) * v.channels + c0;
      for (std::int64_t c = 0; c < group; c++) shift[c] = shift_of(first + c);
      for (std::int64_t c = group; c % LANES; c++) shift[c] = 0;
      for (std::int64_t row = box.row; row < box.row_end; row += TILE) {
        const std::int64_t row_end = smaller(row + TILE, box.row_end);
        for (std::int64_t c = 0; c < group; c += LANES) {
          Sums<T> own = row == box.row ? Sums<T>::zero() : sums[c / LANES];
          const D shift_lanes = load(shift + c);
          const T* p = x + row * v.channels + c0 + c;
          if (c + LANES <= group) {
            for (std::int64_t n = row; n < row_end; n++, p += v.channels) {
              own.add(widen(load(p)), shift_lanes);
            }
          } else {
            for (std::int64_t n = row; n < row_end; n++, p += v.channels) {
              own.add(widen(load_part<T>(p, (int)(group - c), 0)), shift_lanes);
            }
          }
          sums[c / LANES] = own;
        }
      }
      const double block_count = count_of(box);
      const Partials all = from(out, c0);
      const Partials block_sums = {shift, values[0], values[1], values[2], values[3]};
      for (std::int64_t c = 0; c < group; c += LANES) {
        const Sums<T>& own = sums[c / LANES];
        if constexpr (sizeof(T) == 8) {
          store(values[0] + c, own.s), store(values[1] + c, own.s_low);
          store(values[2] + c, own.q), store(values[3] + c, own.q_low);
        } else {
          const D mean = own.s * set(1 / block_count);
          store(values[0] + c, mean);
          store(values[2] + c, own.q - own.s * mean);
        }
      }
      join<T>(all, count, block_sums, block_count, group);
      count += block_count;
    }
  }
}

struct GradientLanes {
  D dy, dy_x, dy_dy;

  static BN_INLINE GradientLanes zero() { return {set(0.0), set(0.0), set(0.0)}; }
  BN_INLINE void add(D g, D x, D mean, D residual) {
    dy = dy + g;
    dy_x = fma(g, (x - mean) - residual, dy_x);
    dy_dy = fma(g, g, dy_dy);
  }
};

// dy as the ReLU after the normalization lets it through.
template <class T, bool MASK>
BN_INLINE VectorOf<T> gradient(const T* dy, const T* y, std::int64_t i) {
  if constexpr (MASK) return where_positive(load(y + i), load(dy + i));
  return load(dy + i);
}
template <class T, bool MASK>
BN_INLINE VectorOf<T> gradient_part(const T* dy, const T* y, std::int64_t i, int n) {
  if constexpr (MASK) return where_positive(load_part<T>(y + i, n, 0), load_part<T>(dy + i, n, 0));
  return load_part<T>(dy + i, n, 0);
}

template <class T, bool MASK>
void gradient_sums_first(const View& v, const Tensors& t, const Part& part,
                         const GradientCoefficients& k, const GradientSums& out) {
  const T *x = (const T*)t.x, *dy = (const T*)t.dy, *y = (const T*)t.y;
  const std::int64_t outer_stride = v.channels * v.inner;
  GradientLanes sums[GROUP_FIRST];
  for (std::int64_t c0 = part.channel; c0 < part.channel_end; c0 += GROUP_FIRST) {
    const std::int64_t group = smaller(GROUP_FIRST, part.channel_end - c0);
    for (std::int64_t b = part.block; b < part.block_end; b++) {
      const Box box = box_of(v, b);
      for (std::int64_t row = box.row; row < box.row_end; row += TILE) {
        const std::int64_t row_end = smaller(row + TILE, box.row_end);
        for (std::int64_t c = 0; c < group; c++) {
          GradientLanes own = row == box.row ? GradientLanes::zero() : sums[c];
          const double channel_mean = k.mean[c0 + c];
          const D mean = set(channel_mean), residual = set(k.residual[c0 + c]);
          for (std::int64_t n = row; n < row_end; n++) {
            const std::int64_t start = n * outer_stride + (c0 + c) * v.inner;
            std::int64_t i = start + box.column, end = start + box.column_end;
            for (; i + LANES <= end; i += LANES) {
              own.add(widen(gradient<T, MASK>(dy, y, i)), widen(load(x + i)), mean, residual);
            }
            if (i < end) {
              const int n_rest = (int)(end - i);
              const D values = widen(load_part<T>(x + i, n_rest, channel_mean));
              own.add(widen(gradient_part<T, MASK>(dy, y, i, n_rest)), values, mean, residual);
            }
          }
          sums[c] = own;
        }
      }
      for (std::int64_t c = 0; c < group; c++) {
        out.dy[c0 + c] += sum_lanes(sums[c].dy);
        out.dy_x[c0 + c] += sum_lanes(sums[c].dy_x);
        out.dy_dy[c0 + c] += sum_lanes(sums[c].dy_dy);
      }
    }
  }
}

template <class T, bool MASK>
void gradient_sums_last(const View& v, const Tensors& t, const Part& part,
                        const GradientCoefficients& k, const GradientSums& out) {
  const T *x = (const T*)t.x, *dy = (const T*)t.dy, *y = (const T*)t.y;
  GradientLanes sums[GROUP_LAST / LANES];
  for (std::int64_t c0 = part.channel; c0 < part.channel_end; c0 += GROUP_LAST) {
    const std::int64_t group = smaller(GROUP_LAST, part.channel_end - c0);
    for (std::int64_t b = part.block; b < part.block_end; b++) {
      const Box box = box_of(v, b);
      for (std::int64_t row = box.row; row < box.row_end; row += TILE) {
        const std::int64_t row_end = smaller(row + TILE, box.row_end);
        for (std::int64_t c = 0; c < group; c += LANES) {
          GradientLanes own = row == box.row ? GradientLanes::zero() : sums[c / LANES];
          std::int64_t i = row * v.channels + c0 + c;
          if (c + LANES <= group) {
            const D mean = load(k.mean + c0 + c), residual = load(k.residual + c0 + c);
            for (std::int64_t n = row; n < row_end; n++, i += v.channels) {
              own.add(widen(gradient<T, MASK>(dy, y, i)), widen(load(x + i)), mean, residual);
            }
          } else {
            const int part_n = (int)(group - c);
            const D mean = load_part<double>(k.mean + c0 + c, part_n, 0);
            const D residual = load_part<double>(k.residual + c0 + c, part_n, 0);
            for (std::int64_t n = row; n < row_end; n++, i += v.channels) {
              const D values = widen(load_part<T>(x + i, part_n, 0));
              own.add(widen(gradient_part<T, MASK>(dy, y, i, part_n)), values, mean, residual);
            }
          }
          sums[c / LANES] = own;
        }
      }
      for (std::int64_t c = 0; c < group; c += LANES) {
        const int n = (int)smaller(LANES, group - c);
        double* targets[3] = {out.dy + c0 + c, out.dy_x + c0 + c, out.dy_dy + c0 + c};
        const GradientLanes& own = sums[c / LANES];
        const D more[3] = {own.dy, own.dy_x, own.dy_dy};
        for (int j = 0; j < 3; j++) {
          store_part<double>(targets[j], n, load_part<double>(targets[j], n, 0) + more[j]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace kernel
