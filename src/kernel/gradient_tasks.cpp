#include "plan.h"

namespace kernel {
namespace {

// Whether the loops subtract the mean alone, since a double has digits to spare for its elements.
bool is_narrow(const Job& job) { return job.element != Element::float64; }

// Coefficients of dx for every channel, and the zeros that stand for what is not there.
struct PreparedGradient {
  double *scale, *constant, *slope;
  bool narrow;

  PreparedGradient(const Job& job, Scratch& scratch)
      : scale(scratch.take(job.view.channels)), constant(scratch.take(job.view.channels)),
        slope(scratch.take(job.view.channels)), narrow(is_narrow(job)) {}
  static Index doubles(Index channels) { return 3 * Scratch::padded(channels); }

  // `mean_dy` and `mean_dy_x_hat` times `share`, null for 0; the slope is made that of x - mean,
  // and negative.
  void fill(const Statistics& s, const double* gamma, const double* sum_dy, const double* sum_dy_x,
            double share, Index c, Index end) {
    for (; c < end; c++) {
      scale[c] = gamma ? s.inv_std[c] * gamma[c] : s.inv_std[c];
      constant[c] = sum_dy ? sum_dy[c] * share : 0;
      slope[c] = sum_dy_x ? -(sum_dy_x[c] * share * s.inv_std[c]) : 0;
      // The loops over narrow elements leave the residual to the constant.
      if (narrow && s.residual[c] != 0) constant[c] += s.residual[c] * slope[c];
    }
  }
  GradientCoefficients with(const Statistics& s) const {
    return {s.mean, s.residual, scale, constant, slope};
  }
};

void clear(const GradientSums& sums, Index channels) {
  for (double* array : {sums.dy, sums.dy_x, sums.dy_dy}) std::fill_n(array, channels, 0.0);
}

// The sums of dy * (x - mean) become those of dy * x_hat.
void finish_sums(const Job& job, const Statistics& s, const GradientSums& sums, Index c,
                 Index end) {
  const bool narrow = is_narrow(job);
  for (; c < end; c++) {
    if (narrow && s.residual[c] != 0) sums.dy_x[c] -= s.residual[c] * sums.dy[c];
    sums.dy_x[c] *= s.inv_std[c];
  }
}

GradientCoefficients only_mean(const Statistics& s) {
  return {s.mean, s.residual, nullptr, nullptr, nullptr};
}

void sum_channels(const Job& job, const Statistics& s, const GradientSums& sums,
                  const Part& part) {
  loops(job).gradient_sums(job.view, job.tensors, part, only_mean(s), sums);
  finish_sums(job, s, sums, part.channel, part.channel_end);
}

// Sums segments of channels by all threads, and adds them in their order to the first.
class GradientSegments {
 public:
  GradientSegments(const Job& job, int threads, const Statistics& s, const GradientSums& sums,
                   Scratch& scratch)
      : job_(job), threads_(threads), count_(segments(job.view)), statistics_(s) {
    parts_[0] = sums;
    for (Index i = 1; i < count_; i++) {
      const Index channels = job.view.channels;
      parts_[i] = {scratch.take(channels), scratch.take(channels), scratch.take(channels)};
      clear(parts_[i], channels);
    }
  }
  void sum(Index c, Index end) const {
    const View& v = job_.view;
    auto item = [&](Index i) {
      loops(job_).gradient_sums(v, job_.tensors, segment(v, i, count_, c, end),
                                only_mean(statistics_), parts_[i]);
    };
    parallel(count_, threads_, item);
    for (Index i = 1; i < count_; i++) {
      for (Index j = c; j < end; j++) {
        parts_[0].dy[j] += parts_[i].dy[j];
        parts_[0].dy_x[j] += parts_[i].dy_x[j];
        parts_[0].dy_dy[j] += parts_[i].dy_dy[j];
      }
    }
    finish_sums(job_, statistics_, parts_[0], c, end);
  }

