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
      : prepare_(loops(job).prepare_gradient), narrow_(is_narrow(job)), alike_(alike(job.view)) {
    const Index channels = job.view.channels;
    for (double** array : {&to_.scale, &to_.constant, &to_.slope}) *array = scratch.take(channels);
    if (!narrow_) return;
    for (float** array : {&to_.mean_f, &to_.scale_f, &to_.shift_f, &to_.slope_f}) {
      *array = scratch.take<float>(channels);
    }
    to_.in_float = scratch.take<unsigned char>(channels);
  }
  static Index doubles(Index channels) {
    return 3 * Scratch::padded(channels) + 5 * Scratch::padded(ceil_div(channels, 2));
  }

  // As `prepare_gradient`; channels that are computed alike are in float all of them, or none.
  void fill(const Statistics& s, const double* gamma, const double* constant, const double* slope,
            double share, const GradientSums* sums, Index first, Index end) {
    prepare_(s, gamma, constant, slope, share, sums, first, end, to_);
    agree(first, end);
  }
  // As `fill`, after again(c, next) for channels [c, next) that float isn't enough for, and those
  // computed alike: it changes the sums of the former.
  template <class Again>
  void fill(const Statistics& s, const double* gamma, const double* constant, const double* slope,
            double share, const GradientSums* sums, Index first, Index end, Again again) {
    prepare_(s, gamma, constant, slope, share, sums, first, end, to_);
    for (Index c = first_in_double(first, end); c < end; c = first_in_double(c, end)) {
      const Index start = std::max(c / alike_ * alike_, first);
      while (c < end && first_in_double(c, end_of_alike(c, end)) < end_of_alike(c, end)) {
        c = end_of_alike(c, end);
      }
      again(start, c);
      prepare_(s, gamma, constant, slope, share, sums, start, c, to_);
    }
    agree(first, end);
  }
  bool in_float(Index c) const { return to_.in_float[c]; }
  // Of 64-bit elements, which are never computed in less, this says nothing else than that.
  bool all_in_float(Index c, Index end) const {
    return !narrow_ || first_in_double(c, end) == end;
  }
  GradientCoefficients with(const Statistics& s, bool of_x) const {
    return {of_x, s.mean, s.residual, to_.scale, to_.constant, to_.slope, to_.in_float,
            to_.mean_f, to_.scale_f, to_.shift_f, to_.slope_f};
  }

 private:
  void agree(Index first, Index end) {
    for (Index c = first; narrow_ && alike_ > 1 && c < end;) {
      const Index next = end_of_alike(c, end);
      const bool all = all_in_float(c, next);
      for (; c < next; c++) to_.in_float[c] = all;
    }
  }
  Index end_of_alike(Index c, Index end) const { return std::min((c / alike_ + 1) * alike_, end); }
  Index first_in_double(Index c, Index end) const {
    return std::find(to_.in_float + c, to_.in_float + end, false) - to_.in_float;
  }

  decltype(Loops::prepare_gradient) prepare_;
  bool narrow_;
  Index alike_;
  GradientArrays to_ = {};
};

}  // namespace
}  // namespace kernel
