// Winograd convolution F(2x2, 3x3) and F(4x4, 3x3): stride 1, no dilation, no groups.
#pragma once

#include "cpu/kernels.h"

namespace striate::cpu {

/// Sizes of one pass in the forward's terms; the input gradient is a forward on grad_y.
struct WinogradGeometry {
  int64_t n, h, w, channels;  // source
  int64_t oh, ow, filters;    // result
  int64_t pad_h, pad_w;
  int64_t m;  // output tile edge, 2 or 4

  int64_t tiles_h() const { return (oh + m - 1) / m; }
  int64_t tiles_w() const { return (ow + m - 1) / m; }
  int64_t tiles() const { return n * tiles_h() * tiles_w(); }
  int64_t points() const { return (m + 2) * (m + 2); }
};

WinogradGeometry winograd_geometry(const Conv2dGeometry& g, ConvPass pass, int64_t m);

/// Whether the transforms take this pass: 3 x 3, stride 1, and whole vectors of channels.
template <class T>
bool winograd_applies(const Conv2dGeometry& g, ConvPass pass);
/// The workspace is enough for the threads there are now.
template <class T>
Conv2dPlan winograd_plan(const WinogradGeometry& g);
/// Transforms the weight to [panel][point][channel][width].
template <class T>
void winograd_pack(const WinogradGeometry& g, const Conv2dPackArgs& args);
template <class T>
void winograd(const WinogradGeometry& g, const Conv2dPlan& plan, const T* x, const T* packed,
              const T* bias, T* y, void* workspace);

}  // namespace striate::cpu
