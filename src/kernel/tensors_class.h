// The class `TensorTasks` of the module: one instruction set's tasks on a framework's tensors, which
// the framework describes by its own C functions (DLPack's exchange API). Included by bindings.cpp
// alone.
//
// Each call into a framework costs ten times as much between two convolutions, with nothing of it in the
// caches, as in a loop; so one call here takes all tensors of a task. All that the loops rely on is
// checked: a method gives None, and has written nothing, where a tensor is none of the given types, not
// the processor's, not dense, negated lazily, or of another shape or type than its task needs.

// As DLPack 1 lays it out; of its functions only those that are called here have their types.
struct ExchangeTable {
  struct Header {
    std::uint32_t major, minor;
    Header* older;
  } header;
  void *allocate, *manage, *release;
  int (*describe)(void* tensor, nb::dlpack::dltensor* description);
  void* stream;
};

class TensorTasks {
 public:
  TensorTasks(const std::string& level, nb::tuple types) : level_(find_level(level.c_str())), types_(types) {
    if (!level_) throw nb::value_error(("this processor has no level " + level).c_str());
    nb::object capsule = nb::getattr(types[0], "__dlpack_c_exchange_api__");
    void* found = PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
    if (!found) throw nb::python_error();
    auto* header = static_cast<ExchangeTable::Header*>(found);
    while (header && header->major != 1) header = header->older;
    describe_ = header ? reinterpret_cast<ExchangeTable*>(header)->describe : nullptr;
    if (!describe_) throw nb::value_error("the tensors have no exchange API of DLPack 1");
  }

  // Writes out. Of a batch (of at least `least` values per channel) running statistics and the number of
  // batches move in place, where there are any; else they normalize. Gives the statistics.
  nb::object forward(nb::handle x, nb::handle out, nb::handle addend, bool relu, nb::handle gamma,
                     nb::handle beta, nb::handle running_mean, nb::handle running_var,
                     nb::handle batches, int axis, bool batch, std::int64_t least, double epsilon,
                     double factor, double correction) const {
    FloatEnvironment environment;
    Job job{};
    Tensor own, y, other;
    void *scale, *shift, *mean, *var, *number = nullptr;
    if (!dense(x, axis, own, job) || !alike(out, own, y) || !alike(addend, own, other) ||
        !vector(gamma, job, scale) || !vector(beta, job, shift) ||
        !vector(running_mean, job, mean) || !vector(running_var, job, var) ||
        (!batches.is_none() && !counter(batches, number)) || !mean != !var || !y.data) {
      return nb::none();
    }
    job.tensors.out = y.data;
    job.tensors.addend = other.data;
    job.tensors.relu = relu;
    const std::int64_t channels = job.view.channels, count = job.view.outer * job.view.inner;
    const bool wide = job.element == Element::float64;
    Vectors vectors(channels, 4);
    const Affine affine = {vectors.widened(scale, wide), vectors.widened(shift, wide)};
    if (!batch) {
      if (!mean) return nb::none();
      Rows rows = new_rows(3, channels);
      const Statistics s = {rows.row[0], rows.row[1], rows.row[2], nullptr};
      inferred(job, vectors.widened(mean, wide), vectors.widened(var, wide), epsilon, s);
      run(job.view, [&] { kernel::normalize(job, s, affine); });
      return rows.array;
    }
    if (count < least) return nb::none();
    Rows rows = new_rows(4, channels);
    const Statistics s = {rows.row[0], rows.row[1], rows.row[2], rows.row[3]};
    run(job.view, [&] { kernel::forward(job, epsilon, affine, s); });
    if (mean) {
      for (std::int64_t c = 0; c < channels; c++) s.m2[c] /= static_cast<double>(count) - correction;
      average(mean, wide, s.mean, factor, channels);
      average(var, wide, s.m2, factor, channels);
    }
    if (number) ++*static_cast<std::int64_t*>(number);
    return rows.array;
  }