 private:
  const Job& job_;
  int threads_;
  Index count_;
  const Statistics& statistics_;
  GradientSums parts_[SEGMENTS];
};

Index segment_doubles(const View& v) {
  return 3 * Scratch::padded(v.channels) * segments(v);
}

}  // namespace

void reduce_gradient(Job job, const Statistics& s, const GradientSums& sums) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  const int threads = threads_for(v);
  clear(sums, v.channels);
  if (segments(v) == 1) {
    const Turns turns(job, 2, threads);
    auto item = [&](Index i) { sum_channels(job, s, sums, turns.part(v, i, false)); };
    parallel(turns.items, threads, item);
  } else {
    Scratch scratch(segment_doubles(v));
    GradientSegments(job, threads, s, sums, scratch).sum(0, v.channels);
  }
}

void input_gradient(Job job, const Statistics& s, const double* gamma, const double* constant,
                    const double* slope) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  Scratch scratch(PreparedGradient::doubles(v.channels));
  PreparedGradient prepared(job, scratch);
  prepared.fill(s, gamma, constant, slope, 1, 0, v.channels);
  const GradientCoefficients k = prepared.with(s);
  write_all(job, threads_for(v),
            [&](const Part& part) { loops(job).input_gradient(v, job.tensors, part, k); });
}

void backward(Job job, const Statistics& s, const double* gamma, bool batch,
              const GradientSums& sums) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  const int threads = threads_for(v);
  const double share = 1 / count_of(v);
  const double *constant = batch ? sums.dy : nullptr, *slope = batch ? sums.dy_x : nullptr;
  Scratch scratch(segment_doubles(v) + PreparedGradient::doubles(v.channels));
  PreparedGradient prepared(job, scratch);
  const GradientCoefficients k = prepared.with(s);
  clear(sums, v.channels);
  if (segments(v) == 1) {
    const Turns turns(job, 2, threads);
    auto item = [&](Index i) {
      const Part part = turns.part(v, i, false);
      sum_channels(job, s, sums, part);
      prepared.fill(s, gamma, constant, slope, share, part.channel, part.channel_end);
      loops(job).input_gradient(v, job.tensors, turns.part(v, i, true), k);
    };
    parallel(turns.items, threads, item);
    return;
  }
  const GradientSegments parts(job, threads, s, sums, scratch);
  for (Index c = 0; c < v.channels; c += step(v)) {
    const Index end = c + step(v);
    parts.sum(c, end);
    prepared.fill(s, gamma, constant, slope, share, c, end);
    write_blocks(job, 2, threads, true, c, end,
                 [&](const Part& part) { loops(job).input_gradient(v, job.tensors, part, k); });
  }
}

// dy = a + b * x_hat + r with r orthogonal to both leaves r + b * x_hat * epsilon / (var + epsilon).
bool mark_cancelled(const Job& job, const Statistics& s, double epsilon, const GradientSums& sums) {
  // 32-bit results stand rounding up to 2^-20 of dy; 64-bit ones need nearly all digits of double.
  const double least = job.element == Element::float64 ? 0x1p-12 : 0x1p-40;
  const double count = count_of(job.view);
  bool any = false;
  for (Index c = 0; c < job.view.channels; c++) {
    const double share = epsilon * s.inv_std[c] * s.inv_std[c], whole = sums.dy_dy[c];
    const double x_hat_squares = count * (1 - share);
    const double fit = x_hat_squares > 0 ? sums.dy_x[c] * sums.dy_x[c] / x_hat_squares : 0;
    const double rest = std::max(0.0, whole - sums.dy[c] * sums.dy[c] / count - fit);
    const bool cancelled = whole > 0 && rest + fit * share * share <= least * whole;
    sums.dy_dy[c] = cancelled;
    any = any || cancelled;
  }
  return any;
}

}  // namespace kernel
