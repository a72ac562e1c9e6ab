// The loops that exist once per instruction set, and the table through which they are called.
#pragma once

#include "element.h"

namespace kernel {

constexpr int FEW_VALUES = 32;

namespace {
// Whether sixteen channels are best read at once, all their values in turn: where there are but a few,
// which fill no steps of their own. Channels last need no copy for it, and take it up to half as many.
constexpr bool has_few_values(const View& v) {
  if (v.inner == 1) return v.outer <= FEW_VALUES / 2;
  return v.outer < SOME_ROWS && v.inner < 16 && v.outer * v.inner <= FEW_VALUES;
}
}  // namespace

struct Loops {
  void (*moments)(const View&, const Tensors&, const Part&, const Partials&);
  void (*join)(const Partials& total, double count, const Partials& more, double more_count,
               std::int64_t channels);
  void (*normalize)(const View&, const Tensors&, const Part&, const Coefficients&);
  void (*gradient_sums)(const View&, const Tensors&, const Part&, const GradientCoefficients&,
                        const GradientSums&);
  // The same, of 16-bit elements in strips of float where there are some.
  void (*gradient_strips)(const View&, const Tensors&, const Part&, const GradientCoefficients&,
                          const GradientSums&);
  void (*input_gradient)(const View&, const Tensors&, const Part&, const GradientCoefficients&);
  // The sums of one part while another one of its shape is written.
  void (*moments_and_normalize)(const View&, const Tensors&, const Part& summed, const Partials&,
                                const Part& written, const Coefficients&);
  void (*sums_and_input_gradient)(const View&, const Tensors&, const Part& summed,
                                  const GradientCoefficients&, const GradientSums&,
                                  const Part& written);
  // Channels [c, end): see channels.h.
  void (*conclude)(const Partials&, double count, std::int64_t c, std::int64_t end, const Statistics&);
  bool (*prepare)(const Statistics&, const Affine&, std::int64_t c, std::int64_t end,
                  const NormalizeArrays&);
  void (*finish_sums)(const Statistics&, std::int64_t c, std::int64_t end, const GradientSums&);
  void (*prepare_gradient)(const Statistics&, const double* gamma, const double* constant,
                           const double* slope, double share, const GradientSums*, std::int64_t c,
                           std::int64_t end, const GradientArrays&);
  bool (*mark_cancelled)(const Statistics&, double count, double epsilon, std::int64_t c,
                         std::int64_t end, const GradientSums&);
  // Writes dx of those of channels [c, end) that are marked: see cancelled.h.
  void (*recover)(const View&, const Tensors&, const Statistics&, const double* gamma, double epsilon,
                  const double* marked, std::int64_t c, std::int64_t end);
  // The whole backward of channels [c, end) of a few values: see few_values.h.
  bool (*few_values)(const View&, const Tensors&, const Statistics&, const double* gamma, bool batch,
                     double epsilon, const GradientSums&, std::int64_t c, std::int64_t end);
};

struct Level {
  const char* name;
  Loops loops[4];  // by Element
  float (*move)(const float* const* inputs, int arrays, float* out, std::int64_t count,
                bool stream);  // see move.h
  void (*deviations)(const double* m2, double count, double epsilon, std::int64_t c,
                     std::int64_t end, double* inv_std);
};

#if defined(__x86_64__)
extern const Level level_v2, level_v3, level_v4;
#elif defined(__aarch64__)
extern const Level level_neon;
#else
extern const Level level_plain;
#endif

}  // namespace kernel
