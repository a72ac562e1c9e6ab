// The only file that knows Python: takes NumPy arrays apart, calls a task, makes the result arrays.
//
// A method returns None where it does not take the case (another dtype, memory that is not dense,
// an output that overlaps an input); the caller in core/compiled.py then makes a copy or goes on to
// the reference. NumPy's C structures are read directly: a call costs about a microsecond.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "buffers.h"
#include "copies.h"
#include "tasks.h"
#include "threads.h"
#include "xla_ffi.h"

namespace nb = nanobind;
using namespace kernel;

namespace {

constexpr std::int64_t RELEASE = 16384;  // values above which the GIL is released

int bfloat16_number = -1;

PyArrayObject* array_of(nb::handle h) {
  return PyArray_Check(h.ptr()) ? reinterpret_cast<PyArrayObject*>(h.ptr()) : nullptr;
}

bool plain(PyArrayObject* a) { return PyArray_ISALIGNED(a) && PyArray_ISNOTSWAPPED(a); }

bool element_of(PyArrayObject* a, Element& element) {
  const int number = PyArray_TYPE(a);
  if (number == NPY_FLOAT) element = Element::float32;
  else if (number == NPY_DOUBLE) element = Element::float64;
  else if (number == NPY_HALF) element = Element::float16;
  else if (number == bfloat16_number) element = Element::bfloat16;
  else return false;
  return plain(a);
}

// The tensor as (outer, channels, inner) in the order of its memory; false where it isn't dense.
bool view_of(PyArrayObject* a, nb::handle axes, View& view) {
  const int rank = PyArray_NDIM(a);
  int order[NPY_MAXDIMS], place[NPY_MAXDIMS], used = 0;
  std::fill_n(place, rank, -1);
  if (!PyTuple_Check(axes.ptr())) return false;
  const auto channel_axes = PyTuple_GET_SIZE(axes.ptr());
  for (Py_ssize_t j = 0; j < channel_axes; j++) {
    const long axis = PyLong_AsLong(PyTuple_GET_ITEM(axes.ptr(), j));
    if (axis < 0 || axis >= rank) return PyErr_Clear(), false;
    place[axis] = static_cast<int>(j);
  }
  for (int d = 0; d < rank; d++) {
    if (PyArray_DIM(a, d) == 0) return false;
    if (PyArray_DIM(a, d) == 1) continue;
    int at = used++;
    for (; at > 0 && PyArray_STRIDE(a, order[at - 1]) < PyArray_STRIDE(a, d); at--) {
      order[at] = order[at - 1];
    }
    order[at] = d;
  }
  npy_intp expected = PyArray_ITEMSIZE(a);
  for (int j = used - 1; j >= 0; j--) {
    if (PyArray_STRIDE(a, order[j]) != expected) return false;
    expected *= PyArray_DIM(a, order[j]);
  }
  view = {1, 1, 1, 0, 0, 0};
  int previous = -1;
  bool after = false;
  for (int j = 0; j < used; j++) {
    const int own = place[order[j]];
    const npy_intp length = PyArray_DIM(a, order[j]);
    if (own < 0) {
      after = after || previous >= 0;
      (after ? view.inner : view.outer) *= length;
    } else {
      if (after || own < previous) return false;
      previous = own;
      view.channels *= length;
    }
  }
  return true;
}

bool same_layout(PyArrayObject* a, PyArrayObject* b) {
  if (PyArray_NDIM(a) != PyArray_NDIM(b) || PyArray_TYPE(a) != PyArray_TYPE(b) || !plain(b)) return false;
  for (int d = 0; d < PyArray_NDIM(a); d++) {
    if (PyArray_DIM(a, d) != PyArray_DIM(b, d)) return false;
    if (PyArray_DIM(a, d) > 1 && PyArray_STRIDE(a, d) != PyArray_STRIDE(b, d)) return false;
  }
  return true;
}

// Whether writing b disturbs reading a: they share memory without being the very same elements.
bool disturbs(PyArrayObject* a, PyArrayObject* b, bool same_allowed) {
  const char *p = PyArray_BYTES(a), *q = PyArray_BYTES(b);
  if (p == q) return !same_allowed;
  return p < q + PyArray_NBYTES(b) && q < p + PyArray_NBYTES(a);
}

nb::object steal(PyObject* object) {
  if (!object) throw nb::python_error();
  return nb::steal(object);
}

// An array of a's shape and type, laid out as the dense b of that shape.
nb::object new_as(PyArrayObject* a, PyArrayObject* b) {
  const auto bytes = static_cast<std::size_t>(PyArray_NBYTES(a));
  PyArray_Descr* descr = PyArray_DESCR(a);
  Py_INCREF(descr);
  if (bytes < SMALLEST_KEPT) {
    return steal(PyArray_NewLikeArray(b, NPY_KEEPORDER, descr, 0));
  }
  void* memory = take_buffer(bytes);
  if (!memory) {
    Py_DECREF(descr);
    PyErr_NoMemory();
    throw nb::python_error();
  }
  nb::capsule owner(memory, [](void* p) noexcept { give_buffer(p); });
  nb::object result = steal(PyArray_NewFromDescr(&PyArray_Type, descr, PyArray_NDIM(a), PyArray_DIMS(a),
                                                 PyArray_STRIDES(b), memory, NPY_ARRAY_WRITEABLE, nullptr));
  auto* array = reinterpret_cast<PyArrayObject*>(result.ptr());
  if (PyArray_SetBaseObject(array, owner.release().ptr()) < 0) throw nb::python_error();
  PyArray_UpdateFlags(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_F_CONTIGUOUS | NPY_ARRAY_ALIGNED);
  return result;
}

nb::object new_like(PyArrayObject* a) { return new_as(a, a); }

bool dense(PyArrayObject* a) {
  View view;
  return view_of(a, nb::make_tuple(), view);
}

// x laid out as `like`, or, where that is None, dense in the order of its own axes: x itself where it
// is so, else a copy. None where the loops don't take x, or `like` isn't dense or of x's shape.
nb::object arranged(nb::handle x, nb::handle like) {
  PyArrayObject *a = array_of(x), *b = array_of(like);
  Element element;
  if (!a || !element_of(a, element) || PyArray_SIZE(a) == 0 || (!b && !like.is_none())) return nb::none();
  nb::object own;
  if (!b && dense(a)) return nb::borrow(x);
  if (!b) {
    own = steal(PyArray_NewLikeArray(a, NPY_KEEPORDER, nullptr, 0));  // for its strides alone
    b = reinterpret_cast<PyArrayObject*>(own.ptr());
  }
  const int rank = PyArray_NDIM(a);
  if (PyArray_NDIM(b) != rank || !std::equal(PyArray_DIMS(a), PyArray_DIMS(a) + rank, PyArray_DIMS(b)) ||
      PyArray_ITEMSIZE(a) != PyArray_ITEMSIZE(b) || !dense(b)) {
    return nb::none();
  }
  if (same_layout(b, a)) return nb::borrow(x);
  nb::object result = new_as(a, b);
  auto* to = reinterpret_cast<PyArrayObject*>(result.ptr());
  CopiedAxis axes[NPY_MAXDIMS];
  for (int d = 0; d < rank; d++) axes[d] = {PyArray_DIM(a, d), PyArray_STRIDE(a, d), PyArray_STRIDE(to, d)};
  const auto copy = [&] {
    copy_tensor(PyArray_DATA(a), PyArray_DATA(to), static_cast<int>(PyArray_ITEMSIZE(a)), axes, rank);
  };
  if (PyArray_SIZE(a) < RELEASE) {
    copy();
  } else {
    nb::gil_scoped_release release;
    copy();
  }
  return result;
}

// A vector per channel as doubles; false where it is something else. `out` stays null for None.
class Vectors {
 public:
  Vectors(std::int64_t channels, int most) : channels_(channels) {
    if (channels * most > 256) heap_.reset(new double[static_cast<std::size_t>(channels * most)]);
    next_ = heap_ ? heap_.get() : stack_;
  }
  bool take(nb::handle h, const double*& out) {
    out = nullptr;
    if (h.is_none()) return true;
    PyArrayObject* a = array_of(h);
    if (!a || PyArray_NDIM(a) != 1 || PyArray_DIM(a, 0) != channels_ || !plain(a)) return false;
    const char* p = PyArray_BYTES(a);
    const npy_intp stride = PyArray_STRIDE(a, 0);
    if (PyArray_TYPE(a) == NPY_FLOAT && stride == 4) {
      return out = widened(p, false), true;
    } else if (PyArray_TYPE(a) == NPY_FLOAT) {
      for (std::int64_t c = 0; c < channels_; c++) next_[c] = *reinterpret_cast<const float*>(p + c * stride);
    } else if (PyArray_TYPE(a) == NPY_DOUBLE) {
      if (stride == 8) return out = reinterpret_cast<const double*>(p), true;
      for (std::int64_t c = 0; c < channels_; c++) next_[c] = *reinterpret_cast<const double*>(p + c * stride);
    } else {
      return false;
    }
    out = next_;
    next_ += channels_;
    return true;
  }
  const double* widened(const void* memory, bool wide) {
    if (!memory || wide) return static_cast<const double*>(memory);
    const float* p = static_cast<const float*>(memory);
    double* const out = next_;
    for (std::int64_t c = 0; c < channels_; c++) out[c] = p[c];
    next_ += channels_;
    return out;
  }

