// bfloat16 convolution: direct where the processor multiplies pairs of it, by Winograd's transforms
// into float32 where these save more than that, else by way of float32, as for groups that pairs do
// not fit: operands are widened into the workspace, direct convolution runs on them, and its result
// is narrowed.
#include "cpu/conv2d_bfloat16.h"

#include "cpu/conv2d_direct.h"
#include "cpu/conv2d_pass.h"
#include "cpu/conv2d_planar.h"
#include "cpu/winograd.h"

namespace striate::cpu {
namespace {

/// Floats to set aside for n: whole cache lines, and what tiles may read past the last one.
int64_t room(int64_t n) { return (n + 15) / 16 * 16 + kMaxTileWidth; }

int64_t x_size(const Conv2dGeometry& g) { return g.n * g.h * g.w * g.c; }
int64_t y_size(const Conv2dGeometry& g) { return g.n * g.oh * g.ow * g.o; }
int64_t weight_size(const Conv2dGeometry& g) { return g.o * g.kh * g.kw * (g.c / g.groups); }

void widen(int64_t n, const void* x, float* y) {
  const auto* source = static_cast<const BFloat16*>(x);
  parallel_for(n, kElementGrain, [=](int64_t begin, int64_t end) {
    isa().convert.widen(end - begin, source + begin, y + begin);
  });
}
void narrow(int64_t n, const float* x, void* y) {
  auto* target = static_cast<BFloat16*>(y);
  parallel_for(n, kElementGrain, [=](int64_t begin, int64_t end) {
    isa().convert.narrow(end - begin, x + begin, target + begin);
  });
}

/// y += residual, then relu: in place, with a buffer for the widened residual.
void add_residual(const Conv2dArgs& args, float* y) {
  constexpr int64_t kBlock = 1024;
  const ElementKernels<float>& rows = isa().rows<float>().element;
  const auto* residual = static_cast<const BFloat16*>(args.residual);
  parallel_for(y_size(args.g), kElementGrain, [&](int64_t begin, int64_t end) {
    float term[kBlock];
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t n = std::min(kBlock, end - i);
      isa().convert.widen(n, residual + i, term);
      rows.accumulate(n, term, y + i);
      if (args.relu) rows.relu(n, y + i, y + i);
    }
  });
}

Conv2dPlan widened_plan(const Conv2dGeometry& g, ConvPass pass) {
  const bool weight_grad = pass == ConvPass::kWeightGrad;
  const Conv2dPlan inner = weight_grad ? weight_grad_plan<float>(g) : direct_plan<float>(g, pass);
  const int64_t operands =
      room(x_size(g)) + room(y_size(g)) + (weight_grad ? room(weight_size(g)) : 0);
  const size_t weight = weight_grad ? 0 : weight_size(g) * sizeof(float);
  return {kWidened, inner.packed + weight, inner.workspace + operands * sizeof(float), "widened"};
}

/// The widened weight lies behind what is packed from it.
void widened_pack(const Conv2dPackArgs& args) {
  const Conv2dGeometry& g = args.g;
  const int64_t channels = g.c / g.groups;
  const int64_t* strides = args.weight_strides;
  Conv2dPackArgs inner = args;
  inner.dtype = DType::kFloat32;
  inner.plan = direct_plan<float>(g, args.pass);
  float* weight = static_cast<float*>(args.packed) + inner.plan.packed / sizeof(float);
  inner.weight = weight;
  const auto* source = static_cast<const BFloat16*>(args.weight);
  for (int64_t o = 0; o < g.o; ++o)
    for (int64_t kh = 0; kh < g.kh; ++kh)
      for (int64_t kw = 0; kw < g.kw; ++kw)
        for (int64_t c = 0; c < channels; ++c)
          *weight++ =
              value_of(source[o * strides[0] + c * strides[1] + kh * strides[2] + kw * strides[3]]);
  const int64_t dense[] = {g.kh * g.kw * channels, 1, g.kw * channels, channels};
  std::copy_n(dense, 4, inner.weight_strides);
  direct_pack<float>(inner);
}

/// Channels are summed two by two, so each of several groups must have an even number of them; few
/// filters are faster as floats.
bool pairs_apply(const Conv2dGeometry& g, ConvPass pass) {
  if (!isa().multiplies_bfloat16() || planar_pays<float>(g, pass)) return false;
  const int64_t channels = (pass == ConvPass::kInputGrad ? g.o : g.c) / g.groups;
  return g.groups == 1 || pass == ConvPass::kWeightGrad || channels % kStep<BFloat16> == 0;
}

/// Forward, or input gradient with grad_y for x and grad_x for y; not widened.
void run(const Conv2dGeometry& g, ConvPass pass, const Conv2dPlan& plan, const void* x,
         const void* packed, Epilogue<BFloat16> epilogue, void* result, void* workspace) {
  const auto* source = static_cast<const BFloat16*>(x);
  auto* y = static_cast<BFloat16*>(result);
  epilogue.stream = streams(g, pass, y);
  if (plan.algorithm == kPairs)
    return direct(g, pass, source, static_cast<const BFloat16*>(packed), epilogue, y, workspace);
  winograd(winograd_geometry(g, pass, plan.algorithm), plan, source, packed, epilogue, y,
           workspace);
}

}  // namespace

