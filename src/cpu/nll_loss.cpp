// Negative log-likelihood of class labels, and with it the gradient of the cross entropy.
#include <algorithm>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/strided.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

/// Loss of the sample whose classes start at log_prob, `inner` apart.
template <class T>
double sample_loss(const NllLossArgs& args, const T* log_prob, int64_t target) {
  double loss = -(1 - args.label_smoothing) * log_prob[target * args.inner];
  if (args.label_smoothing > 0) {
    double sum = 0;
    for (int64_t i = 0; i < args.n; ++i) sum += log_prob[i * args.inner];
    loss -= args.label_smoothing / static_cast<double>(args.n) * sum;
  }
  return loss;
}

template <class T>
void nll_loss_of(const NllLossArgs& args) {
  struct Part {
    double loss;
    int64_t count;
  };
  const auto part = [&](int64_t begin, int64_t end) {
    Part sums{};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t target = args.target[i];
      const bool counts = target != args.ignore_index;
      const T* log_prob = static_cast<const T*>(args.log_prob) +
                          i / args.inner * args.n * args.inner + i % args.inner;
      const double loss = counts ? sample_loss(args, log_prob, target) : 0;
      if (args.reduction == Reduction::kNone) static_cast<T*>(args.loss)[i] = static_cast<T>(loss);
      sums.loss += loss;
      sums.count += counts;
    }
    return sums;
  };
  const Part total =
      reduce_chunks<64>(args.outer * args.inner, 512, 8, part, [](Part& sums, const Part& more) {
        sums.loss += more.loss;
        sums.count += more.count;
      });
  const double count = static_cast<double>(total.count);
  *static_cast<T*>(args.count) = static_cast<T>(count);
  if (args.reduction == Reduction::kSum) *static_cast<T*>(args.loss) = static_cast<T>(total.loss);
  if (args.reduction == Reduction::kMean) {
    *static_cast<T*>(args.loss) = static_cast<T>(total.loss / count);  // NaN if all are ignored
  }
}

/// With q the smoothed target distribution: -grad q, or, with `logits`, grad (softmax - q).
template <class T>
void nll_loss_backward_of(const NllLossBackwardArgs& args) {
  constexpr int64_t kBlock = 64;
  const auto exp = isa().rows<T>().element.exp;
  const T* grad_loss = static_cast<const T*>(args.grad_loss);
  const double uniform = args.label_smoothing / static_cast<double>(args.n);
  for_each_block<kBlock>(
      args.outer, args.inner, 2 * args.n, [&](int64_t outer, int64_t first, int64_t columns) {
        const int64_t sample = outer * args.inner + first;
        const int64_t offset = outer * args.n * args.inner + first;
        T* grad_x = static_cast<T*>(args.grad_x) + offset;
        const T* log_prob = static_cast<const T*>(args.log_prob) + offset;
        T grad[kBlock];
        for (int64_t j = 0; j < columns; ++j) {
          T each = grad_loss[args.reduction == Reduction::kNone ? sample + j : 0];
          if (args.reduction == Reduction::kMean) each /= *static_cast<const T*>(args.count);
          grad[j] = args.target[sample + j] == args.ignore_index ? 0 : each;
        }
        if (args.logits && args.inner == 1) exp(args.n, log_prob, grad_x);
        for (int64_t i = 0; i < args.n; ++i) {
          T* row = grad_x + i * args.inner;
          if (args.logits && args.inner > 1) exp(columns, log_prob + i * args.inner, row);
          for (int64_t j = 0; j < columns; ++j) {
            const T probability = args.logits ? row[j] : 0;
            row[j] = grad[j] * (probability - static_cast<T>(uniform));
          }
        }
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t target = args.target[sample + j];
          if (target == args.ignore_index) continue;
          const T probability = args.logits ? std::exp(log_prob[target * args.inner + j]) : 0;
          grad_x[target * args.inner + j] =
              grad[j] * (probability - static_cast<T>(1 - args.label_smoothing + uniform));
        }
      });
}

}  // namespace

void nll_loss(const NllLossArgs& args, Stream) {
  with_real(args.dtype, [&]<class T>(T) { nll_loss_of<T>(args); });
}

void nll_loss_backward(const NllLossBackwardArgs& args, Stream) {
  with_real(args.dtype, [&]<class T>(T) { nll_loss_backward_of<T>(args); });
}

}  // namespace striate::cpu
