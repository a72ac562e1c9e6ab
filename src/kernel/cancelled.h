// dx where batch statistics cancel nearly all of dy: of two values per channel, of a dy that is nearly
// constant, of the dy of sum(y * y). What is left is of the size of epsilon / (var + epsilon), where
// double shows mostly its own rounding.
//
// Written dy = a + b * x_hat + r with r orthogonal to 1 and x_hat, dx is
// scale * (r + b * x_hat * epsilon / (var + epsilon)): nothing cancels but in r, which is found with all
// digits. Sixteen channels at a time, one to a lane; lanes whose channel isn't marked hold zeros.
#pragma once

#include "channels.h"

namespace kernel {
namespace {

constexpr std::int64_t CHUNK = 64;  // values of a channel that are gathered at a time

// A sum and what its additions rounded away.
struct Sum {
  D high = set(0.0), low = set(0.0);
  BN_INLINE void add(D v) {
    const D sum = high + v;
    low = low + sum_error(high, v, sum);
    high = sum;
  }
  BN_INLINE D total() const { return high + low; }
};

// A number as the sum of two.
struct Twice {
  D high, low;
};
BN_INLINE Twice difference(D a, D b) {
  const D minus = set(0.0) - b, sum = a + minus;
  return {sum, sum_error(a, minus, sum)};
}

// x and dy of sixteen channels [c, c + lanes) of which `marked` says which count, by chunks.
template <class T>
class Gathered {
 public:
  Gathered(const View& v, const Tensors& t, std::int64_t c, int lanes, const double* marked)
      : v_(v), t_(t), c_(c), lanes_(lanes), count_(v.outer * v.inner) {
    for (int i = 0; i < LANES; i++) marked_[i] = i < lanes && marked[c + i] != 0;
    whole_ = v.inner == 1 && lanes == LANES && !t.relu;
    for (int i = 0; i < LANES; i++) whole_ = whole_ && marked_[i];
    gather(0, smaller(CHUNK, count_));
    first_ = load(dy_[0]);
  }
  // step(x, dy) of each value.
  template <class Step>
  BN_INLINE void each(Step step) {
    for (std::int64_t start = 0; start < count_; start += CHUNK) {
      const std::int64_t values = smaller(CHUNK, count_ - start);
      if (count_ > CHUNK) gather(start, values);
      for (std::int64_t j = 0; j < values; j++) step(load(x_[j]), load(dy_[j]));
    }
  }
  // dx(x, dy) of each value, written.
  template <class Value>
  BN_INLINE void write(Value dx) {
    for (std::int64_t start = 0; start < count_; start += CHUNK) {
      const std::int64_t values = smaller(CHUNK, count_ - start);
      if (count_ > CHUNK) gather(start, values);
      for (std::int64_t j = 0; j < values; j++) store(dy_[j], dx(load(x_[j]), load(dy_[j])));
      scatter(start, values);
    }
  }
  // 0 everywhere.
  void clear() {
    for (auto& row : dy_) store(row, set(0.0));
    for (std::int64_t start = 0; start < count_; start += CHUNK) {
      scatter(start, smaller(CHUNK, count_ - start));
    }
  }
  D first() const { return first_; }

 private:
  // visit(j, at) of values [start, start + values) of a lane's channel and their places in memory.
  template <class Visit>
  BN_INLINE void places(std::int64_t start, std::int64_t values, int lane, Visit visit) const {
    const std::int64_t row = start / v_.inner;
    std::int64_t column = start - row * v_.inner;
    std::int64_t at = (row * v_.channels + c_ + lane) * v_.inner + column;
    for (std::int64_t j = 0; j < values; j++) {
      visit(j, at);
      at++;
      if (++column == v_.inner) column = 0, at += (v_.channels - 1) * v_.inner;
    }
  }
  void gather(std::int64_t start, std::int64_t values) {
    const T *x = (const T*)t_.x, *dy = (const T*)t_.dy;
    const T* y = t_.relu ? (const T*)t_.y : nullptr;
    for (std::int64_t j = 0; whole_ && j < values; j++) {
      const std::int64_t at = (start + j) * v_.channels + c_;
      store(x_[j], wide(x + at));
      store(dy_[j], wide(dy + at));
    }
    for (int i = 0; !whole_ && i < LANES; i++) {
      if (!marked_[i]) {
        for (std::int64_t j = 0; j < values; j++) x_[j][i] = dy_[j][i] = 0;
        continue;
      }
      places(start, values, i, [&](std::int64_t j, std::int64_t at) {
        x_[j][i] = (double)get(x + at);
        dy_[j][i] = y && !(get(y + at) > 0) ? 0 : (double)get(dy + at);
      });
    }
  }
  void scatter(std::int64_t start, std::int64_t values) const {
    T* out = (T*)t_.out;
    for (std::int64_t j = 0; whole_ && j < values; j++) {
      VectorOf<T> dx;
      narrow(load(dy_[j]), dx);
      store(out + (start + j) * v_.channels + c_, dx);
    }
    for (int i = 0; !whole_ && i < lanes_; i++) {
      if (!marked_[i]) continue;
      places(start, values, i, [&](std::int64_t j, std::int64_t at) {
        put(out + at, (ScalarOf<T>)dy_[j][i]);
      });
    }
  }

