// Prints a hash of every result of the kernel's tasks, for drawn data of many shapes, types and
// layouts: two builds whose lines agree have the same bits. Without Python, so that it runs under an
// emulator. `bits LEVEL [THREADS]`; see test_kernel_elsewhere.py.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "tasks.h"
#include "threads.h"

using namespace kernel;

namespace {

std::uint64_t state = 1;
std::uint64_t draw() {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
double drawn() { return static_cast<double>(draw() >> 11) * 0x1p-53 * 4 - 2; }

std::uint64_t hash(const void* memory, std::size_t bytes, std::uint64_t h = 1469598103934665603u) {
  const auto* p = static_cast<const unsigned char*>(memory);
  for (std::size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 1099511628211u;
  return h;
}
// A NaN's sign and digits are nobody's promise.
std::uint64_t hash_of(std::vector<double> values) {
  for (double& v : values) {
    if (v != v) v = std::numeric_limits<double>::quiet_NaN();
  }
  return hash(values.data(), values.size() * 8);
}

int bytes_each(Element e) { return e == Element::float64 ? 8 : e == Element::float32 ? 4 : 2; }

void put(std::vector<unsigned char>& to, Element e, std::int64_t i, double value) {
  if (e == Element::float64) {
    std::memcpy(&to[i * 8], &value, 8);
    return;
  }
  const float narrow = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &narrow, 4);
  if (e == Element::float32) {
    std::memcpy(&to[i * 4], &bits, 4);
    return;
  }
  // Truncated: a value of the type, whichever.
  const std::uint16_t sign = bits >> 16 & 0x8000;
  const int exponent = static_cast<int>(bits >> 23 & 0xff) - 127;
  std::uint16_t half = static_cast<std::uint16_t>(bits >> 16);
  if (e == Element::float16) {
    half = exponent > 15    ? sign | 0x7bff
           : exponent < -14 ? sign
                            : sign | (exponent + 15) << 10 | (bits >> 13 & 0x3ff);
  }
  std::memcpy(&to[i * 2], &half, 2);
}

struct Channels {
  explicit Channels(std::int64_t c) : mean(c), residual(c), inv_std(c), m2(c), gamma(c), beta(c), dy(c), dy_x(c), dy_dy(c), largest(c) {
    for (auto& g : gamma) g = drawn();
    for (auto& b : beta) b = drawn();
  }
  Statistics statistics() { return {mean.data(), residual.data(), inv_std.data(), m2.data()}; }
  std::vector<double> mean, residual, inv_std, m2, gamma, beta, dy, dy_x, dy_dy, largest;
};

void compute(const Level* level, Element e, std::int64_t outer, std::int64_t channels, std::int64_t inner, int kind) {
  const std::int64_t size = outer * channels * inner;
  std::vector<unsigned char> x(size * bytes_each(e)), dy(x.size()), y(x.size()), dx(x.size());
  for (std::int64_t i = 0; i < size; i++) {
    double value = drawn();
    if (kind == 1) value = 1000 + value / 64;                        // a large mean
    if (kind == 2) value *= i % 7 ? 1e-3 : 1e3;                      // a few large ones
    if (kind == 3) value *= e == Element::float64 ? 1e-310 : 1e-42;  // subnormal
    if (kind == 4 && i % 97 == 0) value = std::numeric_limits<double>::infinity();
    put(x, e, i, value);
    put(dy, e, i, kind == 5 ? 0.25 : drawn());
  }
  Channels c(channels);
  Job job{level, e, {outer, channels, inner, 0, 0, 0}, {}};
  job.tensors.x = x.data();
  job.tensors.out = y.data();
  forward(job, kind == 3 ? 1e-300 : 1e-5, {c.gamma.data(), c.beta.data()}, c.statistics());
  const auto forward_hash = kind == 4 ? 0 : hash(y.data(), y.size());
  job.tensors.dy = dy.data();
  job.tensors.out = dx.data();
  backward(job, c.statistics(), c.gamma.data(), true, 1e-5, {c.dy.data(), c.dy_x.data(), c.dy_dy.data(), c.largest.data()});
  std::printf("%d %lldx%lldx%lld %d: %016llx %016llx %016llx %016llx %016llx %016llx\n", static_cast<int>(e),
              (long long)outer, (long long)channels, (long long)inner, kind, (unsigned long long)hash_of(c.mean),
              (unsigned long long)hash_of(c.m2), (unsigned long long)forward_hash,
              (unsigned long long)(kind == 4 ? 0 : hash(dx.data(), dx.size())), (unsigned long long)hash_of(c.dy),
              (unsigned long long)hash_of(c.dy_x));
}

// Flush-to-zero in the caller's thread must neither count nor be taken from it.
bool keeps_subnormals(const Level* level) {
#if defined(__aarch64__)
  std::uint64_t before;
  asm volatile("mrs %0, fpcr" : "=r"(before));
  asm volatile("msr fpcr, %0" : : "r"(before | 1u << 24));
#endif
  float x[32], y[32];
  const std::uint32_t least[2] = {0x00000400, 0x80000400};
  for (int i = 0; i < 32; i++) std::memcpy(&x[i], &least[i % 2], 4);
  double mean = 0, residual = 0, inv_std = 0, m2 = 0;
  Job job{level, Element::float32, {1, 1, 32, 0, 0, 0}, {}};
  job.tensors.x = x;
  job.tensors.out = y;
  forward(job, 1e-300, {nullptr, nullptr}, {&mean, &residual, &inv_std, &m2});
  bool kept = true;
#if defined(__aarch64__)
  std::uint64_t after;
  asm volatile("mrs %0, fpcr" : "=r"(after));
  asm volatile("msr fpcr, %0" : : "r"(before));
  kept = after == (before | 1u << 24);
#endif
  return kept && m2 > 0;
}

}  // namespace

int main(int count, char** arguments) {
  const Level* level = find_level(count > 1 ? arguments[1] : "");
  if (!level) return std::fprintf(stderr, "no such level here\n"), 77;
  if (count > 2) set_num_threads(std::atoi(arguments[2]));
  const std::int64_t shapes[][3] = {{1, 1, 5},   {3, 2, 4},    {2, 3, 17},  {4, 5, 49},    {8, 16, 64}, {2, 70, 9},
                                    {1, 33, 130}, {300, 7, 1},  {65, 64, 1}, {33, 100, 1},  {5, 1, 9001}, {2, 3, 8300},
                                    {17, 4, 3},   {2, 130, 16}, {7, 9, 1},   {2, 40, 1},  {1, 21, 2},  {16, 19, 1},
                                    {3, 41, 9},   {1, 70, 10},  {41, 67, 1},
                                    {1, 2, 300000}};
  for (Element e : {Element::float32, Element::float64, Element::float16, Element::bfloat16}) {
    for (const auto& s : shapes) {
      for (int kind = 0; kind < 6; kind++) {
        if (s[2] > 100000 && kind > 1) continue;
        if (kind == 3 && bytes_each(e) == 2) continue;
        state = 88172645463325252u + kind;
        compute(level, e, s[0], s[1], s[2], kind);
      }
    }
  }
  std::printf("subnormals %s\n", keeps_subnormals(level) ? "kept" : "lost");
}
