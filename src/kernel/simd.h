// Sixteen values at a time: F (float) and D (double), the same sixteen lanes at every level.
//
// Sums run in these sixteen lanes whatever the registers' width, and multiply-add is fused at both
// AVX levels and on 64-bit ARM, so AVX2, AVX-512 and NEON give the same bits. Arithmetic is the compiler's (GCC and Clang
// vector extensions); intrinsics stand only where those have no word.
#pragma once

#include "element.h"

// Whether multiply-add rounds once.
#if BN_LEVEL >= 3 || defined(__aarch64__)
#define BN_FUSED 1
#else
#define BN_FUSED 0
#endif

#if BN_LEVEL >= 3
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define BN_INLINE inline __attribute__((always_inline))
#define BN_LANES(count) _Pragma("GCC unroll 8") for (int i = 0; i < (count); i++)
#define BN_EACH(count) _Pragma("GCC unroll 8") for (int j = 0; j < (count); j++)

namespace kernel {
namespace {

#if BN_LEVEL == 4
using RegisterF = __m512;
using RegisterD = __m512d;
#elif BN_LEVEL == 3
using RegisterF = __m256;
using RegisterD = __m256d;
#else
typedef float RegisterF __attribute__((vector_size(16)));
typedef double RegisterD __attribute__((vector_size(16)));
typedef float HalfF __attribute__((vector_size(8)));
#endif

constexpr int LANES = 16;
constexpr int WIDTH_F = sizeof(RegisterF) / sizeof(float), WIDTH_D = sizeof(RegisterD) / 8;
constexpr int COUNT_F = LANES / WIDTH_F, COUNT_D = LANES / WIDTH_D;

struct F {
  RegisterF r[COUNT_F];
  using Scalar = float;
};
struct D {
  RegisterD r[COUNT_D];
  using Scalar = double;
};

// `RegisterF{} + value` would be an addition: -0 + 0 is not -0.
BN_INLINE F set(float value) {
  F f;
#if BN_LEVEL == 4
  f.r[0] = _mm512_set1_ps(value);
#elif BN_LEVEL == 3
  BN_LANES(COUNT_F) f.r[i] = _mm256_set1_ps(value);
#else
  BN_LANES(COUNT_F) f.r[i] = RegisterF{value, value, value, value};
#endif
  return f;
}
BN_INLINE D set(double value) {
  D d;
#if BN_LEVEL == 4
  BN_LANES(COUNT_D) d.r[i] = _mm512_set1_pd(value);
#elif BN_LEVEL == 3
  BN_LANES(COUNT_D) d.r[i] = _mm256_set1_pd(value);
#else
  BN_LANES(COUNT_D) d.r[i] = RegisterD{value, value};
#endif
  return d;
}

#define BN_OPERATOR(V, COUNT, op)            \
  BN_INLINE V operator op(V a, V b) {        \
    V c;                                     \
    BN_LANES(COUNT) c.r[i] = a.r[i] op b.r[i]; \
    return c;                                \
  }
BN_OPERATOR(F, COUNT_F, +)
BN_OPERATOR(F, COUNT_F, -)
BN_OPERATOR(F, COUNT_F, *)
BN_OPERATOR(D, COUNT_D, +)
BN_OPERATOR(D, COUNT_D, -)
BN_OPERATOR(D, COUNT_D, *)
#undef BN_OPERATOR

// a * b + c: rounded once where the machine can (v3, v4, neon), twice where it can't.
BN_INLINE F fma(F a, F b, F c) {
  F f;
#if BN_LEVEL == 4
  f.r[0] = _mm512_fmadd_ps(a.r[0], b.r[0], c.r[0]);
#elif BN_LEVEL == 3
  BN_LANES(COUNT_F) f.r[i] = _mm256_fmadd_ps(a.r[i], b.r[i], c.r[i]);
#elif BN_FUSED
  BN_LANES(COUNT_F)
  f.r[i] = (RegisterF)vfmaq_f32((float32x4_t)c.r[i], (float32x4_t)a.r[i], (float32x4_t)b.r[i]);
#else
  BN_LANES(COUNT_F) f.r[i] = a.r[i] * b.r[i] + c.r[i];
#endif
  return f;
}
BN_INLINE D fma(D a, D b, D c) {
  D d;
#if BN_LEVEL == 4
  BN_LANES(COUNT_D) d.r[i] = _mm512_fmadd_pd(a.r[i], b.r[i], c.r[i]);
#elif BN_LEVEL == 3
  BN_LANES(COUNT_D) d.r[i] = _mm256_fmadd_pd(a.r[i], b.r[i], c.r[i]);
#elif BN_FUSED
  BN_LANES(COUNT_D)
  d.r[i] = (RegisterD)vfmaq_f64((float64x2_t)c.r[i], (float64x2_t)a.r[i], (float64x2_t)b.r[i]);
#else
  BN_LANES(COUNT_D) d.r[i] = a.r[i] * b.r[i] + c.r[i];
#endif
  return d;
}
BN_INLINE float fma(float a, float b, float c) {
#if BN_FUSED
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
BN_INLINE double fma(double a, double b, double c) {
#if BN_FUSED
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// What rounding took from the product p = a * b.
BN_INLINE D product_error(D a, D b, D p) {
#if BN_FUSED
  D minus;
  BN_LANES(COUNT_D) minus.r[i] = -p.r[i];
  return fma(a, b, minus);
#else
  const D more_a = a * set(134217729.0), high_a = more_a - (more_a - a), low_a = a - high_a;
  const D more_b = b * set(134217729.0), high_b = more_b - (more_b - b), low_b = b - high_b;
  return ((high_a * high_b - p) + high_a * low_b + low_a * high_b) + low_a * low_b;
#endif
}

// max(v, floor) that keeps NaN: ReLU for floor 0, nothing for floor -inf.
BN_INLINE F at_least(F floor, F v) {
  BN_LANES(COUNT_F) v.r[i] = v.r[i] < floor.r[i] ? floor.r[i] : v.r[i];
  return v;
}
BN_INLINE D at_least(D floor, D v) {
  BN_LANES(COUNT_D) v.r[i] = v.r[i] < floor.r[i] ? floor.r[i] : v.r[i];
  return v;
}

// The larger of |v| and a bound, which stays where v is NaN: at AVX-512 a quiet one (a signalling one
// becomes quiet, and goes as the next v comes).
BN_INLINE F larger(F v, F bound) {
#if BN_LEVEL == 4
  v.r[0] = _mm512_range_ps(v.r[0], bound.r[0], 0xb);  // of absolute values the greater, without sign
#else
  BN_LANES(COUNT_F) {
    const RegisterF size = v.r[i] < RegisterF{} ? -v.r[i] : v.r[i];
    v.r[i] = size > bound.r[i] ? size : bound.r[i];
  }
#endif
  return v;
}

// v where y > 0, else 0.
BN_INLINE F where_positive(F y, F v) {
  BN_LANES(COUNT_F) v.r[i] = y.r[i] > RegisterF{} ? v.r[i] : RegisterF{};
  return v;
}
BN_INLINE D where_positive(D y, D v) {
  BN_LANES(COUNT_D) v.r[i] = y.r[i] > RegisterD{} ? v.r[i] : RegisterD{};
  return v;
}

// All lanes in one: halves are joined until one is left.
template <class Join>
BN_INLINE double joined_lanes(D v, Join join) {
#if BN_LEVEL == 4
  const __m512d eight = join(v.r[0], v.r[1]);
  const __m256d four = join(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
#elif BN_LEVEL == 3
  const __m256d four = join(join(v.r[0], v.r[2]), join(v.r[1], v.r[3]));
#else
  const RegisterD low = join(join(v.r[0], v.r[4]), join(v.r[2], v.r[6]));
  const RegisterD high = join(join(v.r[1], v.r[5]), join(v.r[3], v.r[7]));
  const RegisterD two = join(low, high);
#endif
#if BN_LEVEL >= 3
  const __m128d two = join(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
#endif
  return join(two[0], two[1]);
}
BN_INLINE double sum_lanes(D v) {
  return joined_lanes(v, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
}
// Where none of them is NaN.
BN_INLINE double largest_lane(D v) {
  return joined_lanes(v, [](auto a, auto b) __attribute__((always_inline)) { return a > b ? a : b; });
}

BN_INLINE D widen(D v) { return v; }
BN_INLINE D widen(F v) {
  D d;
#if BN_LEVEL == 4
  d.r[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(v.r[0]));
  d.r[1] = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v.r[0], 1));
#elif BN_LEVEL == 3
  BN_LANES(COUNT_F) {
    d.r[2 * i] = _mm256_cvtps_pd(_mm256_castps256_ps128(v.r[i]));
    d.r[2 * i + 1] = _mm256_cvtps_pd(_mm256_extractf128_ps(v.r[i], 1));
  }
#else
  BN_LANES(COUNT_F) {
    const HalfF low = {v.r[i][0], v.r[i][1]}, high = {v.r[i][2], v.r[i][3]};
    d.r[2 * i] = __builtin_convertvector(low, RegisterD);
    d.r[2 * i + 1] = __builtin_convertvector(high, RegisterD);
  }
#endif
  return d;
}

BN_INLINE void narrow(D d, D& v) { v = d; }
BN_INLINE void narrow(F f, F& v) { v = f; }
BN_INLINE void narrow(D d, F& v) {
#if BN_LEVEL == 4
  v.r[0] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(d.r[0])),
                              _mm512_cvtpd_ps(d.r[1]), 1);
#elif BN_LEVEL == 3
  BN_LANES(COUNT_F)
  v.r[i] = _mm256_set_m128(_mm256_cvtpd_ps(d.r[2 * i + 1]), _mm256_cvtpd_ps(d.r[2 * i]));
#else
  // Not lane by lane: GCC 12 takes those back where they are widened again, and so the rounding.
  BN_LANES(COUNT_F) {
    const HalfF low = __builtin_convertvector(d.r[2 * i], HalfF);
    const HalfF high = __builtin_convertvector(d.r[2 * i + 1], HalfF);
    v.r[i] = RegisterF{low[0], low[1], high[0], high[1]};
  }
#endif
}

}  // namespace
}  // namespace kernel