  // Writes out, and what of out_addend, dgamma and dbeta is there.
  nb::object backward(nb::handle x, nb::handle dy, nb::handle y, nb::handle out,
                      nb::handle out_addend, nb::handle gamma, nb::handle dgamma, nb::handle dbeta,
                      nb::handle stats, int axis, bool batch, double epsilon) const {
    FloatEnvironment environment;
    Job job{};
    Tensor own, given, result, dx, masked;
    void *scale, *to_gamma, *to_beta;
    Statistics s;
    if (!dense(x, axis, own, job) || !alike(dy, own, given) || !alike(y, own, result) ||
        !alike(out, own, dx) || !alike(out_addend, own, masked) || !vector(gamma, job, scale) ||
        !vector(dgamma, job, to_gamma) || !vector(dbeta, job, to_beta) || !given.data || !dx.data ||
        !statistics(stats, job.view.channels, s)) {
      return nb::none();
    }
    job.tensors.dy = given.data;
    job.tensors.y = result.data;
    job.tensors.out = dx.data;
    job.tensors.out_addend = masked.data;
    job.tensors.relu = result.data != nullptr;
    const std::int64_t channels = job.view.channels;
    const bool wide = job.element == Element::float64;
    Vectors vectors(channels, 1);
    const double* own_gamma = vectors.widened(scale, wide);
    std::unique_ptr<double[]> rows(new double[static_cast<std::size_t>(3 * channels)]);
    const GradientSums sums = {rows.get(), rows.get() + channels, rows.get() + 2 * channels, nullptr};
    run(job.view, [&] { kernel::backward(job, s, own_gamma, batch, epsilon, sums); });
    narrow(to_gamma, wide, sums.dy_x, channels);
    narrow(to_beta, wide, sums.dy, channels);
    return nb::bool_(true);
  }

 private:
  struct Tensor {
    nb::dlpack::dltensor d{};
    void* data = nullptr;
    std::int64_t bytes() const { return d.dtype.bits / 8; }
    bool is(nb::dlpack::dtype_code code, int bits) const {
      return d.dtype.code == static_cast<std::uint8_t>(code) && d.dtype.bits == bits && d.dtype.lanes == 1;
    }
  };

  bool take(nb::handle h, Tensor& t) const {
    const nb::handle type = h.type();
    bool known = false;
    for (nb::handle own : types_) known = known || type.is(own);
    if (!known) return false;
    if (describe_(h.ptr(), &t.d) != 0) return PyErr_Clear(), false;
    t.data = static_cast<char*>(t.d.data) + t.d.byte_offset;
    constexpr int cpu = 1;
    if (t.d.device.device_type != cpu || !t.d.data || t.bytes() == 0) return false;
    if (reinterpret_cast<std::uintptr_t>(t.data) % static_cast<std::uintptr_t>(t.bytes())) return false;
    nb::object negated = nb::steal(PyObject_CallMethodNoArgs(h.ptr(), is_neg_.ptr()));
    if (!negated.is_valid()) throw nb::python_error();
    return !negated.is(nb::handle(Py_True));
  }

