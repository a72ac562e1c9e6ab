// How a task is cut into blocks, segments and parts, and where its per-channel values lie.
#pragma once

#include <algorithm>
#include <memory>

#include "packing.h"
#include "system.h"
#include "tasks.h"
#include "threads.h"

namespace kernel {
namespace {

using Index = std::int64_t;

constexpr Index BLOCK = 8192;            // values of a channel that share a shift
constexpr Index SEGMENTS = 16;           // parts of a channel that threads may sum
constexpr Index LARGE = 1 << 18;         // values of a channel from which threads share one
constexpr Index SERIAL = 48 * 1024;      // values below which no thread is woken
constexpr Index CHANNEL = 64;            // values that take as long as what a channel takes by itself
constexpr Index STREAM = 2 << 20;       // bytes of a result above which no core keeps it

inline Index bytes_of(Element e) {
  return e == Element::float64 ? 8 : e == Element::float32 ? 4 : 2;
}
inline Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

inline bool last(const View& v) { return v.inner == 1; }
inline Index size(const View& v) { return v.outer * v.channels * v.inner; }
inline double count_of(const View& v) { return static_cast<double>(v.outer) * static_cast<double>(v.inner); }

inline const Loops& loops(const Job& job) {
  return job.level->loops[static_cast<int>(job.element)];
}

inline int threads_for(const View& v) {
  const Index work = size(v) + (last(v) ? 0 : CHANNEL * v.channels);
  return work < SERIAL ? 1 : num_threads();
}

// Blocks by the shape alone, so that sums are the same for any number of threads.
inline void plan(Job& job) {
  View& v = job.view;
  if (v.channels == 1) v.inner *= v.outer, v.outer = 1;  // one long row
  if (last(v)) {
    v.rows = std::clamp<Index>(v.outer / SEGMENTS, 128, 512);
    v.chunk = 1;
  } else if (v.inner > BLOCK) {
    v.rows = 1;
    v.chunk = BLOCK;
  } else {
    v.rows = std::clamp<Index>(BLOCK / v.inner, 1, std::max<Index>(v.outer, 1));
    v.chunk = v.inner;
  }
  v.blocks = ceil_div(v.outer, v.rows) * ceil_div(v.inner, v.chunk);
  job.tensors.stream = size(v) * bytes_of(job.element) >= STREAM;
}

// Channels that are computed alike, since they are neighbours in memory; by the shape alone, so that
// bits don't depend on how many threads share them out.
inline Index alike(const View& v) {
  return last(v) ? 64 : v.inner < 128 && v.inner % 16 != 0 ? 16 : 1;
}

// Whether all threads sum a channel together, and write it while it is in all their caches.
inline bool together(const View& v) {
  return !last(v) && v.outer * v.inner >= LARGE && v.blocks >= SEGMENTS;
}

inline Index segments(const View& v) {
  if (!last(v) && v.channels >= SEGMENTS && !together(v)) return 1;
  return std::max<Index>(1, std::min(SEGMENTS, v.blocks));
}

// Channels that are summed and written in one go, where segments are summed.
inline Index step(const View& v) { return together(v) ? 1 : v.channels; }

inline Part segment(const View& v, Index s, Index count, Part part) {
  part.block = v.blocks * s / count;
  part.block_end = v.blocks * (s + 1) / count;
  return part;
}

inline double count_of(const View& v, const Part& part) {
  if (last(v)) {
    return static_cast<double>(std::min(part.block_end * v.rows, v.outer) - part.block * v.rows);
  }
  double count = 0;
  const Index chunks = ceil_div(v.inner, v.chunk);
  for (Index b = part.block; b < part.block_end; b++) {
    const Index rows = std::min(v.rows, v.outer - b / chunks * v.rows);
    count += static_cast<double>(rows) *
             static_cast<double>(std::min(v.chunk, v.inner - b % chunks * v.chunk));
  }
  return count;
}

// Doubles for all of a task's per-channel work, each array on cache lines of its own.
class Scratch {
 public:
  explicit Scratch(Index doubles) : memory_(new double[static_cast<std::size_t>(doubles + 8)]) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
    next_ = memory_.get() + (64 - address % 64) % 64 / 8;
  }
  static Index padded(Index count) { return ceil_div(count, 8) * 8; }
  template <class T = double>
  T* take(Index count) {
    double* taken = next_;
    next_ += padded(ceil_div(count * static_cast<Index>(sizeof(T)), 8));
    return reinterpret_cast<T*>(taken);
  }

 private:
  std::unique_ptr<double[]> memory_;
  double* next_;
};

// Bytes of a core's second cache.
inline Index cache_bytes() {
  static const Index found = second_cache_bytes();
  return found > 0 ? std::clamp<Index>(found, 256 << 10, 4 << 20) : 1 << 20;
}

// The thread that starts with item i: see `parallel`.
inline Index owner(Index i, Index items, int threads) { return ((i + 1) * threads - 1) / items; }

// Channels that no thread shares, in runs: task(first, end).
template <class Task>
inline void share_channels(Index first, Index end, int threads, Task task) {
  constexpr Index RUN = 256;
  auto item = [&](Index i) { task(first + i * RUN, std::min(first + (i + 1) * RUN, end)); };
  parallel(ceil_div(end - first, RUN), threads, item);
}

// Channels in turns: a thread sums some, and writes them while they are in its cache.
struct Turns {
  Index channels, at_once, items;

