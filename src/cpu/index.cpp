// Gathering rows, adding them back, and checking indices before anything is read through them.
#include <algorithm>
#include <cstring>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/strided.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {

void index_select(const IndexSelectArgs& args, Stream) {
  const int64_t row = args.inner * static_cast<int64_t>(item_size(args.dtype));
  if (row == 0) return;
  const char* x = static_cast<const char*>(args.x);
  char* y = static_cast<char*>(args.y);
  parallel_for_each(args.outer * args.count, grain_for(args.inner), [&](int64_t i) {
    const int64_t outer = i / args.count, index = args.indices[i % args.count];
    std::memcpy(y + i * row, x + (outer * args.n + index) * row, row);
  });
}

void index_select_backward(const IndexSelectBackwardArgs& args, Stream) {
  constexpr int64_t kBlock = 256;  // of the inner dimension: each adds in index order
  with_real(args.dtype, [&]<class T>(T) {
    const auto accumulate = isa().rows<T>().element.accumulate;
    for_each_block<kBlock>(
        args.outer, args.inner, args.n + args.count,
        [&](int64_t outer, int64_t first, int64_t width) {
          const T* grad_y =
              static_cast<const T*>(args.grad_y) + outer * args.count * args.inner + first;
          T* grad_x = static_cast<T*>(args.grad_x) + outer * args.n * args.inner + first;
          for (int64_t i = 0; i < args.n; ++i) std::fill_n(grad_x + i * args.inner, width, 0);
          for (int64_t k = 0; k < args.count; ++k)
            accumulate(width, grad_y + k * args.inner, grad_x + args.indices[k] * args.inner);
        });
  });
}

void find_out_of_range(const FindOutOfRangeArgs& args, Stream) {
  const auto bad = [&](int64_t index) {
    return (index < args.low || index >= args.high) && index != args.ignore;
  };
  const auto first_bad = [&](int64_t begin, int64_t end) {
    const int64_t* last = args.indices + end;
    const int64_t* found = std::find_if(args.indices + begin, last, bad);
    return found == last ? args.n : found - args.indices;
  };
  const int64_t position =
      reduce_chunks<128>(args.n, kElementGrain, 1, first_bad,
                         [](int64_t& first, int64_t part) { first = std::min(first, part); });
  *args.bad = position < args.n ? position : -1;
}

}  // namespace striate::cpu
