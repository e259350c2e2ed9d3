// The algorithms of convolution: what each can do, and which there are. conv2d.cpp has their table.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/kernels.h"

namespace striate::cpu {

/// A forward pass, or an input gradient with grad_y for x and grad_x for y.
template <class T>
struct ConvCall {
  const Conv2dGeometry& g;
  ConvPass pass;
  const Conv2dPlan& plan;
  const T* x;
  const void* packed;
  Epilogue<T> epilogue;
  T* y;
  void* workspace;
};

/// A row of the table, which Conv2dPlan::algorithm counts. What is null is never chosen.
template <class T>
struct ConvAlgorithm {
  const char* name;
  /// Whether a pass is computed so, if by none of the rows before: a function of the shape and the
  /// instruction set alone.
  bool (*pays)(const Conv2dGeometry& g, ConvPass pass);
  /// What concerns the algorithm alone: sizes, as_stored.
  Conv2dPlan (*plan)(const Conv2dGeometry& g, ConvPass pass);
  void (*pack)(const Conv2dPackArgs& args);
  void (*run)(const ConvCall<T>& call);
  void (*weight_grad)(const Conv2dWeightGradArgs& args);
  bool adds_term = false;  // Conv2dPlan's
};

/// Direct convolution of any geometry, forward and input gradient; of bfloat16 pairs, where the
/// processor multiplies them. (conv2d_direct.cpp)
template <class T>
ConvAlgorithm<T> direct_algorithm();
/// Likewise the weight gradient. (conv2d_weight_grad.cpp)
template <class T>
ConvAlgorithm<T> direct_weight_grad_algorithm();
/// The input gradient as a product and a sum over windows, for few channels. (conv2d_col2im.cpp)
template <class T>
ConvAlgorithm<T> col2im_algorithm();
/// Few filters, pixels in the lanes: forward and weight gradient. (conv2d_planar.cpp)
template <class T>
ConvAlgorithm<T> planar_algorithm();
/// The weight gradient for few channels and many filters. (conv2d_narrow_weight_grad.cpp)
template <class T>
ConvAlgorithm<T> narrow_algorithm();
/// Products of few rows with a large weight, which is read where it lies. (linear_in_place.cpp)
template <class T>
ConvAlgorithm<T> in_place_algorithm();
/// bfloat16 by way of float32 and the algorithm kOfFloats. (conv2d_widened.cpp)
template <ConvAlgorithm<float> (*kOfFloats)()>
ConvAlgorithm<BFloat16> widened_algorithm();

}  // namespace striate::cpu
