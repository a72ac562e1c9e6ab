// What writes one result per element has in common: runs of memory, and how a part falls into them.
//
// A run is a stretch of neighbours in memory, written in aligned steps of sixteen. Its coefficients
// stay in registers row by row; or lie in memory beside the elements: those of one row in channels last,
// which then may begin anew with each row, and one for each element where rows are shorter than a step.
#pragma once

#include <limits>

#include "sums.h"

namespace kernel {
namespace {

// The elements before out's first whole cache line, where results go around the caches.
template <class T>
BN_INLINE std::int64_t before_lines(const T* out, bool stream) {
  return stream ? (std::int64_t)(-(std::uintptr_t)out % 64 / sizeof(T)) : 0;
}

// The coefficients that may stand beside the elements, at most.
template <class S>
constexpr std::int64_t BESIDE = 8192 / sizeof(S);

// Whether a part's rows of channels last make one run: it has all channels, so that they lie one behind
// the other, and rows enough to pay for the coefficients of one, which then begin anew with each row.
template <class S>
BN_INLINE bool rows_joined(const View& v, const Part& part) {
  const std::int64_t channels = part.channel_end - part.channel;
  const std::int64_t rows = (part.block_end - part.block) * v.rows;
  return channels == v.channels && channels <= BESIDE<S> && (rows >= 4 || channels < 64);
}

// Whether what lies side by side in a part, whose coefficients are of type S, is long, or whole cache
// lines. A line written through the caches among others that go around them takes as long as sixty of
// those.
template <class T, class S>
BN_INLINE bool fill_lines(const View& v, const Part& part) {
  const std::int64_t bytes = (part.channel_end - part.channel) * v.inner * sizeof(T);
  const std::int64_t stride = v.outer > 1 ? v.channels * v.inner * sizeof(T) : 0;
  return bytes >= 4096 || (bytes % 64 == 0 && stride % 64 == 0) ||
         (v.inner == 1 && rows_joined<S>(v, part));
}

// The whole cache lines of a run, behind its first `lead` elements. Only their steps may go around the
// caches: a line of which one step alone did is read, joined and written again, which takes as long as
// twenty lines.
template <class T>
struct Lines {
  std::int64_t lead, elements;

