#include "copies.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "threads.h"

namespace kernel {
namespace {

using Index = std::int64_t;

constexpr int MOST = 64;               // axes, NumPy's own limit
constexpr Index LINE = 64;             // bytes that the caches read and write at once
constexpr Index SERIAL = 256 * 1024;   // bytes below which no thread is woken
constexpr Index ITEMS = 64;            // pieces that the threads share

// The copy as its axes stand in `to`, the outermost first, but for two: `across`, along which
// neighbours lie closest in `from`, cut into strips that fill cache lines there, and `along`, where
// they lie closest in `to`. Of one axis that is both, `across` has length 1.
struct Copy {
  const char* from;
  char* to;
  CopiedAxis outer[MOST], across, along;
  int outers;
  Index strips, width;  // of a cache line, in elements

  // Where piece i of `outer` x strips begins.
  void locate(Index i, const char*& source, char*& target, Index& width_here) const {
    const Index strip = i % strips;
    source = from + strip * width * across.from;
    target = to + strip * width * across.to;
    width_here = std::min(width, across.length - strip * width);
    i /= strips;
    for (int a = outers - 1; a >= 0; a--) {
      source += i % outer[a].length * outer[a].from;
      target += i % outer[a].length * outer[a].to;
      i /= outer[a].length;
    }
  }
};

template <class T>
T read(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

template <class T>
void copy_row(const char* from, char* to, const CopiedAxis& a) {
  if (a.from == static_cast<Index>(sizeof(T)) && a.to == a.from) {
    std::memcpy(to, from, static_cast<std::size_t>(a.length * a.from));
    return;
  }
  for (Index i = 0; i < a.length; i++) {
    const T value = read<T>(from + i * a.from);
    std::memcpy(to + i * a.to, &value, sizeof value);
  }
}

// One strip: tile by tile, so that each line of `from` and `to` is in the first cache once.
template <class T>
void copy_strip(const char* from, char* to, Index width, const CopiedAxis& across, const CopiedAxis& along) {
  constexpr Index tile = LINE / sizeof(T);
  for (Index start = 0; start < along.length; start += tile) {
    const Index length = std::min(tile, along.length - start);
    const char* source = from + start * along.from;
    char* target = to + start * along.to;
    if (length == tile && along.to == static_cast<Index>(sizeof(T)) && across.from == along.to) {
      for (Index j = 0; j < width; j++) {
        T line[tile];
        for (Index i = 0; i < tile; i++) line[i] = read<T>(source + i * along.from + j * across.from);
        std::memcpy(target + j * across.to, line, sizeof line);
      }
      continue;
    }
    for (Index j = 0; j < width; j++) {
      copy_row<T>(source + j * across.from, target + j * across.to, {length, along.from, along.to});
    }
  }
}

template <class T>
void copy_pieces(const Copy& c, Index begin, Index end) {
  for (Index i = begin; i < end; i++) {
    const char* source;
    char* target;
    Index width;
    c.locate(i, source, target, width);
    if (c.across.length == 1) {
      copy_row<T>(source, target, c.along);
    } else {
      copy_strip<T>(source, target, width, c.across, c.along);
    }
  }
}

// The axes longer than 1, the outermost in `to` first, neighbours that both sides walk as one joined.
int joined(const CopiedAxis* axes, int rank, CopiedAxis* out) {
  CopiedAxis sorted[MOST];
  int count = 0, used = 0;
  for (int a = 0; a < rank; a++) {
    if (axes[a].length > 1) sorted[count++] = axes[a];
  }
  std::stable_sort(sorted, sorted + count, [](const CopiedAxis& a, const CopiedAxis& b) { return a.to > b.to; });
  for (int a = 0; a < count; a++) {
    const CopiedAxis& own = sorted[a];
    CopiedAxis* before = used ? &out[used - 1] : nullptr;
    if (before && before->from == own.from * own.length && before->to == own.to * own.length) {
      *before = {before->length * own.length, own.from, own.to};
    } else {
      out[used++] = own;
    }
  }
  return used;
}

}  // namespace

void copy_tensor(const void* from, void* to, int bytes, const CopiedAxis* axes, int rank) {
  Copy c{static_cast<const char*>(from), static_cast<char*>(to), {}, {1, 0, 0}, {1, 0, 0}, 0, 1, LINE / bytes};
  CopiedAxis* own = c.outer;
  int used = joined(axes, rank, own);
  if (used) c.along = own[--used];
  const auto nearer = [](const CopiedAxis& a, const CopiedAxis& b) { return std::abs(a.from) < std::abs(b.from); };
  CopiedAxis* nearest = std::min_element(own, own + used, nearer);
  if (used && nearer(*nearest, c.along)) {
    c.across = *nearest;
    std::copy(nearest + 1, own + used, nearest);
    used--;
  }
  c.outers = used;
  c.strips = (c.across.length + c.width - 1) / c.width;
  Index pieces = c.strips;
  for (int a = 0; a < used; a++) pieces *= own[a].length;
  const Index size = pieces * c.along.length * (c.across.length > 1 ? c.width : 1) * bytes;
  const int threads = size < SERIAL ? 1 : num_threads();
  const Index items = threads == 1 ? 1 : std::min(ITEMS, pieces);
  auto item = [&](Index i) {
    const Index begin = pieces * i / items, end = pieces * (i + 1) / items;
    if (bytes == 2) copy_pieces<std::uint16_t>(c, begin, end);
    else if (bytes == 4) copy_pieces<std::uint32_t>(c, begin, end);
    else copy_pieces<std::uint64_t>(c, begin, end);
  };
  parallel(items, threads, item);
}

}  // namespace kernel
