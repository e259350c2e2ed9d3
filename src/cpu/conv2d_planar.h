// Convolution with few filters, pixels in the lanes: forward and weight gradient.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/kernels.h"

namespace striate::cpu {

/// Whether it takes fewer vector operations than the tile of isa/gemm.h, which has filters (of a
/// weight gradient: columns of the kernel) in the lanes.
template <class T>
bool planar_pays(const Conv2dGeometry& g, ConvPass pass);
template <class T>
Conv2dPlan planar_plan(const Conv2dGeometry& g, ConvPass pass);
template <class T>
void planar_pack(const Conv2dPackArgs& args);
template <class T>
void planar_conv2d(const Conv2dGeometry& g, const T* x, const T* packed,
                   const Epilogue<T>& epilogue, T* y);
template <class T>
void planar_weight_grad(const Conv2dWeightGradArgs& args);

}  // namespace striate::cpu
