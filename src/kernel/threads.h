// A small pool of threads: parallel loops over a few items, safe after fork and from many threads.
#pragma once

#include <cstdint>
#include <string>

namespace kernel {

// Runs item(context, i) for every i in [0, items), on up to `threads` threads including the caller,
// which returns when all are done. Each thread takes neighbouring items first (its part of the data
// stays in its cache from one loop to the next), then helps the others. When another thread is
// using the pool, the caller does all items itself.
void parallel(std::int64_t items, int threads, void (*item)(void*, std::int64_t), void* context);

template <class Item>
void parallel(std::int64_t items, int threads, Item& item) {
  parallel(items, threads, [](void* p, std::int64_t i) { (*static_cast<Item*>(p))(i); }, &item);
}

// How OpenMP's runtime starts a team (GOMP_parallel): body(context) on each thread of it, back when
// all are done; 0 threads means as many as it likes.
using Runner = void (*)(void (*body)(void*), void* context, unsigned threads, unsigned flags);

// Lets `parallel` run on the threads of a framework that lives in the same process, which would
// otherwise go on spinning on the processors that ours need. Null: on our own pool again.
void set_runner(Runner run);

// The processors this process may use: affinity and cgroup quota respected.
int available_processors();

// The whole processors that the cgroups (v1 or v2, mounted at `mount`) in the file `membership`
// grant at most; 0 where they set no limit.
int cgroup_quota(const std::string& mount, const std::string& membership);

int num_threads();
void set_num_threads(int count);

// While it lives, this thread computes with IEEE arithmetic: round to nearest, subnormals kept.
class FloatEnvironment {
 public:
  FloatEnvironment();
  ~FloatEnvironment();

 private:
  std::uint64_t saved_;  // the thread's control register as it was
};

}  // namespace kernel
