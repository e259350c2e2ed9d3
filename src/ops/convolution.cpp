#include "ops/convolution.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ops/derived.h"
#include "ops/row_moments.h"

namespace striate {
namespace {

/// A key over all that a packing may depend on besides the weight; of the image's size, which may
/// change from call to call, only whether the stride steps over it and what the plan made of it.
uint64_t packing_key(const Conv2dGeometry& g, ConvPass pass, const Conv2dPlan& plan) {
  uint64_t key = 0xCBF29CE484222325;  // FNV-1a, by words
  for (int64_t value :
       {static_cast<int64_t>(pass), int64_t{plan.algorithm}, static_cast<int64_t>(plan.packed), g.c,
        g.o, g.kh, g.kw, g.stride_h, g.stride_w, g.pad_h, g.pad_w, g.dilation_h, g.dilation_w,
        g.groups, std::min(g.h, g.stride_h), std::min(g.w, g.stride_w)}) {
    key = (key ^ static_cast<uint64_t>(value)) * 0x100000001B3;
    key ^= key >> 29;
  }
  return key;
}

Tensor pack(const char* op, const Conv2dGeometry& g, ConvPass pass, const ConvWeight& weight,
            const Conv2dPlan& plan) {
  const Tensor& w = weight.tensor;
  const Tensor packed = empty({static_cast<int64_t>(plan.packed)}, {DType::kUInt8, w.device()});
  Conv2dPackArgs args{g, w.dtype(), pass, plan, w.data(), {}, packed.data()};
  std::copy_n(weight.strides, 4, args.weight_strides);
  launch(op, w.device(), &KernelTable::conv2d_pack, args);
  return packed;
}

bool is_dense(const Conv2dGeometry& g, const int64_t* strides) {
  const int64_t channels = g.c / g.groups;
  return strides[1] == 1 && (g.kw == 1 || strides[3] == channels) &&
         (g.kh == 1 || strides[2] == g.kw * channels) && strides[0] == g.kh * g.kw * channels;
}

/// CUDA kernels copy 16 bytes at a time; a view may begin in between.
bool is_aligned(const Tensor& x) {
  return x.device().type == DeviceType::kCPU || reinterpret_cast<uintptr_t>(x.data()) % 16 == 0;
}
Tensor aligned(const Tensor& x) { return is_aligned(x) ? x : clone(x); }

/// The weight in the order of a plan.
Tensor packed(const char* op, const Conv2dGeometry& g, ConvPass pass, const ConvWeight& weight,
              const Conv2dPlan& plan) {
  if (plan.as_stored && is_dense(g, weight.strides) && is_aligned(weight.tensor))
    return weight.tensor;
  const auto make = [&] { return pack(op, g, pass, weight, plan); };
  return weight.keep ? derived(weight.tensor, packing_key(g, pass, plan), make) : make();
}

Conv2dPlan plan_of(const char* op, const Conv2dGeometry& g, const Tensor& x, ConvPass pass) {
  return find_kernel(op, backend(x.device()), &KernelTable::conv2d_plan)(g, x.dtype(), pass);
}

Tensor workspace_of(const Conv2dPlan& plan, const Tensor& x) {
  return empty({static_cast<int64_t>(plan.workspace)}, {DType::kUInt8, x.device()});
}

/// A kernel that covers the whole unpadded input is a linear layer over all its values, of which
/// the input gradient would otherwise multiply mostly border zeros.
bool covers_input(const Conv2dGeometry& g) {
  return g.groups == 1 && g.kh == g.h && g.kw == g.w && g.oh == 1 && g.ow == 1 && g.pad_h == 0 &&
         g.pad_w == 0 && g.dilation_h == 1 && g.dilation_w == 1;
}
/// The weight of that linear layer, if the filters lie channels-last.
std::optional<ConvWeight> flattened(const Conv2dGeometry& g, const ConvWeight& weight) {
  const int64_t* s = weight.strides;
  const bool channels_last =
      s[1] == 1 && (g.kw == 1 || s[3] == g.c) && (g.kh == 1 || s[2] == g.kw * g.c);
  if (!covers_input(g) || !channels_last) return {};
  return ConvWeight{weight.tensor, {s[0], 1, 1, 1}, weight.keep};
}
Conv2dGeometry flattened(const Conv2dGeometry& g) {
  return linear_geometry(g.n, g.c * g.h * g.w, g.o);
}

const void* data_or_null(const Tensor& x) { return x.defined() ? x.data() : nullptr; }

}  // namespace

ConvWeight conv_weight(const Tensor& weight) {
  const Dims& s = weight.strides();
  return {weight, {s[0], s[1], s[2], s[3]}, true};
}

ConvWeight linear_weight(const Tensor& weight, bool keep) {
  const Dims& s = weight.strides();
  return {weight, {s[0], s[1], 1, 1}, keep};
}

Conv2dGeometry linear_geometry(int64_t rows, int64_t in, int64_t out) {
  return {.n = rows,
          .c = in,
          .h = 1,
          .w = 1,
          .o = out,
          .kh = 1,
          .kw = 1,
          .oh = 1,
          .ow = 1,
          .stride_h = 1,
          .stride_w = 1,
          .pad_h = 0,
          .pad_w = 0,
          .dilation_h = 1,
          .dilation_w = 1,
          .groups = 1};
}

void run_forward(const char* op, const Conv2dGeometry& g, const Tensor& x, const ConvWeight& weight,
                 const Tensor& bias, const Tensor& y, const ForwardEpilogue& epilogue) {
  if (y.numel() == 0) return;
  if (g.h * g.w > 1) {
    if (const auto flat = flattened(g, weight))
      return run_forward(op, flattened(g), x, *flat, bias, y, epilogue);
  }
  const Conv2dPlan plan = plan_of(op, g, x, ConvPass::kForward);
  const Tensor filters = packed(op, g, ConvPass::kForward, weight, plan);
  const Tensor workspace = workspace_of(plan, x), source = aligned(x);
  KeptMoments moments;
  if (epilogue.moments && plan.moment_rows > 0) {
    const int64_t chunks = (g.n * g.oh * g.ow - 1) / plan.moment_rows + 1;
    const size_t bytes = static_cast<size_t>(chunks * 2 * g.o) * sizeof(double);
    moments = {std::make_shared<Storage>(bytes, x.device()), plan.moment_rows};
  }
  launch<Conv2dArgs>(op, x.device(), &KernelTable::conv2d,
                     {g, x.dtype(), plan, source.data(), filters.data(), data_or_null(bias),
                      data_or_null(epilogue.residual), epilogue.relu, y.data(), workspace.data(),
                      moments.storage ? static_cast<double*>(moments.storage->data) : nullptr});
  if (moments.storage) keep_moments(y, moments);
}

void run_input_grad(const char* op, const Conv2dGeometry& g, const Tensor& grad_y,
                    const ConvWeight& weight, const Tensor& bias, const Tensor& grad_x,
                    Tensor* term) {
  if (grad_x.numel() == 0) return;
  if (g.h * g.w > 1 && !bias.defined()) {
    if (const auto flat = flattened(g, weight))
      return run_input_grad(op, flattened(g), grad_y, *flat, bias, grad_x, term);
  }
  const Conv2dPlan plan = plan_of(op, g, grad_y, ConvPass::kInputGrad);
  const Tensor filters = packed(op, g, ConvPass::kInputGrad, weight, plan);
  const Tensor workspace = workspace_of(plan, grad_y), source = aligned(grad_y);
  const Tensor added = term && plan.adds_term ? std::exchange(*term, Tensor()) : Tensor();
  launch<Conv2dInputGradArgs>(
      op, grad_y.device(), &KernelTable::conv2d_input_grad,
      {g, grad_y.dtype(), plan, source.data(), filters.data(), data_or_null(bias), grad_x.data(),
       workspace.data(), data_or_null(added)});
}

void run_weight_grad(const char* op, const Conv2dGeometry& g, const Tensor& x, const Tensor& grad_y,
                     const Tensor& grad_weight) {
  if (grad_weight.numel() == 0) return;
  if (x.numel() == 0 || grad_y.numel() == 0) return fill_(grad_weight, 0);
  if (g.h * g.w > 1 && covers_input(g))
    return run_weight_grad(op, flattened(g), x, grad_y, grad_weight);
  const Conv2dPlan plan = plan_of(op, g, x, ConvPass::kWeightGrad);
  const Tensor workspace = workspace_of(plan, x), source = aligned(x), grad = aligned(grad_y);
  launch<Conv2dWeightGradArgs>(
      op, x.device(), &KernelTable::conv2d_weight_grad,
      {g, x.dtype(), plan, source.data(), grad.data(), grad_weight.data(), workspace.data()});
}

const char* conv_algorithm(const char* op, const Conv2dGeometry& g, const Tensor& x,
                           ConvPass pass) {
  return plan_of(op, covers_input(g) ? flattened(g) : g, x, pass).name;
}

void check_bias(const char* op, const Tensor& x, const Tensor& bias, int64_t o) {
  if (!bias.defined()) return;
  const bool precise_bias = bias.dtype() == precise(x.dtype());
  precise_bias ? check_same_precise(op, "input", x, "bias", bias)
               : check_same(op, "input", x, "bias", bias);
  check_shape(op, "bias", bias, {o});
}

Tensor bias_vector(const Tensor& bias) {
  if (!bias.defined()) return bias;
  NoGrad guard;
  return contiguous(to(bias, precise(bias.dtype())));
}

Tensor bias_grad(const char* op, const Tensor& grad_y, int64_t c, DType dtype) {
  const Tensor grad = empty({c}, options_of(grad_y));
  const int64_t rows = grad_y.numel() / c;
  if (rows == 0) {
    fill_(grad, 0);
  } else {
    launch<SumArgs>(
        op, grad_y.device(), &KernelTable::sum,
        {grad_y.dtype(), grad_y.dtype(), grad_y.data(), grad.data(), {c}, {1}, {rows}, {c}, 1});
  }
  return to(grad, dtype);
}

}  // namespace striate