  BN_INLINE Lines(std::int64_t before, std::int64_t length)
      : lead(before), elements((length - before) / (STEPS_OF_LINE<T> * LANES) * (STEPS_OF_LINE<T> * LANES)) {}
  BN_INLINE bool have(std::int64_t i) const {
    return STEPS_OF_LINE<T> == 1 || (i >= lead && i - lead < elements);
  }
};

// Calls run.whole(i, k, whether it may go around the caches) for sixteen elements, after run.ask(i) for
// what comes soon, and run.part(i, n, k) for n fewer: at the end of a run, and for the first ones, before
// whole steps of the lines behind run.lead() elements. The `count` coefficients k of element i stand in
// `at`, at i modulo `period`; behind the last one before they begin anew, those of the first sixteen stand
// once more.
template <class T, int count, class V, class Run>
BN_INLINE void along_each(const Run& run, std::int64_t length,
                          const typename V::Scalar* const* at, std::int64_t period) {
  V k[count];
  std::int64_t i = 0, own = 0;
  auto part = [&](int n) __attribute__((always_inline)) {
    if (n <= 0) return;
    BN_EACH(count) k[j] = load_part<typename V::Scalar>(at[j] + own, n, 0);
    run.part(i, n, k);
    i += n, own += n;
  };
  const Lines<T> lines(run.lead(), length);
  part((int)smaller(lines.lead % LANES, length));
  for (; i + LANES <= length; i += LANES) {
    BN_EACH(count) k[j] = load(at[j] + own);
    run.ask(i);
    run.whole(i, k, lines.have(i));
    own += LANES;
    if (own >= period) own -= period;
  }
  part((int)(length - i));
}

// The same for the rows of channels [c, end), one behind the other, with their coefficients `of`. A
// step across the border of two rows takes both's, so unless it is alone a row must hold a step.
template <class T, int count, class V, class Run>
BN_INLINE void along_rows(const Run& run, std::int64_t inner, std::int64_t c, std::int64_t end,
                          const typename V::Scalar* const* of) {
  V k[count], next[count], both[count];
  BN_EACH(count) k[j] = set(of[j][c]);
  const Lines<T> lines(run.lead(), inner * (end - c));
  std::int64_t i = smaller(lines.lead % LANES, inner);
  if (i > 0) run.part(0, (int)i, k);
  for (std::int64_t row_end = inner;; row_end += inner) {
    for (; i + LANES <= row_end; i += LANES) {
      run.ask(i);
      run.whole(i, k, lines.have(i));
    }
    const int n = (int)(row_end - i);
    if (++c == end) {
      if (n > 0) run.part(i, n, k);
      return;
    }
    BN_EACH(count) next[j] = set(of[j][c]);
    if (n > 0) {
      BN_EACH(count) both[j] = joined(k[j], next[j], n);
      run.whole(i, both, lines.have(i));
      i += LANES;
    }
    BN_EACH(count) k[j] = next[j];
  }
}

// What is known of all of a run's steps, which then don't ask: ANY nothing; PLAIN ones read and write no
// more than must be, through the caches, AROUND ones around them.
enum class Way { ANY, PLAIN, AROUND };

template <class T>
BN_INLINE void write(T* p, VectorOf<T> v, bool around) {
  if (around) {
    stream(p, v);
  } else {
    store(p, v);
  }
}

// A cache line around the caches, of the steps that fill it.
template <class T, class Step>
BN_INLINE void stream_line(T* p, Step step) {
  if constexpr (STEPS_OF_LINE<T> == 2) {
    stream_both(p, step(0), step(LANES));
  } else {
    stream(p, step(0));
  }
}

// Where a run's results begin, and what it reads: the same index unless that is packed.
struct Place {
  std::int64_t start, read;
};

// The tensors with the part's packed copies in place of what they are copies of.
inline Tensors as_read(Tensors t, const Part& part) {
  t.cached = part.cached || part.packed.x;
  if (!t.relu || !t.dy) t.y = nullptr;
  if (part.packed.x) t.x = part.packed.x;
  if (part.packed.dy) t.dy = part.packed.dy, t.y = nullptr;
  return t;
}

BN_INLINE Place place_of(const View& v, const Part& part, std::int64_t n, std::int64_t c,
                         std::int64_t column) {
  const std::int64_t start = (n * v.channels + c) * v.inner;
  const std::int64_t read = part.packed.x ? packed_row(v, part, n, c) : start;
  return {start + column, read + column};
}

// Writes the rows of a part step by step while sum_rows sums the rows of another one of its shape. The
// two may have one packed copy: what a step reads there has not been reached by the sums' steps.
template <class T, class V, int count, class Run>
struct RowsBeside {
  const View& v;
  const Tensors& t;
  const Part& part;
  const typename V::Scalar* const (&of)[count];
  Run run;
  std::int64_t i, length;
  V k[count];

