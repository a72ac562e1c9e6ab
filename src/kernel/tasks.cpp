#include <cstring>

#include "plan.h"

namespace kernel {
namespace {

Partials take_partials(Scratch& scratch, Index channels) {
  Partials p;
  for (double** array : {&p.shift, &p.a, &p.a_low, &p.b, &p.b_low}) *array = scratch.take(channels);
  return p;
}

double finite_or_zero(double value) { return std::isfinite(value) ? value : 0; }

// Mean, residual and m2 of channels [c, end) from their joined sums.
void conclude(const Job& job, const Partials& p, Index c, Index end, const Statistics& out) {
  const double count = count_of(job.view);
  for (; c < end; c++) {
    double offset = p.a[c], offset_low = 0, m2 = p.b[c];
    if (job.element == Element::float64) {
      const double s = p.a[c], s_low = finite_or_zero(p.a_low[c]);
      offset = s / count;
      // What the division left, and the low part of the sum.
      offset_low = finite_or_zero((std::fma(-offset, count, s) + s_low) / count);
      const double square = s * offset, square_low = std::fma(s, offset, -square);
      const double rest = s_low * offset + s * offset_low + square_low;
      m2 = (p.b[c] - square) + (finite_or_zero(p.b_low[c]) - finite_or_zero(rest));
    }
    const double mean = p.shift[c] + offset, part = mean - p.shift[c];
    const double lost = (p.shift[c] - (mean - part)) + (offset - part) + offset_low;
    out.mean[c] = mean;
    out.residual[c] = finite_or_zero(lost);
    if (out.residual[c] != 0) {  // the sum of both, rounded
      const double nearest = mean + out.residual[c];
      out.residual[c] -= nearest - mean;
      out.mean[c] = nearest;
    }
    out.m2[c] = m2 < 0 ? 0 : m2;
  }
}

void deviations(const Job& job, double epsilon, Index c, Index end, const Statistics& s) {
  const double count = count_of(job.view);
  for (; c < end; c++) s.inv_std[c] = 1.0 / std::sqrt(s.m2[c] / count + epsilon);
}

// The coefficients of normalize, in the type that the elements are computed in.
class Prepared {
 public:
  Prepared(const Job& job, Scratch& scratch, const Affine& affine)
      : narrow_(job.element != Element::float64), affine_(affine) {
    const Index channels = job.view.channels;
    for (double*& array : wide_) array = scratch.take(channels);
    if (narrow_) {
      for (float*& array : float_) array = take_bytes<float>(scratch, channels);
      careful_ = take_bytes<unsigned char>(scratch, channels);
    }
  }
  static Index doubles(Index channels) {
    return 4 * Scratch::padded(channels) + 5 * Scratch::padded(ceil_div(channels, 2));
  }

  // True where some of the channels need care: then `careful` stands in the result.
  Coefficients fill(const Statistics& s, Index c, Index end) {
    bool any = false;
    for (; c < end; c++) {
      const double scale = affine_.gamma ? s.inv_std[c] * affine_.gamma[c] : s.inv_std[c];
      const double shift = affine_.beta ? affine_.beta[c] : 0;
      wide_[0][c] = s.mean[c];
      wide_[1][c] = s.residual[c];
      wide_[2][c] = scale;
      wide_[3][c] = shift;
      if (!narrow_) continue;
      const float mean = static_cast<float>(s.mean[c]);
      float_[0][c] = mean;
      float_[1][c] = static_cast<float>((s.mean[c] - static_cast<double>(mean)) + s.residual[c]);
      if (!std::isfinite(mean)) float_[1][c] = 0;
      float_[2][c] = static_cast<float>(scale);
      float_[3][c] = static_cast<float>(shift);
      // Where x - mean could overflow a float, or the scale has no float with all its digits.
      const double size = std::fabs(scale);
      careful_[c] = (std::isfinite(s.mean[c]) && std::fabs(s.mean[c]) > 0x1p100) ||
                    (std::isfinite(scale) && scale != 0 && (size < 0x1p-100 || size > 0x1p126)) ||
                    (std::isfinite(shift) && std::fabs(shift) > 0x1p127);
      any = any || careful_[c];
    }
    const unsigned char* careful = any ? careful_ : nullptr;
    Coefficients k = {wide_[0], wide_[1], wide_[2], wide_[3], careful,
                      wide_[0], wide_[1], wide_[2], wide_[3]};
    if (narrow_) k.mean = float_[0], k.residual = float_[1], k.scale = float_[2], k.shift = float_[3];
    return k;
  }

 private:
  template <class T>
  static T* take_bytes(Scratch& scratch, Index count) {
    return reinterpret_cast<T*>(scratch.take(ceil_div(count * static_cast<Index>(sizeof(T)), 8)));
  }

