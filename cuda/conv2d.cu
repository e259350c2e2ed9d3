// Convolution's entries: packing, padding, the choice between tiled and direct kernels, and the sum
// of a split reduction.
#include <algorithm>

#include "conv_kernels.cuh"
#include "entries.h"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

/// How a packed weight is ordered: for the tiled kernels [filter][kh][kw][channel], channels padded
/// with zeros, for the direct ones [kh][kw][channel][filter]. Filters and channels are those of the
/// pass: an input gradient computes input channels from output channels.
template <class Divisor>
struct PackShape {
  int64_t strides[4];         // of the weight: o, i, kh, kw
  int64_t filters, channels;  // per group
  Divisor by_filters, by_all_filters, by_padded, by_kh, by_kw;
  bool backward, direct;
};

template <class T, class Index, class Divisor>
__global__ void pack_kernel(PackShape<Divisor> s, const T* weight, T* packed, Index items) {
  for_each_item(items, [&](Index item) {
    Index filter = item;  // what remains at the end, if it is outermost
    Index innermost = 0;
    if (s.direct) innermost = split_off(filter, s.by_all_filters);
    const Index channel = split_off(filter, s.by_padded);
    const Index column = split_off(filter, s.by_kw);
    const Index row = split_off(filter, s.by_kh);
    Index group = s.direct ? innermost : filter;
    const int64_t all = group;
    const Index within = split_off(group, s.by_filters);
    const int64_t other = group * s.channels + channel;
    const int64_t o = s.backward ? other : all, i = s.backward ? within : channel;
    packed[item] = channel < s.channels ? weight[o * s.strides[0] + i * s.strides[1] +
                                                 row * s.strides[2] + column * s.strides[3]]
                                        : T(0);
  });
}

/// y [rows][padded] = x [rows][channels], then zeros.
template <class T, class Index>
__global__ void pad_kernel(const T* x, T* y, Index channels, Index padded, int64_t items) {
  for_each_item(items, [&](int64_t item) {
    const Index row = static_cast<Index>(item) / padded;
    const Index channel = static_cast<Index>(item) - row * padded;
    y[item] = channel < channels ? x[row * channels + channel] : T(0);
  });
}

constexpr int kFinishResults = 32, kFinishLanes = 8;  // of a block

/// Adds the sums of the splits: each lane of a result every eighth of them in their order, then the
/// lanes in theirs. Few results may have hundreds of splits, too many for one thread to wait for.
template <class T>
__global__ void finish_kernel(Epilogue<T> epilogue, int32_t splits, FastDivisor columns,
                              int64_t results) {
  __shared__ Sum<T> sums[kFinishLanes][kFinishResults];
  const int lane = static_cast<int>(threadIdx.y), at = static_cast<int>(threadIdx.x);
  const int64_t item = int64_t{blockIdx.x} * kFinishResults + at;
  Sum<T> sum = 0;
  if (item < results) {
#pragma unroll 4
    for (int32_t split = lane; split < splits; split += kFinishLanes) {
      sum += epilogue.partial[split * results + item];
    }
  }
  sums[lane][at] = sum;
  __syncthreads();
  if (lane > 0 || item >= results) return;
#pragma unroll
  for (int other = 1; other < kFinishLanes; ++other) sum += sums[other][at];
  epilogue.y[item] = finish(epilogue, sum, item, static_cast<int32_t>(item) % columns);
}

// --- Launchers ----------------------------------------------------------------------------------

constexpr int64_t kInt32Items = INT32_MAX - kThreads * kItems;  // with a full last block

template <class T, class Index, class Divisor>
void launch_pack(const Conv2dPackArgs& a, int64_t items, Stream stream) {
  const ConvAlgorithm algorithm = decode_algorithm(a.plan.algorithm);
  PackShape<Divisor> s{};
  std::copy_n(a.weight_strides, 4, s.strides);
  s.filters = result_channels(a.g, a.pass);
  s.channels = source_channels(a.g, a.pass);
  s.by_filters = Divisor(s.filters);
  s.by_all_filters = Divisor(s.filters * a.g.groups);
  s.by_padded = Divisor(packed_channels(a.g, a.dtype, a.pass, algorithm));
  s.by_kh = Divisor(a.g.kh);
  s.by_kw = Divisor(a.g.kw);
  s.backward = a.pass == ConvPass::kInputGrad;
  s.direct = algorithm.kernel == ConvKernel::kDirect;
  launch_items("conv2d", pack_kernel<T, Index, Divisor>, items, stream, s,
               static_cast<const T*>(a.weight), static_cast<T*>(a.packed),
               static_cast<Index>(items));
}

