// The class `Kernel` of the module: one instruction set's tasks. Included by bindings.cpp alone.

// The tensors of a task, checked against x: false where one of them does not fit.
struct Arguments {
  FloatEnvironment environment;  // also for what is read and written here: subnormal parameters
  PyArrayObject* x = nullptr;
  Job job{};
  nb::object out;

  bool take(const Level* level, nb::handle x_handle, nb::handle axes) {
    x = array_of(x_handle);
    job.level = level;
    if (!x || !element_of(x, job.element) || !view_of(x, axes, job.view)) return false;
    job.tensors.x = PyArray_DATA(x);
    return true;
  }
  bool input(nb::handle h, const void*& data) const {
    if (h.is_none()) return true;
    PyArrayObject* a = array_of(h);
    if (!a || !same_layout(x, a)) return false;
    data = PyArray_DATA(a);
    return true;
  }
  // `out` given or made; it may be the input itself where `in_place`.
  bool output(nb::handle h, bool in_place, std::initializer_list<nb::handle> others) {
    out = h.is_none() ? new_like(x) : nb::borrow(h);
    job.tensors.out = PyArray_DATA(reinterpret_cast<PyArrayObject*>(out.ptr()));
    return h.is_none() || writable(h, in_place, others);
  }
  bool writable(nb::handle h, bool in_place, std::initializer_list<nb::handle> others) const {
    PyArrayObject* a = array_of(h);
    if (!a || !same_layout(x, a) || !PyArray_ISWRITEABLE(a) || disturbs(x, a, in_place)) return false;
    for (nb::handle other : others) {
      if (!other.is_none() && disturbs(array_of(other), a, in_place)) return false;
    }
    return true;
  }
};

class Kernel {
 public:
  explicit Kernel(const std::string& name) : level_(find_level(name.c_str())) {
    if (!level_) {
      throw nb::value_error(("this processor has no level " + name).c_str());
    }
  }

  nb::object forward(nb::handle x, nb::handle axes, nb::handle gamma, nb::handle beta,
                     nb::handle running_mean, nb::handle running_var, double epsilon, double factor,
                     double correction, nb::handle out, bool relu, nb::handle addend) const {
    Arguments a;
    Affine affine;
    if (!a.take(level_, x, axes)) return nb::none();
    const std::int64_t channels = a.job.view.channels;
    Vectors vectors(channels, 4);
    const double *old_mean, *old_var;
    if (!vectors.take(gamma, affine.gamma) || !vectors.take(beta, affine.beta) ||
        !vectors.take(running_mean, old_mean) || !vectors.take(running_var, old_var) ||
        !a.input(addend, a.job.tensors.addend) || !a.output(out, false, {addend})) {
      return nb::none();
    }
    a.job.tensors.relu = relu;
    Rows rows = new_rows(4, channels);
    const Statistics s = {rows.row[0], rows.row[1], rows.row[2], rows.row[3]};
    run(a.job.view, [&] { kernel::forward(a.job, epsilon, affine, s); });
    nb::object new_mean = nb::none(), new_var = nb::none();
    if (old_mean && old_var) {
      const double count = static_cast<double>(a.job.view.outer) * static_cast<double>(a.job.view.inner);
      new_mean = averaged(running_mean, s.mean, factor, channels);
      for (std::int64_t c = 0; c < channels; c++) s.m2[c] /= count - correction;
      new_var = averaged(running_var, s.m2, factor, channels);
    }
    return nb::make_tuple(a.out, new_mean, new_var, rows.array);
  }

