// Sixteen elements between memory and F or D, by element type: whole, a part of the lanes, around
// the caches. 16-bit elements are computed in float; results are rounded to nearest even, NaN kept: one
// that is written as bfloat16 must have no digits beyond those, which rounding would carry into its
// sign. What comes of 16-bit elements has none; other operands' are made so by `usual`.
#pragma once

#include <type_traits>

#include "simd.h"

namespace kernel {
namespace {

template <class T>
struct Computed {
  using Vector = F;
};
template <>
struct Computed<double> {
  using Vector = D;
};
template <class T>
using VectorOf = typename Computed<T>::Vector;
template <class T>
using ScalarOf = typename VectorOf<T>::Scalar;

BN_INLINE float from_bits(std::uint32_t bits) {
  float f;
  __builtin_memcpy(&f, &bits, 4);
  return f;
}
BN_INLINE std::uint32_t to_bits(float f) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &f, 4);
  return bits;
}

BN_INLINE float get(const float* p) { return *p; }
BN_INLINE double get(const double* p) { return *p; }
BN_INLINE float get(const Bfloat* p) { return from_bits((std::uint32_t)p->bits << 16); }
BN_INLINE float get(const Half* p) {
  std::uint32_t sign = (p->bits & 0x8000u) << 16, rest = p->bits & 0x7fffu;
  if (rest >= 0x7c00) return from_bits(sign | 0x7f800000 | rest << 13 | (rest > 0x7c00) << 22);
  if (rest >= 0x0400) return from_bits(sign | ((rest << 13) + (112u << 23)));
  float subnormal = (float)rest * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}

BN_INLINE void put(float* p, float v) { *p = v; }
BN_INLINE void put(double* p, double v) { *p = v; }
BN_INLINE void put(Bfloat* p, float v) {
  std::uint32_t bits = to_bits(v);
  bits = v != v ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  p->bits = (std::uint16_t)(bits >> 16);
}
BN_INLINE void put(Half* p, float v) {
  std::uint32_t bits = to_bits(v), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff, half;
  if (rest > 0x7f800000) {
    half = 0x7e00 | (rest >> 13 & 0x3ff);
  } else if (rest >= 0x477ff000) {  // rounds to 2^16 or is beyond
    half = 0x7c00;
  } else if (rest < 0x38800000) {  // subnormal: adding 0.5 rounds at the right bit
    half = to_bits(from_bits(rest) + 0.5f) - 0x3f000000;
  } else {
    half = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
  }
  p->bits = (std::uint16_t)(sign | half);
}

// Register by register: a copy of the whole struct would go through the stack.
typedef RegisterF LooseF __attribute__((aligned(4), may_alias));
typedef RegisterD LooseD __attribute__((aligned(8), may_alias));
BN_INLINE D load(const double* p) {
  D d;
  BN_LANES(COUNT_D) d.r[i] = *(const LooseD*)(p + i * WIDTH_D);
  return d;
}
BN_INLINE F load(const float* p) {
  F f;
  BN_LANES(COUNT_F) f.r[i] = *(const LooseF*)(p + i * WIDTH_F);
  return f;
}
BN_INLINE void store(double* p, D d) {
  BN_LANES(COUNT_D) *(LooseD*)(p + i * WIDTH_D) = d.r[i];
}
BN_INLINE void store(float* p, F f) {
  BN_LANES(COUNT_F) *(LooseF*)(p + i * WIDTH_F) = f.r[i];
}

// Every NaN the usual one.
BN_INLINE F usual(F f) {
  BN_LANES(COUNT_F) f.r[i] = f.r[i] == f.r[i] ? f.r[i] : RegisterF{} + __builtin_nanf("");
  return f;
}

