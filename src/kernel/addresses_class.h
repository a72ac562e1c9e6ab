// The class `Addresses` of the module: one instruction set's tasks on memory whose owner vouches for
// it. Included by bindings.cpp alone.
//
// For a framework's tensors: making arrays of them costs more than a small task. Nothing can be
// checked here. The caller knows that every tensor is dense and laid out as (outer, channels, inner)
// in x's type and overlaps no other, that vectors hold one value per channel (doubles where x is of
// doubles, else floats), and keeps all of them alive. 0 stands for what is not there.

using Address = std::uintptr_t;

template <class T = void>
T* memory_at(Address address) {
  return reinterpret_cast<T*>(address);
}

class Addresses {
 public:
  explicit Addresses(const std::string& name) : level_(find_level(name.c_str())) {
    if (!level_) throw nb::value_error(("this processor has no level " + name).c_str());
  }

  // Writes out; running statistics and the number of batches move in place. Gives the statistics.
  nb::object forward(int element, std::int64_t outer, std::int64_t channels, std::int64_t inner,
                     Address x, Address out, Address addend, bool relu, Address gamma, Address beta,
                     Address running_mean, Address running_var, Address batches, double epsilon,
                     double factor, double correction) const {
    FloatEnvironment environment;
    const Job job = made(element, outer, channels, inner, x, out, addend, relu);
    Vectors vectors(channels, 2);
    const Affine affine = {vectors.widened(gamma, wide(job)), vectors.widened(beta, wide(job))};
    Rows rows = new_rows(4, channels);
    const Statistics s = {rows.row[0], rows.row[1], rows.row[2], rows.row[3]};
    run(job.view, [&] { kernel::forward(job, epsilon, affine, s); });
    if (running_mean && running_var) {
      const double count = static_cast<double>(outer) * static_cast<double>(inner);
      for (std::int64_t c = 0; c < channels; c++) s.m2[c] /= count - correction;
      average(running_mean, wide(job), s.mean, factor, channels);
      average(running_var, wide(job), s.m2, factor, channels);
    }
    if (batches) ++*memory_at<std::int64_t>(batches);
    return rows.array;
  }

  nb::object infer(int element, std::int64_t outer, std::int64_t channels, std::int64_t inner,
                   Address x, Address out, Address addend, bool relu, Address gamma, Address beta,
                   Address mean, Address var, double epsilon) const {
    FloatEnvironment environment;
    const Job job = made(element, outer, channels, inner, x, out, addend, relu);
    Vectors vectors(channels, 4);
    const Affine affine = {vectors.widened(gamma, wide(job)), vectors.widened(beta, wide(job))};
    const double* own_mean = vectors.widened(mean, wide(job));
    const double* own_var = vectors.widened(var, wide(job));
    Rows rows = new_rows(3, channels);
    const Statistics s = {rows.row[0], rows.row[1], rows.row[2], nullptr};
    inferred(job, own_mean, own_var, epsilon, s);
    run(job.view, [&] { kernel::normalize(job, s, affine); });
    return rows.array;
  }

  // Writes out, and what of out_addend, dgamma and dbeta is there. Gives whether dy cancels in a
  // channel, as Kernel.backward does.
  bool backward(int element, std::int64_t outer, std::int64_t channels, std::int64_t inner,
                Address x, Address dy, Address y, Address out, Address out_addend, Address gamma,
                Address dgamma, Address dbeta, nb::handle stats, bool batch, double epsilon) const {
    FloatEnvironment environment;
    Job job = made(element, outer, channels, inner, x, out, 0, y != 0);
    job.tensors.dy = memory_at(dy);
    job.tensors.y = memory_at(y);
    job.tensors.out_addend = memory_at(out_addend);
    Statistics s;
    if (!statistics(stats, channels, s)) throw nb::value_error("stats are not those of a forward");
    Vectors vectors(channels, 1);
    const double* own_gamma = vectors.widened(gamma, wide(job));
    std::unique_ptr<double[]> rows(new double[static_cast<std::size_t>(3 * channels)]);
    const GradientSums sums = {rows.get(), rows.get() + channels, rows.get() + 2 * channels};
    bool cancelled = false;
    run(job.view, [&] {
      kernel::backward(job, s, own_gamma, batch, sums);
      cancelled = batch && mark_cancelled(job, s, epsilon, sums);
    });
    narrow(dgamma, wide(job), sums.dy_x, channels);
    narrow(dbeta, wide(job), sums.dy, channels);
    return cancelled;
  }

 private:
  Job made(int element, std::int64_t outer, std::int64_t channels, std::int64_t inner, Address x,
           Address out, Address addend, bool relu) const {
    Job job{};
    job.level = level_;
    job.element = static_cast<Element>(element);
    job.view = {outer, channels, inner, 0, 0, 0};
    job.tensors.x = memory_at(x);
    job.tensors.out = memory_at(out);
    job.tensors.addend = memory_at(addend);
    job.tensors.relu = relu;
    return job;
  }
  static bool wide(const Job& job) { return job.element == Element::float64; }

  static void average(Address old, bool wide, const double* values, double factor,
                      std::int64_t channels) {
    if (wide) {
      move_average(memory_at<double>(old), 1, memory_at<double>(old), 1, values, factor, channels);
    } else {
      move_average(memory_at<float>(old), 1, memory_at<float>(old), 1, values, factor, channels);
    }
  }
  static void narrow(Address out, bool wide, const double* values, std::int64_t channels) {
    if (!out) return;
    for (std::int64_t c = 0; c < channels; c++) {
      if (wide) {
        memory_at<double>(out)[c] = values[c];
      } else {
        memory_at<float>(out)[c] = static_cast<float>(values[c]);
      }
    }
  }

  const Level* level_;
};

void define_addresses(nb::module_& m) {
  nb::class_<Addresses>(m, "Addresses")
      .def(nb::init<const std::string&>(), nb::arg("level"))
      .def("forward", &Addresses::forward)
      .def("infer", &Addresses::infer)
      .def("backward", &Addresses::backward);
}
