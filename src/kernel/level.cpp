// The table of loops of one instruction set. Compiled once per level, with BN_LEVEL 2, 3 or 4 and
// the matching -march; includes nothing that holds code of its own.
#include "level.h"

#include "few_values.h"
#include "input_gradient.h"
#include "moments.h"
#include "move.h"
#include "normalize.h"

namespace kernel {
namespace {

template <class T>
constexpr Loops loops() {
  return {moments<T>, join<T>, normalize<T>, gradient_sums<T, D>, gradient_sums<T, SummedIn<T>>,
          input_gradient<T>, moments_and_normalize<T>, sums_and_input_gradient<T>, conclude<T>,
          prepare<T>, finish_sums<T>, prepare_gradient<T>, mark_cancelled<T>,
          recover<T>, few_values<T>};
}

}  // namespace

#define BN_LEVEL_TABLE(variable, name) \
  extern const Level variable;         \
  constexpr Level variable = {                                                  \
      name, {loops<float>(), loops<double>(), loops<Half>(), loops<Bfloat>()}, move, deviations};

#if defined(__aarch64__)
BN_LEVEL_TABLE(level_neon, "neon")
#elif !defined(__x86_64__)
BN_LEVEL_TABLE(level_plain, "plain")
#elif BN_LEVEL == 4
BN_LEVEL_TABLE(level_v4, "v4")
#elif BN_LEVEL == 3
BN_LEVEL_TABLE(level_v3, "v3")
#else
BN_LEVEL_TABLE(level_v2, "v2")
#endif

}  // namespace kernel
