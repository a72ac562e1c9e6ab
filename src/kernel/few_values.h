// The whole backward where a channel has but a few values: sixteen channels at a time stay in registers
// from the sums to dx, all in double. Channels whose values lie side by side are turned beforehand, some
// at a time, so that neighbours in memory are channels.
#pragma once

#include "cancelled.h"
#include "gradient_sums.h"
#include "turned.h"

namespace kernel {
namespace {

// Of channels last: fills sums and writes dx of channels [c, end), as the sweeps and `mark_cancelled` do;
// true where one of them is marked.
template <class T>
bool few_rows(const View& v, const Tensors& t, const Statistics& s, const double* gamma, bool batch,
              double epsilon, const GradientSums& sums, std::int64_t c, std::int64_t end) {
  const T *x = (const T*)t.x, *dy = (const T*)t.dy, *y = t.relu ? (const T*)t.y : nullptr;
  T *out = (T*)t.out, *kept = (T*)t.out_addend;
  const D none = set(0.0);
  const int rows = (int)v.outer;
  const bool pairs = batch && rows == 2;  // which always cancel
  each_sixteen(c, end, [&](std::int64_t i, int n) __attribute__((always_inline)) {
    const D mean = take(s.mean, i, n), residual = take(s.residual, i, n), inv_std = take(s.inv_std, i, n);
    const D scale = gamma ? inv_std * take(gamma, i, n) : inv_std;
    D d[FEW_VALUES], g[FEW_VALUES], sum = none, sum_d = none, squares = none;
    for (int r = 0; r < rows; r++) {
      const std::int64_t at = r * v.channels + i;
      VectorOf<T> own, passed;
      if (n == LANES) {
        own = load(x + at), passed = gradient<T>(dy, y, at);
        if (kept) store(kept + at, passed);
      } else {
        own = load_part<T>(x + at, n, 0), passed = gradient_part<T>(dy, y, at, n);
        if (kept) store_part(kept + at, n, passed);
      }
      g[r] = as<D>(passed);
      d[r] = as<D>(own) - mean - residual;
      sum = sum + g[r];
      sum_d = fma(g[r], d[r], sum_d);
      squares = fma(g[r], g[r], squares);
    }
    give(sums.dy, i, n, sum);
    give(sums.dy_x, i, n, sum_d * inv_std);
    give(sums.dy_dy, i, n, squares);
    const D share = set(1.0 / rows), constant = batch ? sum * share : none;
    const D slope = none - sum_d * share * inv_std * inv_std;
    const D first = first_of_pair(g[0], g[pairs], set(epsilon) * inv_std * inv_std);
    for (int r = 0; r < rows; r++) {
      D dx = g[r] - constant;
      if (batch) dx = fma(d[r], slope, dx);
      if (pairs) dx = r == 0 ? first : none - first;
      VectorOf<T> narrowed;
      narrow(dx * scale, narrowed);
      if constexpr (sizeof(T) == 2) narrowed = usual(narrowed);
      const std::int64_t at = r * v.channels + i;
      n == LANES ? store(out + at, narrowed) : store_part(out + at, n, narrowed);
    }
  });
  return batch && !pairs && mark_cancelled<T>(s, rows, epsilon, c, end, sums);
}

// The same as `few_rows` in whichever layout.
template <class T>
bool few_values(const View& v, const Tensors& t, const Statistics& s, const double* gamma, bool batch,
                double epsilon, const GradientSums& sums, std::int64_t c, std::int64_t end) {
  if (v.inner == 1) return few_rows<T>(v, t, s, gamma, batch, epsilon, sums, c, end);
  alignas(64) T x[FEW_VALUES * TURNED], dy[FEW_VALUES * TURNED], y[FEW_VALUES * TURNED],
      out[FEW_VALUES * TURNED], kept[FEW_VALUES * TURNED];
  const View rows = turned(v);
  const Tensors own = {x, dy, y, nullptr, out, t.out_addend ? kept : nullptr, t.relu, false};
  bool marked = false;
  for (; c < end; c += TURNED) {
    const std::int64_t count = smaller(TURNED, end - c);
    turn<false>(v, c, count, t.x, x);
    turn<false>(v, c, count, t.dy, dy);
    if (t.relu) turn<false>(v, c, count, t.y, y);
    marked |= few_rows<T>(rows, own, {s.mean + c, s.residual + c, s.inv_std + c, nullptr},
                          gamma ? gamma + c : nullptr, batch, epsilon,
                          {sums.dy + c, sums.dy_x + c, sums.dy_dy + c, nullptr}, 0, count);
    turn<true>(v, c, count, t.out, out);
    if (t.out_addend) turn<true>(v, c, count, t.out_addend, kept);
  }
  return marked;
}

}  // namespace
}  // namespace kernel
