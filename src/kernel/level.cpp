// The table of loops of one instruction set. Compiled once per level, with BN_LEVEL 2, 3 or 4 and
// the matching -march; includes nothing that holds code of its own.
#include "level.h"

#include "input_gradient.h"
#include "move.h"

namespace kernel {
namespace {

template <class T, bool ADD, bool LAST>
void normalize_to(const View& v, const Tensors& t, const Part& part, const Coefficients& k) {
  if constexpr (LAST) {
    t.stream ? normalize_last<T, ADD, true>(v, t, part, k)
             : normalize_last<T, ADD, false>(v, t, part, k);
  } else {
    t.stream ? normalize_first<T, ADD, true>(v, t, part, k)
             : normalize_first<T, ADD, false>(v, t, part, k);
  }
}

template <class T, bool LAST>
void normalize(const View& v, const Tensors& t, const Part& part, const Coefficients& k) {
  t.addend ? normalize_to<T, true, LAST>(v, t, part, k)
           : normalize_to<T, false, LAST>(v, t, part, k);
}

template <class T, bool LAST>
void gradient_sums(const View& v, const Tensors& t, const Part& part,
                   const GradientCoefficients& k, const GradientSums& out) {
  if constexpr (LAST) {
    t.relu ? gradient_sums_last<T, true>(v, t, part, k, out)
           : gradient_sums_last<T, false>(v, t, part, k, out);
  } else {
    t.relu ? gradient_sums_first<T, true>(v, t, part, k, out)
           : gradient_sums_first<T, false>(v, t, part, k, out);
  }
}

template <class T, bool MASK, bool LAST>
void input_gradient_to(const View& v, const Tensors& t, const Part& part,
                       const GradientCoefficients& k) {
  if constexpr (LAST) {
    t.stream ? input_gradient_last<T, MASK, true>(v, t, part, k)
             : input_gradient_last<T, MASK, false>(v, t, part, k);
  } else {
    t.stream ? input_gradient_first<T, MASK, true>(v, t, part, k)
             : input_gradient_first<T, MASK, false>(v, t, part, k);
  }
}

template <class T, bool LAST>
void input_gradient(const View& v, const Tensors& t, const Part& part,
                    const GradientCoefficients& k) {
  t.relu ? input_gradient_to<T, true, LAST>(v, t, part, k)
         : input_gradient_to<T, false, LAST>(v, t, part, k);
}

template <class T>
constexpr Loops first() {
  return {moments_first<T>, join<T>, normalize<T, false>, gradient_sums<T, false>,
          input_gradient<T, false>};
}
template <class T>
constexpr Loops last() {
  return {moments_last<T>, join<T>, normalize<T, true>, gradient_sums<T, true>,
          input_gradient<T, true>};
}

}  // namespace

#define BN_LEVEL_TABLE(variable, name)                             \
  extern const Level variable;                                     \
  constexpr Level variable = {name,                                \
                              {{first<float>(), last<float>()},    \
                               {first<double>(), last<double>()},  \
                               {first<Half>(), last<Half>()},      \
                               {first<Bfloat>(), last<Bfloat>()}}, \
                              move};

#if !defined(__x86_64__)
BN_LEVEL_TABLE(level_plain, "plain")
#elif BN_LEVEL == 4
BN_LEVEL_TABLE(level_v4, "v4")
#elif BN_LEVEL == 3
BN_LEVEL_TABLE(level_v3, "v3")
#else
BN_LEVEL_TABLE(level_v2, "v2")
#endif

}  // namespace kernel
