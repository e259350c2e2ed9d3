// Products of few rows with a large weight, which is read where it lies.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/kernels.h"

namespace striate::cpu {

template <class T>
bool in_place_pays(const Conv2dGeometry& g);
template <class T>
Conv2dPlan in_place_plan(const Conv2dGeometry& g, ConvPass pass);
/// A dense [o][i] copy, for weights that are stored otherwise.
template <class T>
void in_place_pack(const Conv2dPackArgs& args);
/// Forward, or input gradient with grad_y for x and grad_x for y.
template <class T>
void in_place(const Conv2dGeometry& g, ConvPass pass, const T* x, const T* weight,
              const Epilogue<T>& epilogue, T* y, void* workspace);

}  // namespace striate::cpu