  bool narrow_;
  Affine affine_;
  double* wide_[4];
  float* float_[4] = {};
  unsigned char* careful_ = nullptr;
};

Index partial_doubles(const View& v) {
  return 5 * Scratch::padded(v.channels) * segments(v);
}

void sum_segments(const Job& job, int threads, const Partials& total, Scratch& scratch) {
  const View& v = job.view;
  const Index count = segments(v);
  Partials parts[SEGMENTS];
  parts[0] = total;
  for (Index s = 1; s < count; s++) parts[s] = take_partials(scratch, v.channels);
  auto item = [&](Index s) {
    loops(job).moments(v, job.tensors, segment(v, s, count), parts[s]);
  };
  parallel(count, threads, item);
  double seen = count_of(v, segment(v, 0, count));
  for (Index s = 1; s < count; s++) {
    const double more = count_of(v, segment(v, s, count));
    loops(job).join(total, seen, parts[s], more, v.channels);
    seen += more;
  }
}

#if defined(__x86_64__)
const Level* const LEVELS[] = {&level_v4, &level_v3, &level_v2};

bool runs_here(const Level* level) {
  __builtin_cpu_init();
  if (level == &level_v4) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
  }
  if (level == &level_v3) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  }
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
#else
const Level* const LEVELS[] = {&level_plain};
bool runs_here(const Level*) { return true; }
#endif

}  // namespace

const Level* find_level(const char* name) {
  for (const Level* level : LEVELS) {
    if (std::strcmp(level->name, name) == 0 && runs_here(level)) return level;
  }
  return nullptr;
}

void reduce(Job job, const Statistics& out) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  const int threads = threads_for(v);
  Scratch scratch(partial_doubles(v));
  const Partials total = take_partials(scratch, v.channels);
  if (segments(v) == 1) {
    const Index at_once = channels_at_once(job, 1, threads);
    auto item = [&](Index i) {
      const Index c = i * at_once;
      const Part part = {c, std::min(c + at_once, v.channels), 0, v.blocks, false, 0};
      loops(job).moments(v, job.tensors, part, total);
    };
    parallel(ceil_div(v.channels, at_once), threads, item);
  } else {
    sum_segments(job, threads, total, scratch);
  }
  conclude(job, total, 0, v.channels, out);
}

void normalize(Job job, const Statistics& statistics, const Affine& affine) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  Scratch scratch(Prepared::doubles(v.channels));
  Prepared prepared(job, scratch, affine);
  const Coefficients k = prepared.fill(statistics, 0, v.channels);
  write_all(job, threads_for(v), false,
            [&](const Part& part) { loops(job).normalize(v, job.tensors, part, k); });
}

void forward(Job job, double epsilon, const Affine& affine, const Statistics& out) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  const int threads = threads_for(v);
  Scratch scratch(partial_doubles(v) + Prepared::doubles(v.channels));
  const Partials total = take_partials(scratch, v.channels);
  Prepared prepared(job, scratch, affine);
  if (segments(v) == 1) {
    const Index at_once = channels_at_once(job, 1, threads);
    auto item = [&](Index i) {
      const Index c = i * at_once, end = std::min(c + at_once, v.channels);
      loops(job).moments(v, job.tensors, {c, end, 0, v.blocks, false, 0}, total);
      conclude(job, total, c, end, out);
      deviations(job, epsilon, c, end, out);
      const Coefficients k = prepared.fill(out, c, end);
      loops(job).normalize(v, job.tensors, {c, end, 0, v.blocks, true, 0}, k);
    };
    parallel(ceil_div(v.channels, at_once), threads, item);
    return;
  }
  sum_segments(job, threads, total, scratch);
  conclude(job, total, 0, v.channels, out);
  deviations(job, epsilon, 0, v.channels, out);
  const Coefficients k = prepared.fill(out, 0, v.channels);
  write_all(job, threads, true,
            [&](const Part& part) { loops(job).normalize(v, job.tensors, part, k); });
}

void move(const Level* level, const float* const* inputs, int arrays, float* out,
          std::int64_t bytes, bool stream) {
  constexpr Index PIECE = 64 * 1024;  // floats
  const Index count = bytes / 4;
  stream = stream && reinterpret_cast<std::uintptr_t>(out) % 64 == 0;
  auto item = [&](Index i) {
    const Index start = i * PIECE;
    const float* at[8];
    for (int a = 0; a < arrays; a++) at[a] = inputs[a] + start;
    volatile float sink = level->move(at, arrays, out ? out + start : nullptr,
                                      std::min(PIECE, count - start), stream);
    (void)sink;
  };
  parallel(ceil_div(count, PIECE), num_threads(), item);
}

}  // namespace kernel
