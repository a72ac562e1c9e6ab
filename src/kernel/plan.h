// How a tensor is cut for its tasks, and where values per channel lie.
//
// A tensor is outer x channels x inner (N, C, H*W). The inner values of one outer index and one
// channel are a row. One channel, seen alone, is outer rows of inner values, cut into boxes:
//
//              inner
//           <--------------------->
//           <-chunk-> <-chunk-> <->
//         ^ +--------+---------+--+ ^
//         | | box 0  | box 1   | 2| | rows
//   outer | +--------+---------+--+ v
//         | | box 3  | box 4   | 5|
//         | +--------+---------+--+
//         v | box 6  | box 7   | 8|     fewer rows, narrower columns at the ends
//           +--------+---------+--+
//
//   block    the number of a box (`box_of`); all channels are cut alike. The values of one channel in
//            one block are summed around one shift (moments.h).
//   segment  blocks [b, e) of a step's channels: what one thread sums where threads share channels.
//            A channel's sums are its segments', joined in the segments' order.
//   step     the channels that are summed, and then written, where segments are: all of them, or one
//            at a time where one alone is LARGE (`together`).
//   turn     neighbouring channels that one thread sums, all their blocks, and writes while its cache
//            holds them (`Turns`); or sums while it writes the turn before (`Overlap`).
//   part     channels [c, d) by blocks [b, e): the argument of every loop in level.cpp.
//
// Boxes, segments, steps and `alike` follow from the shape alone, so no bit of a result depends on the
// number of threads. Turns follow from the number of threads too: they cut no channel's sums.
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

constexpr Index BLOCK = 8192;            // values of a channel in a block, at most
constexpr Index SEGMENTS = 16;           // segments of a channel, at most
constexpr Index LARGE = 1 << 18;         // values of a channel from which threads share one
constexpr Index SERIAL = 48 * 1024;      // values below which no thread is woken
constexpr Index CHANNEL = 64;            // values that take as long as what a channel takes by itself
constexpr Index STREAM = 2 << 20;       // bytes of a result from which one core's caches don't keep it

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

// Bytes of a result from which it bypasses the caches: several threads write into the last one as fast
// as it takes, and what is written there is still there when it is read; one thread alone is slower at
// that than memory is.
inline Index kept_bytes(int threads) {
  static const Index shared = std::clamp<Index>(cache_size(3) / 4, 2 * STREAM, 4 * STREAM);
  return threads > 1 ? shared : STREAM;
}

// Fills the view's rows, chunk and blocks, and whether results bypass the caches. With the channels
// last, a block is 64 to 512 rows; with long rows, a piece of one row; else as many rows as fit BLOCK.
inline void plan(Job& job) {
  View& v = job.view;
  if (v.channels == 1) v.inner *= v.outer, v.outer = 1;  // one long row
  if (last(v)) {
    const Index most = std::clamp<Index>(v.outer / SEGMENTS, 128, 512);
    v.rows = std::max<Index>(1, ceil_div(v.outer, std::max<Index>(1, ceil_div(v.outer, most))));
    v.chunk = 1;
  } else if (v.inner > BLOCK) {
    v.rows = 1;
    v.chunk = BLOCK;
  } else {
    v.rows = std::clamp<Index>(BLOCK / v.inner, 1, std::max<Index>(v.outer, 1));
    v.chunk = v.inner;
  }
  v.blocks = ceil_div(v.outer, v.rows) * ceil_div(v.inner, v.chunk);
  job.tensors.stream = size(v) * bytes_of(job.element) >= kept_bytes(threads_for(v));
}

// The multiple of channels at which turns and runs may be cut: a loop sums that many neighbours together
// (64 with the channels last, 16 with short rows), and other cuts would change the order of additions.
inline Index alike(const View& v) {
  return last(v) ? 64 : v.inner < 128 && v.inner % 16 != 0 ? 16 : 1;
}

// Whether all threads sum one channel together, and then write that channel while their caches hold it.
inline bool together(const View& v) {
  return !last(v) && v.outer * v.inner >= LARGE && v.blocks >= SEGMENTS;
}

