// Optimizer steps over all parameters in one parallel region.
#include <algorithm>
#include <cmath>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

/// Calls update(tensor, first, n) on chunks that cover the elements of all tensors.
template <class Update>
void for_each_chunk(const OptimizerTensor* tensors, int64_t count, const Update& update) {
  constexpr int64_t kChunk = 4096;
  constexpr int64_t kGrain = 12;  // chunks, which take about 10 us
  int64_t chunks = 0;
  for (int64_t t = 0; t < count; ++t) chunks += ceil_div(tensors[t].n, kChunk);
  parallel_for(chunks, kGrain, [&](int64_t begin, int64_t end) {
    int64_t before = 0;  // chunks of the tensors before this one
    for (int64_t t = 0; t < count && before < end; ++t) {
      const int64_t own = ceil_div(tensors[t].n, kChunk);
      const int64_t first = std::max<int64_t>(begin - before, 0) * kChunk;
      const int64_t last = std::min((end - before) * kChunk, tensors[t].n);
      if (first < last) update(tensors[t], first, last - first);
      before += own;
    }
  });
}

}  // namespace

void sgd(const SgdArgs& args, Stream) {
  with_real(args.dtype, [&]<class T>(T) {
    const auto row = isa().rows<T>().element.sgd;
    SGDOptions options = args.options;
    if (const double* s = args.scalars) {
      options = {.lr = s[0],
                 .momentum = s[1],
                 .dampening = s[2],
                 .weight_decay = s[3],
                 .nesterov = options.nesterov};
    }
    for_each_chunk(args.tensors, args.count,
                   [&](const OptimizerTensor& tensor, int64_t first, int64_t n) {
                     const SgdStep<T> step{.lr = static_cast<T>(options.lr),
                                           .momentum = static_cast<T>(options.momentum),
                                           .keep = static_cast<T>(1 - options.dampening),
                                           .weight_decay = static_cast<T>(options.weight_decay),
                                           .nesterov = options.nesterov,
                                           .first = tensor.first};
                     T* m = tensor.m == nullptr ? nullptr : static_cast<T*>(tensor.m) + first;
                     row(n, step, static_cast<T*>(tensor.p) + first,
                         static_cast<const T*>(tensor.g) + first, m);
                   });
  });
}

void adam(const AdamArgs& args, Stream) {
  with_real(args.dtype, [&]<class T>(T) {
    const auto row = isa().rows<T>().element.adam;
    AdamOptions options = args.options;
    double correction1 = args.bias_correction1, correction2 = args.bias_correction2;
    if (const double* s = args.scalars) {
      options = {.lr = s[0],
                 .beta1 = s[1],
                 .beta2 = s[2],
                 .eps = s[3],
                 .weight_decay = s[4],
                 .decoupled = options.decoupled};
      correction1 = s[5];
      correction2 = s[6];
    }
    const double decoupled = options.decoupled ? options.weight_decay : 0;
    const AdamStep<T> step{
        .lr = static_cast<T>(options.lr / correction1),
        .beta1 = static_cast<T>(options.beta1),
        .beta2 = static_cast<T>(options.beta2),
        .rest1 = static_cast<T>(1 - options.beta1),
        .rest2 = static_cast<T>(1 - options.beta2),
        .eps = static_cast<T>(options.eps),
        .root_correction = static_cast<T>(std::sqrt(correction2)),
        .decay = static_cast<T>(1 - options.lr * decoupled),
        .weight_decay = static_cast<T>(options.weight_decay - decoupled),
    };
    for_each_chunk(
        args.tensors, args.count, [&](const OptimizerTensor& tensor, int64_t first, int64_t n) {
          row(n, step, static_cast<T*>(tensor.p) + first, static_cast<const T*>(tensor.g) + first,
              static_cast<T*>(tensor.m) + first, static_cast<T*>(tensor.v) + first);
        });
  });
}

}  // namespace striate::cpu