 private:
  std::int64_t channels_;
  std::unique_ptr<double[]> heap_;
  double stack_[256];
  double* next_;
};

struct Rows {
  nb::object array;
  double* row[4];
};

Rows new_rows(int count, std::int64_t channels) {
  npy_intp dims[2] = {count, static_cast<npy_intp>(channels)};
  Rows rows{steal(PyArray_SimpleNew(2, dims, NPY_DOUBLE)), {}};
  auto* data = static_cast<double*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(rows.array.ptr())));
  for (int j = 0; j < count; j++) rows.row[j] = data + j * channels;
  return rows;
}

template <class Task>
void run(const View& view, Task task) {
  if (view.outer * view.channels * view.inner < RELEASE) return task();
  nb::gil_scoped_release release;
  task();
}

// (1 - factor) * old + factor * new in double, rounded once to T.
template <class T>
void move_average(T* to, npy_intp to_step, const T* old, npy_intp step, const double* values,
                  double factor, std::int64_t channels) {
  const double keep = 1.0 - factor;
  auto moved = [&](T was, double value) {
    return static_cast<T>(keep * static_cast<double>(was) + factor * value);
  };
  if (to_step == 1 && step == 1) {  // as loops are vectorized
    for (std::int64_t c = 0; c < channels; c++) to[c] = moved(old[c], values[c]);
  } else {
    for (std::int64_t c = 0; c < channels; c++) to[c * to_step] = moved(old[c * step], values[c]);
  }
}

