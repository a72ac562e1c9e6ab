#include "buffers.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>

#include "system.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

namespace kernel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto UNUSED = std::chrono::seconds(1);  // from which a buffer's size is no longer asked for

struct Kept {
  void* memory;
  Clock::time_point since;
};

struct Store {
  std::mutex mutex;
  std::multimap<std::size_t, Kept> kept;    // by size
  std::map<void*, std::size_t> in_use;
  std::size_t kept_bytes = 0, limit = std::size_t{256} << 20;
};

// Never deleted: arrays may outlive everything else.
Store& store() {
  static Store* const one = [] {
    Store* made = new Store;
    at_fork([] { store().mutex.lock(); }, [] { store().mutex.unlock(); },
            [] { store().mutex.unlock(); });
    return made;
  }();
  return *one;
}

// Of those unused for long the one unused longest goes first, else the largest: where a loop's buffers
// are more than the limit, its smaller ones stay.
void shrink(Store& s) {
  while (s.kept_bytes > s.limit) {
    auto goes = std::min_element(s.kept.begin(), s.kept.end(), [](const auto& a, const auto& b) {
      return a.second.since < b.second.since;
    });
    if (Clock::now() - goes->second.since < UNUSED) goes = std::prev(s.kept.end());
    ASAN_UNPOISON_MEMORY_REGION(goes->second.memory, goes->first);
    unmap_pages(goes->second.memory, goes->first);
    s.kept_bytes -= goes->first;
    s.kept.erase(goes);
  }
}

void* take(std::size_t bytes) {
  const std::size_t size = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  Store& s = store();
  std::lock_guard<std::mutex> lock(s.mutex);
  const auto found = s.kept.lower_bound(size);
  if (found != s.kept.end() && found->first <= size + size / 4) {
    void* memory = found->second.memory;
    s.in_use[memory] = found->first;
    s.kept_bytes -= found->first;
    s.kept.erase(found);
    return memory;
  }
  void* memory = map_pages(size);
  if (memory) s.in_use[memory] = size;
  return memory;
}

}  // namespace

void* take_buffer(std::size_t bytes) {
  char* memory = static_cast<char*>(take(bytes));
  if (memory) {  // AddressSanitizer shall see what goes beyond, as it does in the allocator's memory
    const std::size_t rest = (HUGE_PAGE - bytes % HUGE_PAGE) % HUGE_PAGE;
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
    ASAN_POISON_MEMORY_REGION(memory + bytes, rest);
  }
  return memory;
}

void give_buffer(void* memory) {
  Store& s = store();
  std::lock_guard<std::mutex> lock(s.mutex);
  const auto found = s.in_use.find(memory);
  if (found == s.in_use.end()) std::abort();
  ASAN_POISON_MEMORY_REGION(memory, found->second);  // nobody's until it is taken again
  s.kept.emplace(found->second, Kept{memory, Clock::now()});
  s.kept_bytes += found->second;
  s.in_use.erase(found);
  shrink(s);
}

void set_buffer_limit(std::size_t bytes) {
  Store& s = store();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.limit = bytes;
  shrink(s);
}

std::size_t buffers_kept() {
  Store& s = store();
  std::lock_guard<std::mutex> lock(s.mutex);
  return s.kept_bytes;
}

}  // namespace kernel
