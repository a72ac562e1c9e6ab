// Linux.
#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "system_posix.h"

namespace kernel {

int allowed_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  const int all = static_cast<int>(std::thread::hardware_concurrency());  // 1,024 or more
  return all > 0 ? all : 1;
}

int current_processor() { return sched_getcpu(); }

bool keep_off(std::thread::native_handle_type thread, int processor, Affinity& before) {
  cpu_set_t set;
  static_assert(sizeof set <= sizeof before.bits);
  if (pthread_getaffinity_np(thread, sizeof set, &set) != 0) return false;
  std::memcpy(before.bits, &set, sizeof set);
  CPU_CLR(processor, &set);
  return CPU_COUNT(&set) > 0 && pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

void restore_affinity(const Affinity& before) {
  cpu_set_t set;
  std::memcpy(&set, before.bits, sizeof set);
  sched_setaffinity(0, sizeof set, &set);
}

std::int64_t cache_size(int level) {
  // The C library's own answer for level 3 adds up caches that lie apart.
  const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level);
  int found = 0;
  std::int64_t size = 0;
  std::ifstream(folder + "/level") >> found;
  std::ifstream(folder + "/size") >> size;  // in K
  return found == level ? size << 10 : 0;
}

}  // namespace kernel
#endif