nb::object averaged(nb::handle old, const double* values, double factor, std::int64_t channels) {
  PyArrayObject* a = array_of(old);
  nb::object result = steal(PyArray_NewLikeArray(a, NPY_KEEPORDER, nullptr, 0));
  auto* made = reinterpret_cast<PyArrayObject*>(result.ptr());
  const npy_intp to = PyArray_STRIDE(made, 0), from = PyArray_STRIDE(a, 0);
  if (PyArray_TYPE(a) == NPY_FLOAT) {
    move_average(static_cast<float*>(PyArray_DATA(made)), to / 4,
                 static_cast<const float*>(PyArray_DATA(a)), from / 4, values, factor, channels);
  } else {
    move_average(static_cast<double*>(PyArray_DATA(made)), to / 8,
                 static_cast<const double*>(PyArray_DATA(a)), from / 8, values, factor, channels);
  }
  return result;
}

// The rows mean, residual and inv_std of a float64 array; the kernel reads them only.
bool statistics(nb::handle h, std::int64_t channels, Statistics& s) {
  PyArrayObject* a = array_of(h);
  if (!a || PyArray_NDIM(a) != 2 || PyArray_DIM(a, 0) < 3 || PyArray_DIM(a, 1) != channels ||
      PyArray_TYPE(a) != NPY_DOUBLE || !PyArray_IS_C_CONTIGUOUS(a) || !plain(a)) {
    return false;
  }
  auto* data = static_cast<double*>(PyArray_DATA(a));
  s = {data, data + channels, data + 2 * channels, nullptr};
  return true;
}

