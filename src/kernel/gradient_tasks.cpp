#include <atomic>

#include "gradient_coefficients.h"

namespace kernel {
namespace {

void clear(const GradientSums& sums, Index c, Index end) {
  for (double* array : {sums.dy, sums.dy_x, sums.dy_dy, sums.largest}) {
    if (array) std::fill(array + c, array + end, 0.0);
  }
}

GradientCoefficients only_mean(const Statistics& s) {
  GradientCoefficients k{};
  k.of_x = true;
  k.mean = s.mean;
  k.residual = s.residual;
  return k;
}

using SumLoop = decltype(Loops::gradient_sums);

void sum_channels(SumLoop loop, const Job& job, const Statistics& s, const GradientSums& sums,
                  const Part& part) {
  clear(sums, part.channel, part.channel_end);
  loop(job.view, job.tensors, part, only_mean(s), sums);
  loops(job).finish_sums(s, part.channel, part.channel_end, sums);
}

// Sums segments of channels by all threads, adds them in their order to the first, and calls
// then(first, end) for channels that are done.
class GradientSegments {
 public:
  GradientSegments(SumLoop loop, const Job& job, int threads, const Statistics& s,
                   const GradientSums& sums, Scratch& scratch)
      : loop_(loop), job_(job), threads_(threads), count_(segments(job.view)), statistics_(s) {
    parts_[0] = sums;
    for (Index i = 1; i < count_; i++) {
      const Index channels = job.view.channels;
      double* rows[4] = {};
      for (int j = 0; j < (sums.largest ? 4 : 3); j++) rows[j] = scratch.take(channels);
      parts_[i] = {rows[0], rows[1], rows[2], rows[3]};
    }
  }
  template <class Then>
  void sum(Index first, Index last, Then then) const {
    const View& v = job_.view;
    auto item = [&](Index i) {
      clear(parts_[i], first, last);
      loop_(v, job_.tensors, segment(v, i, count_, {first, last, 0, 0, false, {}}),
            only_mean(statistics_), parts_[i]);
    };
    parallel(count_, threads_, item);
    share_channels(first, last, threads_, [&](Index c, Index end) {
      for (Index i = 1; i < count_; i++) add(parts_[i], c, end);
      loops(job_).finish_sums(statistics_, c, end, parts_[0]);
      then(c, end);
    });
  }

 private:
  void add(const GradientSums& more, Index c, Index end) const {
    const GradientSums& to = parts_[0];
    for (Index j = c; j < end; j++) {
      to.dy[j] += more.dy[j];
      to.dy_x[j] += more.dy_x[j];
      to.dy_dy[j] += more.dy_dy[j];
      if (to.largest) to.largest[j] = std::max(to.largest[j], more.largest[j]);
    }
  }

  SumLoop loop_;
  const Job& job_;
  int threads_;
  Index count_;
  const Statistics& statistics_;
  GradientSums parts_[SEGMENTS];
};

Index segment_doubles(const View& v) {
  return 4 * Scratch::padded(v.channels) * (segments(v) - 1);
}

}  // namespace

void reduce_gradient(Job job, const Statistics& s, const GradientSums& sums) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  const int threads = threads_for(v);
  if (segments(v) == 1) {
    const Turns turns(job, 2, threads);
    auto item = [&](Index i) {
      sum_channels(loops(job).gradient_sums, job, s, sums, turns.part(v, i));
    };
    parallel(turns.items, threads, item);
  } else {
    Scratch scratch(segment_doubles(v));
    const GradientSegments parts(loops(job).gradient_sums, job, threads, s, sums, scratch);
    parts.sum(0, v.channels, [](Index, Index) {});
  }
}

void input_gradient(Job job, const Statistics& s, const double* gamma, const double* constant,
                    const double* slope) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  Scratch scratch(PreparedGradient::doubles(v.channels));
  PreparedGradient prepared(job, scratch);
  prepared.fill(s, gamma, constant, slope, 1, nullptr, 0, v.channels);
  const GradientCoefficients k = prepared.with(s, slope != nullptr);
  write_all(job, threads_for(v),
            [&](const Part& part) { loops(job).input_gradient(v, job.tensors, part, k); });
}

