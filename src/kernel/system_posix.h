// What Linux and macOS share of system.h.
#pragma once

#include <pthread.h>
#include <sys/mman.h>

#include <cstdlib>

#include "system.h"

namespace kernel {
namespace {

// Ask for huge pages where the system lets a program ask.
inline void prefer_huge_pages(void* memory, std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (memory) madvise(memory, bytes, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

}  // namespace

void* map_pages(std::size_t bytes) {
  // One huge page more, so that the start can be on one; the rest is given back.
  void* raw = mmap(nullptr, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t start = (address + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  if (start > address) munmap(raw, start - address);
  if (start < address + HUGE_PAGE) {
    munmap(reinterpret_cast<void*>(start + bytes), address + HUGE_PAGE - start);
  }
  void* memory = reinterpret_cast<void*>(start);
  prefer_huge_pages(memory, bytes);
  return memory;
}

void unmap_pages(void* memory, std::size_t bytes) { munmap(memory, bytes); }

void* allocate_pages(std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, HUGE_PAGE, bytes) != 0) return nullptr;
  prefer_huge_pages(memory, bytes);
  return memory;
}

void free_pages(void* memory) { std::free(memory); }

void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  pthread_atfork(before, in_parent, in_child);
}

}  // namespace kernel
