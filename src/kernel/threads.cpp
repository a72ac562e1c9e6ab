#include "threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "system.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace kernel {
namespace {

constexpr int MOST_THREADS = 256;
constexpr std::size_t PLACED = 3;  // workers, at two system calls each
// How long a worker looks for the next job before it sleeps: a wake-up costs the caller as much.
constexpr auto AWAKE = std::chrono::microseconds(100);

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

struct alignas(64) Range {
  std::atomic<std::int64_t> next{0};
  std::int64_t end = 0;
};

void work(Range* ranges, int own, int threads, void (*item)(void*, std::int64_t), void* context) {
  for (int t = 0; t < threads; t++) {
    Range& range = ranges[(own + t) % threads];
    for (;;) {
      std::int64_t i = range.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= range.end) break;
      item(context, i);
    }
  }
}

void divide(Range* ranges, int threads, std::int64_t items) {
  for (int t = 0; t < threads; t++) {
    ranges[t].next.store(items * t / threads, std::memory_order_relaxed);
    ranges[t].end = items * (t + 1) / threads;
  }
}

class Pool {
 public:
  void run(std::int64_t items, int threads, void (*item)(void*, std::int64_t), void* context) {
    std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
    if (!busy.owns_lock()) {
      for (std::int64_t i = 0; i < items; i++) item(context, i);
      return;
    }
    threads = grow(threads);
    item_ = item;
    context_ = context;
    divide(ranges_, threads, items);
    const std::uint64_t job = job_of(state_.load(std::memory_order_relaxed)) + 1;
    state_.store(job << JOB | static_cast<std::uint64_t>(threads) << THREADS | OPEN);
    if (asleep_.load() > 0) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        place();
      }
      wake_.notify_all();
    }
    work(ranges_, 0, threads, item_, context_);
    // A worker that the system has not let run yet need not come any more.
    state_.fetch_and(~OPEN, std::memory_order_relaxed);
    while (state_.load(std::memory_order_acquire) & WORKING) relax();
  }

 private:
  int grow(int threads) {
    while (static_cast<int>(workers_.size()) < threads - 1) {
      int index = static_cast<int>(workers_.size()) + 1;
      try {
        std::lock_guard<std::mutex> lock(mutex_);
        places_.resize(index);
        workers_.emplace_back([this, index, seen = job_of(state_.load())] { serve(index, seen); });
      } catch (const std::system_error&) {
        break;  // no more threads to be had: fewer do the work
      }
    }
    return std::min(threads, static_cast<int>(workers_.size()) + 1);
  }

  [[noreturn]] void serve(int index, std::uint64_t seen) {
    FloatEnvironment environment;
    for (;;) {
      std::uint64_t state = state_.load(std::memory_order_acquire);
      const auto until = std::chrono::steady_clock::now() + AWAKE;
      while (job_of(state) == seen && std::chrono::steady_clock::now() < until) {
        relax();
        state = state_.load(std::memory_order_acquire);
      }
      if (job_of(state) == seen) {
        sleep(index, seen);
        continue;
      }
      bool joined = false;
      while ((state & OPEN) && index < threads_of(state) && !joined) {
        joined = state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire);
      }
      seen = job_of(state);
      if (!joined) continue;
      work(ranges_, index, threads_of(state), item_, context_);
      state_.fetch_sub(1, std::memory_order_release);
    }
  }

  void sleep(int index, std::uint64_t seen) {
    std::unique_lock<std::mutex> lock(mutex_);
    places_[index - 1].asleep = true;
    asleep_.fetch_add(1);  // before it looks again; `run` changes the state before it looks who sleeps
    wake_.wait(lock, [&] { return job_of(state_.load()) != seen; });
    asleep_.fetch_sub(1);
    Place place = places_[index - 1];
    places_[index - 1] = Place();
    if (caller_ >= 0 && caller_ == current_processor()) woken_beside_ = true;
    lock.unlock();
    if (place.kept_off) restore_affinity(place.affinity);
  }

  // Sleeping workers are kept off the caller's processor where the system has woken one there, which
  // then waits until the caller is done: KVM's guests do, whose idle processors look taken to them. Of
  // many workers only the first few: the others' parts are taken over by whoever comes.
  void place() {
    caller_ = current_processor();
    if (!woken_beside_) return;
    for (std::size_t i = 0; i < workers_.size() && i < PLACED; i++) {
      Place& place = places_[i];
      if (place.asleep && !place.kept_off) {
        place.kept_off = keep_off(workers_[i].native_handle(), caller_, place.affinity);
      }
    }
  }

  // What workers know of a job in one number, so that one that is awake joins without a lock: how many
  // are working, whether more may come, how many threads it takes, and which job it is.
  static constexpr std::uint64_t WORKING = 0xffff, OPEN = 1 << 16;
  static constexpr int THREADS = 17, JOB = 32;
  static int threads_of(std::uint64_t state) { return static_cast<int>(state >> THREADS & 0x7fff); }
  static std::uint64_t job_of(std::uint64_t state) { return state >> JOB; }

  struct Place {
    bool asleep = false, kept_off = false;
    Affinity affinity;
  };

  std::mutex busy_, mutex_;
  std::condition_variable wake_;
  std::vector<Place> places_;  // of the workers; this and the next two are changed under `mutex_`
  int caller_ = -1;            // the processor of whoever woke them
  bool woken_beside_ = false;  // whether one was ever woken there
  std::atomic<std::uint64_t> state_{0};
  std::atomic<int> asleep_{0};
  void (*item_)(void*, std::int64_t) = nullptr;
  void* context_ = nullptr;
  Range ranges_[MOST_THREADS];
  std::vector<std::thread> workers_;
};