  // x as (outer, channels, inner) in the order of its memory: row by row, or with the channels innermost
  // where a framework has a format of that kind, for images and volumes.
  bool dense(nb::handle h, int axis, Tensor& t, Job& job) const {
    using Code = nb::dlpack::dtype_code;
    if (!take(h, t) || axis < 0 || axis >= t.d.ndim) return false;
    if (t.is(Code::Float, 32)) job.element = Element::float32;
    else if (t.is(Code::Float, 64)) job.element = Element::float64;
    else if (t.is(Code::Float, 16)) job.element = Element::float16;
    else if (t.is(Code::Bfloat, 16)) job.element = Element::bfloat16;
    else return false;
    View& v = job.view;
    v.outer = v.inner = 1;
    v.channels = t.d.shape[axis];
    for (int i = 0; i < axis; i++) v.outer *= t.d.shape[i];
    for (int i = axis + 1; i < t.d.ndim; i++) v.inner *= t.d.shape[i];
    if (v.outer == 0 || v.channels == 0 || v.inner == 0) return false;
    if (!in_order(t, -1)) {
      if (axis != 1 || t.d.ndim < 4 || t.d.ndim > 5 || !in_order(t, axis)) return false;
      v.outer *= v.inner;
      v.inner = 1;
    }
    job.level = level_;
    job.tensors.x = t.data;
    return true;
  }
  // Whether the axes lie one in the other in their order, but for the `innermost`, if any.
  static bool in_order(const Tensor& t, int innermost) {
    std::int64_t stride = 1;
    auto fits = [&](int i) {
      const std::int64_t length = t.d.shape[i];
      const bool fit = length == 1 || t.d.strides[i] == stride;
      stride *= length;
      return fit;
    };
    if (innermost >= 0 && !fits(innermost)) return false;
    for (int i = t.d.ndim - 1; i >= 0; i--) {
      if (i != innermost && !fits(i)) return false;
    }
    return true;
  }
  // None, or a tensor laid out as x in x's type.
  bool alike(nb::handle h, const Tensor& x, Tensor& t) const {
    if (h.is_none()) return true;
    if (!take(h, t) || t.d.ndim != x.d.ndim || std::memcmp(&t.d.dtype, &x.d.dtype, sizeof t.d.dtype)) return false;
    for (int i = 0; i < t.d.ndim; i++) {
      if (t.d.shape[i] != x.d.shape[i]) return false;
      if (t.d.shape[i] > 1 && t.d.strides[i] != x.d.strides[i]) return false;
    }
    return true;
  }
  // None, or one value per channel: doubles where x is of doubles, else floats.
  bool vector(nb::handle h, const Job& job, void*& data) const {
    data = nullptr;
    if (h.is_none()) return true;
    Tensor t;
    const int bits = job.element == Element::float64 ? 64 : 32;
    if (!take(h, t) || !t.is(nb::dlpack::dtype_code::Float, bits) || t.d.ndim != 1) return false;
    if (t.d.shape[0] != job.view.channels || (t.d.shape[0] > 1 && t.d.strides[0] != 1)) return false;
    data = t.data;
    return true;
  }
  bool counter(nb::handle h, void*& data) const {
    Tensor t;
    if (!take(h, t) || !t.is(nb::dlpack::dtype_code::Int, 64) || t.d.ndim != 0) return false;
    data = t.data;
    return true;
  }

  static void average(void* old, bool wide, const double* values, double factor, std::int64_t channels) {
    if (wide) {
      auto* own = static_cast<double*>(old);
      move_average(own, 1, own, 1, values, factor, channels);
    } else {
      auto* own = static_cast<float*>(old);
      move_average(own, 1, own, 1, values, factor, channels);
    }
  }
  static void narrow(void* out, bool wide, const double* values, std::int64_t channels) {
    if (!out) return;
    if (wide) {
      std::copy_n(values, channels, static_cast<double*>(out));
    } else {
      std::transform(values, values + channels, static_cast<float*>(out),
                     [](double value) { return static_cast<float>(value); });
    }
  }

  const Level* level_;
  nb::tuple types_;
  nb::object is_neg_ = nb::steal(PyUnicode_InternFromString("is_neg"));
  int (*describe_)(void*, nb::dlpack::dltensor*) = nullptr;
};

void define_tensor_tasks(nb::module_& m) {
  nb::class_<TensorTasks>(m, "TensorTasks")
      .def(nb::init<const std::string&, nb::tuple>(), nb::arg("level"), nb::arg("types"))
      .def("forward", &TensorTasks::forward, nb::arg("x"), nb::arg("out"), nb::arg("addend").none(),
           nb::arg("relu"), nb::arg("gamma").none(), nb::arg("beta").none(),
           nb::arg("running_mean").none(), nb::arg("running_var").none(), nb::arg("batches").none(),
           nb::arg("axis"), nb::arg("batch"), nb::arg("least"), nb::arg("epsilon"),
           nb::arg("factor"), nb::arg("correction"))
      .def("backward", &TensorTasks::backward, nb::arg("x"), nb::arg("dy"), nb::arg("y").none(),
           nb::arg("out"), nb::arg("out_addend").none(), nb::arg("gamma").none(),
           nb::arg("dgamma").none(), nb::arg("dbeta").none(), nb::arg("stats"), nb::arg("axis"),
           nb::arg("batch"), nb::arg("epsilon"));
}
