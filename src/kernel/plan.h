// How a task is cut into blocks, segments and parts, and where its per-channel values lie.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>

#include "tasks.h"
#include "threads.h"

namespace kernel {
namespace {

using Index = std::int64_t;

constexpr Index BLOCK = 8192;            // values of a channel that share a shift
constexpr Index SEGMENTS = 16;           // parts of a channel that threads may sum
constexpr Index CACHE = 1 << 20;         // what a thread sweeps twice while it stays in its cache
constexpr Index SERIAL = 48 * 1024;      // values below which no thread is woken
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

inline int threads_for(const View& v) { return size(v) < SERIAL ? 1 : num_threads(); }

// Blocks by the shape alone, so that sums are the same for any number of threads.
inline void plan(Job& job) {
  View& v = job.view;
  if (last(v)) {
    v.rows = std::clamp<Index>(v.outer / SEGMENTS, 32, 512);
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

inline Index segments(const View& v) {
  if (!last(v) && v.channels >= SEGMENTS) return 1;
  return std::max<Index>(1, std::min(SEGMENTS, v.blocks));
}

inline Part segment(const View& v, Index s, Index count) {
  return {0, v.channels, v.blocks * s / count, v.blocks * (s + 1) / count, false, 0};
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
  double* take(Index count) {
    double* taken = next_;
    next_ += padded(count);
    return taken;
  }

 private:
  std::unique_ptr<double[]> memory_;
  double* next_;
};

// How many channels a thread takes at once, so that `tensors` of them stay in its cache.
inline Index channels_at_once(const Job& job, int tensors, int threads) {
  const View& v = job.view;
  const Index each = std::max<Index>(1, v.outer * v.inner * bytes_of(job.element) * tensors);
  Index channels = std::clamp<Index>(CACHE / each, 1, v.channels);
  if (threads > 1) channels = std::min(channels, ceil_div(v.channels, 4 * threads));
  if (channels > 16) channels = channels / 16 * 16;  // whole cache lines
  return channels;
}

// Writes: every block of every channel once, in long runs.
template <class Write>
inline void write_all(const Job& job, int threads, bool backwards, Write write) {
  const View& v = job.view;
  if (last(v) || v.channels < 4 * threads) {
    const Index items = std::min<Index>(v.blocks, threads == 1 ? 1 : 8 * threads);
    auto item = [&](Index i) {
      const Index at = backwards ? items - 1 - i : i;
      write(Part{0, v.channels, v.blocks * at / items, v.blocks * (at + 1) / items, backwards, 0});
    };
    parallel(items, threads, item);
  } else {
    const Index at_once = channels_at_once(job, 1, threads);
    auto item = [&](Index i) {
      write(Part{i * at_once, std::min((i + 1) * at_once, v.channels), 0, v.blocks, backwards, 0});
    };
    parallel(ceil_div(v.channels, at_once), threads, item);
  }
}

}  // namespace
}  // namespace kernel
