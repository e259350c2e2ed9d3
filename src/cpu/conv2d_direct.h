// Direct convolution of any geometry: all three passes.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/kernels.h"

namespace striate::cpu {

template <class T>
Conv2dPlan direct_plan(const Conv2dGeometry& g, ConvPass pass);
template <class T>
void direct_pack(const Conv2dPackArgs& args);
/// y = epilogue of conv(x) forward; for the input gradient x is grad_y and y is grad_x.
template <class T>
void direct(const Conv2dGeometry& g, ConvPass pass, const T* x, const T* packed,
            const Epilogue<T>& epilogue, T* y, void* workspace);

template <class T>
Conv2dPlan weight_grad_plan(const Conv2dGeometry& g);
template <class T>
void direct_weight_grad(const Conv2dWeightGradArgs& args);

/// The same for few channels and many filters: conv2d_narrow_weight_grad.cpp.
template <class T>
bool narrow_weight_grad_pays(const Conv2dGeometry& g);
template <class T>
Conv2dPlan narrow_weight_grad_plan(const Conv2dGeometry& g);
template <class T>
void narrow_weight_grad(const Conv2dWeightGradArgs& args);

}  // namespace striate::cpu
