// Tensor: arithmetic and comparison operators, whose other side is a tensor or a number.
#include "bindings.h"

namespace striate::python {

bool as_number(py::handle value, double& number) {
  PyObject* object = value.ptr();
  if (PyFloat_CheckExact(object)) {
    number = PyFloat_AS_DOUBLE(object);
    return true;
  }
  const PyNumberMethods* methods = Py_TYPE(object)->tp_as_number;
  if (!PyLong_Check(object) && !(methods && methods->nb_float)) return false;
  number = PyFloat_AsDouble(object);
  if (number == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    return false;
  }
  return true;
}

namespace {

/// As in PyTorch, a fractional number turns an integer tensor into float32, and an integer turns a
/// bool tensor into int64.
Tensor promote(const Tensor& x, py::handle number) {
  if (is_floating(x.dtype())) return x;
  if (!PyIndex_Check(number.ptr())) return to(x, DType::kFloat32);
  return x.dtype() == DType::kBool && !PyBool_Check(number.ptr()) ? to(x, DType::kInt64) : x;
}
Tensor real(const Tensor& x) { return is_floating(x.dtype()) ? x : to(x, DType::kFloat32); }

TensorObject not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

/// f(self, other), with `other` a tensor or a double.
template <class F>
TensorObject apply(const Tensor& self, py::handle other, F f) {
  if (py::isinstance<Tensor>(other)) {
    const Tensor& tensor = other.cast<const Tensor&>();
    return py::cast(unlocked([&] { return f(self, tensor); }));
  }
  double number;
  if (!as_number(other, number)) return not_implemented();
  const Tensor promoted = promote(self, other);
  return py::cast(unlocked([&] { return f(promoted, number); }));
}

template <class F>
auto binary(F f) {
  return [f](const Tensor& self, const py::object& other) { return apply(self, other, f); };
}

template <class F>
void bind_binary(TensorClass& cls, const char* name, const char* reflected, F f) {
  cls.def(name, binary(f), py::is_operator());
  cls.def(reflected, binary([f](const Tensor& a, const auto& b) { return f(b, a); }),
          py::is_operator());
}

template <Comparison kOp>
auto comparison() {
  return binary([](const Tensor& a, const auto& b) { return compare(kOp, a, b); });
}

/// a op= b. In place, except where the tape must see it: then a new tensor, as Python allows. A
/// leaf that requires grad is left to the in-place edit, which refuses.
template <class InPlace, class OutOfPlace>
auto augmented(InPlace in_place, OutOfPlace out_of_place) {
  return [=](const py::object& self, const py::object& other) -> TensorObject {
    const Tensor& x = self.cast<const Tensor&>();
    const bool tracked_other =
        py::isinstance<Tensor>(other) && other.cast<const Tensor&>().requires_grad();
    const bool tracked = grad_enabled() && (tracked_other || x.requires_grad());
    if (tracked && !(x.is_leaf() && x.requires_grad())) {
      return apply(x, other, out_of_place);
    }
    const py::object result = [&] {
      NoGrad guard;
      return apply(x, other, out_of_place);
    }();
    if (result.is(not_implemented())) return result;
    const Tensor& value = result.cast<const Tensor&>();
    unlocked([&] { in_place(x, value); });
    return self;
  };
}

}  // namespace

void bind_tensor_operators(TensorClass& cls) {
  constexpr auto kAdd = [](const auto& a, const auto& b) {
    if constexpr (std::is_same_v<std::decay_t<decltype(a)>, double>) {
      return add(b, a);
    } else {
      return add(a, b);
    }
  };
  constexpr auto kMul = [](const auto& a, const auto& b) {
    if constexpr (std::is_same_v<std::decay_t<decltype(a)>, double>) {
      return mul(b, a);
    } else {
      return mul(a, b);
    }
  };
  constexpr auto kSub = [](const auto& a, const auto& b) { return sub(a, b); };
  constexpr auto kPow = [](const auto& a, const auto& b) { return pow(a, b); };
  constexpr auto kDiv = [](const auto& a, const auto& b) {
    if constexpr (std::is_same_v<std::decay_t<decltype(a)>, double>) {
      return div(a, real(b));
    } else if constexpr (std::is_same_v<std::decay_t<decltype(b)>, double>) {
      return div(real(a), b);
    } else {
      return div(real(a), real(b));
    }
  };
  bind_binary(cls, "__add__", "__radd__", kAdd);
  bind_binary(cls, "__sub__", "__rsub__", kSub);
  bind_binary(cls, "__mul__", "__rmul__", kMul);
  bind_binary(cls, "__truediv__", "__rtruediv__", kDiv);
  bind_binary(cls, "__pow__", "__rpow__", kPow);

  constexpr auto kStore = [](const Tensor& x, const Tensor& value) {
    require<DTypeError>(x.dtype() == value.dtype(), "in-place operator: expected a result of type ",
                        x.dtype(), ", got ", value.dtype());
    copy_(x, value);
  };
  cls.def("__iadd__", augmented(kStore, kAdd), py::is_operator());
  cls.def("__isub__", augmented(kStore, kSub), py::is_operator());
  cls.def("__imul__", augmented(kStore, kMul), py::is_operator());
  cls.def("__itruediv__", augmented(kStore, kDiv), py::is_operator());

  cls.def("__eq__", comparison<Comparison::kEq>(), py::is_operator());
  cls.def("__ne__", comparison<Comparison::kNe>(), py::is_operator());
  cls.def("__lt__", comparison<Comparison::kLt>(), py::is_operator());
  cls.def("__le__", comparison<Comparison::kLe>(), py::is_operator());
  cls.def("__gt__", comparison<Comparison::kGt>(), py::is_operator());
  cls.def("__ge__", comparison<Comparison::kGe>(), py::is_operator());

  cls.def("__matmul__", &matmul, Unlocked(), py::is_operator());
  cls.def("__neg__", &neg, Unlocked());
  cls.def("__pos__", [](const Tensor& x) { return x; });
  cls.def("__abs__", &abs, Unlocked());
}

}  // namespace striate::python
