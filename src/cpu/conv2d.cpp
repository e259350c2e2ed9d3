// Convolution's entry points: which algorithm runs a pass, and the call to it.
#include <algorithm>

#include "cpu/conv2d_bfloat16.h"
#include "cpu/conv2d_col2im.h"
#include "cpu/conv2d_direct.h"
#include "cpu/conv2d_pass.h"
#include "cpu/linear_in_place.h"
#include "cpu/winograd.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

// One core's rates, estimated for AVX-512 (docs/decisions.md). Only their ratio matters; they are
// constants, because a choice that followed the machine's load would change the bits.
constexpr double kFlops = 110e9;
constexpr double kBytesPerSecond = 15e9;
// Transforms run at the speed of the L1 cache; per value this costs as much as so many flops.
constexpr double kTransformFlops = 26;

double seconds(double flops, double weight_bytes) {
  return std::max(flops / kFlops, weight_bytes / kBytesPerSecond);
}

double direct_seconds(const WinogradGeometry& g, size_t item) {
  const double weight = 1.0 * g.taps() * g.channels * g.filters;
  return seconds(2 * weight * g.n * g.oh * g.ow, weight * item);
}

double winograd_seconds(const WinogradGeometry& g, ConvPass pass, size_t item) {
  const double weight = 1.0 * g.points() * g.channels * g.filters;
  const double products = 2.0 * g.channels * g.filters;
  const double transforms = kTransformFlops * (g.channels + g.filters);
  // The weight gradient's sums are written and read again.
  const int passes = pass == ConvPass::kWeightGrad ? 2 : 1;
  return seconds((products + transforms) * g.tile_points(), passes * weight * item);
}

/// The fastest algorithm by the model: a function of the shape and the instruction set alone.
template <class T>
Algorithm choose(const Conv2dGeometry& g, ConvPass pass) {
  if (pass != ConvPass::kWeightGrad && in_place_pays<T>(g)) return kInPlace;
  const int64_t m = winograd_edge<T>(g, pass);
  if (m > 0) return static_cast<Algorithm>(m);
  return col2im_pays<T>(g, pass) ? kCol2im : kDirect;
}

/// By Algorithm.
constexpr const char* kNames[] = {"direct", "col2im", "winograd2", "in_place", "winograd4"};

template <class T>
Conv2dPlan make_plan(const Conv2dGeometry& g, ConvPass pass) {
  const Algorithm algorithm = choose<T>(g, pass);
  if (pass == ConvPass::kWeightGrad) {
    return algorithm == kDirect
               ? weight_grad_plan<T>(g)
               : winograd_weight_grad_plan<T>(winograd_geometry(g, pass, algorithm));
  }
  switch (algorithm) {
    case kDirect:
      return direct_plan<T>(g, pass);
    case kCol2im:
      return col2im_plan<T>(g);
    case kInPlace:
      return in_place_plan<T>(g, pass);
    default:
      return winograd_plan<T>(winograd_geometry(g, pass, algorithm));
  }
}

/// Forward, or input gradient with grad_y for x and grad_x for y.
template <class T>
void run(const Conv2dGeometry& g, ConvPass pass, const Conv2dPlan& plan, const T* x,
         const T* packed, Epilogue<T> epilogue, T* y, void* workspace) {
  epilogue.stream = streams(g, pass, y);
  switch (plan.algorithm) {
    case kDirect:
      return direct(g, pass, x, packed, epilogue, y, workspace);
    case kCol2im:
      return col2im(g, x, packed, epilogue.bias, y);
    case kInPlace:
      return in_place(g, pass, x, packed, epilogue, y, workspace);
    default:
      return winograd(winograd_geometry(g, pass, plan.algorithm), plan, x, packed, epilogue, y,
                      workspace);
  }
}

}  // namespace

/// Direct convolution takes kStep multiply-adds of T at a time, Winograd's products are of floats.
template <class T>
int64_t winograd_edge(const Conv2dGeometry& g, ConvPass pass) {
  if (!winograd_enabled() || !winograd_applies<T>(g)) return 0;
  constexpr size_t kItem = sizeof(Compute<T>);
  int64_t best = 0;
  double least = direct_seconds(winograd_geometry(g, pass, 4), kItem) / kStep<T>;
  for (int64_t m : {2, 4}) {
    if (m + g.kh - 1 > kMaxWinogradEdge) continue;
    const double time = winograd_seconds(winograd_geometry(g, pass, m), pass, kItem);
    if (time < least) {
      least = time;
      best = m;
    }
  }
  return best;
}
template int64_t winograd_edge<BFloat16>(const Conv2dGeometry&, ConvPass);

Conv2dPlan conv2d_plan(const Conv2dGeometry& g, DType dtype, ConvPass pass) {
  if (dtype == DType::kBFloat16) return bfloat16_plan(g, pass);
  Conv2dPlan plan = with_type(dtype, [&]<class T>() { return make_plan<T>(g, pass); });
  plan.name = kNames[plan.algorithm];
  plan.adds_term = plan.algorithm != kCol2im && plan.algorithm != kInPlace;
  return plan;
}

void conv2d_pack(const Conv2dPackArgs& args, Stream) {
  if (args.dtype == DType::kBFloat16) return bfloat16_pack(args);
  with_type(args.dtype, [&]<class T>() {
    switch (args.plan.algorithm) {
      case kDirect:
        return direct_pack<T>(args);
      case kCol2im:
        return col2im_pack<T>(args);
      case kInPlace:
        return in_place_pack<T>(args);
      default:
        return winograd_pack<T>(winograd_geometry(args.g, args.pass, args.plan.algorithm), args);
    }
  });
}

void conv2d(const Conv2dArgs& args, Stream) {
  if (args.dtype == DType::kBFloat16) return bfloat16_conv2d(args);
  with_type(args.dtype, [&]<class T>() {
    T* y = static_cast<T*>(args.y);
    const Epilogue<T> epilogue{static_cast<const T*>(args.bias), distance_to(args.residual, y),
                               args.relu};
    run(args.g, ConvPass::kForward, args.plan, static_cast<const T*>(args.x),
        static_cast<const T*>(args.packed), epilogue, y, args.workspace);
  });
}

void conv2d_input_grad(const Conv2dInputGradArgs& args, Stream) {
  if (args.dtype == DType::kBFloat16) return bfloat16_input_grad(args);
  with_type(args.dtype, [&]<class T>() {
    T* grad_x = static_cast<T*>(args.grad_x);
    run(args.g, ConvPass::kInputGrad, args.plan, static_cast<const T*>(args.grad_y),
        static_cast<const T*>(args.packed),
        {static_cast<const T*>(args.bias), distance_to(args.term, grad_x)}, grad_x, args.workspace);
  });
}

void conv2d_weight_grad(const Conv2dWeightGradArgs& args, Stream) {
  if (args.dtype == DType::kBFloat16) return bfloat16_weight_grad(args);
  with_type(args.dtype, [&]<class T>() {
    if (args.plan.algorithm == kDirect) return direct_weight_grad<T>(args);
    winograd_weight_grad(winograd_geometry(args.g, ConvPass::kWeightGrad, args.plan.algorithm),
                         args.plan, static_cast<const T*>(args.x),
                         static_cast<const T*>(args.grad_y), static_cast<T*>(args.grad_weight),
                         args.workspace);
  });
}

}  // namespace striate::cpu
