// Local response normalisation (Krizhevsky et al. 2012, section 3.3). A thread has one element and
// reads its window, which its neighbours have brought into the cache.
#include "entries.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

/// s^-beta; 3/4, the value of the paper, by roots.
template <class C>
__device__ C inverse_power(C s, C beta) {
  if (beta != C(0.75)) return pow(s, -beta);
  const C root = sqrt(s);
  return 1 / (root * sqrt(root));
}

/// What both passes need to know of a row.
template <class C>
struct Row {
  int64_t c, before, after;  // the window of channel i is [i - before, i + after]
  C ratio, beta;             // ratio = alpha / size
};

/// Calls body(j) for the channels j of a window around element i of x [rows][c], by their offsets.
template <class Body>
__device__ void for_each_neighbour(int64_t i, int64_t c, int64_t before, int64_t after,
                                   const Body& body) {
  const int64_t row = i - i % c, channel = i - row;
  const int64_t first = channel > before ? channel - before : 0;
  const int64_t last = channel + after < c ? channel + after : c - 1;
  for (int64_t j = first; j <= last; ++j) body(row + j);
}

template <class T>
__global__ void response_norm_kernel(const T* x, T* y, Compute<T>* scale, int64_t n,
                                     Row<Compute<T>> row, Compute<T> k) {
  using C = Compute<T>;
  for_each_item<1>(n, [&](int64_t i) {
    C sum = 0;
    for_each_neighbour(i, row.c, row.before, row.after, [&](int64_t j) {
      const C v = convert<C>(x[j]);
      sum += v * v;
    });
    const C s = k + row.ratio * sum;
    scale[i] = s;
    y[i] = convert<T>(convert<C>(x[i]) * inverse_power(s, row.beta));
  });
}

/// grad_x[i] = grad_y[i] s[i]^-beta - 2 ratio beta x[i] * sum of grad_y[j] x[j] s[j]^(-beta-1) over
/// the channels j whose window holds i: the mirrored window.
template <class T>
__global__ void response_norm_backward_kernel(const T* grad_y, const T* x, const Compute<T>* scale,
                                              T* grad_x, int64_t n, Row<Compute<T>> row) {
  using C = Compute<T>;
  for_each_item<1>(n, [&](int64_t i) {
    C sum = 0;
    for_each_neighbour(i, row.c, row.after, row.before, [&](int64_t j) {
      const C s = scale[j];
      sum += convert<C>(grad_y[j]) * convert<C>(x[j]) * inverse_power(s, row.beta) / s;
    });
    const C own = convert<C>(grad_y[i]) * inverse_power(scale[i], row.beta);
    grad_x[i] = convert<T>(own - 2 * row.ratio * row.beta * convert<C>(x[i]) * sum);
  });
}

// --- Launchers ----------------------------------------------------------------------------------

template <class C, class Args>
Row<C> row_of(const Args& a) {
  // Windows wider than the row cover it: clipping them keeps sums of sizes from overflowing.
  return {a.c, std::min(a.size / 2, a.c), std::min((a.size - 1) / 2, a.c),
          static_cast<C>(a.alpha / static_cast<double>(a.size)), static_cast<C>(a.beta)};
}

}  // namespace

void local_response_norm(const LocalResponseNormArgs& a, Stream stream) {
  const int64_t n = a.rows * a.c;
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_items<1>("local_response_norm", response_norm_kernel<T>, n, stream,
                    static_cast<const T*>(a.x), static_cast<T*>(a.y),
                    static_cast<Compute<T>*>(a.scale), n, row_of<Compute<T>>(a),
                    static_cast<Compute<T>>(a.k));
  });
}

void local_response_norm_backward(const LocalResponseNormBackwardArgs& a, Stream stream) {
  const int64_t n = a.rows * a.c;
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_items<1>("local_response_norm", response_norm_backward_kernel<T>, n, stream,
                    static_cast<const T*>(a.grad_y), static_cast<const T*>(a.x),
                    static_cast<const Compute<T>*>(a.scale), static_cast<T*>(a.grad_x), n,
                    row_of<Compute<T>>(a));
  });
}

}  // namespace striate::cuda
