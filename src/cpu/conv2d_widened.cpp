// bfloat16 convolution by way of float32, for processors that do not multiply pairs of it and where
// pairs do not fit: operands are widened into the workspace, an algorithm of floats runs on them,
// and its result is narrowed.
#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

/// Floats to set aside for n: whole cache lines, and what tiles may read past the last one.
int64_t room(int64_t n) { return (n + 15) / 16 * 16 + kMaxTileWidth; }

int64_t x_size(const Conv2dGeometry& g) { return g.n * g.h * g.w * g.c; }
int64_t y_size(const Conv2dGeometry& g) { return g.n * g.oh * g.ow * g.o; }
int64_t weight_size(const Conv2dGeometry& g) { return g.o * g.kh * g.kw * (g.c / g.groups); }

void widen(int64_t n, const void* x, float* y) {
  copy({DType::kBFloat16, DType::kFloat32, x, y, {n}, {1}, {1}}, {});
}
void narrow(int64_t n, const float* x, void* y) {
  copy({DType::kFloat32, DType::kBFloat16, x, y, {n}, {1}, {1}}, {});
}

/// y += residual, then relu: in place, with a buffer for the widened residual.
void add_residual(int64_t size, const BFloat16* residual, bool relu, float* y) {
  constexpr int64_t kBlock = 1024;
  const ElementKernels<float>& rows = isa().rows<float>().element;
  parallel_for(size, kElementGrain, [&](int64_t begin, int64_t end) {
    float term[kBlock];
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t n = std::min(kBlock, end - i);
      isa().convert.widen(n, residual + i, term);
      rows.accumulate(n, term, y + i);
      if (relu) rows.relu(n, y + i, y + i);
    }
  });
}

template <ConvAlgorithm<float> (*kOfFloats)()>
Conv2dPlan plan(const Conv2dGeometry& g, ConvPass pass) {
  const bool weight_grad = pass == ConvPass::kWeightGrad;
  const Conv2dPlan inner = kOfFloats().plan(g, pass);
  const int64_t operands =
      room(x_size(g)) + room(y_size(g)) + (weight_grad ? room(weight_size(g)) : 0);
  const size_t weight = weight_grad ? 0 : weight_size(g) * sizeof(float);
  return {0, inner.packed + weight, inner.workspace + operands * sizeof(float)};
}

/// The widened weight lies behind what is packed from it.
template <ConvAlgorithm<float> (*kOfFloats)()>
void pack(const Conv2dPackArgs& args) {
  const Conv2dGeometry& g = args.g;
  const int64_t channels = g.c / g.groups;
  const int64_t* strides = args.weight_strides;
  Conv2dPackArgs inner = args;
  inner.dtype = DType::kFloat32;
  inner.plan = kOfFloats().plan(g, args.pass);
  float* weight = static_cast<float*>(args.packed) + inner.plan.packed / sizeof(float);
  inner.weight = weight;
  const int64_t dense[] = {g.kh * g.kw * channels, 1, g.kw * channels, channels};
  std::copy_n(dense, 4, inner.weight_strides);
  copy({DType::kBFloat16,
        DType::kFloat32,
        args.weight,
        weight,
        {g.o, g.kh, g.kw, channels},
        {strides[0], strides[2], strides[3], strides[1]},
        {dense[0], dense[2], dense[3], 1}},
       {});
  kOfFloats().pack(inner);
}

template <ConvAlgorithm<float> (*kOfFloats)()>
void run(const ConvCall<BFloat16>& call) {
  const bool backward = call.pass == ConvPass::kInputGrad;
  const int64_t source_size = backward ? y_size(call.g) : x_size(call.g);
  const int64_t result_size = backward ? x_size(call.g) : y_size(call.g);
  float* x = static_cast<float*>(call.workspace);
  float* y = x + room(source_size);
  widen(source_size, call.x, x);
  const Epilogue<BFloat16>& epilogue = call.epilogue;
  const bool adds = epilogue.residual != 0;
  kOfFloats().run({call.g,
                   call.pass,
                   call.plan,
                   x,
                   call.packed,
                   {epilogue.bias, 0, epilogue.relu && !adds},
                   y,
                   y + room(result_size)});
  if (adds) add_residual(result_size, call.y + epilogue.residual, epilogue.relu, y);
  narrow(result_size, y, call.y);
}

template <ConvAlgorithm<float> (*kOfFloats)()>
void weight_grad(const Conv2dWeightGradArgs& args) {
  const Conv2dGeometry& g = args.g;
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
  kOfFloats().weight_grad(inner);
  narrow(weight_size(g), grad_weight, args.grad_weight);
}

}  // namespace

template <ConvAlgorithm<float> (*kOfFloats)()>
ConvAlgorithm<BFloat16> widened_algorithm() {
  return {"widened",       kOfFloats().pays, plan<kOfFloats>,
          pack<kOfFloats>, run<kOfFloats>,   weight_grad<kOfFloats>};
}
template ConvAlgorithm<BFloat16> widened_algorithm<planar_algorithm<float>>();
template ConvAlgorithm<BFloat16> widened_algorithm<narrow_algorithm<float>>();
template ConvAlgorithm<BFloat16> widened_algorithm<direct_algorithm<float>>();
template ConvAlgorithm<BFloat16> widened_algorithm<direct_weight_grad_algorithm<float>>();

}  // namespace striate::cpu