  nb::object infer(nb::handle x, nb::handle axes, nb::handle gamma, nb::handle beta, nb::handle mean,
                   nb::handle var, double epsilon, nb::handle out, bool relu, nb::handle addend) const {
    Arguments a;
    Affine affine;
    if (!a.take(level_, x, axes)) return nb::none();
    const std::int64_t channels = a.job.view.channels;
    Vectors vectors(channels, 4);
    const double *own_mean, *own_var;
    if (!vectors.take(gamma, affine.gamma) || !vectors.take(beta, affine.beta) ||
        !vectors.take(mean, own_mean) || !vectors.take(var, own_var) || !own_mean || !own_var ||
        !a.input(addend, a.job.tensors.addend) || !a.output(out, false, {addend})) {
      return nb::none();
    }
    a.job.tensors.relu = relu;
    Rows rows = new_rows(3, channels);
    const Statistics s = {rows.row[0], rows.row[1], rows.row[2], nullptr};
    inferred(a.job, own_mean, own_var, epsilon, s);
    run(a.job.view, [&] { kernel::normalize(a.job, s, affine); });
    return nb::make_tuple(a.out, rows.array);
  }

  nb::object backward(nb::handle x, nb::handle dy, nb::handle axes, nb::handle stats,
                      nb::handle gamma, bool batch, double epsilon, nb::handle y, nb::handle out,
                      nb::handle out_addend) const {
    Arguments a;
    const double* own_gamma;
    if (!a.take(level_, x, axes)) return nb::none();
    const std::int64_t channels = a.job.view.channels;
    Vectors vectors(channels, 1);
    Statistics s;
    if (!statistics(stats, channels, s) || dy.is_none() || !vectors.take(gamma, own_gamma) ||
        !a.input(dy, a.job.tensors.dy) || !a.input(y, a.job.tensors.y) ||
        !a.output(out, false, {dy, y})) {
      return nb::none();
    }
    a.job.tensors.relu = !y.is_none();
    if (!out_addend.is_none()) {
      if (y.is_none() || !a.writable(out_addend, false, {dy, y, a.out})) return nb::none();
      a.job.tensors.out_addend = PyArray_DATA(array_of(out_addend));
    }
    Rows rows = new_rows(3, channels);
    const GradientSums sums = {rows.row[0], rows.row[1], rows.row[2], nullptr};
    run(a.job.view, [&] { kernel::backward(a.job, s, own_gamma, batch, epsilon, sums); });
    return nb::make_tuple(a.out, rows.array);
  }

  nb::object reduce(nb::handle x, nb::handle axes) const {
    Arguments a;
    if (!a.take(level_, x, axes)) return nb::none();
    Rows rows = new_rows(3, a.job.view.channels);
    const Statistics s = {rows.row[0], rows.row[1], nullptr, rows.row[2]};
    run(a.job.view, [&] { kernel::reduce(a.job, s); });
    return rows.array;
  }

  nb::object normalize(nb::handle x, nb::handle axes, nb::handle stats, nb::handle gamma,
                       nb::handle beta, nb::handle out, bool relu, nb::handle addend) const {
    Arguments a;
    Affine affine;
    Statistics s;
    if (!a.take(level_, x, axes)) return nb::none();
    Vectors vectors(a.job.view.channels, 2);
    if (!statistics(stats, a.job.view.channels, s) || !vectors.take(gamma, affine.gamma) ||
        !vectors.take(beta, affine.beta) || !a.input(addend, a.job.tensors.addend) ||
        !a.output(out, true, {addend})) {
      return nb::none();
    }
    a.job.tensors.relu = relu;
    run(a.job.view, [&] { kernel::normalize(a.job, s, affine); });
    return a.out;
  }

  nb::object reduce_gradient(nb::handle x, nb::handle dy, nb::handle axes, nb::handle stats) const {
    Arguments a;
    Statistics s;
    if (!a.take(level_, x, axes) || !statistics(stats, a.job.view.channels, s) || dy.is_none() ||
        !a.input(dy, a.job.tensors.dy)) {
      return nb::none();
    }
    Rows rows = new_rows(3, a.job.view.channels);
    const GradientSums sums = {rows.row[0], rows.row[1], rows.row[2], nullptr};
    run(a.job.view, [&] { kernel::reduce_gradient(a.job, s, sums); });
    return rows.array;
  }

