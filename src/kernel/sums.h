// Sums per channel over a part of a tensor, in three orders of memory; what is summed is a Sum's.
//
// Channels first keeps a channel's sixteen lanes in registers along its rows. Where rows are short
// (7x7), and in channels last, the lanes are sixteen neighbours in memory and the registers run down
// the rows: no step is left half empty. Eight rows are read in turn, for many channels, so that
// memory is read in long runs.
//
// What is read is copied to `part.packed` where there is one. Along rows steps are taken by cache lines.
//
// A Sum has `SUMS` sums in `Lanes`, to which its `source` adds elements with the keys of their
// channel, `KEYS` numbers, as `Key`s; `begin` sets those before a block, `end` takes a block's sums.
// What it adds to first is a `Strip` of at most `STRIP` steps and the rest of a row, which then goes to
// the lanes: sums in float of a few 16-bit elements, or nothing.
#pragma once

#include <type_traits>

#include "boxes.h"

namespace kernel {
namespace {

constexpr std::int64_t TILE = 8;    // rows in turn, at most a strip
constexpr std::int64_t GROUP = 64;  // channels first: channels whose lanes are kept

// What the sums of elements are taken in first: strips need a multiply-add that rounds once.
template <class T>
using SummedIn = std::conditional_t<sizeof(T) == 2 && BN_FUSED, F, D>;

// What sums without strips add to first.
struct NoStrip {
  static BN_INLINE NoStrip zero() { return {}; }
};
template <class Lanes>
BN_INLINE void settle(const NoStrip&, Lanes&) {}

// Of 16-bit elements: sums in float of a few, which belong to the first `count` of the lanes.
template <int count>
struct FloatStrip {
  F sums[count];
  static BN_INLINE FloatStrip zero() {
    FloatStrip strip;
    BN_LANES(count) strip.sums[i] = set(0.0f);
    return strip;
  }
};
template <int count, class Lanes>
BN_INLINE void settle(const FloatStrip<count>& strip, Lanes& to) {
  BN_LANES(count) to.sums[i] = to.sums[i] + widen(strip.sums[i]);
}

// A Sum's lanes as plain numbers: sums[j][i].
template <class Sum>
struct Columns {
  alignas(64) double sums[Sum::SUMS][POSITIONS];
  BN_INLINE void set(const typename Sum::Lanes& lanes, std::int64_t i) {
    BN_EACH(Sum::SUMS) store(sums[j] + i, lanes.sum(j));
  }
};

// What sum_rows does beside summing: nothing. A line is as many steps as fill one.
struct Nothing {
  BN_INLINE void begin(const Box&, std::int64_t, std::int64_t) {}
  BN_INLINE void line() {}
  BN_INLINE void step() {}
  BN_INLINE void end() {}
};

// The sums of a block's channels [c0, c0 + group). `beside` takes a line or step of its own before each
// of the sums: its `begin` gets the row's box, its outer index and its channel, counted from the part's
// first.
template <class Sum, class Beside>
void sum_block(const View& v, const Part& part, const Box& box, std::int64_t c0, std::int64_t group,
               Sum& sum, Columns<Sum>& totals, Beside& beside) {
  using Strip = typename Sum::Strip;
  constexpr std::int64_t LINE = STEPS_OF_LINE<typename Sum::Element> * LANES;
  typename Sum::Lanes kept[GROUP];
  Columns<Sum> lanes;
  const typename Sum::Source source = sum.source;  // its own, so that it stays in registers
  const std::int64_t stride = v.channels * v.inner;
  // From a tile's last row of channel c to what is read next, `rows` having been read before it.
  auto beyond_row = [&](std::int64_t rows, std::int64_t c) {
    if (c + 1 < group) return v.inner - rows * stride;
    if (v.chunk == v.inner) return stride - (group - 1) * v.inner;
    return group == 1 ? AHEAD : v.chunk - (group - 1) * v.inner;
  };
  for (std::int64_t row = box.row; row < box.row_end; row += TILE) {
    const std::int64_t row_end = smaller(row + TILE, box.row_end);
    for (std::int64_t c = 0; c < group; c++) {
      typename Sum::Lanes own = row == box.row ? Sum::Lanes::zero() : kept[c];
      typename Sum::Key key[Sum::KEYS];
      for (int j = 0; j < Sum::KEYS; j++) key[j] = set((typename Sum::Key::Scalar)sum.keys[j][c]);
      for (std::int64_t n = row; n < row_end; n++) {
        beside.begin(box, n, c0 + c - part.channel);
        const std::int64_t start = (n * v.channels + c0 + c) * v.inner;
        const std::int64_t beyond = packed_row(v, part, n, c0 + c) - start;
        std::int64_t i = start + box.column, end = start + box.column_end;
        const std::int64_t ahead = n + 1 < row_end ? stride : beyond_row(n - row, c);
        while (i < end) {
          Strip strip = Strip::zero();
          // The rest of a row, less than a step, goes with the steps before it.
          const std::int64_t strip_end =
              end - i < (Sum::STRIP + 1) * LANES ? end : i + Sum::STRIP * LANES;
          for (; i + LINE <= strip_end; i += LINE) {
            beside.line();
            source.fetch(i + ahead);
            BN_EACH(LINE / LANES) {
              const std::int64_t at = i + j * LANES;
              source.add(own, strip, at, at + beyond, key);
            }
          }
          if (i + LANES <= strip_end) {
            beside.step();
            source.fetch(i + ahead);
            source.add(own, strip, i, i + beyond, key);
            i += LANES;
          }
          if (i < strip_end) {
            beside.end();  // before what it reads is copied over
            source.add_part(own, strip, i, i + beyond, (int)(end - i), key, sum.fill(c));
            i = end;
          }
          settle(strip, own);
        }
        beside.end();
      }
      kept[c] = own;
    }
  }
  for (std::int64_t c = 0; c < group; c++) {
    lanes.set(kept[c], 0);
    sum.fold(lanes, 0, LANES, totals, c);
  }
}

template <class Sum, class Beside>
void sum_rows(const View& v, const Part& part, Sum& sum, Beside beside) {
  Columns<Sum> totals;
  for (std::int64_t c0 = part.channel; c0 < part.channel_end; c0 += GROUP) {
    const std::int64_t group = smaller(GROUP, part.channel_end - c0);
    for (std::int64_t b = part.block; b < part.block_end; b++) {
      const Box box = box_of(v, b);
      sum.begin(box, c0, group, b == part.block);
      sum_block(v, part, box, c0, group, sum, totals, beside);
      sum.end(box, c0, group, totals);
    }
  }
}

// Rows lie far apart, each read for a moment only: too short for the processor to fetch them ahead by
// itself, so every step asks for what the same step of the next tile reads.
template <class Sum>
void sum_columns(const View& v, const Part& part, std::int64_t at_once, Sum& sum) {
  typename Sum::Lanes kept[POSITIONS / LANES];
  alignas(64) typename Sum::Key::Scalar keys[Sum::KEYS][POSITIONS + LANES];
  Columns<Sum> columns, totals;
  const typename Sum::Source source = sum.source;
  const std::int64_t stride = v.channels * v.inner, packed_stride = part.packed.stride;
  for (std::int64_t c0 = part.channel; c0 < part.channel_end; c0 += at_once) {
    const std::int64_t group = smaller(at_once, part.channel_end - c0), width = group * v.inner;
    for (std::int64_t b = part.block; b < part.block_end; b++) {
      const Box box = box_of(v, b);
      const bool last_block = b + 1 == part.block_end, last_group = c0 + group == part.channel_end;
      const std::int64_t next_block =
          !last_block ? box.row_end * stride
          : last_group ? box.row * stride  // nothing new
                       : box_of(v, part.block).row * stride + group * v.inner;
      sum.begin(box, c0, group, b == part.block);
      for (int j = 0; j < Sum::KEYS; j++) {
        expand(sum.keys[j], group, v.inner, keys[j]);
        for (std::int64_t i = width; i % LANES; i++) keys[j][i] = 0;
      }
      for (std::int64_t row = box.row; row < box.row_end; row += TILE) {
        const std::int64_t row_end = smaller(row + TILE, box.row_end);
        const std::int64_t ahead =
            (row_end < box.row_end ? row_end * stride : next_block) - row * stride;
        for (std::int64_t p = 0; p < width; p += LANES) {
          typename Sum::Lanes own = row == box.row ? Sum::Lanes::zero() : kept[p / LANES];
          typename Sum::Strip strip = Sum::Strip::zero();
          typename Sum::Key key[Sum::KEYS];
          for (int j = 0; j < Sum::KEYS; j++) key[j] = load(keys[j] + p);
          std::int64_t i = row * stride + c0 * v.inner + p;
          std::int64_t to = packed_row(v, part, row, c0) + p;
          const int rest = (int)(width - p);
          if (rest >= LANES) {
            for (std::int64_t n = row_end - row; n > 0; n--, i += stride, to += packed_stride) {
              source.fetch(i + ahead);
              source.add(own, strip, i, to, key);
            }
          } else {
            for (std::int64_t n = row_end - row; n > 0; n--, i += stride, to += packed_stride) {
              source.add_part(own, strip, i, to, rest, key, 0);
            }
          }
          settle(strip, own);
          if (row_end == box.row_end) {
            columns.set(own, p);
          } else {
            kept[p / LANES] = own;
          }
        }
      }
      if (v.inner == 1) {
        sum.end(box, c0, group, columns);
      } else {
        for (std::int64_t c = 0; c < group; c++) {
          sum.fold(columns, c * v.inner, (c + 1) * v.inner, totals, c);
        }
        sum.end(box, c0, group, totals);
      }
    }
  }
}

template <class Sum>
void sum_part(const View& v, const Part& part, Sum& sum) {
  // By the shape alone: a part may hold fewer rows, and sums must not depend on it.
  const std::int64_t run = v.inner == 1 ? 256 : channels_per_run(v, v.outer, POSITIONS);
  if (run > 1 && v.inner < 128) {
    sum_columns(v, part, run, sum);
  } else {
    sum_rows(v, part, sum, Nothing{});
  }
}

// The largest of p[start, end), none of which is negative.
BN_INLINE double largest_run(const double* p, std::int64_t start, std::int64_t end) {
  D largest = set(0.0);
  for (; start < end; start += LANES) {
    const D more = end - start < LANES ? load_part<double>(p + start, (int)(end - start), 0)
                                       : load(p + start);
    largest = at_least(largest, more);
  }
  return largest_lane(largest);
}

// The sum of p[start, end).
BN_INLINE double sum_run(const double* p, std::int64_t start, std::int64_t end) {
  D total = set(0.0);
  for (; start + LANES <= end; start += LANES) total = total + load(p + start);
  if (start < end) total = total + load_part<double>(p + start, (int)(end - start), 0);
  return sum_lanes(total);
}

}  // namespace
}  // namespace kernel