// Never deleted: its threads end with the process. A forked child has none of them and starts anew.
std::atomic<Pool*> pool{nullptr};
std::atomic<int> thread_limit{0};

Pool& current_pool() {
  Pool* found = pool.load(std::memory_order_acquire);
  if (found) return *found;
  static const bool registered = (at_fork(nullptr, nullptr, [] { pool.store(nullptr); }), true);
  (void)registered;
  Pool* made = new Pool;
  if (pool.compare_exchange_strong(found, made)) return *made;
  delete made;
  return *found;
}

// One loop on another's threads: whoever of them comes takes the next part, then helps.
struct Team {
  std::unique_ptr<Range[]> ranges;
  int threads;
  void (*item)(void*, std::int64_t);
  void* context;
  std::atomic<int> come{0};
};

std::atomic<Runner> runner{nullptr};

void run_by(Runner run, std::int64_t items, int threads, void (*item)(void*, std::int64_t), void* context) {
  Team team{std::unique_ptr<Range[]>(new Range[threads]), threads, item, context};
  divide(team.ranges.get(), threads, items);
  run([](void* p) {
    Team& own = *static_cast<Team*>(p);
    FloatEnvironment environment;
    work(own.ranges.get(), own.come.fetch_add(1) % own.threads, own.threads, own.item, own.context);
  }, &team, 0, 0);
}

// The quota in whole processors that the cgroup at `path` (v2 or v1) grants; 0 for no limit.
int quota_at(const std::string& path) {
  std::ifstream v2(path + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(v2 >> quota >> period)) {
    std::ifstream(path + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(path + "/cpu.cfs_period_us") >> period;
  }
  const double allowed = std::atof(quota.c_str());
  if (allowed <= 0 || period <= 0) return 0;
  return std::max(1, static_cast<int>(allowed / period + 0.5));
}

}  // namespace

int cgroup_quota(const std::string& mount, const std::string& membership) {
  int least = 0;
  auto take = [&](std::string path) {
    for (;;) {  // a limit may stand at any level
      for (const char* controller : {"", "/cpu", "/cpu,cpuacct"}) {
        const int quota = quota_at(mount + controller + path);
        if (quota > 0) least = least > 0 ? std::min(least, quota) : quota;
      }
      if (path.empty()) return;
      path.erase(path.rfind('/'));
    }
  };
  std::ifstream groups(membership);
  for (std::string line; std::getline(groups, line);) {
    const auto second = line.find(':', line.find(':') + 1);
    if (second == std::string::npos || second + 1 >= line.size()) continue;
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (path.empty() || path[0] == '/') take(path);
  }
  return least;
}

void parallel(std::int64_t items, int threads, void (*item)(void*, std::int64_t), void* context) {
  threads = static_cast<int>(std::min<std::int64_t>({threads, items, MOST_THREADS}));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < items; i++) item(context, i);
  } else if (Runner run = runner.load(std::memory_order_acquire)) {
    run_by(run, items, threads, item, context);
  } else {
    current_pool().run(items, threads, item, context);
  }
}

void set_runner(Runner run) {
  // A forked child of an OpenMP process hangs in its first parallel region: it gets the pool again.
  static const bool registered = (at_fork(nullptr, nullptr, [] { runner.store(nullptr); }), true);
  (void)registered;
  runner.store(run, std::memory_order_release);
}

int available_processors() {
  int count = allowed_processors();
  const int quota = cgroup_quota("/sys/fs/cgroup", "/proc/self/cgroup");
  if (quota > 0) count = std::min(count, quota);
  return std::clamp(count, 1, MOST_THREADS);
}

int num_threads() {
  int limit = thread_limit.load(std::memory_order_relaxed);
  if (limit == 0) {
    limit = available_processors();
    thread_limit.store(limit, std::memory_order_relaxed);
  }
  return limit;
}

void set_num_threads(int count) {
  thread_limit.store(std::clamp(count, 1, MOST_THREADS), std::memory_order_relaxed);
}

// Setting them costs as much as normalizing a hundred values: only where they aren't the usual ones.
#if defined(__x86_64__)
constexpr std::uint64_t USUAL = 0x1f80;  // nothing traps, nothing is flushed
constexpr std::uint64_t FLAGS = 0x3f;    // which any operation leaves behind
std::uint64_t control() { return _mm_getcsr(); }
void set_control(std::uint64_t value) { _mm_setcsr(static_cast<unsigned>(value)); }
#elif defined(__aarch64__)
constexpr std::uint64_t USUAL = 0, FLAGS = 0;  // FPCR; its flags stand in another register
std::uint64_t control() {
  std::uint64_t value;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void set_control(std::uint64_t value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
constexpr std::uint64_t USUAL = 0, FLAGS = 0;
std::uint64_t control() { return USUAL; }
void set_control(std::uint64_t) {}
#endif

FloatEnvironment::FloatEnvironment() : saved_(control()) {
  if ((saved_ & ~FLAGS) != USUAL) set_control(USUAL);
}

FloatEnvironment::~FloatEnvironment() {
  if ((saved_ & ~FLAGS) != USUAL) set_control(saved_);
}

}  // namespace kernel