/// `x` [rows][channels of the layout], padded into `copy` if the layout asks for it.
template <class T>
const T* padded(const T* x, int64_t rows, const ChannelLayout& layout, void* copy, Stream stream) {
  if (!layout.pads()) return x;
  T* y = static_cast<T*>(copy);
  const int64_t items = rows * layout.padded();
  if (items < kInt32Items) {
    launch_items("conv2d", pad_kernel<T, int32_t>, items, stream, x, y,
                 static_cast<int32_t>(layout.channels), static_cast<int32_t>(layout.padded()),
                 items);
  } else {
    launch_items("conv2d", pad_kernel<T, int64_t>, items, stream, x, y, layout.channels,
                 layout.padded(), items);
  }
  return y;
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

template <class T>
void finish_splits(Epilogue<T> epilogue, int32_t splits, int64_t columns, int64_t results,
                   Stream stream) {
  if (epilogue.partial == nullptr) return;
  launch("conv2d", finish_kernel<T>, dim3(static_cast<unsigned>(ceil_div(results, kFinishResults))),
         dim3(kFinishResults, kFinishLanes), 0, stream, epilogue, splits, FastDivisor(columns),
         results);
}

/// Forward, or input gradient with grad_y for x and grad_x for y.
template <class T>
void gather(const Conv2dGeometry& g, DType dtype, ConvPass pass, const Conv2dPlan& plan,
            const T* source, const T* packed, Epilogue<T> epilogue, void* workspace,
            Stream stream) {
  const ConvAlgorithm algorithm = decode_algorithm(plan.algorithm);
  if (algorithm.kernel == ConvKernel::kDirect) {
    return gather_direct<T>(g, pass, {source, packed}, epilogue, stream);
  }
  if constexpr (!std::is_same_v<T, double>) {
    const bool backward = pass == ConvPass::kInputGrad;
    const ChannelLayout layout = channel_layout(source_channels(g, pass), dtype);
    const ConvWorkspace parts = conv_workspace(g, dtype, pass, algorithm);
    const int64_t source_pixels = backward ? g.n * g.oh * g.ow : g.n * g.h * g.w;
    const int64_t result_pixels = backward ? g.n * g.h * g.w : g.n * g.oh * g.ow;
    const ConvOperands<T> operands{
        padded(source, source_pixels * g.groups, layout, workspace, stream), packed};
    if (algorithm.splits > 1) {
      epilogue.partial = reinterpret_cast<float*>(static_cast<char*>(workspace) + parts.source);
    }
    epilogue.vectors = result_channels(g, pass) % (16 / static_cast<int64_t>(sizeof(T))) == 0 &&
                       aligned(epilogue.y) && aligned(epilogue.residual);
    const GatherShape shape = gather_shape(g, dtype, pass, algorithm);
    if constexpr (std::is_same_v<T, float>) {
      gather_f32(shape, algorithm, operands, epilogue, stream);
    } else {
      gather_bf16(shape, algorithm, layout.vector_bytes, operands, epilogue, stream);
    }
    const int64_t columns = backward ? g.c : g.o;
    finish_splits(epilogue, algorithm.splits, columns, result_pixels * columns, stream);
  }
}

template <class T>
void weight_grad(const Conv2dWeightGradArgs& a, Stream stream) {
  constexpr ConvPass kPass = ConvPass::kWeightGrad;
  const Conv2dGeometry& g = a.g;
  const ConvAlgorithm algorithm = decode_algorithm(a.plan.algorithm);
  const ConvWorkspace parts = conv_workspace(g, a.dtype, kPass, algorithm);
  char* const workspace = static_cast<char*>(a.workspace);
  ConvOperands<T> operands{static_cast<const T*>(a.x), static_cast<const T*>(a.grad_y)};
  Epilogue<T> epilogue{.y = static_cast<T*>(a.grad_weight)};
  if (algorithm.splits > 1) {
    epilogue.partial = reinterpret_cast<Sum<T>*>(workspace + parts.source + parts.grad);
  }
  if (algorithm.kernel == ConvKernel::kDirect) {
    weight_grad_direct<T>(g, algorithm.splits, operands, epilogue, stream);
  } else if constexpr (!std::is_same_v<T, double>) {
    const ChannelLayout x = channel_layout(g.c / g.groups, a.dtype);
    operands.source = padded(operands.source, g.n * g.h * g.w * g.groups, x, workspace, stream);
    operands.other = padded(operands.other, g.n * g.oh * g.ow * g.groups,
                            grad_layout(g.o / g.groups, a.dtype), workspace + parts.source, stream);
    const WeightGradShape shape = weight_grad_shape(g, a.dtype, algorithm);
    if constexpr (std::is_same_v<T, float>) {
      weight_grad_f32(shape, algorithm, operands, epilogue, stream);
    } else {
      weight_grad_bf16(shape, algorithm, x.vector_bytes, operands, epilogue, stream);
    }
  }
  finish_splits(epilogue, algorithm.splits, 1, g.o * g.kh * g.kw * (g.c / g.groups), stream);
}

}  // namespace

Conv2dPlan conv2d_plan(const Conv2dGeometry& g, DType dtype, ConvPass pass) {
  return make_plan(g, dtype, pass, choose_algorithm(g, dtype, pass));
}

void conv2d_pack(const Conv2dPackArgs& a, Stream stream) {
  const int64_t items = a.g.groups * result_channels(a.g, a.pass) * a.g.kh * a.g.kw *
                        packed_channels(a.g, a.dtype, a.pass, decode_algorithm(a.plan.algorithm));
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (items < kInt32Items) {
      launch_pack<T, int32_t, FastDivisor>(a, items, stream);
    } else {
      launch_pack<T, int64_t, int64_t>(a, items, stream);
    }
  });
}

void conv2d(const Conv2dArgs& a, Stream stream) {
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Epilogue<T> epilogue{.bias = static_cast<const Sum<T>*>(a.bias),
                               .residual = static_cast<const T*>(a.residual),
                               .y = static_cast<T*>(a.y),
                               .moments = a.moments,
                               .relu = a.relu};
    gather(a.g, a.dtype, ConvPass::kForward, a.plan, static_cast<const T*>(a.x),
           static_cast<const T*>(a.packed), epilogue, a.workspace, stream);
  });
}

void conv2d_input_grad(const Conv2dInputGradArgs& a, Stream stream) {
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Epilogue<T> epilogue{.bias = static_cast<const Sum<T>*>(a.bias),
                               .y = static_cast<T*>(a.grad_x)};
    gather(a.g, a.dtype, ConvPass::kInputGrad, a.plan, static_cast<const T*>(a.grad_y),
           static_cast<const T*>(a.packed), epilogue, a.workspace, stream);
  });
}

void conv2d_weight_grad(const Conv2dWeightGradArgs& a, Stream stream) {
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    weight_grad<T>(a, stream);
  });
}

}  // namespace striate::cuda
