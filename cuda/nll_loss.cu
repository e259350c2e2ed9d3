// Negative log-likelihood of class labels, and with it the gradient of the cross entropy. src/ops
// has checked the labels, except those of a graph's replay, which are checked after it: one out of
// range gives a NaN there, and never a stray read.
#include "entries.h"
#include "reduce.cuh"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Forward ------------------------------------------------------------------------------------

/// The losses of all samples, and how many count.
template <class T>
struct Losses {
  struct Value {
    double loss;
    int64_t count;
  };
  using Term = Value;
  const T* log_prob;  // [outer][n][inner]
  const int64_t* target;
  const T* class_sums;  // of log_prob over the classes; null without smoothing
  T* each;              // null unless wanted
  T* loss;              // null if each loss is wanted
  T* count;
  int64_t n, inner, ignore_index;
  double smoothing;
  bool mean;

  __device__ Value none() const { return {0, 0}; }
  __device__ Term no_term() const { return none(); }
  __device__ int64_t row(int64_t) const { return 0; }
  __device__ Term load(int64_t, int64_t sample) const {
    const int64_t label = target[sample];
    Term term = none();
    if (label != ignore_index) {
      double value = NAN;
      if (label >= 0 && label < n) {
        const int64_t outer = sample / inner;
        const int64_t at = (outer * n + label) * inner + sample - outer * inner;
        value = -(1 - smoothing) * static_cast<double>(log_prob[at]);
        if (class_sums != nullptr) {
          value -= smoothing / static_cast<double>(n) * static_cast<double>(class_sums[sample]);
        }
      }
      term = {value, 1};
    }
    if (each != nullptr) each[sample] = static_cast<T>(term.loss);
    return term;
  }
  __device__ void add(Value& value, const Term (&terms)[4]) const {
#pragma unroll
    for (int q = 0; q < 4; ++q) join(value, terms[q]);
  }
  __device__ void join(Value& value, const Value& other) const {
    value.loss += other.loss;
    value.count += other.count;
  }
  __device__ void store(int64_t, const Value& value) const {
    const auto samples = static_cast<double>(value.count);
    *count = static_cast<T>(samples);
    if (loss != nullptr) *loss = static_cast<T>(mean ? value.loss / samples : value.loss);
  }
};

// --- Backward -----------------------------------------------------------------------------------

template <class T>
struct LossGradient {
  const T* grad_loss;
  const T* log_prob;  // null if the gradient is not with respect to logits
  const int64_t* target;
  const T* count;  // null unless the loss is a mean
  T* grad_x;
  bool each;  // one grad_loss per sample
  int64_t ignore_index;
  T uniform, hit;  // share of the smoothed target for every class, and for the labelled one
};

/// With q the smoothed target distribution: -grad q, or with respect to logits grad (softmax - q).
template <class T, class Index>
__global__ void loss_backward_kernel(LossGradient<T> a, Index numel, Index n, Index inner) {
  for_each_item(numel, [&](Index i) {
    const Index row = i / inner, outer = row / n, sample = outer * inner + i - row * inner;
    const int64_t label = a.target[sample];
    T grad = a.grad_loss[a.each ? sample : 0];
    if (a.count != nullptr) grad /= *a.count;
    if (label == a.ignore_index) grad = 0;
    const T probability = a.log_prob != nullptr ? exp(a.log_prob[i]) : T(0);
    const bool labelled = label == row - outer * n && label != a.ignore_index;
    a.grad_x[i] = grad * (probability - (labelled ? a.hit : a.uniform));
  });
}

}  // namespace

// --- Launchers ----------------------------------------------------------------------------------

void nll_loss(const NllLossArgs& a, Stream stream) {
  const int64_t samples = a.outer * a.inner;
  const bool smooth = a.label_smoothing > 0;
  const Scratch class_sums("nll_loss",
                           smooth ? static_cast<size_t>(samples) * item_size(a.dtype) : size_t{0});
  if (smooth) {
    sum({a.dtype,
         a.dtype,
         a.log_prob,
         class_sums.as<void>(),
         {a.outer, a.inner},
         {a.n * a.inner, 1},
         {a.n},
         {a.inner},
         1},
        stream);
  }
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    T* loss = static_cast<T*>(a.loss);
    const bool each = a.reduction == Reduction::kNone;
    const Losses<T> losses{static_cast<const T*>(a.log_prob),
                           a.target,
                           smooth ? class_sums.as<T>() : nullptr,
                           each ? loss : nullptr,
                           each ? nullptr : loss,
                           static_cast<T*>(a.count),
                           a.n,
                           a.inner,
                           a.ignore_index,
                           a.label_smoothing,
                           a.reduction == Reduction::kMean};
    reduce("nll_loss", losses, plan_reduction(1, samples, true), stream);
  });
}

void nll_loss_backward(const NllLossBackwardArgs& a, Stream stream) {
  const int64_t numel = a.outer * a.n * a.inner;
  const double uniform = a.label_smoothing / static_cast<double>(a.n);
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const LossGradient<T> gradient{
        static_cast<const T*>(a.grad_loss),
        a.logits ? static_cast<const T*>(a.log_prob) : nullptr,
        a.target,
        a.reduction == Reduction::kMean ? static_cast<const T*>(a.count) : nullptr,
        static_cast<T*>(a.grad_x),
        a.reduction == Reduction::kNone,
        a.ignore_index,
        static_cast<T>(uniform),
        static_cast<T>(1 - a.label_smoothing + uniform)};
    with_index(fits_int32(numel), [&](auto index) {
      launch_items("nll_loss", loss_backward_kernel<T, decltype(index)>, numel, stream, gradient,
                   numel, a.n, a.inner);
    });
  });
}

}  // namespace striate::cuda