  Turns(const Job& job, int tensors, int threads) : channels(job.view.channels) {
    const View& v = job.view;
    const Index each = std::max<Index>(1, v.outer * v.inner * bytes_of(job.element) * tensors);
    at_once = std::clamp<Index>(cache_bytes() * 5 / 16 / each, 1, channels);
    if (threads > 1) at_once = std::min(at_once, ceil_div(channels, 4 * threads));
    if (at_once > 16) at_once = at_once / 16 * 16;  // whole cache lines
    at_once = ceil_div(at_once, alike(v)) * alike(v);
    items = ceil_div(channels, at_once);
  }
  Part part(const View& v, Index i) const {
    return {i * at_once, std::min((i + 1) * at_once, channels), 0, v.blocks, false, {}};
  }
};

// Channels one behind the other, each summed while the one before is written: memory is read and
// written at once, and what a core computes hides behind it. What is summed is copied, and written
// from the copy, step by step into the places of what has been written.
struct Overlap {
  Index at_once, turns, items, bytes;  // of a turn's copy of one tensor
  int tensors;

  Overlap(const Job& job, int read, int threads) : tensors(read) {
    const View& v = job.view;
    const Index channels = v.channels, one = v.outer * v.inner * bytes_of(job.element);
    at_once = std::clamp<Index>(cache_bytes() / 4 / std::max<Index>(1, one * tensors), 1, channels);
    turns = ceil_div(channels, at_once);
    items = std::min<Index>(turns, threads > 1 ? 4 * threads : 1);
    bytes = ceil_div(at_once * one, 64) * 64;
    const bool rows = !last(v) && (v.inner >= 256 || (v.inner >= 64 && v.inner % 16 == 0));
    if (!rows || !job.tensors.stream || turns < 2 * items) items = 0;
    if (bytes * tensors > cache_bytes() * 5 / 8) items = 0;
  }
  bool worthwhile() const { return items > 0; }
  Part part(const View& v, char* memory, Index turn) const {
    const Index first = turn * at_once, end = std::min(first + at_once, v.channels);
    Packed packed = {};
    if (memory) packed = {memory, tensors > 1 ? memory + bytes : nullptr, first, at_once * v.inner};
    return {first, end, 0, v.blocks, false, packed};
  }

  // sum(part); finish(part), which gives what write(part, k) needs; both(part, before, k): the sums
  // of one and the writing of the other, both with copies, false where that can't be.
  template <class Sum, class Finish, class Write, class Both>
  void run(const View& v, int threads, Sum sum, Finish finish, Write write, Both both) const {
    auto item = [&](Index i) {
      char* memory = static_cast<char*>(packing_memory(bytes * tensors));
      const Index first = turns * i / items, end = turns * (i + 1) / items;
      Part before = part(v, memory, first);
      sum(before);
      auto k = finish(before);
      for (Index turn = first + 1; turn < end; turn++) {
        const Part next = part(v, memory, turn);
        const bool same = next.channel_end - next.channel == before.channel_end - before.channel;
        if (!memory || !same || !both(next, before, k)) {
          write(before, k);
          sum(next);
        }
        k = finish(next);
        before = next;
      }
      write(before, k);
    };
    parallel(items, threads, item);
  }
};

// Writes a part, its blocks shared out; backwards, a thread begins with what it summed last.
template <class Write>
inline void write_blocks(int threads, const Part& part, Write write) {
  const Index blocks = part.block_end - part.block;
  const Index items = std::min<Index>(blocks, threads == 1 ? 1 : 8 * threads);
  const int sharing = static_cast<int>(std::min<Index>(threads, items));
  auto item = [&](Index i) {
    const Index t = owner(i, items, sharing);
    const Index reversed = items * t / sharing + items * (t + 1) / sharing - 1 - i;
    const Index at = part.backwards ? reversed : i;
    Part own = part;
    own.block = part.block + blocks * at / items;
    own.block_end = part.block + blocks * (at + 1) / items;
    write(own);
  };
  parallel(items, threads, item);
}

// Writes every block of every channel once, in long runs.
template <class Write>
inline void write_all(const Job& job, int threads, Write write) {
  const View& v = job.view;
  if (last(v) || v.channels < 4 * threads) {
    write_blocks(threads, {0, v.channels, 0, v.blocks, false, {}}, write);
  } else {
    // A few long runs for each thread, which the processor fetches ahead by itself.
    const Index units = ceil_div(v.channels, alike(v)), items = std::min<Index>(units, 4 * threads);
    auto start = [&](Index i) { return std::min(units * i / items * alike(v), v.channels); };
    auto item = [&](Index i) { write(Part{start(i), start(i + 1), 0, v.blocks, false, {}}); };
    parallel(items, threads, item);
  }
}

}  // namespace
}  // namespace kernel
