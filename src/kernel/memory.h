// Sixteen elements between memory and F or D, by element type: whole, a part of the lanes, around
// the caches. 16-bit elements are computed in float.
#pragma once

#include <type_traits>

#include "sixteen_bit.h"

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

BN_INLINE float get(const float* p) { return *p; }
BN_INLINE double get(const double* p) { return *p; }
BN_INLINE void put(float* p, float v) { *p = v; }
BN_INLINE void put(double* p, double v) { *p = v; }

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

// Steps that make a cache line together.
template <class T>
constexpr int STEPS_OF_LINE = sizeof(T) == 2 ? 2 : 1;

// Write around the caches; p must be aligned to what is written.
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

// Where there are no masks: FIRST + LANES - n are n lanes of all bits, then none, as comparisons give them.
#if BN_LEVEL < 4
template <class S>
alignas(64) constexpr S FIRST[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                            -1, -1, -1, -1, -1, -1, -1, -1};
typedef decltype(RegisterF{} < RegisterF{}) FirstF;
typedef decltype(RegisterD{} < RegisterD{}) FirstD;
BN_INLINE FirstF first_f(int n, int i) {
  FirstF first;
  __builtin_memcpy(&first, FIRST<std::int32_t> + LANES - n + i * WIDTH_F, sizeof(first));
  return first;
}
BN_INLINE FirstD first_d(int n, int i) {
  FirstD first;
  __builtin_memcpy(&first, FIRST<std::int64_t> + LANES - n + i * WIDTH_D, sizeof(first));
  return first;
}
#endif

// The first n lanes of a, then b's.
BN_INLINE F joined(F a, F b, int n) {
#if BN_LEVEL == 4
  return {_mm512_mask_blend_ps((__mmask16)((1u << n) - 1), b.r[0], a.r[0])};
#else
  BN_LANES(COUNT_F) b.r[i] = first_f(n, i) ? a.r[i] : b.r[i];
  return b;
#endif
}
BN_INLINE D joined(D a, D b, int n) {
#if BN_LEVEL == 4
  const unsigned mask = (1u << n) - 1;
  return {{_mm512_mask_blend_pd((__mmask8)mask, b.r[0], a.r[0]),
           _mm512_mask_blend_pd((__mmask8)(mask >> 8), b.r[1], a.r[1])}};
#else
  BN_LANES(COUNT_D) b.r[i] = first_d(n, i) ? a.r[i] : b.r[i];
  return b;
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
#if BN_LEVEL == 3 && !defined(__SANITIZE_ADDRESS__)  // which does not see these loads
  if constexpr (sizeof(T) == 4) {
    F f;
    BN_LANES(COUNT_F) f.r[i] = _mm256_maskload_ps(p + i * WIDTH_F, (__m256i)first_f(n, i));
    return joined(f, set(fill), n);
  } else if constexpr (sizeof(T) == 8) {
    D d;
    BN_LANES(COUNT_D) d.r[i] = _mm256_maskload_pd(p + i * WIDTH_D, (__m256i)first_d(n, i));
    return joined(d, set(fill), n);
  }
#endif
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