#if BN_LEVEL == 4
BN_INLINE F unpacked(__m256i bits, const Half*) { return {_mm512_cvtph_ps(bits)}; }
// 16-bit lanes to the upper halves of 32-bit lanes, and back: one permutation each.
BN_INLINE F unpacked(__m256i bits, const Bfloat*) {
  const __m512i upper = _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0,
                                         6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
  return {_mm512_castsi512_ps(
      _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, upper, _mm512_castsi256_si512(bits)))};
}
BN_INLINE __m256i upper_halves(__m512i bits) {
  const __m512i odd = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 29, 27,
                                       25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  return _mm512_castsi512_si256(_mm512_permutexvar_epi16(odd, bits));
}
BN_INLINE F load(const Half* p) { return unpacked(_mm256_loadu_si256((const __m256i*)p), p); }
BN_INLINE F load(const Bfloat* p) { return unpacked(_mm256_loadu_si256((const __m256i*)p), p); }
BN_INLINE __m256i packed(F f, const Half*) {
  return _mm512_cvtps_ph(f.r[0], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
BN_INLINE __m512i upper_halves(__m512i a, __m512i b) {
  const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33,
                                       31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  return _mm512_permutex2var_epi16(a, odd, b);
}
// As bits, of which the upper halves are the nearest bfloat16.
BN_INLINE __m512i rounded(F f) {
  const __m512i bits = _mm512_castps_si512(f.r[0]);
  const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
  const __m512i sum = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
  return _mm512_mask_add_epi32(sum, odd, sum, _mm512_set1_epi32(1));
}
BN_INLINE __m256i packed(F f, const Bfloat*) { return upper_halves(rounded(f)); }
#elif BN_LEVEL == 3
BN_INLINE F load(const Half* p) {
  return {{_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
           _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))}};
}
BN_INLINE F load(const Bfloat* p) {
  F f;
  BN_LANES(2) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)(p + 8 * i)));
    f.r[i] = _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  return f;
}
BN_INLINE __m256i packed(F f, const Half*) {
  return _mm256_set_m128i(_mm256_cvtps_ph(f.r[1], _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(f.r[0], _MM_FROUND_TO_NEAREST_INT));
}
BN_INLINE __m256i packed(F f, const Bfloat*) {
  __m256i part[2];
  BN_LANES(2) {
    __m256i bits = _mm256_castps_si256(f.r[i]);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
    part[i] = _mm256_srli_epi32(rounded, 16);
  }
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(part[0], part[1]), 0xd8);
}
#else
template <class T>
__attribute__((noinline)) F load(const T* p) {
  F f;
  for (int i = 0; i < LANES; i++) f.r[i / WIDTH_F][i % WIDTH_F] = get(p + i);
  return f;
}
template <class T>
__attribute__((noinline)) void store(T* p, F f) {
  for (int i = 0; i < LANES; i++) put(p + i, f.r[i / WIDTH_F][i % WIDTH_F]);
}
#endif

#if BN_LEVEL >= 3
BN_INLINE void store(Half* p, F f) { _mm256_storeu_si256((__m256i*)p, packed(f, p)); }
BN_INLINE void store(Bfloat* p, F f) { _mm256_storeu_si256((__m256i*)p, packed(f, p)); }
#endif

// Steps that make a cache line together.
template <class T>
constexpr int STEPS_OF_LINE = sizeof(T) == 2 ? 2 : 1;

// Write around the caches; p must be aligned to stream_alignment<T>.
template <class T>
constexpr int stream_alignment = sizeof(T) == 2 ? 32 : 64;
#if BN_LEVEL == 4
BN_INLINE void stream(double* p, D d) { BN_LANES(2) _mm512_stream_pd(p + 8 * i, d.r[i]); }
BN_INLINE void stream(float* p, F f) { _mm512_stream_ps(p, f.r[0]); }
#elif BN_LEVEL == 3
BN_INLINE void stream(double* p, D d) { BN_LANES(4) _mm256_stream_pd(p + 4 * i, d.r[i]); }
BN_INLINE void stream(float* p, F f) { BN_LANES(2) _mm256_stream_ps(p + 8 * i, f.r[i]); }
#else
template <class T, class V>
BN_INLINE void stream(T* p, V v) {
  store(p, v);
}
#endif
#if BN_LEVEL >= 3
BN_INLINE void stream(Half* p, F f) { _mm256_stream_si256((__m256i*)p, packed(f, p)); }
BN_INLINE void stream(Bfloat* p, F f) { _mm256_stream_si256((__m256i*)p, packed(f, p)); }
template <class T>
BN_INLINE void stream_both(T* p, F a, F b) {
  stream(p, a);
  stream(p + LANES, b);
}
#if BN_LEVEL == 4
BN_INLINE void stream_both(Bfloat* p, F a, F b) {
  _mm512_stream_si512((__m512i*)p, upper_halves(rounded(a), rounded(b)));
}
#endif
BN_INLINE void stream_end() { _mm_sfence(); }
#else
template <class T>
BN_INLINE void stream_both(T* p, F a, F b) {
  store(p, a);
  store(p + LANES, b);
}
BN_INLINE void stream_end() {}
#endif

