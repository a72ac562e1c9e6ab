// The tasks of batch normalization on dense tensors: how they are cut into parts, and what happens
// between the sweeps. The loops themselves are in level.cpp, once per instruction set.
#pragma once

#include "level.h"

namespace kernel {

struct Job {
  const Level* level;
  Element element;
  View view;  // outer, channels, inner; `plan` fills the rest
  Tensors tensors;
};

const Level* find_level(const char* name);  // null where unknown or not runnable here

// Fills mean, residual and m2.
void reduce(Job job, const Statistics& out);

// inv_std = 1 / sqrt(m2 / count + epsilon) of all channels.
void deviations(const Job& job, const double* m2, double count, double epsilon, double* inv_std);

// Writes tensors.out.
void normalize(Job job, const Statistics& statistics, const Affine& affine);

// reduce, inv_std = 1 / sqrt(m2 / count + epsilon), and normalize: each channel is written while it
// is in the cache, where it fits.
void forward(Job job, double epsilon, const Affine& affine, const Statistics& out);

// Fills sums: dy_x here already times inv_std.
void reduce_gradient(Job job, const Statistics& statistics, const GradientSums& sums);

// Writes tensors.out; constant and slope (of x_hat) are null where statistics were not the batch's.
void input_gradient(Job job, const Statistics& statistics, const double* gamma,
                    const double* constant, const double* slope);

// reduce_gradient and input_gradient; `batch` says whether the statistics were the batch's. Where those
// cancel so much of dy that double would show its own rounding, sums.dy_dy becomes 1, else 0.
void backward(Job job, const Statistics& statistics, const double* gamma, bool batch,
              double epsilon, GradientSums sums);

// The limit: reads `bytes` of each input and writes their sum to `out`, or nothing where it is null.
void move(const Level* level, const float* const* inputs, int arrays, float* out,
          std::int64_t bytes, bool stream);

}  // namespace kernel
