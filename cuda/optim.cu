// Optimizer steps. The tensors travel as a list in the kernel's parameters, so that a launch does
// dozens of them; a block has one chunk of one tensor.
#include <algorithm>
#include <cmath>

#include "entries.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

constexpr int kTensors = 80;  // with the step itself below the 4 KiB that every driver takes
constexpr int kVectors = 4;   // of each array, per thread

template <class T>
constexpr int64_t kChunk = int64_t{kThreads} * kVectors * kLanes<T>;

template <class T>
struct TensorList {
  T* p[kTensors];
  const T* g[kTensors];
  T* m[kTensors];
  T* v[kTensors];
  int64_t n[kTensors];
  uint32_t first_block[kTensors + 1];  // and the total at `count`
  bool first[kTensors];
  int count;
};

/// The tensor of a block, by bisection.
template <class T>
__device__ int tensor_of(const TensorList<T>& list, uint32_t block) {
  int low = 0, high = list.count;  // first_block[low] <= block < first_block[high]
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (list.first_block[middle] <= block ? low : high) = middle;
  }
  return low;
}

__device__ inline bool has_vectors(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

/// `scalars` are those of SgdArgs. Without momentum there is no m.
template <class T>
struct Sgd {
  static constexpr int kScalars = kSgdScalars;
  static constexpr bool kSquares = false;  // v
  bool nesterov;
  T lr, momentum, keep, weight_decay;  // keep is 1 - dampening

  __host__ __device__ void set(const double* scalars) {
    lr = static_cast<T>(scalars[0]);
    momentum = static_cast<T>(scalars[1]);
    keep = static_cast<T>(1 - scalars[2]);
    weight_decay = static_cast<T>(scalars[3]);
  }
  __device__ void update(T& p, T g, T& m, T&, bool has_momentum, bool first) const {
    const T grad = g + weight_decay * p;
    T velocity = grad;
    if (has_momentum) {
      if (!first) velocity = momentum * m + keep * grad;
      m = velocity;
      if (nesterov) velocity = grad + momentum * velocity;
    }
    p -= lr * velocity;
  }
};

/// See AdamStep in src/cpu/isa/rows.h. `scalars` are those of AdamArgs.
template <class T>
struct Adam {
  static constexpr int kScalars = kAdamScalars;
  static constexpr bool kSquares = true;
  bool decoupled;
  T lr, beta1, beta2, rest1, rest2;
  T eps, root_correction, decay, weight_decay;

  __host__ __device__ void set(const double* scalars) {
    const double rate = scalars[0], added_decay = decoupled ? 0 : scalars[4];
    lr = static_cast<T>(rate / scalars[5]);
    beta1 = static_cast<T>(scalars[1]);
    beta2 = static_cast<T>(scalars[2]);
    rest1 = static_cast<T>(1 - scalars[1]);
    rest2 = static_cast<T>(1 - scalars[2]);
    eps = static_cast<T>(scalars[3]);
    root_correction = static_cast<T>(sqrt(scalars[6]));
    decay = static_cast<T>(1 - rate * (scalars[4] - added_decay));
    weight_decay = static_cast<T>(added_decay);
  }
  __device__ void update(T& p, T g, T& m, T& v, bool, bool) const {
    const T grad = g + weight_decay * p;
    m = beta1 * m + rest1 * grad;
    v = beta2 * v + rest2 * grad * grad;
    p = p * decay - lr * m / (sqrt(v) / root_correction + eps);
  }
};

/// With `scalars`, one thread of each block computes the step from them: they are doubles, which
/// are slow on most GPUs.
template <class T, class Step>
__global__ void step_kernel(TensorList<T> list, Step given, const double* scalars) {
  constexpr int kWidth = kLanes<T>;
  __shared__ Step shared;
  Step step = given;
  if (scalars != nullptr) {
    if (threadIdx.x == 0) {
      step.set(scalars);
      shared = step;
    }
    __syncthreads();
    step = shared;
  }
  const int t = tensor_of(list, blockIdx.x);
  const int64_t n = list.n[t];
  const bool first = list.first[t];
  T *const p = list.p[t], *const m = list.m[t], *const v = list.v[t];
  const T* const g = list.g[t];
  const bool aligned = has_vectors(p) && has_vectors(g) && has_vectors(m) && has_vectors(v);
  const int64_t begin = (blockIdx.x - list.first_block[t]) * kChunk<T> + threadIdx.x * kWidth;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int64_t i = begin + k * kThreads * kWidth, count = n - i;
    if (count <= 0) return;
    const bool whole = aligned && count >= kWidth;
    auto weight = load_part<kWidth>(p + i, count, whole);
    const auto grad = load_part<kWidth>(g + i, count, whole);
    Vector<T, kWidth> mean = {}, square = {};
    if (m != nullptr && !first) mean = load_part<kWidth>(m + i, count, whole);
    if (v != nullptr && !first) square = load_part<kWidth>(v + i, count, whole);
#pragma unroll
    for (int lane = 0; lane < kWidth; ++lane) {
      step.update(weight.lane[lane], grad.lane[lane], mean.lane[lane], square.lane[lane],
                  m != nullptr, first);
    }
    store_part(p + i, weight, count, whole);
    if (m != nullptr) store_part(m + i, mean, count, whole);
    if (v != nullptr) store_part(v + i, square, count, whole);
  }
}

// --- Launchers ----------------------------------------------------------------------------------

template <class T, class Step>
void launch_steps(const char* name, const OptimizerTensor* tensors, int64_t count, Step step,
                  const double (&values)[Step::kScalars], const double* scalars, Stream stream) {
  static_assert(sizeof(TensorList<T>) + sizeof(Step) + sizeof(scalars) <= 4096);
  step.set(values);
  for (int64_t begin = 0; begin < count; begin += kTensors) {
    TensorList<T> list = {};
    list.count = static_cast<int>(std::min<int64_t>(kTensors, count - begin));
    for (int t = 0; t < list.count; ++t) {
      const OptimizerTensor& tensor = tensors[begin + t];
      list.p[t] = static_cast<T*>(tensor.p);
      list.g[t] = static_cast<const T*>(tensor.g);
      list.m[t] = static_cast<T*>(tensor.m);
      list.v[t] = Step::kSquares ? static_cast<T*>(tensor.v) : nullptr;
      list.n[t] = tensor.n;
      list.first[t] = tensor.first;
      list.first_block[t + 1] =
          list.first_block[t] + static_cast<uint32_t>(ceil_div(tensor.n, kChunk<T>));
    }
    launch_blocks(name, step_kernel<T, Step>, list.first_block[list.count], dim3(kThreads), stream,
                  list, step, scalars);
  }
}

}  // namespace

void sgd(const SgdArgs& a, Stream stream) {
  const SGDOptions& o = a.options;
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    Sgd<T> step = {};
    step.nesterov = o.nesterov;
    launch_steps<T>("sgd", a.tensors, a.count, step,
                    {o.lr, o.momentum, o.dampening, o.weight_decay}, a.scalars, stream);
  });
}

void adam(const AdamArgs& a, Stream stream) {
  const AdamOptions& o = a.options;
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    Adam<T> step = {};
    step.decoupled = o.decoupled;
    launch_steps<T>(
        "adam", a.tensors, a.count, step,
        {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, a.bias_correction1, a.bias_correction2},
        a.scalars, stream);
  });
}

}  // namespace striate::cuda
