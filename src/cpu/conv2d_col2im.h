// The input gradient as a matrix product and a sum: for small maps with few channels.
#pragma once

#include "cpu/kernels.h"

namespace striate::cpu {

inline constexpr int32_t kCol2im = 0;  // until conv2d.cpp says which row of its table it is

/// Whether this beats direct convolution by a count of vector operations: a function of the shape
/// and the instruction set alone.
template <class T>
bool col2im_pays(const Conv2dGeometry& g, ConvPass pass);
template <class T>
Conv2dPlan col2im_plan(const Conv2dGeometry& g);
template <class T>
void col2im_pack(const Conv2dPackArgs& args);
/// grad_x = bias + the gradient of conv with respect to its input.
template <class T>
void col2im(const Conv2dGeometry& g, const T* grad_y, const T* packed, const T* bias, T* grad_x);

}  // namespace striate::cpu