Conv2dPlan bfloat16_plan(const Conv2dGeometry& g, ConvPass pass) {
  const bool weight_grad = pass == ConvPass::kWeightGrad;
  if (const int64_t m = winograd_edge<BFloat16>(g, pass)) {
    const WinogradGeometry geometry = winograd_geometry(g, pass, m);
    Conv2dPlan plan = weight_grad ? winograd_weight_grad_plan<BFloat16>(geometry)
                                  : winograd_plan<BFloat16>(geometry);
    plan.name = m == 2 ? "winograd2" : "winograd4";
    plan.adds_term = true;
    return plan;
  }
  if (!pairs_apply(g, pass)) return widened_plan(g, pass);
  Conv2dPlan plan = weight_grad ? weight_grad_plan<BFloat16>(g) : direct_plan<BFloat16>(g, pass);
  plan.algorithm = kPairs;
  plan.name = "pairs";
  plan.adds_term = true;
  return plan;
}

void bfloat16_pack(const Conv2dPackArgs& args) {
  switch (args.plan.algorithm) {
    case kWidened:
      return widened_pack(args);
    case kPairs:
      return direct_pack<BFloat16>(args);
    default:
      return winograd_pack<BFloat16>(winograd_geometry(args.g, args.pass, args.plan.algorithm),
                                     args);
  }
}

void bfloat16_conv2d(const Conv2dArgs& args) {
  const Conv2dGeometry& g = args.g;
  const auto* bias = static_cast<const float*>(args.bias);
  if (args.plan.algorithm != kWidened) {
    const int64_t residual = distance_to(args.residual, static_cast<const BFloat16*>(args.y));
    return run(g, ConvPass::kForward, args.plan, args.x, args.packed, {bias, residual, args.relu},
               args.y, args.workspace);
  }
  float* x = static_cast<float*>(args.workspace);
  float* y = x + room(x_size(g));
  widen(x_size(g), args.x, x);
  const Epilogue<float> epilogue{bias, 0, args.relu && !args.residual};
  direct(g, ConvPass::kForward, x, static_cast<const float*>(args.packed), epilogue, y,
         y + room(y_size(g)));
  if (args.residual) add_residual(args, y);
  narrow(y_size(g), y, args.y);
}

void bfloat16_input_grad(const Conv2dInputGradArgs& args) {
  const Conv2dGeometry& g = args.g;
  const auto* bias = static_cast<const float*>(args.bias);
  if (args.plan.algorithm != kWidened) {
    const int64_t term = distance_to(args.term, static_cast<const BFloat16*>(args.grad_x));
    return run(g, ConvPass::kInputGrad, args.plan, args.grad_y, args.packed, {bias, term},
               args.grad_x, args.workspace);
  }
  float* grad_x = static_cast<float*>(args.workspace);
  float* grad_y = grad_x + room(x_size(g));
  widen(y_size(g), args.grad_y, grad_y);
  direct(g, ConvPass::kInputGrad, grad_y, static_cast<const float*>(args.packed), {bias}, grad_x,
         grad_y + room(y_size(g)));
  narrow(x_size(g), grad_x, args.grad_x);
}

void bfloat16_weight_grad(const Conv2dWeightGradArgs& args) {
  if (args.plan.algorithm == kPairs) return direct_weight_grad<BFloat16>(args);
  const Conv2dGeometry& g = args.g;
  if (args.plan.algorithm != kWidened)
    return winograd_weight_grad(winograd_geometry(g, ConvPass::kWeightGrad, args.plan.algorithm),
                                args.plan, static_cast<const BFloat16*>(args.x),
                                static_cast<const BFloat16*>(args.grad_y),
                                static_cast<BFloat16*>(args.grad_weight), args.workspace);
  float* x = static_cast<float*>(args.workspace);
  float* grad_y = x + room(x_size(g));
  float* grad_weight = grad_y + room(y_size(g));
  widen(x_size(g), args.x, x);
  widen(y_size(g), args.grad_y, grad_y);
  Conv2dWeightGradArgs inner = args;
  inner.dtype = DType::kFloat32;
  inner.x = x;
  inner.grad_y = grad_y;
  inner.grad_weight = grad_weight;
  inner.workspace = grad_weight + room(weight_size(g));
  direct_weight_grad<float>(inner);
  narrow(weight_size(g), grad_weight, args.grad_weight);
}

}  // namespace striate::cpu
