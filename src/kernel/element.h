// What the kernel computes on: element types, the shape of a task, and a channel's partial sums.
//
// Only plain data: this header is read by files compiled for different instruction sets, so it must
// not define a function that a linker could take from the wrong one.
#pragma once

#include <cstdint>

namespace kernel {

enum class Element : int { float32, float64, float16, bfloat16 };

struct Half {
  std::uint16_t bits;
};
struct Bfloat {
  std::uint16_t bits;
};

// From as many rows on, neighbouring channels are summed at once (boxes.h).
constexpr std::int64_t SOME_ROWS = 4;

// A dense tensor as (outer, channels, inner); inner == 1 is channels last. Sums are formed over
// blocks that depend on the shape alone: `rows` outer indices by `chunk` inner ones.
struct View {
  std::int64_t outer, channels, inner;
  std::int64_t rows, chunk;  // of a block
  std::int64_t blocks;       // (outer / rows, rounded up) * (inner / chunk, rounded up)
};

// A copy of some channels, which sums leave and what follows reads: element (n, c, i) stands at
// n * stride + (c - channel) * inner + i. Rows of one channel are as far apart as the tensor's are
// long, and often fall into the same few sets of a cache, which holds but few of them.
struct Packed {
  void *x, *dy;  // null: there is none; dy is what a ReLU let through
  std::int64_t channel, stride;
};

// A box of channels and blocks: what one call of a loop works on.
struct Part {
  std::int64_t channel, channel_end, block, block_end;
  bool backwards;  // last block first: what a sweep read last is still in the cache
  Packed packed;
  bool cached = false;  // what is read lies in a cache of this core, and isn't asked for beforehand
};

struct Tensors {
  const void *x, *dy, *y, *addend;
  void *out, *out_addend;
  bool relu;    // forward: clamp at 0; backward: let dy through where y > 0
  bool stream;  // write around the caches
  bool cached = false;  // as the part's
};

// Per-channel arrays of `channels` doubles.
struct Statistics {
  double *mean, *residual, *inv_std, *m2;
};

struct Affine {
  const double *gamma, *beta;  // null: 1, 0
};

// Sums of one channel each, structure of arrays. For 16- and 32-bit elements a = mean - shift and
// b = m2 of the values seen, joined by Chan's rule; for 64-bit elements a = sum of (x - shift) and
// b = sum of its squares, each with what rounding took from it, under one shift per channel.
struct Partials {
  double *shift, *a, *a_low, *b, *b_low;
};

// Per channel: y = ((x - mean) - residual) * scale + shift, in the type the elements are computed
// in (float for 16- and 32-bit elements: then `residual` is the mean's second float; of 16-bit elements
// it is in the shift, and not subtracted).
struct Coefficients {
  const void *mean, *residual, *scale, *shift;
  // In double, for the channels where float would overflow; null where no channel needs it.
  const unsigned char* careful;
  const double *wide_mean, *wide_residual, *wide_scale, *wide_shift;
};

// Where `prepare` puts what those hold beside the statistics: the first two in double.
struct NormalizeArrays {
  double *scale, *shift;
  float *mean_f, *residual_f, *scale_f, *shift_f;
  unsigned char* careful;
};

// dx = scale * (dy - constant + (x - mean) * slope), in double; in float for the channels where that is
// enough (`in_float`, null where none is): dy * scale_f + ((x - mean_f) * slope_f + shift_f). Where
// statistics were not the batch's, `of_x` is false: the slope is 0, and x is not read.
struct GradientCoefficients {
  bool of_x;
  const double *mean, *residual, *scale, *constant, *slope;
  const unsigned char* in_float;
  const float *mean_f, *scale_f, *shift_f, *slope_f;
};

// Where `prepare_gradient` puts them.
struct GradientArrays {
  double *scale, *constant, *slope;
  float *mean_f, *scale_f, *shift_f, *slope_f;
  unsigned char* in_float;
};

// Per channel: sums of dy, of dy * ((x - mean) - residual), and of dy * dy; and, where it is not
// null, the largest |x| (of 16- and 32-bit elements).
struct GradientSums {
  double *dy, *dy_x, *dy_dy, *largest;
};

}  // namespace kernel
