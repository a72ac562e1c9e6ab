// The tasks as functions that XLA's programs on the CPU call: their buffers taken apart and checked.
// They run on XLA's threads, without Python. See hosts/jax/kernel.py, which names them in programs.
//
// Values per channel are float32 or float64; those that are not there have length 0. `statistics`
// are doubles that only these functions read, as pairs of uint32, since a program may have no
// doubles: rows of mean, residual, inv_std, and a last one that begins with 1. Where it doesn't,
// something else than `forward` made them, and `backward` takes the statistics of x again.
#include "xla_ffi.h"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "tasks.h"
#include "threads.h"

namespace kernel::xla {
namespace {

using Index = std::int64_t;

struct Wrong : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

void require(bool fulfilled, const char* what) {
  if (!fulfilled) throw Wrong(what);
}

const Buffer& buffer(const Buffers& all, Index i) {
  require(i < all.count && all.kinds[i] == BUFFER, "too few arguments or results, or no buffers");
  const auto& found = *static_cast<const Buffer*>(all.items[i]);
  require(found.size >= sizeof(Buffer), "buffers of an unknown version");
  return found;
}

Index length(const Buffer& b) {
  Index product = 1;
  for (Index d = 0; d < b.rank; d++) product *= b.lengths[d];
  return product;
}

const void* attribute(const Attributes& all, const char* name, int kind) {
  for (Index i = 0; i < all.count; i++) {
    const Text& found = *all.names[i];
    if (found.length == std::strlen(name) && std::memcmp(found.start, name, found.length) == 0) {
      require(all.kinds[i] == kind, "an attribute of another kind");
      return all.items[i];
    }
  }
  throw Wrong(std::string("no attribute ") + name);
}

Index integer(const Attributes& all, const char* name) {
  const auto& scalar = *static_cast<const Scalar*>(attribute(all, name, SCALAR));
  require(scalar.type == int64, "an attribute that is not int64");
  return *static_cast<const Index*>(scalar.value);
}

double number(const Attributes& all, const char* name) {
  const auto& scalar = *static_cast<const Scalar*>(attribute(all, name, SCALAR));
  require(scalar.type == float64, "an attribute that is not float64");
  return *static_cast<const double*>(scalar.value);
}

// The tensors of a call, checked against x, its first argument.
class Arguments {
 public:
  explicit Arguments(const Call& call) : call_(call), x_(buffer(call.arguments, 0)) {
    const Text& name = *static_cast<const Text*>(attribute(call.attributes, "level", TEXT));
    const std::string level(name.start, name.length);
    job.level = find_level(level.c_str());
    if (!job.level) throw Wrong("this processor has no level " + level);
    switch (x_.type) {
      case float32: job.element = Element::float32; break;
      case float64: job.element = Element::float64; break;
      case float16: job.element = Element::float16; break;
      case bfloat16: job.element = Element::bfloat16; break;
      default: throw Wrong("x of an unknown type");
    }
    const Index begin = integer(call.attributes, "begin"), end = integer(call.attributes, "end");
    require(0 <= begin && begin <= end && end <= x_.rank, "channel axes that x doesn't have");
    View& v = job.view;
    v = {1, 1, 1, 0, 0, 0};
    for (Index d = 0; d < x_.rank; d++) {
      (d < begin ? v.outer : d < end ? v.channels : v.inner) *= x_.lengths[d];
    }
    require(v.outer * v.channels * v.inner > 0, "an empty x");
    job.tensors.x = x_.data;
  }
  Index channels() const { return job.view.channels; }
  double count() const {
    return static_cast<double>(job.view.outer) * static_cast<double>(job.view.inner);
  }
  void* like_x(const Buffers& all, Index i) const {
    const Buffer& b = buffer(all, i);
    require(b.type == x_.type && length(b) == length(x_), "a tensor unlike x");
    return b.data;
  }

  // A vector per channel as doubles, null where there is none.
  const double* vector(Index i) {
    const Buffer& b = buffer(call_.arguments, i);
    if (length(b) == 0) return nullptr;
    require(length(b) == channels(), "values for another number of channels");
    if (b.type == float64) return static_cast<const double*>(b.data);
    require(b.type == float32, "values per channel of an unknown type");
    double* made = rows(1);
    const auto* from = static_cast<const float*>(b.data);
    for (Index c = 0; c < channels(); c++) made[c] = from[c];
    return made;
  }

  // Writes a vector per channel where the call wants it: value(c).
  template <class Value>
  void write(Index i, Value value) const {
    const Buffer& b = buffer(call_.results, i);
    if (length(b) == 0) return;
    require(length(b) == channels(), "results for another number of channels");
    require(b.type == float64 || b.type == float32, "results per channel of an unknown type");
    for (Index c = 0; c < channels(); c++) {
      if (b.type == float64) static_cast<double*>(b.data)[c] = value(c);
      else static_cast<float*>(b.data)[c] = static_cast<float>(value(c));
    }
  }

