// What the kernel asks of the operating system: processors, caches, pages, forks. One file per system
// answers: system_linux.cpp, system_macos.cpp, system_windows.cpp. Not here: threads and their loops,
// which are C++'s own (`threads.cpp`), and the processor's control register.
#pragma once

#include <cstddef>
#include <cstdint>
#include <thread>

namespace kernel {

constexpr std::size_t HUGE_PAGE = std::size_t{2} << 20;

// Processors that this process may use, at least 1; cgroups' quotas aside.
int allowed_processors();

// The processor that this thread runs on; -1 where the system doesn't tell.
int current_processor();

// The processors that a thread may use, of the first 1,024.
struct Affinity {
  std::uint64_t bits[16] = {};
};

// Keeps a thread off a processor, which is how a sleeping one is woken elsewhere: false where it may
// use no other. `before` is what it may use, for `restore_affinity`, which it calls itself.
bool keep_off(std::thread::native_handle_type thread, int processor, Affinity& before);
void restore_affinity(const Affinity& before);

// Bytes of a cache: of level 2, which a core has to itself, or 3, which cores share; 0 where there is
// none or the system doesn't tell.
std::int64_t cache_size(int level);

// `bytes`, a multiple of HUGE_PAGE, on such a boundary and in such pages where the system has them;
// null where there is no memory. What is mapped goes back by `unmap_pages`, with its size; what is
// allocated, for a thread's own use, by `free_pages`.
void* map_pages(std::size_t bytes);
void unmap_pages(void* memory, std::size_t bytes);
void* allocate_pages(std::size_t bytes);
void free_pages(void* memory);

// What runs before a fork, and after it in the parent and in the child; null for nothing.
void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)());

}  // namespace kernel
