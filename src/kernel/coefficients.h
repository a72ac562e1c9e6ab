// What normalize multiplies and adds per channel, made from statistics, gamma and beta.
#pragma once

#include "plan.h"

namespace kernel {
namespace {

// The coefficients of normalize, in the type that the elements are computed in.
class Prepared {
 public:
  Prepared(const Job& job, Scratch& scratch, const Statistics& statistics, const Affine& affine)
      : prepare_(loops(job).prepare), narrow_(job.element != Element::float64),
        statistics_(statistics), affine_(affine) {
    const Index channels = job.view.channels;
    for (double** array : {&to_.scale, &to_.shift}) *array = scratch.take(channels);
    if (!narrow_) return;
    for (float** array : {&to_.mean_f, &to_.residual_f, &to_.scale_f, &to_.shift_f}) {
      *array = scratch.take<float>(channels);
    }
    to_.careful = scratch.take<unsigned char>(channels);
  }
  static Index doubles(Index channels) {
    return 2 * Scratch::padded(channels) + 5 * Scratch::padded(ceil_div(channels, 2));
  }

  // Whether some of the channels need care.
  bool fill(Index c, Index end) { return prepare_(statistics_, affine_, c, end, to_); }
  Coefficients coefficients(bool careful) const {
    const double *mean = statistics_.mean, *residual = statistics_.residual;
    if (!narrow_) return {mean, residual, to_.scale, to_.shift, nullptr, mean, residual, to_.scale, to_.shift};
    return {to_.mean_f, to_.residual_f, to_.scale_f, to_.shift_f, careful ? to_.careful : nullptr,
            mean, residual, to_.scale, to_.shift};
  }

 private:
  decltype(Loops::prepare) prepare_;
  bool narrow_;
  Statistics statistics_;
  Affine affine_;
  NormalizeArrays to_ = {};
};

}  // namespace
}  // namespace kernel