// The number of segments of a channel: 1 where there are channels enough for every thread.
inline Index segments(const View& v) {
  if (!last(v) && v.channels >= SEGMENTS && !together(v)) return 1;
  return std::max<Index>(1, std::min(SEGMENTS, v.blocks));
}

// The channels of a step.
inline Index step(const View& v) { return together(v) ? 1 : v.channels; }

// Segment s of `count` of a part that has all blocks.
inline Part segment(const View& v, Index s, Index count, Part part) {
  part.block = v.blocks * s / count;
  part.block_end = v.blocks * (s + 1) / count;
  return part;
}

// The number of values that one channel has in a part.
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

// The memory of a task's values per channel: each array begins on a cache line of its own.
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
  static const Index found = cache_size(2);
  return found > 0 ? std::clamp<Index>(found, 256 << 10, 4 << 20) : 1 << 20;
}

// The thread to which `parallel` gives item i first; another thread may take the item over.
inline Index owner(Index i, Index items, int threads) { return ((i + 1) * threads - 1) / items; }

// Cuts channels [first, end) into runs of 256; one thread calls task(c, d) for each run.
template <class Task>
inline void share_channels(Index first, Index end, int threads, Task task) {
  constexpr Index RUN = 256;
  auto item = [&](Index i) { task(first + i * RUN, std::min(first + (i + 1) * RUN, end)); };
  parallel(ceil_div(end - first, RUN), threads, item);
}

// Cuts all channels into turns of `at_once` channels, of which `tensors` tensors fill 5/16 of a second
// cache: what a turn's sums have read is still there when the turn is written.
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

// Turns one behind the other: a thread sums a turn while it writes the turn before, so that memory is
// read and written at the same time, and arithmetic hides behind both. The sums of a turn copy what they
// read into a small memory; the turn is written from its copy, and each place of the copy that has
// been written is filled with the next turn's values.
struct Overlap {
  Index at_once, turns, items, bytes;  // `bytes`: of a turn's copy of one tensor; `items`: of threads
  int tensors;

  Overlap(const Job& job, int read, int threads) : tensors(read) {
    const View& v = job.view;
    const Index channels = v.channels, one = v.outer * v.inner * bytes_of(job.element);
    at_once = std::clamp<Index>(cache_bytes() / 4 / std::max<Index>(1, one * tensors), 1, channels);
    turns = ceil_div(channels, at_once);
    items = std::min<Index>(turns, threads > 1 ? 4 * threads : 1);
    bytes = ceil_div(at_once * one, 64) * 64;
    // Rows of other lengths begin and end within lines, which costs more than it saves where they are short.
    const bool fills = v.inner % 16 == 0 || (bytes_of(job.element) >= 4 && v.inner >= 1000);
    const bool rows = !last(v) && v.inner >= 64 && fills;
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

  // sum(part) sums a turn; finish(part) gives the coefficients k that write(part, k) needs;
  // both(part, before, k) sums one turn while it writes the turn before, and is false where it did
  // neither: the two then happen one after the other.
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

// Writes a part, whose blocks threads share. Where `backwards` is set, each thread begins with the block
// that it summed last, which its cache holds best.
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

// Writes all blocks of all channels, in runs that are as long as the number of threads allows.
template <class Write>
inline void write_all(const Job& job, int threads, Write write) {
  constexpr Index PAGE = 4096;  // bytes: a part that takes less of each is slowed down by addresses
  const View& v = job.view;
  const Index beside = v.channels * v.inner * bytes_of(job.element) / (4 * threads);
  const bool blocks = beside < PAGE && v.blocks >= 4 * threads;
  if (last(v) || v.channels < 4 * threads || blocks) {
    write_blocks(threads, {0, v.channels, 0, v.blocks, false, {}}, write);
  } else {
    // Four runs for each thread: the processor fetches long runs ahead by itself.
    const Index units = ceil_div(v.channels, alike(v)), items = std::min<Index>(units, 4 * threads);
    auto start = [&](Index i) { return std::min(units * i / items * alike(v), v.channels); };
    auto item = [&](Index i) { write(Part{start(i), start(i + 1), 0, v.blocks, false, {}}); };
    parallel(items, threads, item);
  }
}

}  // namespace
}  // namespace kernel