// Asks for memory that is read soon, p[i]: across the borders of pages, which the processor doesn't look
// beyond by itself. It need not be there.
template <class T>
BN_INLINE void fetch(const T* p, std::int64_t i) {
  __builtin_prefetch((const void*)((std::uintptr_t)p + (std::uintptr_t)i * sizeof(T)), 0, 3);
}
constexpr std::int64_t AHEAD = 1024;  // elements, where memory is read in one long run

// As double: halves are widened as they are loaded.
template <class T>
BN_INLINE D wide(const T* p) {
  return widen(load(p));
}
#if BN_LEVEL >= 3
BN_INLINE D wide(const float* p) {
  D d;
#if BN_LEVEL == 4
  BN_LANES(COUNT_D) d.r[i] = _mm512_cvtps_pd(_mm256_loadu_ps(p + 8 * i));
#else
  BN_LANES(COUNT_D) d.r[i] = _mm256_cvtps_pd(_mm_loadu_ps(p + 4 * i));
#endif
  return d;
}
#endif

// As V, from memory or as loaded.
template <class V, class From>
BN_INLINE V as(From from) {
  if constexpr (std::is_same_v<V, D>) {
    if constexpr (std::is_pointer_v<From>) {
      return wide(from);
    } else {
      return widen(from);
    }
  } else if constexpr (std::is_pointer_v<From>) {
    return load(from);
  } else {
    return from;
  }
}

// n lanes of a, where all are equal, then b's.
template <class V>
BN_INLINE V joined(V a, V b, int n) {
#if BN_LEVEL == 4
  const unsigned mask = (1u << n) - 1;
  if constexpr (sizeof(typename V::Scalar) == 4) {
    return {{_mm512_mask_blend_ps((__mmask16)mask, b.r[0], a.r[0])}};
  } else {
    return {{_mm512_mask_blend_pd((__mmask8)mask, b.r[0], a.r[0]),
             _mm512_mask_blend_pd((__mmask8)(mask >> 8), b.r[1], a.r[1])}};
  }
#else
  typename V::Scalar lanes[2 * LANES];
  store(lanes, a);
  store(lanes + LANES, b);
  return load(lanes + LANES - n);
#endif
}

#if BN_LEVEL == 4
#define BN_PART BN_INLINE
#else
#define BN_PART __attribute__((noinline))
#endif

// The first n < 16 lanes; the others hold `fill`.
template <class T>
BN_PART VectorOf<T> load_part(const T* p, int n, ScalarOf<T> fill) {
#if BN_LEVEL == 4
  __mmask16 mask = (__mmask16)((1u << n) - 1);
  if constexpr (sizeof(T) == 4) {
    return {_mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask, p)};
  } else if constexpr (sizeof(T) == 8) {
    __m512d rest = _mm512_set1_pd(fill);
    return {{_mm512_mask_loadu_pd(rest, (__mmask8)mask, p),
             _mm512_mask_loadu_pd(rest, (__mmask8)(mask >> 8), p + 8)}};
  } else {
    F loaded = unpacked(_mm256_maskz_loadu_epi16(mask, p), p);
    return {_mm512_mask_blend_ps(mask, _mm512_set1_ps(fill), loaded.r[0])};
  }
#else
  ScalarOf<T> lanes[LANES];
  for (int i = 0; i < LANES; i++) lanes[i] = fill;
  for (int i = 0; i < n; i++) lanes[i] = get(p + i);
  return load(lanes);
#endif
}

template <class T>
BN_PART void store_part(T* p, int n, VectorOf<T> v) {
#if BN_LEVEL == 4
  __mmask16 mask = (__mmask16)((1u << n) - 1);
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, mask, v.r[0]);
  } else if constexpr (sizeof(T) == 8) {
    _mm512_mask_storeu_pd(p, (__mmask8)mask, v.r[0]);
    _mm512_mask_storeu_pd(p + 8, (__mmask8)(mask >> 8), v.r[1]);
  } else {
    _mm256_mask_storeu_epi16(p, mask, packed(v, p));
  }
#else
  T lanes[LANES];
  store(lanes, v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
#endif
}

// Sixteen elements from one place to another, as they are.
template <class T>
BN_INLINE void copy(T* to, const T* from) {
  __builtin_memcpy(to, from, LANES * sizeof(T));
}
template <class T>
BN_INLINE void copy_part(T* to, const T* from, int n) {
  for (int i = 0; i < n; i++) to[i] = from[i];
}

}  // namespace
}  // namespace kernel
