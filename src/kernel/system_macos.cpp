// macOS. It has no affinity; of its cores the fast ones' cache counts.
#if defined(__APPLE__)
#include <sys/sysctl.h>

#include <thread>

#include "system_posix.h"

namespace kernel {

int allowed_processors() {
  const int all = static_cast<int>(std::thread::hardware_concurrency());
  return all > 0 ? all : 1;
}

int current_processor() { return -1; }
bool keep_off(std::thread::native_handle_type, int, Affinity&) { return false; }
void restore_affinity(const Affinity&) {}

std::int64_t cache_size(int level) {
  if (level != 2) return 0;
  for (const char* name : {"hw.perflevel0.l2cachesize", "hw.l2cachesize"}) {
    std::int64_t bytes = 0;
    std::size_t size = sizeof bytes;
    if (sysctlbyname(name, &bytes, &size, nullptr, 0) == 0 && bytes > 0) return bytes;
  }
  return 0;
}

}  // namespace kernel
#endif
