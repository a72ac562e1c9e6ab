#include <atomic>
#include <cstring>

#include "coefficients.h"
#if defined(__x86_64__)
#include "processor.h"
#endif

namespace kernel {
namespace {

Partials take_partials(Scratch& scratch, Index channels) {
  Partials p;
  for (double** array : {&p.shift, &p.a, &p.a_low, &p.b, &p.b_low}) *array = scratch.take(channels);
  return p;
}

Index partial_doubles(const View& v) {
  return 5 * Scratch::padded(v.channels) * segments(v);
}

Partials from(const Partials& p, Index c) {
  return {p.shift + c, p.a + c, p.a_low + c, p.b + c, p.b_low + c};
}

// Sums segments of channels by all threads, joins them in their order into the first, and calls
// then(first, end) for channels that are done.
class Segments {
 public:
  Segments(const Job& job, int threads, const Partials& total, Scratch& scratch)
      : job_(job), threads_(threads), count_(segments(job.view)) {
    parts_[0] = total;
    for (Index s = 1; s < count_; s++) parts_[s] = take_partials(scratch, job.view.channels);
    for (Index s = 0; s < count_; s++) counts_[s] = count_of(job.view, part(s, {}));
  }
  template <class Then>
  void sum(const Part& all, Then then) const {
    auto item = [&](Index s) {
      loops(job_).moments(job_.view, job_.tensors, part(s, all), parts_[s]);
    };
    sum(all, item, then);
  }
  // While the channels before them are written, of which there must be as many.
  template <class Then>
  void sum(const Part& all, const Part& before, const Coefficients& k, Then then) const {
    auto item = [&](Index s) {
      loops(job_).moments_and_normalize(job_.view, job_.tensors, part(s, all), parts_[s],
                                        part(s, before), k);
    };
    sum(all, item, then);
  }

 private:
  Part part(Index s, const Part& all) const { return segment(job_.view, s, count_, all); }

  template <class Item, class Then>
  void sum(const Part& all, Item item, Then then) const {
    parallel(count_, threads_, item);
    share_channels(all.channel, all.channel_end, threads_, [&](Index c, Index end) {
      join_channels(c, end);
      then(c, end);
    });
  }
  void join_channels(Index c, Index end) const {
    double seen = counts_[0];
    for (Index s = 1; s < count_; s++) {
      loops(job_).join(from(parts_[0], c), seen, from(parts_[s], c), counts_[s], end - c);
      seen += counts_[s];
    }
  }

  const Job& job_;
  int threads_;
  Index count_;
  Partials parts_[SEGMENTS];
  double counts_[SEGMENTS];
};

// For a copy of one channel that all threads share, where it fits their caches.
void* shared_copy(const Job& job, int threads) {
  const Index bytes = job.view.outer * job.view.inner * bytes_of(job.element);
  // Shorter rows may be summed in columns, which nothing is written beside.
  const bool fits = job.view.inner >= 128 && job.tensors.stream &&
                    bytes <= cache_bytes() * 5 / 8 * threads;
  return fits ? packing_memory(bytes) : nullptr;
}

#if defined(__x86_64__)
const Level* const LEVELS[] = {&level_v4, &level_v3, &level_v2};

bool runs_here(const Level* level) {
  static const int here = x86_level();
  return here >= (level == &level_v4 ? 4 : level == &level_v3 ? 3 : 2);
}
#elif defined(__aarch64__)
const Level* const LEVELS[] = {&level_neon};
bool runs_here(const Level*) { return true; }
#else
const Level* const LEVELS[] = {&level_plain};
bool runs_here(const Level*) { return true; }
#endif

}  // namespace

const Level* find_level(const char* name) {
  for (const Level* level : LEVELS) {
    if (std::strcmp(level->name, name) == 0 && runs_here(level)) return level;
  }
  return nullptr;
}

void deviations(const Job& job, const double* m2, double count, double epsilon, double* inv_std) {
  job.level->deviations(m2, count, epsilon, 0, job.view.channels, inv_std);
}

void reduce(Job job, const Statistics& out) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  const int threads = threads_for(v);
  Scratch scratch(partial_doubles(v));
  const Partials total = take_partials(scratch, v.channels);
  auto conclude = [&](Index c, Index end) { loops(job).conclude(total, count_of(v), c, end, out); };
  if (segments(v) == 1) {
    const Turns turns(job, 1, threads);
    auto item = [&](Index i) {
      const Part part = turns.part(v, i);
      loops(job).moments(v, job.tensors, part, total);
      conclude(part.channel, part.channel_end);
    };
    parallel(turns.items, threads, item);
  } else {
    Segments(job, threads, total, scratch)
        .sum({0, v.channels, 0, v.blocks, false, {}}, conclude);
  }
}

