// The yardstick: a plain loop that reads some arrays once and writes one, and computes next to
// nothing. What a task needs beyond this is its own.
#pragma once

#include "memory.h"

namespace kernel {
namespace {

// Reads `count` floats of each of `inputs`; writes their sum to out, or returns it added up.
template <bool STREAM>
float move_floats(const float* const* inputs, int arrays, float* out, std::int64_t count) {
  F sums[4] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
  std::int64_t i = 0;
  for (; i + 4 * LANES <= count; i += 4 * LANES) {
    F f[4];
    for (int j = 0; j < 4; j++) f[j] = load(inputs[0] + i + j * LANES);
    for (int a = 1; a < arrays; a++) {
      for (int j = 0; j < 4; j++) f[j] = f[j] + load(inputs[a] + i + j * LANES);
    }
    for (int j = 0; j < 4; j++) {
      if (!out) {
        sums[j] = sums[j] + f[j];
      } else if (STREAM) {
        stream(out + i + j * LANES, f[j]);
      } else {
        store(out + i + j * LANES, f[j]);
      }
    }
  }
  if (STREAM) stream_end();
  float lanes[LANES];
  store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  return lanes[0];
}

float move(const float* const* inputs, int arrays, float* out, std::int64_t count, bool streaming) {
  return streaming ? move_floats<true>(inputs, arrays, out, count)
                   : move_floats<false>(inputs, arrays, out, count);
}

}  // namespace
}  // namespace kernel
