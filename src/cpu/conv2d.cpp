// Convolution's entry points: which algorithm runs a pass, and the call to it.
#include <algorithm>
#include <span>
#include <type_traits>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"
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

/// With `step` multiply-adds at a time.
double direct_seconds(const WinogradGeometry& g, size_t item, int step) {
  const double weight = 1.0 * g.taps() * g.channels * g.filters;
  return seconds(2 * weight * g.n * g.oh * g.ow, weight * item) / step;
}

double winograd_seconds(const WinogradGeometry& g, ConvPass pass, size_t item, int step) {
  const double weight = 1.0 * g.points() * g.channels * g.filters;
  const double products = 2.0 * g.channels * g.filters / step;
  const double transforms = kTransformFlops * (g.channels + g.filters);
  // The weight gradient's sums are written and read again, in the type of sums.
  const double bytes = (pass == ConvPass::kWeightGrad ? 2 * weight : weight / step) * item;
  return seconds((products + transforms) * g.tile_points(), bytes);
}

/// What products of tiles of an edge take.
template <class T, int64_t kEdge>
using WinogradOperand = std::conditional_t<kEdge == 3, BFloat16, Compute<T>>;

/// Whether transformed operands may be rounded to pairs of bfloat16. Of fewer channels, a result in
/// a corner, which has four taps, may be further off than docs/mixed_precision.md promises.
template <class T>
bool winograd_in_pairs(const WinogradGeometry& g, ConvPass pass) {
  constexpr int64_t kLeastChannels = 64;
  return kStep<T> > 1 && isa().multiplies_bfloat16() && g.r == 3 &&
         (pass == ConvPass::kWeightGrad || g.channels >= kLeastChannels);
}

/// The edge of the output tiles that beat direct convolution by a model of their costs; 0: none do.
template <class T>
int64_t winograd_edge(const Conv2dGeometry& g, ConvPass pass) {
  if (!winograd_enabled() || !winograd_applies<T>(g)) return 0;
  constexpr size_t kItem = sizeof(Compute<T>);
  int64_t best = 0;
  double least = direct_seconds(winograd_geometry(g, pass, 4), kItem, kStep<T>);
  for (int64_t m : {2, 3, 4}) {
    const WinogradGeometry tiles = winograd_geometry(g, pass, m);
    if (tiles.edge() > kMaxWinogradEdge || (m == 3 && !winograd_in_pairs<T>(tiles, pass))) continue;
    const double time = winograd_seconds(tiles, pass, kItem, m == 3 ? kStep<BFloat16> : 1);
    if (time < least) {
      least = time;
      best = m;
    }
  }
  return best;
}

template <class T, int64_t kEdge>
ConvAlgorithm<T> winograd_algorithm(const char* name) {
  using P = WinogradOperand<T, kEdge>;
  return {
      .name = name,
      .pays = [](const Conv2dGeometry& g,
                 ConvPass pass) { return winograd_edge<T>(g, pass) == kEdge; },
      .plan =
          [](const Conv2dGeometry& g, ConvPass pass) {
            const WinogradGeometry tiles = winograd_geometry(g, pass, kEdge);
            return pass == ConvPass::kWeightGrad ? winograd_weight_grad_plan<T, P>(tiles)
                                                 : winograd_plan<T, P>(tiles);
          },
      .pack =
          [](const Conv2dPackArgs& args) {
            winograd_pack<T, P>(winograd_geometry(args.g, args.pass, kEdge), args);
          },
      .run =
          [](const ConvCall<T>& c) {
            winograd<T, P>(winograd_geometry(c.g, c.pass, kEdge), c.plan, c.x, c.packed, c.epilogue,
                           c.y, c.workspace);
          },
      .weight_grad =
          [](const Conv2dWeightGradArgs& args) {
            winograd_weight_grad<T, P>(winograd_geometry(args.g, ConvPass::kWeightGrad, kEdge),
                                       args.plan, static_cast<const T*>(args.x),
                                       static_cast<const T*>(args.grad_y),
                                       static_cast<T*>(args.grad_weight), args.workspace);
          },
      .adds_term = true,
  };
}

/// From the most to the least special.
template <class T>
std::span<const ConvAlgorithm<T>> algorithms() {
  static const ConvAlgorithm<T> table[] = {in_place_algorithm<T>(),
                                           winograd_algorithm<T, 2>("winograd2"),
                                           winograd_algorithm<T, 4>("winograd4"),
                                           col2im_algorithm<T>(),
                                           planar_algorithm<T>(),
                                           narrow_algorithm<T>(),
                                           direct_algorithm<T>(),
                                           direct_weight_grad_algorithm<T>()};
  return table;
}
/// Few filters are faster as floats than in pairs.
template <>
std::span<const ConvAlgorithm<BFloat16>> algorithms() {
  static const ConvAlgorithm<BFloat16> table[] = {
      winograd_algorithm<BFloat16, 2>("winograd2"),
      winograd_algorithm<BFloat16, 3>("winograd3"),
      winograd_algorithm<BFloat16, 4>("winograd4"),
      widened_algorithm<planar_algorithm<float>>(),
      direct_algorithm<BFloat16>(),
      direct_weight_grad_algorithm<BFloat16>(),
      widened_algorithm<narrow_algorithm<float>>(),
      widened_algorithm<direct_algorithm<float>>(),
      widened_algorithm<direct_weight_grad_algorithm<float>>()};
  return table;
}

/// The forward's or the input gradient's args; `term` is another one of the result.
template <class T, class Args>
void run(ConvPass pass, const Args& args, const void* source, const void* term, bool relu,
         void* result) {
  T* y = static_cast<T*>(result);
  const Epilogue<T> epilogue{static_cast<const Compute<T>*>(args.bias), distance_to(term, y), relu,
                             streams(args.g, pass, y)};
  algorithms<T>()[args.plan.algorithm].run({args.g, pass, args.plan, static_cast<const T*>(source),
                                            args.packed, epilogue, y, args.workspace});
}

}  // namespace

Conv2dPlan conv2d_plan(const Conv2dGeometry& g, DType dtype, ConvPass pass) {
  Conv2dPlan plan;
  with_floating(dtype, [&]<class T>(T) {
    const auto all = algorithms<T>();
    const auto row = std::find_if(all.begin(), all.end(), [&](const ConvAlgorithm<T>& algorithm) {
      return algorithm.pays(g, pass);
    });
    plan = row->plan(g, pass);
    plan.algorithm = static_cast<int32_t>(row - all.begin());
    plan.name = row->name;
    plan.adds_term = row->adds_term;
  });
  return plan;
}

void conv2d_pack(const Conv2dPackArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) { algorithms<T>()[args.plan.algorithm].pack(args); });
}

void conv2d(const Conv2dArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    run<T>(ConvPass::kForward, args, args.x, args.residual, args.relu, args.y);
  });
}

void conv2d_input_grad(const Conv2dInputGradArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    run<T>(ConvPass::kInputGrad, args, args.grad_y, args.term, false, args.grad_x);
  });
}

void conv2d_weight_grad(const Conv2dWeightGradArgs& args, Stream) {
  with_floating(args.dtype,
                [&]<class T>(T) { algorithms<T>()[args.plan.algorithm].weight_grad(args); });
}

}  // namespace striate::cpu