// Running statistics as the rows that normalize.
void inferred(const Job& job, const double* mean, const double* var, double epsilon, const Statistics& s) {
  std::copy_n(mean, job.view.channels, s.mean);
  std::fill_n(s.residual, job.view.channels, 0.0);
  deviations(job, var, 1, epsilon, s.inv_std);
}

#include "kernel_class.h"
#include "tensors_class.h"

}  // namespace

NB_MODULE(_kernel, m) {
  if (_import_array() < 0) throw nb::python_error();
  nb::object bfloat16 = nb::module_::import_("ml_dtypes").attr("bfloat16");
  bfloat16_number = nb::cast<int>(nb::module_::import_("numpy").attr("dtype")(bfloat16).attr("num"));
  // The module's own functions are held by Python modules, which a process never frees.
  nb::set_leak_warnings(false);
  define_kernel(m);
  define_tensor_tasks(m);
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, nb::arg("count"));
  m.def("set_runner", [](std::uintptr_t address) { set_runner(reinterpret_cast<Runner>(address)); },
        nb::arg("address"));
  m.def("available_processors", &available_processors);
  m.def("cgroup_quota", &cgroup_quota, nb::arg("mount"), nb::arg("membership"));
  m.def("set_buffer_limit", &set_buffer_limit, nb::arg("bytes"));
  m.def("buffers_kept", &buffers_kept);
  m.def("empty_like", [](nb::handle x, bool contiguous) -> nb::object {
    PyArrayObject* a = array_of(x);
    if (!a) throw nb::type_error("empty_like takes a NumPy array");
    if (contiguous ? PyArray_IS_C_CONTIGUOUS(a) : dense(a)) return new_like(a);
    // Its strides alone are of use: memory that nobody touches costs nothing.
    nb::object own = steal(PyArray_NewLikeArray(a, contiguous ? NPY_CORDER : NPY_KEEPORDER, nullptr, 0));
    return PyArray_NBYTES(a) < static_cast<npy_intp>(SMALLEST_KEPT) ? own : new_like(array_of(own));
  }, nb::arg("x"), nb::arg("contiguous") = false);
  m.def("arranged", &arranged, nb::arg("x"), nb::arg("like").none());
  m.def("xla_handler", [](const std::string& name) {
    const auto handler = xla::find_handler(name.c_str());
    if (!handler) throw nb::value_error(("no XLA handler " + name).c_str());
    return nb::capsule(reinterpret_cast<void*>(handler));
  }, nb::arg("name"));
  m.def("bits_of", [](nb::ndarray<nb::ro, nb::device::cpu> a) {
    // What NumPy's own from_dlpack refuses: bfloat16, as uint16 of the same memory.
    const auto bfloat = static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat);
    if (a.dtype().code != bfloat || a.dtype().bits != 16) throw nb::type_error("bits_of takes bfloat16");
    constexpr std::size_t most = 64;
    if (a.ndim() > most) throw nb::value_error("an array has at most 64 dimensions");
    std::size_t shape[most];
    std::int64_t strides[most];
    for (std::size_t d = 0; d < a.ndim(); d++) shape[d] = a.shape(d), strides[d] = a.stride(d);
    nb::object owner = nb::cast(a, nb::rv_policy::reference);
    return nb::ndarray<nb::numpy, const std::uint16_t>(a.data(), a.ndim(), shape, owner, strides);
  }, nb::arg("array"));
}
