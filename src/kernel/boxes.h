// How a tensor falls into boxes, rows and runs of whole steps, and values per channel into lanes.
#pragma once

#include "memory.h"

namespace kernel {
namespace {

constexpr std::int64_t POSITIONS = 832;  // elements of a row whose lanes are kept

struct Box {
  std::int64_t row, row_end, column, column_end;
};

BN_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Which outer and inner indices a block holds.
BN_INLINE Box box_of(const View& v, std::int64_t block) {
  std::int64_t chunks = (v.inner + v.chunk - 1) / v.chunk;
  std::int64_t row = block / chunks * v.rows, column = block % chunks * v.chunk;
  return {row, smaller(row + v.rows, v.outer), column, smaller(column + v.chunk, v.inner)};
}

BN_INLINE double count_of(const Box& box) {
  return (double)(box.row_end - box.row) * (double)(box.column_end - box.column);
}

// How many runs of `length` make whole steps together, and no more than `most` elements; 1 where none do.
BN_INLINE std::int64_t whole_steps(std::int64_t length, std::int64_t most) {
  std::int64_t unit = LANES;
  while (unit > 1 && length * (unit / 2) % LANES == 0) unit /= 2;
  const std::int64_t fitting = most / length / unit * unit;
  return fitting > 0 ? fitting : 1;
}

// How many channels' rows make a run of whole steps, where one row doesn't: 1 where rows are long.
BN_INLINE std::int64_t channels_per_run(const View& v, std::int64_t rows, std::int64_t most) {
  if (v.inner >= 256 || (v.inner >= 64 && v.inner % LANES == 0) || rows < 4) return 1;
  return whole_steps(v.inner, most);
}

// Each of `channels` values `inner` times, in whole steps: each goes on into the next one's place, and
// the last one up to a step beyond its own.
template <class Given, class S>
BN_INLINE void expand(const Given* values, std::int64_t channels, std::int64_t inner, S* out) {
  for (std::int64_t c = 0; c < channels; c++, out += inner) {
    const auto value = set((S)values[c]);
    for (std::int64_t i = 0; i < inner; i += LANES) store(out + i, value);
  }
}

// Where row n of channel c begins in the packed copy.
BN_INLINE std::int64_t packed_row(const View& v, const Part& part, std::int64_t n, std::int64_t c) {
  return n * part.packed.stride + (c - part.packed.channel) * v.inner;
}

}  // namespace
}  // namespace kernel