  nb::object input_gradient(nb::handle x, nb::handle dy, nb::handle axes, nb::handle stats,
                            nb::handle gamma, nb::handle constant, nb::handle slope,
                            nb::handle out) const {
    Arguments a;
    Statistics s;
    const double *own_gamma, *own_constant, *own_slope;
    if (!a.take(level_, x, axes)) return nb::none();
    Vectors vectors(a.job.view.channels, 3);
    if (!statistics(stats, a.job.view.channels, s) || dy.is_none() ||
        !vectors.take(gamma, own_gamma) || !vectors.take(constant, own_constant) ||
        !vectors.take(slope, own_slope) || !a.input(dy, a.job.tensors.dy) ||
        !a.output(out, false, {dy})) {
      return nb::none();
    }
    run(a.job.view, [&] { kernel::input_gradient(a.job, s, own_gamma, own_constant, own_slope); });
    return a.out;
  }

  // The benchmark's yardstick: float32 arrays of one size, read once each and written once.
  void move(nb::list inputs, nb::handle out, bool stream) const {
    const float* at[8] = {};
    int arrays = 0;
    std::int64_t bytes = 0;
    for (nb::handle h : inputs) {
      PyArrayObject* a = array_of(h);
      if (!a || arrays == 8 || !PyArray_IS_C_CONTIGUOUS(a) || !plain(a)) {
        throw nb::value_error("move takes up to 8 contiguous arrays");
      }
      at[arrays++] = static_cast<const float*>(PyArray_DATA(a));
      bytes = PyArray_NBYTES(a);
    }
    PyArrayObject* to = out.is_none() ? nullptr : array_of(out);
    if (to && PyArray_NBYTES(to) < bytes) throw nb::value_error("out is too small");
    float* target = to ? static_cast<float*>(PyArray_DATA(to)) : nullptr;
    nb::gil_scoped_release release;
    kernel::move(level_, at, arrays, target, bytes, stream);
  }

 private:
  const Level* level_;
};

void define_kernel(nb::module_& m) {
  nb::class_<Kernel>(m, "Kernel")
      .def(nb::init<const std::string&>(), nb::arg("level"))
      .def("forward", &Kernel::forward, nb::arg("x"), nb::arg("axes"), nb::arg("gamma").none(),
           nb::arg("beta").none(), nb::arg("running_mean").none(), nb::arg("running_var").none(),
           nb::arg("epsilon"), nb::arg("factor"), nb::arg("correction"), nb::arg("out").none(),
           nb::arg("relu"), nb::arg("addend").none())
      .def("infer", &Kernel::infer, nb::arg("x"), nb::arg("axes"), nb::arg("gamma").none(),
           nb::arg("beta").none(), nb::arg("mean").none(), nb::arg("var").none(),
           nb::arg("epsilon"),
           nb::arg("out").none(), nb::arg("relu"), nb::arg("addend").none())
      .def("backward", &Kernel::backward, nb::arg("x"), nb::arg("dy"), nb::arg("axes"),
           nb::arg("stats"), nb::arg("gamma").none(), nb::arg("batch"), nb::arg("epsilon"),
           nb::arg("y").none(),
           nb::arg("out").none(), nb::arg("out_addend").none())
      .def("reduce", &Kernel::reduce, nb::arg("x"), nb::arg("axes"))
      .def("normalize", &Kernel::normalize, nb::arg("x"), nb::arg("axes"), nb::arg("stats"),
           nb::arg("gamma").none(), nb::arg("beta").none(), nb::arg("out").none(), nb::arg("relu"),
           nb::arg("addend").none())
      .def("reduce_gradient", &Kernel::reduce_gradient, nb::arg("x"), nb::arg("dy"),
           nb::arg("axes"), nb::arg("stats"))
      .def("input_gradient", &Kernel::input_gradient, nb::arg("x"), nb::arg("dy"), nb::arg("axes"),
           nb::arg("stats"), nb::arg("gamma").none(), nb::arg("constant").none(),
           nb::arg("slope").none(), nb::arg("out").none())
      .def("move", &Kernel::move, nb::arg("inputs"), nb::arg("out").none(), nb::arg("stream"));
}
