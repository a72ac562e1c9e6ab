// 16-bit elements as floats, and floats rounded to 16 bits: to nearest even, NaN kept. A NaN that is
// written as bfloat16 must have no digits beyond its 16 bits, which rounding would carry into its sign:
// what comes of 16-bit elements has none; other operands' are made so by `usual`.
#pragma once

#include "simd.h"

namespace kernel {
namespace {

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

BN_INLINE float get(const Bfloat* p) { return from_bits((std::uint32_t)p->bits << 16); }
BN_INLINE float get(const Half* p) {
  std::uint32_t sign = (p->bits & 0x8000u) << 16, rest = p->bits & 0x7fffu;
  if (rest >= 0x7c00) return from_bits(sign | 0x7f800000 | rest << 13 | (rest > 0x7c00) << 22);
  if (rest >= 0x0400) return from_bits(sign | ((rest << 13) + (112u << 23)));
  float subnormal = (float)rest * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}

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

#if BN_LEVEL == 4
BN_INLINE F unpacked(__m256i bits, const Half*) { return {_mm512_cvtph_ps(bits)}; }
// 16-bit lanes to the upper halves of 32-bit lanes, and back: one permutation each.
BN_INLINE F unpacked(__m256i bits, const Bfloat*) {
  const __m512i upper = _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0,
                                         6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
  return {_mm512_castsi512_ps(
      _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, upper, _mm512_castsi256_si512(bits)))};
}
BN_INLINE __m512i odd_words() {
  return _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
                          31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
}
BN_INLINE __m512i upper_halves(__m512i a, __m512i b) {
  const __m512i low = _mm512_permutexvar_epi16(odd_words(), a);
  return _mm512_mask_permutexvar_epi16(low, 0xffff0000, odd_words(), b);
}
BN_INLINE __m256i upper_halves(__m512i bits) {
  return _mm512_castsi512_si256(_mm512_permutexvar_epi16(odd_words(), bits));
}
BN_INLINE F load(const Half* p) { return unpacked(_mm256_loadu_si256((const __m256i*)p), p); }
BN_INLINE F load(const Bfloat* p) { return unpacked(_mm256_loadu_si256((const __m256i*)p), p); }
BN_INLINE __m256i packed(F f, const Half*) {
  return _mm512_cvtps_ph(f.r[0], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
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

// Every NaN the usual one.
BN_INLINE F usual(F f) {
  BN_LANES(COUNT_F) f.r[i] = f.r[i] == f.r[i] ? f.r[i] : RegisterF{} + __builtin_nanf("");
  return f;
}

}  // namespace
}  // namespace kernel
