// What input_gradient multiplies and adds per channel, made from statistics, gamma and the sums; and
// for which channels float is enough.
#pragma once

#include "plan.h"

namespace kernel {
namespace {

// Whether the loops subtract the mean alone, since a double has digits to spare for its elements.
bool is_narrow(const Job& job) { return job.element != Element::float64; }

// Coefficients of dx for every channel, in double and, of 16- and 32-bit elements, in float as well.
class PreparedGradient {
 public:
  PreparedGradient(const Job& job, Scratch& scratch)
      : narrow_(is_narrow(job)), alike_(alike(job.view)), spare_(job.level->fused ? 0.9 : 0.4) {
    if (job.element != Element::float32) spare_ *= 0x1p7;
    const Index channels = job.view.channels;
    for (double** array : {&scale_, &constant_, &slope_}) *array = scratch.take(channels);
    if (!narrow_) return;
    for (float*& array : float_) array = scratch.take<float>(channels);
    in_float_ = scratch.take<unsigned char>(channels);
  }
  static Index doubles(Index channels) {
    return 3 * Scratch::padded(channels) + 5 * Scratch::padded(ceil_div(channels, 2));
  }

  // dx = scale * (dy - constant + (x - mean) * slope), where `constant` and `slope` are means of dy
  // and of dy * x_hat, null for 0; or their sums, with `share` 1 / count. The sums, if known, say
  // where float is enough.
  void fill(const Statistics& s, const double* gamma, const double* constant, const double* slope,
            double share, const GradientSums* sums, Index first, Index end) {
    for (Index c = first; c < end; c++) {
      const double scale = gamma ? s.inv_std[c] * gamma[c] : s.inv_std[c];
      const double mean_dy = constant ? constant[c] * share : 0;
      const double mean_dy_x = slope ? slope[c] * share : 0;
      scale_[c] = scale;
      constant_[c] = mean_dy;
      slope_[c] = -(mean_dy_x * s.inv_std[c]);
      if (!narrow_) continue;
      const float mean = static_cast<float>(s.mean[c]);
      const double slope_of_dx = slope_[c] * scale, rest = s.mean[c] - static_cast<double>(mean);
      float_[0][c] = mean;
      float_[1][c] = static_cast<float>(scale);
      const double shift = slope ? (rest + s.residual[c]) * slope_of_dx : 0;
      float_[2][c] = static_cast<float>(-mean_dy * scale - shift);
      float_[3][c] = static_cast<float>(slope_of_dx);
      for (float* of : float_) of[c] = usual(of[c]);
      // The loops over narrow elements leave the residual to the constant.
      if (s.residual[c] != 0) constant_[c] += s.residual[c] * slope_[c];
      in_float_[c] = slope ? sums && suffices(s, scale, slope_of_dx, mean_dy, mean_dy_x, share, *sums, c)
                           : fits(scale);
    }
    for (Index c = first; narrow_ && alike_ > 1 && c < end;) {
      const Index next = std::min((c / alike_ + 1) * alike_, end);
      const bool all = all_in_float(c, next);
      for (; c < next; c++) in_float_[c] = all;
    }
  }
  // Of 64-bit elements, which are never computed in less, this says nothing else than that.
  bool all_in_float(Index c, Index end) const {
    return !narrow_ || std::all_of(in_float_ + c, in_float_ + end, [](unsigned char f) { return f; });
  }
  GradientCoefficients with(const Statistics& s, bool of_x) const {
    return {of_x, s.mean, s.residual, scale_, constant_, slope_, narrow_ ? in_float_ : nullptr,
            float_[0], float_[1], float_[2], float_[3]};
  }

 private:
  static bool fits(double size) {
    size = std::fabs(size);
    return size == 0 || (size >= 0x1p-100 && size <= 0x1p100);
  }
  // With u = 2^-24, float leaves an error of at most u * (3 |dx| + 2 |shift| + 4 |(x - mean) slope|)
  // in dx, without fused multiply-add u * (4 |dx| + 3 |shift| + 6 |(x - mean) slope|), `mean` and
  // `shift` being the floats. We promise 6.7 u of the largest |dx|, which is at least their root mean
  // square: that of dy less what the mean and the slope take, which epsilon makes at most twice the
  // slope's square.
  bool suffices(const Statistics& s, double scale, double slope, double mean_dy, double mean_dy_x,
                double share, const GradientSums& sums, Index c) const {
    const double mean = float_[0][c];
    const double furthest = sums.largest[c] + std::fabs(mean) +
                            std::fabs(s.mean[c] - mean + s.residual[c]);
    const double left = sums.dy_dy[c] * share - mean_dy * mean_dy - 2 * mean_dy_x * mean_dy_x;
    const double size = std::sqrt(left);  // NaN where nothing is left
    const double taken = std::fabs(mean_dy) + std::fabs(mean_dy_x) * furthest * s.inv_std[c];
    return taken <= spare_ * size && fits(scale) && fits(slope) && fits(size * scale) &&
           std::fabs(s.mean[c]) <= 0x1p100;
  }

  bool narrow_;
  Index alike_;
  double spare_;
  double *scale_, *constant_, *slope_;
  float* float_[4] = {};
  unsigned char* in_float_ = nullptr;
};

}  // namespace
}  // namespace kernel