  const View& v_;
  const Tensors& t_;
  const std::int64_t c_;
  const int lanes_;
  const std::int64_t count_;
  bool marked_[LANES], whole_;
  D first_;
  alignas(64) double x_[CHUNK][LANES], dy_[CHUNK][LANES];
};

template <class T>
void recover_sixteen(const View& v, const Tensors& t, const Statistics& s, const double* gamma,
                     double epsilon, const double* marked, std::int64_t c, int n) {
  Gathered<T> values(v, t, c, n, marked);
  const D none = set(0.0), mean = take(s.mean, c, n), residual = take(s.residual, c, n);
  const D inv_std = take(s.inv_std, c, n), share = set(epsilon) * inv_std * inv_std;
  const D scale = gamma ? inv_std * take(gamma, c, n) : inv_std, first = values.first();
  const D share_of_all = set(1.0 / ((double)v.outer * (double)v.inner));
  Sum squares, deviations, above;
  D widest = none;
  values.each([&](D x, D dy) __attribute__((always_inline)) {
    const D d = x - mean - residual, more = dy - first;
    squares.add(d * d);
    deviations.add(d);
    above.add(more);
    widest = at_least(size_of(more), widest);
  });
  if (largest_lane(widest) == 0) return values.clear();
  const D square = choose(none < squares.total(), squares.total(), set(__builtin_inf()));
  const D middle = above.total() * share_of_all, drift = deviations.total();
  auto deviation = [&](D x) __attribute__((always_inline)) {
    Twice d = difference(x, mean);
    d.low = d.low - residual;
    return d;
  };
  auto centred = [&](D dy) __attribute__((always_inline)) {
    const Twice more = difference(dy, first), c = difference(more.high, middle);
    return Twice{c.high, c.low + more.low};
  };
  Sum products;
  values.each([&](D x, D dy) __attribute__((always_inline)) {
    products.add(centred(dy).high * deviation(x).high);
  });
  const D b = products.total() / square;
  auto rest = [&](Twice d, D dy) __attribute__((always_inline)) {
    const Twice c = centred(dy);
    const D fit = d.high * b, fit_low = product_error(d.high, b, fit);
    const Twice r = difference(c.high, fit);
    return r.high + (r.low + (c.low - fit_low - d.low * b));
  };
  // What the rounding of the mean of dy and of b left of both in r.
  D off = none, more = none;
  for (int time = 0; time < 2; time++) {
    Sum sums, along;
    values.each([&](D x, D dy) __attribute__((always_inline)) {
      const Twice d = deviation(x);
      const D r = rest(d, dy) - off - d.high * more;
      sums.add(r);
      along.add(r * d.high);
    });
    const D left = sums.total() * share_of_all;
    off = off + left;
    more = more + (along.total() - left * drift) / square;
  }
  values.write([&](D x, D dy) __attribute__((always_inline)) {
    const Twice d = deviation(x);
    const D r = rest(d, dy) - off - d.high * more;
    return (r + (d.high + d.low) * (b + more) * share) * scale;
  });
}

// The two values of a channel deviate by as much from their mean: r is nothing. Of their dy, dx / scale
// of the first, which is minus that of the second; NaN where either isn't finite.
BN_INLINE D first_of_pair(D first, D second, D share) {
  const D apart = first - second;
  return apart * set(0.5) * share + (apart - apart);
}

template <class T>
void recover_pairs(const View& v, const Tensors& t, const Statistics& s, const double* gamma,
                   double epsilon, const double* marked, std::int64_t c, int n) {
  Gathered<T> values(v, t, c, n, marked);
  const D inv_std = take(s.inv_std, c, n), share = set(epsilon) * inv_std * inv_std;
  const D scale = gamma ? inv_std * take(gamma, c, n) : inv_std, none = set(0.0);
  D last = none;
  values.each([&](D, D dy) __attribute__((always_inline)) { last = dy; });
  D next = first_of_pair(values.first(), last, share) * scale;
  values.write([&](D, D) __attribute__((always_inline)) {
    const D dx = next;
    next = none - next;
    return dx;
  });
}

// Writes dx of the channels in [c, end) that are marked.
template <class T>
void recover(const View& v, const Tensors& t, const Statistics& s, const double* gamma,
             double epsilon, const double* marked, std::int64_t c, std::int64_t end) {
  each_sixteen(c, end, [&](std::int64_t i, int n) {
    bool any = false;
    for (int j = 0; j < n; j++) any = any || marked[i + j] != 0;
    if (!any) return;
    if (v.outer * v.inner == 2) {
      recover_pairs<T>(v, t, s, gamma, epsilon, marked, i, n);
    } else {
      recover_sixteen<T>(v, t, s, gamma, epsilon, marked, i, n);
    }
  });
}

}  // namespace
}  // namespace kernel