  double* statistics(const Buffers& all, Index i) const {
    const Buffer& b = buffer(all, i);
    require(b.type == uint32 && length(b) == 8 * channels(), "statistics of another size");
    return static_cast<double*>(b.data);
  }

  double* rows(int number) {
    require(used_ < MOST, "too many values per channel");
    memory_[used_].reset(new double[static_cast<std::size_t>(number * channels())]);
    return memory_[used_++].get();
  }

  Job job{};

 private:
  static constexpr int MOST = 8;
  const Call& call_;
  const Buffer& x_;
  std::unique_ptr<double[]> memory_[MOST];
  int used_ = 0;
};

Statistics split(double* rows, Index channels) {
  return {rows, rows + channels, rows + 2 * channels, rows + 3 * channels};
}

// x, gamma, beta, running_mean, running_var, batches -> y, running_mean, running_var, statistics
void forward(const Call& call) {
  Arguments t(call);
  const Affine affine = {t.vector(1), t.vector(2)};
  const double *old_mean = t.vector(3), *old_var = t.vector(4);
  t.job.tensors.out = t.like_x(call.results, 0);
  const Statistics s = split(t.statistics(call.results, 3), t.channels());
  kernel::forward(t.job, number(call.attributes, "epsilon"), affine, s);
  if (old_mean && old_var) {
    double factor = number(call.attributes, "factor");
    const Buffer& batches = buffer(call.arguments, 5);
    if (length(batches) == 1) {  // a cumulative average
      require(batches.type == float64 || batches.type == float32, "batches of an unknown type");
      factor = 1.0 / (batches.type == float64 ? *static_cast<const double*>(batches.data)
                                              : *static_cast<const float*>(batches.data));
    }
    double left = t.count() - number(call.attributes, "correction");
    if (integer(call.attributes, "guarded") && left <= 0) left = t.count();
    const double keep = 1.0 - factor;
    t.write(1, [&](Index c) { return keep * old_mean[c] + factor * s.mean[c]; });
    t.write(2, [&](Index c) { return keep * old_var[c] + factor * (s.m2[c] / left); });
  }
  s.m2[0] = 1;
}

// x, dy, gamma, statistics -> dx, dgamma, dbeta, of which dx may have length 0
void backward(const Call& call) {
  Arguments t(call);
  t.job.tensors.dy = t.like_x(call.arguments, 1);
  const double* gamma = t.vector(2);
  Statistics s = split(t.statistics(call.arguments, 3), t.channels());
  if (s.m2[0] != 1) {
    s = split(t.rows(4), t.channels());
    kernel::reduce(t.job, s);
    deviations(t.job, s.m2, t.count(), number(call.attributes, "epsilon"), s.inv_std);
  }
  double* rows = t.rows(3);
  const GradientSums sums = {rows, rows + t.channels(), rows + 2 * t.channels(), nullptr};
  if (length(buffer(call.results, 0)) == 0) {
    kernel::reduce_gradient(t.job, s, sums);
  } else {
    t.job.tensors.out = t.like_x(call.results, 0);
    kernel::backward(t.job, s, gamma, true, number(call.attributes, "epsilon"), sums);
  }
  t.write(1, [&](Index c) { return sums.dy_x[c]; });
  t.write(2, [&](Index c) { return sums.dy[c]; });
}

// Older XLA takes its own version alone; the oldest asks without its functions.
Error* answer(const Call& call, MetadataExtension& question) {
  int minor = OLDEST_MINOR;
  if (call.api) {
    const Version& theirs = call.api->version;
    minor = theirs.major == MAJOR && theirs.minor < MINOR ? theirs.minor : MINOR;
  }
  question.metadata->version = {sizeof(Version), nullptr, MAJOR, minor};
  question.metadata->traits = 0;
  return nullptr;
}

Error* failed(const Call& call, int code, const char* message) {
  const std::string text = std::string("batchnorm's kernel in XLA: ") + message;
  ErrorArguments arguments = {sizeof(ErrorArguments), nullptr, text.c_str(), code};
  return call.api->create_error(&arguments);
}

template <void (*task)(const Call&)>
Error* handle(Call* call) {
  if (call->extensions && call->extensions->type == METADATA) {
    return answer(*call, *reinterpret_cast<MetadataExtension*>(call->extensions));
  }
  try {
    require(call->size >= sizeof(Call), "a call of an unknown version");
    FloatEnvironment environment;
    task(*call);
    return nullptr;
  } catch (const Wrong& error) {
    return failed(*call, INVALID_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return failed(*call, RESOURCE_EXHAUSTED, "no memory for values per channel");
  } catch (const std::exception& error) {
    return failed(*call, INTERNAL, error.what());
  }
}

}  // namespace

Handler find_handler(const char* name) {
  if (std::strcmp(name, "forward") == 0) return handle<forward>;
  if (std::strcmp(name, "backward") == 0) return handle<backward>;
  return nullptr;
}

}  // namespace kernel::xla
