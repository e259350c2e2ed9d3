// Tensor: x[index] and x[index] = value, with NumPy's meaning. Integers, slices, None and ... make
// views; at most one array of integers or bools picks rows, by copy.
#include <pybind11/numpy.h>

#include <limits>
#include <vector>

#include "bindings.h"

namespace striate::python {
namespace {

/// An array index: `rows` of the `count` dimensions from `dim` on, taken as one, which `shape`
/// replaces.
struct Gather {
  int dim = 0;
  int count = 0;
  Tensor rows{};  // int64, 1-D, not negative, on the host
  Dims shape{};
};

struct Indexed {
  Tensor view;
  std::optional<Gather> gather;
};

bool is_array(py::handle item) {
  return PyList_Check(item.ptr()) || py::isinstance<Tensor>(item) ||
         (py::isinstance<py::array>(item) && item.attr("ndim").cast<int>() > 0);
}

/// An array index in NumPy, a tensor's from whatever device it is on.
py::array index_array(py::handle item, const py::object& numpy) {
  if (!py::isinstance<Tensor>(item)) return numpy.attr("asarray")(item);
  return numpy.attr("asarray")(to(item.cast<const Tensor&>(), Device{}));
}

/// Dimensions of the operand that an index uses up.
int consumed(py::handle item, const py::object& numpy) {
  if (item.is_none() || item.ptr() == Py_Ellipsis) return 0;
  if (!is_array(item)) return 1;
  const py::array array = index_array(item, numpy);
  return array.dtype().kind() == 'b' ? static_cast<int>(array.ndim()) : 1;
}

Gather gather_rows(py::handle item, const Tensor& x, int dim, const py::object& numpy) {
  py::array array = index_array(item, numpy);
  if (array.size() == 0 && PyList_Check(item.ptr())) array = array.attr("astype")("int64");
  const char kind = array.dtype().kind();
  Gather gather{.dim = dim, .count = 1};
  if (kind == 'b') {
    gather.count = static_cast<int>(array.ndim());
    for (int i = 0; i < gather.count; ++i) {
      require<IndexError>(array.shape(i) == x.size(dim + i), "index: expected a mask of size ",
                          x.size(dim + i), " in dimension ", dim + i, ", got ", array.shape(i));
    }
    array = numpy.attr("flatnonzero")(array);
    gather.shape = {array.size()};
  } else {
    require<DTypeError>(kind == 'i' || kind == 'u', "index: expected integers or bools, got ",
                        py::str(array.dtype()).cast<std::string>());
    gather.shape = Dims(array.shape(), array.shape() + array.ndim());
    const py::object flat = array.attr("ravel")();
    array = numpy.attr("where")(flat.attr("__lt__")(0), flat.attr("__add__")(x.size(dim)), flat);
  }
  gather.rows = to(as_tensor(array), DType::kInt64);
  return gather;
}

Tensor apply_slice(const Tensor& x, int dim, py::handle item) {
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(item.ptr(), &start, &stop, &step) < 0) throw py::error_already_set();
  require<ArgumentError>(step >= 1, "index: expected a slice step of at least 1, got ", step);
  if (start == 0 && stop == std::numeric_limits<Py_ssize_t>::max() && step == 1) return x;
  return slice(x, dim, start, stop, step);
}

Indexed apply_index(const Tensor& x, py::handle key) {
  int64_t number;
  if (PyLong_CheckExact(key.ptr()) && as_int64(key, number)) return {select(x, 0, number), {}};
  if (PySlice_Check(key.ptr())) return {apply_slice(x, 0, key), {}};

  const py::object numpy = py::module_::import("numpy");
  const py::tuple items =
      PyTuple_Check(key.ptr()) ? py::reinterpret_borrow<py::tuple>(key) : py::make_tuple(key);
  int used = 0;
  for (const py::handle item : items) used += consumed(item, numpy);
  require<IndexError>(used <= x.dim(), "index: expected at most ", x.dim(), " indices for shape ",
                      x.shape(), ", got ", used);
  Indexed result{x, {}};
  int dim = 0;
  for (const py::handle item : items) {
    if (item.is_none()) {
      result.view = unsqueeze(result.view, dim++);
    } else if (item.ptr() == Py_Ellipsis) {
      dim += x.dim() - used;
      used = x.dim();
    } else if (PySlice_Check(item.ptr())) {
      result.view = apply_slice(result.view, dim++, item);
    } else if (is_array(item)) {
      require<ArgumentError>(!result.gather, "index: expected at most one array of indices");
      result.gather = gather_rows(item, result.view, dim, numpy);
      dim += result.gather->count;
    } else if (!PyBool_Check(item.ptr()) && as_int64(item, number)) {
      result.view = select(result.view, dim, number);
      if (result.gather && dim < result.gather->dim) --result.gather->dim;
    } else {
      throw py::type_error("index: expected integers, slices, None, ... or an array, got " +
                           py::repr(item).cast<std::string>());
    }
  }
  return result;
}

Tensor get_item(const Tensor& x, py::handle key) {
  const auto [view, gather] = apply_index(x, key);
  if (!gather) return view;
  const int end = gather->dim + gather->count;
  Dims merged, result;  // the view with the indexed dimensions as one; x[key]
  int64_t rows = 1;
  for (int d = 0; d < view.dim(); ++d) {
    const int64_t size = view.shape()[d];
    if (d < gather->dim || d >= end) {
      merged.push_back(size);
      result.push_back(size);
      continue;
    }
    rows *= size;
    if (d + 1 < end) continue;
    merged.push_back(rows);
    for (int64_t count : gather->shape) result.push_back(count);
  }
  return unlocked([&] {
    const Tensor source = gather->count == 1 ? view : reshape(view, merged);
    const Tensor taken = index_select(source, gather->dim, to(gather->rows, x.device()));
    return gather->shape.size() == 1 ? taken : reshape(taken, result);
  });
}

/// The row of x that the flat position `row` over `gather`'s dimensions names.
Tensor select_row(const Tensor& x, const Gather& gather, int64_t row) {
  Dims position = Dims::filled(gather.count, 0);
  for (int i = gather.count - 1; i >= 0; --i) {
    const int64_t size = x.shape()[gather.dim + i];
    position[i] = i == 0 ? row : row % size;
    row /= size;
  }
  Tensor result = x;
  for (int i = 0; i < gather.count; ++i) result = select(result, gather.dim, position[i]);
  return result;
}

void set_item(const Tensor& x, py::handle key, py::handle value) {
  require<AutogradError>(!x.requires_grad() || !grad_enabled(),
                         "index assignment: the tape is tracking this tensor; use no_grad()");
  NoGrad guard;
  double number;
  const bool scalar = !py::isinstance<Tensor>(value) && as_number(value, number);
  const Tensor source = scalar ? Tensor() : as_tensor(value).detach();
  const auto [view, gather] = apply_index(x, key);
  if (!gather) {
    unlocked([&] { scalar ? fill_(view, number) : copy_(view, source); });
    return;
  }
  const int64_t count = gather->rows.numel();
  const int64_t* rows = gather->rows.data<int64_t>();
  std::vector<Tensor> targets;
  for (int64_t i = 0; i < count; ++i) targets.push_back(select_row(view, *gather, rows[i]));
  if (scalar) {
    for (const Tensor& target : targets) fill_(target, number);
    return;
  }
  Dims picked, rows_shape;  // of x[key]; the same with the rows as one dimension
  for (int d = 0; d < view.dim(); ++d) {
    if (d == gather->dim) {
      for (int64_t size : gather->shape) picked.push_back(size);
      rows_shape.push_back(count);
    }
    if (d < gather->dim || d >= gather->dim + gather->count) {
      picked.push_back(view.shape()[d]);
      rows_shape.push_back(view.shape()[d]);
    }
  }
  const Tensor rows_of_source = reshape(expand(source, picked), rows_shape);
  for (int64_t i = 0; i < count; ++i) copy_(targets[i], select(rows_of_source, gather->dim, i));
}

}  // namespace

void bind_indexing(TensorClass& cls) {
  cls.def("__getitem__", &get_item, py::arg("index"),
          "NumPy's indexing with integers, slices of positive step, None, ``...`` (views), and at "
          "most one array of integers or bools (a copy). On the tape. Raises IndexError.")
      .def("__setitem__", &set_item, py::arg("index"), py::arg("value"),
           "Writes a number, tensor or array through the same indices, off the tape.")
      .def("__len__",
           [](const Tensor& x) {
             if (x.dim() == 0) throw py::type_error("len() of a 0-d tensor");
             return x.shape()[0];
           })
      .def("__iter__", [](const Tensor& x) {
        if (x.dim() == 0) throw py::type_error("iteration over a 0-d tensor");
        py::list rows;
        for (int64_t i = 0; i < x.shape()[0]; ++i) rows.append(select(x, 0, i));
        return py::typing::Iterator<Tensor>(py::iter(rows));
      });
}

}  // namespace striate::python
