// Windows: no forks, and no huge pages without a privilege, so pages are ordinary ones.
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <malloc.h>
#include <windows.h>

#include <memory>
#include <thread>

#include "system.h"

namespace kernel {

int allowed_processors() {
  DWORD_PTR process = 0, machine = 0;  // of the first 64 processors
  int count = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &process, &machine)) {
    for (; process; process &= process - 1) count++;
  }
  if (count == 0) count = static_cast<int>(std::thread::hardware_concurrency());
  return count > 0 ? count : 1;
}

int current_processor() { return -1; }
bool keep_off(std::thread::native_handle_type, int, Affinity&) { return false; }
void restore_affinity(const Affinity&) {}

std::int64_t cache_size(int level) {
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  const DWORD count = bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION);
  std::unique_ptr<SYSTEM_LOGICAL_PROCESSOR_INFORMATION[]> all(
      new SYSTEM_LOGICAL_PROCESSOR_INFORMATION[count]);
  if (count == 0 || !GetLogicalProcessorInformation(all.get(), &bytes)) return 0;
  for (DWORD i = 0; i < count; i++) {
    if (all[i].Relationship == RelationCache && all[i].Cache.Level == level) return all[i].Cache.Size;
  }
  return 0;
}

void* map_pages(std::size_t bytes) {
  // A larger reservation finds a place on the boundary; another thread may take it in between.
  for (int attempt = 0; attempt < 8; attempt++) {
    void* raw = VirtualAlloc(nullptr, bytes + HUGE_PAGE, MEM_RESERVE, PAGE_NOACCESS);
    if (!raw) return nullptr;
    const auto start = (reinterpret_cast<std::uintptr_t>(raw) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    VirtualFree(raw, 0, MEM_RELEASE);
    void* memory = VirtualAlloc(reinterpret_cast<void*>(start), bytes, MEM_RESERVE | MEM_COMMIT,
                                PAGE_READWRITE);
    if (memory) return memory;
  }
  return nullptr;
}

void unmap_pages(void* memory, std::size_t) { VirtualFree(memory, 0, MEM_RELEASE); }

void* allocate_pages(std::size_t bytes) { return _aligned_malloc(bytes, HUGE_PAGE); }

void free_pages(void* memory) { _aligned_free(memory); }

void at_fork(void (*)(), void (*)(), void (*)()) {}

}  // namespace kernel
#endif
