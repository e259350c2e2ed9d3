// The kernels of the convolution, as conv2d.cu calls them, and the storing of results that they
// share.
#pragma once

#include "conv_plan.h"
#include "index.cuh"

namespace striate::cuda {

// --- Epilogue -----------------------------------------------------------------------------------

template <class T>
struct SumType {
  using type = float;
};
template <>
struct SumType<double> {
  using type = double;
};
/// What products of T are added up in.
template <class T>
using Sum = typename SumType<T>::type;

/// What happens to a sum: y = sum + bias + residual, then ReLU; or, of a split, nothing yet.
template <class T>
struct Epilogue {
  const Sum<T>* bias = nullptr;  // null: none
  const T* residual = nullptr;   // null: none
  T* y = nullptr;
  Sum<T>* partial = nullptr;  // not null: the sums go here, split after split
  double* moments = nullptr;  // not null: of the stored results, by rows of tiles; see RowMoments
  bool relu = false;
  bool vectors = false;  // y and residual may be read and written 16 bytes at a time
};

/// The result at `offset` of y, in column `column` of it.
template <class T>
__device__ T finish(const Epilogue<T>& e, Sum<T> sum, int64_t offset, int64_t column) {
  if (e.bias != nullptr) sum += e.bias[column];
  if (e.residual != nullptr) sum += convert<Sum<T>>(e.residual[offset]);
  if (e.relu && sum < 0) sum = 0;  // a NaN stays
  return convert<T>(sum);
}

// --- Launchers ----------------------------------------------------------------------------------

/// Operands of a forward pass (x, packed weight) or input gradient (grad_y, packed weight), with
/// channels padded as channel_layout() has it; or of a weight gradient (x, grad_y).
template <class T>
struct ConvOperands {
  const T* source;
  const T* other;
};

void gather_bf16(const GatherShape& shape, const ConvAlgorithm& algorithm, int vector_bytes,
                 const ConvOperands<__nv_bfloat16>& operands,
                 const Epilogue<__nv_bfloat16>& epilogue, Stream stream);
void gather_f32(const GatherShape& shape, const ConvAlgorithm& algorithm,
                const ConvOperands<float>& operands, const Epilogue<float>& epilogue,
                Stream stream);

void weight_grad_bf16(const WeightGradShape& shape, const ConvAlgorithm& algorithm,
                      int vector_bytes, const ConvOperands<__nv_bfloat16>& operands,
                      const Epilogue<__nv_bfloat16>& epilogue, Stream stream);
void weight_grad_f32(const WeightGradShape& shape, const ConvAlgorithm& algorithm,
                     const ConvOperands<float>& operands, const Epilogue<float>& epilogue,
                     Stream stream);

/// The direct kernels, whose packed weight is [kh][kw][channel of the group][filter], of any type.
template <class T>
void gather_direct(const Conv2dGeometry& g, ConvPass pass, const ConvOperands<T>& operands,
                   const Epilogue<T>& epilogue, Stream stream);
template <class T>
void weight_grad_direct(const Conv2dGeometry& g, int32_t splits, const ConvOperands<T>& operands,
                        const Epilogue<T>& epilogue, Stream stream);

}  // namespace striate::cuda
