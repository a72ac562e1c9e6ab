// What the loops know of boxes (see plan.h): the rows and columns of a block, and how many rows make a
// run of whole vectors of LANES elements, where one row doesn't.
#pragma once

#include "memory.h"

namespace kernel {
namespace {

constexpr std::int64_t POSITIONS = 832;  // elements of a row whose lanes are kept

struct Box {
  std::int64_t row, row_end, column, column_end;
};

BN_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// The rows (outer indices) and columns (inner indices) of a block.
BN_INLINE Box box_of(const View& v, std::int64_t block) {
  std::int64_t chunks = (v.inner + v.chunk - 1) / v.chunk;
  std::int64_t row = block / chunks * v.rows, column = block % chunks * v.chunk;
  return {row, smaller(row + v.rows, v.outer), column, smaller(column + v.chunk, v.inner)};
}

// The number of values of one channel in a box.
BN_INLINE double count_of(const Box& box) {
  return (double)(box.row_end - box.row) * (double)(box.column_end - box.column);
}

// The largest number of stretches of `length` elements that fill whole vectors and have no more than
// `most` elements together; 1 where there is no such number.
BN_INLINE std::int64_t whole_steps(std::int64_t length, std::int64_t most) {
  std::int64_t unit = LANES;
  while (unit > 1 && length * (unit / 2) % LANES == 0) unit /= 2;
  const std::int64_t fitting = most / length / unit * unit;
  return fitting > 0 ? fitting : 1;
}

// The number of neighbouring channels whose rows, end to end, fill whole vectors; 1 where one row is
// long enough to be summed by itself, or a box has fewer than SOME_ROWS.
BN_INLINE std::int64_t channels_per_run(const View& v, std::int64_t rows, std::int64_t most) {
  if (v.inner >= 256 || (v.inner >= 64 && v.inner % LANES == 0) || rows < SOME_ROWS) return 1;
  return whole_steps(v.inner, most);
}

// Writes value c of `channels` values `inner` times from out + c * inner on. Stores are whole vectors:
// those of a value reach into the places of the next, which then are overwritten, and those of the last
// value end up to one vector beyond out + channels * inner.
template <class Given, class S>
BN_INLINE void expand(const Given* values, std::int64_t channels, std::int64_t inner, S* out) {
  for (std::int64_t c = 0; c < channels; c++, out += inner) {
    const auto value = set((S)values[c]);
    for (std::int64_t i = 0; i < inner; i += LANES) store(out + i, value);
  }
}

// The offset at which row n of channel c begins in the packed copy of a part.
BN_INLINE std::int64_t packed_row(const View& v, const Part& part, std::int64_t n, std::int64_t c) {
  return n * part.packed.stride + (c - part.packed.channel) * v.inner;
}

}  // namespace
}  // namespace kernel