void normalize(Job job, const Statistics& statistics, const Affine& affine) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  Scratch scratch(Prepared::doubles(v.channels));
  Prepared prepared(job, scratch, statistics, affine);
  const Coefficients k = prepared.coefficients(prepared.fill(0, v.channels));
  write_all(job, threads_for(v),
            [&](const Part& part) { loops(job).normalize(v, job.tensors, part, k); });
}

void forward(Job job, double epsilon, const Affine& affine, const Statistics& out) {
  FloatEnvironment environment;
  plan(job);
  const View& v = job.view;
  const int threads = threads_for(v);
  Scratch scratch(partial_doubles(v) + Prepared::doubles(v.channels));
  const Partials total = take_partials(scratch, v.channels);
  Prepared prepared(job, scratch, out, affine);
  auto prepare = [&](Index c, Index end) {
    loops(job).conclude(total, count_of(v), c, end, out);
    job.level->deviations(out.m2, count_of(v), epsilon, c, end, out.inv_std);
    return prepared.fill(c, end);
  };
  auto finish = [&](const Part& part) {
    return prepared.coefficients(prepare(part.channel, part.channel_end));
  };
  auto sum = [&](const Part& part) { loops(job).moments(v, job.tensors, part, total); };
  auto write = [&](const Part& part, const Coefficients& k) {
    loops(job).normalize(v, job.tensors, part, k);
  };
  const Overlap overlap(job, 1, threads);
  if (segments(v) == 1 && overlap.worthwhile()) {
    overlap.run(v, threads, sum, finish, write,
                [&](const Part& next, const Part& before, const Coefficients& k) {
                  if (k.careful) return false;
                  loops(job).moments_and_normalize(v, job.tensors, next, total, before, k);
                  return true;
                });
    return;
  }
  if (segments(v) == 1) {
    const Turns turns(job, 1, threads);
    auto item = [&](Index i) {
      Part part = turns.part(v, i);
      sum(part);
      const Coefficients k = finish(part);
      part.backwards = part.cached = true;
      write(part, k);
    };
    parallel(turns.items, threads, item);
    return;
  }
  // All threads have a part of each channel, or of all at once.
  const Segments parts(job, threads, total, scratch);
  auto write_all_blocks = [&](const Part& all, const Coefficients& k) {
    write_blocks(threads, all, [&](const Part& part) { write(part, k); });
  };
  void* copy = together(v) ? shared_copy(job, threads) : nullptr;
  Part before = {0, step(v), 0, v.blocks, !copy, {copy, nullptr, 0, v.inner}};
  std::atomic<bool> careful{false};
  auto then = [&](Index c, Index end) {
    if (prepare(c, end)) careful = true;
  };
  parts.sum(before, then);
  Coefficients k = prepared.coefficients(careful.exchange(false));
  for (Index c = step(v); c < v.channels; c += step(v)) {
    Part next = before;
    next.channel = next.packed.channel = c;
    next.channel_end = c + step(v);
    if (copy && !k.careful) {
      parts.sum(next, before, k, then);
    } else {
      write_all_blocks(before, k);
      parts.sum(next, then);
    }
    k = prepared.coefficients(careful.exchange(false));
    before = next;
  }
  write_all_blocks(before, k);
}

void move(const Level* level, const float* const* inputs, int arrays, float* out,
          std::int64_t bytes, bool stream) {
  constexpr Index PIECE = 64 * 1024;  // floats
  const Index count = bytes / 4;
  stream = stream && reinterpret_cast<std::uintptr_t>(out) % 64 == 0;
  auto item = [&](Index i) {
    const Index start = i * PIECE;
    const float* at[8];
    for (int a = 0; a < arrays; a++) at[a] = inputs[a] + start;
    volatile float sink = level->move(at, arrays, out ? out + start : nullptr,
                                      std::min(PIECE, count - start), stream);
    (void)sink;
  };
  parallel(ceil_div(count, PIECE), num_threads(), item);
}

}  // namespace kernel
