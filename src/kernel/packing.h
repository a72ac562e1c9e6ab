// Memory of each thread's own for packed copies, kept for the next call until the thread ends: at
// most 5/8 of a second cache, and in a thread that shares a channel with others as much for each of
// them; rounded up to 2 MiB.
#pragma once

#include <cstdint>
#include <memory>

#include "system.h"

namespace kernel {
namespace {

struct Free {
  void operator()(void* memory) const { free_pages(memory); }
};

// At least `bytes` in a huge page where the system has them; null where there is no memory.
inline void* packing_memory(std::int64_t bytes) {
  thread_local std::unique_ptr<void, Free> memory;
  thread_local std::int64_t kept = 0;
  if (kept < bytes) {
    const std::size_t size = (static_cast<std::size_t>(bytes) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    memory.reset(allocate_pages(size));
    kept = memory ? bytes : 0;
  }
  return memory.get();
}

}  // namespace
}  // namespace kernel
