// dx in double is scale * (dy - constant + (x - mean) * slope), which is exactly 0 where dy is
// constant. In float, for the channels where that is enough, it is dy * scale_f + ((x - mean) * slope_f
// + shift_f). What x - mean lacks of the mean's digits is in the constant and the shift; only 64-bit
// elements subtract it.
#pragma once

#include "elementwise.h"
#include "gradient_sums.h"

namespace kernel {
namespace {

// One run's step, computed in V, with the coefficients in `k`: mean, scale, constant or shift, slope,
// and residual. PLAIN ones read x and dy, and write dx.
template <class T, class V, Way WAY>
struct InputGradient {
  static constexpr bool PLAIN = WAY != Way::ANY;
  using Element = VectorOf<T>;
  const T *x, *dy, *y;
  T *out, *kept;
  bool around, cached;

  BN_INLINE InputGradient(const Tensors& t, const Place& at)
      : x(t.x ? (const T*)t.x + at.read : nullptr),
        dy((const T*)t.dy + at.read),
        y(t.y ? (const T*)t.y + at.start : nullptr),
        out((T*)t.out + at.start),
        kept(t.out_addend ? (T*)t.out_addend + at.start : nullptr),
        around(t.stream),
        cached(t.cached) {}
  // Of running statistics dx does not depend on x, not even on what is not finite.
  BN_INLINE Element dx(V own, V g, const V* k) const {
    Element narrowed;
    constexpr bool IN_FLOAT = sizeof(typename V::Scalar) == 4;
    V value = IN_FLOAT ? k[2] : g - k[2];
    if (PLAIN || x) {
      V d = own - k[0];
      if constexpr (sizeof(T) == 8) d = d - k[4];
      value = fma(d, k[3], value);
    }
    if constexpr (IN_FLOAT) {
      value = fma(g, k[1], value);
    } else {
      value = value * k[1];
    }
    narrow(value, narrowed);
    if constexpr (sizeof(T) == 2 && !IN_FLOAT) narrowed = usual(narrowed);
    return narrowed;
  }
  BN_INLINE bool around_caches() const { return PLAIN ? WAY == Way::AROUND : around; }
  BN_INLINE std::int64_t lead() const { return before_lines(out, around_caches()); }
  BN_INLINE void ask(std::int64_t i) const {
    if (cached) return;
    if (PLAIN || x) fetch(x, i + AHEAD);
    fetch(dy, i + AHEAD);
  }
  BN_INLINE Element dx(std::int64_t i, const V* k) const {
    V g;
    if (!PLAIN && (y || kept)) {
      const Element passed = gradient<T>(dy, y, i);
      if (kept) store(kept + i, passed);
      g = as<V>(passed);
    } else {
      g = as<V>(dy + i);
    }
    return dx(PLAIN || x ? as<V>(x + i) : V{}, g, k);
  }
  BN_INLINE void whole(std::int64_t i, const V* k, bool in_line) const {
    write(out + i, dx(i, k), around_caches() && in_line);
  }
  BN_INLINE void line(std::int64_t i, const V* k) const {
    stream_line(out + i, [&](int step) __attribute__((always_inline)) { return dx(i + step, k); });
  }
  BN_INLINE void part(std::int64_t i, int n, const V* k) const {
    const Element passed = gradient_part<T>(dy, y, i, n);
    if (kept) store_part(kept + i, n, passed);
    const V own = x ? as<V>(load_part<T>(x + i, n, 0)) : V{};
    store_part(out + i, n, dx(own, as<V>(passed), k));
  }
};

template <class T, class V, Way WAY, int count>
BN_INLINE void input_gradient_as(const View& v, const Tensors& t, const Part& part,
                                 const typename V::Scalar* const (&of)[count]) {
  using S = typename V::Scalar;
  each_run<count, S>(
      v, part, of, false,
      [&](const Place& place, std::int64_t length, const S* const* at, std::int64_t period) {
        along_each<T, count, V>(InputGradient<T, V, WAY>(t, place), length, at, period);
      },
      [&](const Place& place, std::int64_t length, std::int64_t c, std::int64_t end) {
        along_rows<T, count, V>(InputGradient<T, V, WAY>(t, place), length, c, end, of);
      });
}

template <class T, class V, int count>
BN_INLINE void input_gradient_in(const View& v, const Tensors& t, const Part& part,
                                 const typename V::Scalar* const (&of)[count]) {
  const bool plain = t.x && !t.y && !t.out_addend;
  if constexpr (std::is_same_v<V, VectorOf<T>>) {
    if (plain && t.stream) return input_gradient_as<T, V, Way::AROUND>(v, t, part, of);
    if (plain) return input_gradient_as<T, V, Way::PLAIN>(v, t, part, of);
  }
  input_gradient_as<T, V, Way::ANY>(v, t, part, of);
}

template <class T>
void input_gradient(const View& v, const Tensors& tensors, const Part& part,
                    const GradientCoefficients& k) {
  Tensors t = as_read(tensors, part);
  if (!k.of_x) t.x = nullptr;
  if constexpr (sizeof(T) == 8) {
    const double* const of[] = {k.mean, k.scale, k.constant, k.slope, k.residual};
    t.stream = t.stream && fill_lines<T, double>(v, part);
    input_gradient_in<T, D>(v, t, part, of);
  } else {
    const double* const of[] = {k.mean, k.scale, k.constant, k.slope};
    const float* const of_f[] = {k.mean_f, k.scale_f, k.shift_f, k.slope_f};
    each_stretch(part, k.in_float, [&](const Part& stretch, bool in_float) {
      const bool lines =
          in_float ? fill_lines<T, float>(v, stretch) : fill_lines<T, double>(v, stretch);
      t.stream = tensors.stream && lines;
      if (in_float) {
        input_gradient_in<T, F>(v, t, stretch, of_f);
      } else {
        input_gradient_in<T, D>(v, t, stretch, of);
      }
    });
  }
  if (tensors.stream) stream_end();
}

template <class T, Way WAY>
void sums_and_input_gradient_as(const View& v, const Tensors& tensors, const Part& summed,
                                const GradientCoefficients& k, const GradientSums& out,
                                const Part& written) {
  Tensors t = as_read(tensors, written);
  if (!k.of_x) t.x = nullptr;
  auto sum = gradient_lanes<T, SummedIn<T>, WAY == Way::AROUND>(tensors, summed, k, out);
  if constexpr (sizeof(T) == 8) {
    const double* const of[] = {k.mean, k.scale, k.constant, k.slope, k.residual};
    sum_rows(v, summed, sum, RowsBeside<T, D, 5, InputGradient<T, D, WAY>>(v, t, written, of));
  } else {
    const float* const of[] = {k.mean_f, k.scale_f, k.shift_f, k.slope_f};
    sum_rows(v, summed, sum, RowsBeside<T, F, 4, InputGradient<T, F, WAY>>(v, t, written, of));
  }
  stream_end();
}

// `gradient_sums` of one part while `input_gradient` writes another one of its shape around the caches,
// all of it in float where elements are narrower than 64 bits; both have packed copies.
template <class T>
void sums_and_input_gradient(const View& v, const Tensors& tensors, const Part& summed,
                             const GradientCoefficients& k, const GradientSums& out,
                             const Part& written) {
  if (!k.of_x || tensors.relu || tensors.out_addend) {
    sums_and_input_gradient_as<T, Way::ANY>(v, tensors, summed, k, out, written);
  } else {
    sums_and_input_gradient_as<T, Way::AROUND>(v, tensors, summed, k, out, written);
  }
}

}  // namespace
}  // namespace kernel
