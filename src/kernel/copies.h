// Copies of a tensor in another order of axes, where the loops need one: in tiles, by all threads.
#pragma once

#include <cstdint>

namespace kernel {

// The length of an axis, and how many bytes its neighbours lie apart in what is read and written.
struct CopiedAxis {
  std::int64_t length, from, to;
};

// Copies elements of `bytes` (2, 4 or 8) along at most 64 axes, of which none has length 0. No two
// elements may have one place in `to`.
void copy_tensor(const void* from, void* to, int bytes, const CopiedAxis* axes, int rank);

}  // namespace kernel