namespace {

void sum_and_write(const Job& job, const Statistics& s, const double* gamma, bool batch,
                   GradientSums sums) {
  const View& v = job.view;
  const int threads = threads_for(v);
  const double share = 1 / count_of(v);
  const double *constant = batch ? sums.dy : nullptr, *slope = batch ? sums.dy_x : nullptr;
  const SumLoop loop = loops(job).gradient_strips;
  const bool strips = loop != loops(job).gradient_sums;
  Scratch scratch(segment_doubles(v) + PreparedGradient::doubles(v.channels) +
                  (strips ? 5 : 1) * Scratch::padded(v.channels));
  if (is_narrow(job)) sums.largest = scratch.take(v.channels);
  PreparedGradient prepared(job, scratch);
  const GradientCoefficients k = prepared.with(s, slope != nullptr);
  double* exact[4] = {};
  for (int j = 0; strips && j < 4; j++) exact[j] = scratch.take(v.channels);
  // Sums in strips are taken once more in double where float is not enough, and only there: what one
  // channel holds changes nothing in another.
  auto again = [&](Index first, Index end) {
    const GradientSums more = {exact[0], exact[1], exact[2], exact[3]};
    sum_channels(loops(job).gradient_sums, job, s, more, {first, end, 0, v.blocks, false, {}});
    double* const to[] = {sums.dy, sums.dy_x, sums.dy_dy, sums.largest};
    for (Index c = first; c < end; c++) {
      for (int j = 0; j < 4 && !prepared.in_float(c); j++) to[j][c] = exact[j][c];
    }
  };
  auto fill = [&](Index c, Index end) {
    if (strips) {
      prepared.fill(s, gamma, constant, slope, share, &sums, c, end, again);
    } else {
      prepared.fill(s, gamma, constant, slope, share, &sums, c, end);
    }
  };
  auto prepare = [&](const Part& part) {
    fill(part.channel, part.channel_end);
    return prepared.all_in_float(part.channel, part.channel_end);
  };
  auto sum = [&](const Part& part) { sum_channels(loop, job, s, sums, part); };
  auto write = [&](const Part& part, bool = true) {
    loops(job).input_gradient(v, job.tensors, part, k);
  };
  const Overlap overlap(job, 2, threads);
  if (segments(v) == 1 && overlap.worthwhile()) {
    overlap.run(v, threads, sum, prepare, write,
                [&](const Part& next, const Part& before, bool in_float) {
                  if (!in_float) return false;
                  clear(sums, next.channel, next.channel_end);
                  loops(job).sums_and_input_gradient(v, job.tensors, next, k, sums, before);
                  loops(job).finish_sums(s, next.channel, next.channel_end, sums);
                  return true;
                });
    return;
  }
  if (segments(v) == 1) {
    const Turns turns(job, 2, threads);
    auto item = [&](Index i) {
      Part part = turns.part(v, i);
      sum(part);
      prepare(part);
      part.backwards = part.cached = true;
      write(part);
    };
    parallel(turns.items, threads, item);
    return;
  }
  const GradientSegments parts(loop, job, threads, s, sums, scratch);
  for (Index c = 0; c < v.channels; c += step(v)) {
    const Part all = {c, c + step(v), 0, v.blocks, true, {}};
    parts.sum(c, all.channel_end, fill);
    write_blocks(threads, all, write);
  }
}

}  // namespace

void backward(Job job, const Statistics& s, const double* gamma, bool batch, double epsilon,
              GradientSums sums) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  if (has_few_values(v)) {
    std::atomic<bool> marked{false};
    share_channels(0, v.channels, threads_for(v), [&](Index c, Index end) {
      const bool some = loops(job).few_values(v, job.tensors, s, gamma, batch, epsilon, sums, c, end);
      if (some) marked = true;
    });
    if (!marked) return;
  } else {
    sum_and_write(job, s, gamma, batch, sums);
    if (!batch || !loops(job).mark_cancelled(s, count_of(v), epsilon, 0, v.channels, sums)) return;
  }
  const Index some = v.outer * v.inner < 64 ? 256 : 16;
  auto item = [&](Index i) {
    loops(job).recover(v, job.tensors, s, gamma, epsilon, sums.dy_dy, i * some,
                       std::min((i + 1) * some, v.channels));
  };
  parallel(ceil_div(v.channels, some), threads_for(v), item);
}

}  // namespace kernel