  BN_INLINE RowsBeside(const View& view, const Tensors& tensors, const Part& written,
                       const typename V::Scalar* const (&coefficients)[count])
      : v(view), t(tensors), part(written), of(coefficients), run(t, {0, 0}), i(0), length(0) {}
  BN_INLINE void begin(const Box& box, std::int64_t n, std::int64_t c) {
    c += part.channel;
    run = Run(t, place_of(v, part, n, c, box.column));
    length = box.column_end - box.column;
    BN_EACH(count) k[j] = set(of[j][c]);
    const std::int64_t lead = smaller(run.lead(), length);
    for (i = 0; i + LANES <= lead; i += LANES) run.whole(i, k, false);
    if (i < lead) run.part(i, (int)(lead - i), k);
    i = lead;
  }
  BN_INLINE void line() {
    if (i + STEPS_OF_LINE<T> * LANES <= length) {
      run.line(i, k);
      i += STEPS_OF_LINE<T> * LANES;
    } else {
      BN_EACH(STEPS_OF_LINE<T>) step();
    }
  }
  BN_INLINE void step() {
    if (i + LANES <= length) {
      run.whole(i, k, STEPS_OF_LINE<T> == 1);
    } else if (i < length) {
      run.part(i, (int)(length - i), k);
    }
    i += LANES;
  }
  BN_INLINE void end() {
    while (i < length) step();
  }
};

// Fills out[0 .. count) with the values of all channels, again and again.
template <class S>
BN_INLINE void repeat(const S* values, std::int64_t channels, std::int64_t count, S* out) {
  for (std::int64_t i = 0; i < count; i++) out[i] = i < channels ? values[i] : out[i - channels];
}

template <class Visit>
BN_INLINE void each_block(const Part& part, Visit visit) {
  const std::int64_t blocks = part.block_end - part.block;
  for (std::int64_t j = 0; j < blocks; j++) {
    visit(part.backwards ? part.block_end - 1 - j : part.block + j);
  }
}

// Cuts a part into stretches of channels that a flag holds for, or not.
template <class Visit>
BN_INLINE void each_stretch(const Part& part, const unsigned char* flags, Visit visit) {
  if (!flags) return visit(part, false);
  Part stretch = part;
  for (std::int64_t c = part.channel; c < part.channel_end; c = stretch.channel_end) {
    std::int64_t end = c + 1;
    while (end < part.channel_end && !flags[end] == !flags[c]) end++;
    stretch.channel = c;
    stretch.channel_end = end;
    visit(stretch, flags[c]);
  }
}

// Cuts a part into runs: each(place, length, at, period) with `at` the run's coefficients, as along_each
// takes them; rows(place, inner, c, end) for rows of channels [c, end), each channel by itself where
// `by_channel`. `coefficients` are `count` arrays per channel.
template <int count, class S, class RunEach, class RunRows>
BN_INLINE void each_run(const View& v, const Part& part, const S* const* coefficients,
                        bool by_channel, RunEach each, RunRows rows) {
  constexpr std::int64_t ENDLESS = std::numeric_limits<std::int64_t>::max();
  const bool last = v.inner == 1 && !by_channel;
  const bool whole_rows = !by_channel && v.inner >= LANES && v.chunk == v.inner;
  // A row of less than a step costs more than its coefficients, unless there are masks.
  const std::int64_t outer = (part.block_end - part.block) * v.rows;
  const std::int64_t run =
      by_channel || last || whole_rows         ? 1
      : BN_LEVEL < 4 && v.inner < LANES        ? whole_steps(v.inner, BESIDE<S>)
                                               : channels_per_run(v, outer, BESIDE<S>);
  alignas(64) S expanded[count][BESIDE<S> + LANES];
  const S* at[count];
  if (last) {
    const std::int64_t channels = part.channel_end - part.channel;
    const bool joined = rows_joined<S>(v, part);
    // Whole rows that hold a step at least, so that a step never goes beyond two periods.
    const std::int64_t period = joined ? (LANES + channels - 1) / channels * channels : ENDLESS;
    for (int j = 0; j < count; j++) {
      at[j] = joined ? expanded[j] : coefficients[j] + part.channel;
      if (joined) repeat(coefficients[j], channels, period + LANES, expanded[j]);
    }
    each_block(part, [&](std::int64_t block) {
      const Box box = box_of(v, block);
      const std::int64_t at_once = joined ? box.row_end - box.row : 1;
      for (std::int64_t n = box.row; n < box.row_end; n += at_once) {
        each(place_of(v, part, n, part.channel, 0), at_once * channels, at, period);
      }
    });
    return;
  }
  if (run > 1) {
    for (std::int64_t c = part.channel; c < part.channel_end; c += run) {
      const std::int64_t channels = smaller(run, part.channel_end - c);
      for (int j = 0; j < count; j++) {
        expand(coefficients[j] + c, channels, v.inner, expanded[j]);
        at[j] = expanded[j];
      }
      each_block(part, [&](std::int64_t block) {
        const Box box = box_of(v, block);
        for (std::int64_t n = box.row; n < box.row_end; n++) {
          each(place_of(v, part, n, c, 0), channels * v.inner, at, ENDLESS);
        }
      });
    }
    return;
  }
  const std::int64_t at_once = whole_rows ? part.channel_end - part.channel : 1;
  each_block(part, [&](std::int64_t block) {
    const Box box = box_of(v, block);
    for (std::int64_t n = box.row; n < box.row_end; n++) {
      for (std::int64_t c = part.channel; c < part.channel_end; c += at_once) {
        const std::int64_t length = box.column_end - box.column;
        rows(place_of(v, part, n, c, box.column), length, c, c + at_once);
      }
    }
  });
}

}  // namespace
}  // namespace kernel
