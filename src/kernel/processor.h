// What an x86-64 processor and its system can run, asked by CPUID itself: compilers' own questions
// (__builtin_cpu_supports) are answered by run-time libraries that don't all have them.
#pragma once

#include <cpuid.h>

#include <cstdint>

namespace kernel {

// The x86-64 level of its instructions as the kernel uses them: 4 (AVX-512 F, BW, CD, DQ, VL), 3 (AVX2,
// FMA, F16C, BMI2), 2 (SSE4.2, POPCNT), else 1. The system must keep the wide registers, too.
inline int x86_level() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 1;
  const auto has = [](unsigned bits, int bit) { return (bits >> bit & 1) != 0; };
  if (!has(c, 20) || !has(c, 23)) return 1;
  const bool fma = has(c, 12), f16c = has(c, 29), saved = has(c, 27), avx = has(c, 28);
  if (!fma || !f16c || !saved || !avx) return 2;
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 2;
  if (!has(b, 5) || !has(b, 8)) return 2;
#if defined(__APPLE__)
  const bool kept = true;  // macOS keeps the widest registers from a thread's first use of them on
#else
  const bool kept = (low & 0xe6) == 0xe6;
#endif
  return kept && has(b, 16) && has(b, 17) && has(b, 28) && has(b, 30) && has(b, 31) ? 4 : 3;
}

}  // namespace kernel
