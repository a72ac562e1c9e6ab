// Linux.
#if defined(__linux__)
#include <sched.h>
#include <unistd.h>

#include <thread>

#include "system_posix.h"

namespace kernel {

int allowed_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  const int all = static_cast<int>(std::thread::hardware_concurrency());  // 1,024 or more
  return all > 0 ? all : 1;
}

std::int64_t second_cache_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  return sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
  return 0;  // musl doesn't tell
#endif
}

}  // namespace kernel
#endif
