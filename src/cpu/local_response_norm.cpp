// Local response normalisation (Krizhevsky et al. 2012, section 3.3), a row of channels at a time.
#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

int64_t row_grain(int64_t c, int64_t size) { return grain_for(c * std::min(size, c)); }

}  // namespace

void local_response_norm(const LocalResponseNormArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const auto row = isa().rows<T>().column.response_norm;
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    using V = Compute<T>;
    V* scale = static_cast<V*>(args.scale);
    const V ratio = static_cast<V>(args.alpha / static_cast<double>(args.size));
    const V beta = static_cast<V>(args.beta), k = static_cast<V>(args.k);
    parallel_for_each(args.rows, row_grain(args.c, args.size), [&](int64_t r) {
      const int64_t i = r * args.c;
      row(args.c, args.size, ratio, beta, k, x + i, y + i, scale + i);
    });
  });
}

void local_response_norm_backward(const LocalResponseNormBackwardArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const auto row = isa().rows<T>().column.response_norm_grad;
    const T* grad_y = static_cast<const T*>(args.grad_y);
    const T* x = static_cast<const T*>(args.x);
    using V = Compute<T>;
    const V* scale = static_cast<const V*>(args.scale);
    T* grad_x = static_cast<T*>(args.grad_x);
    const V ratio = static_cast<V>(args.alpha / static_cast<double>(args.size));
    const V beta = static_cast<V>(args.beta);
    parallel_for_each(args.rows, row_grain(args.c, args.size), [&](int64_t r) {
      const int64_t i = r * args.c;
      row(args.c, args.size, ratio, beta, grad_y + i, x + i, scale + i, grad_x + i);
    });
  });
}

}  // namespace striate::cpu
