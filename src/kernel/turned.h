// Channels of a few values, which lie side by side, turned: copied so that neighbours in memory are
// channels, whose sums then stay in registers, sixteen channels at a time.
#pragma once

#include "boxes.h"
#include "level.h"

namespace kernel {
namespace {

constexpr std::int64_t TURNED = 32;  // channels that are turned at a time

// What the copy of TURNED channels is: channels last.
BN_INLINE View turned(const View& v) {
  const std::int64_t values = v.outer * v.inner;
  return {values, TURNED, 1, values, 1, 1};
}

// Copies the values of `count` channels from c on to rows of TURNED channels, or from there.
template <bool BACK, class T>
BN_INLINE void turn(const View& v, std::int64_t c, std::int64_t count, const void* tensor, T* rows) {
  for (std::int64_t n = 0; n < v.outer; n++, rows += v.inner * TURNED) {
    T* own = (T*)tensor + (n * v.channels + c) * v.inner;
    for (std::int64_t j = 0; j < count; j++, own += v.inner) {
      _Pragma("GCC unroll 4") for (std::int64_t i = 0; i < v.inner; i++) {
        if constexpr (BACK) {
          own[i] = rows[i * TURNED + j];
        } else {
          rows[i * TURNED + j] = own[i];
        }
      }
    }
  }
}

}  // namespace
}  // namespace kernel
