// Winograd transforms (Lavin and Gray 2016) as Cook-Toom at points 0, -+1, inf for F(2x2, 3x3) and
// 0, -+1/sqrt(2), -+sqrt(2), inf for F(4x4, 3x3) and F(2x2, 5x5). The second set has about half the
// rounding error of the usual 0, -+1, -+2, inf, because no entry of the matrices is far from 1.
//
// Each 1-D transform is written out once, by common subexpressions; a 2-D one applies it to the
// columns and then to the rows of a tile, a vector of channels at a time.
#include "cpu/isa/winograd.h"

#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

/// F(2, 3): 4 points.
template <class T>
struct F2x3 {
  static constexpr int kOutputs = 2, kTaps = 3, kPoints = 4;
  template <class V>
  static void input(const V* d, V* v) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  template <class V>
  static void output(const V* m, V* y) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] + m[3];
  }
  template <class V>
  static void filter(const V* g, V* u) {
    const V even = (g[0] + g[2]) * T(0.5), odd = g[1] * T(0.5);
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  // The transposes of `output` and `filter`.
  template <class V>
  static void grad_output(const V* y, V* m) {
    m[0] = y[0];
    m[1] = y[0] + y[1];
    m[2] = y[0] - y[1];
    m[3] = y[1];
  }
  template <class V>
  static void grad_filter(const V* u, V* g) {
    const V sum = (u[1] + u[2]) * T(0.5);
    g[0] = u[0] + sum;
    g[1] = (u[1] - u[2]) * T(0.5);
    g[2] = sum + u[3];
  }
};

/// F(4, 3): 6 points; a = 1/sqrt(2), b = sqrt(2), so ab = 1.
template <class T>
struct F4x3 {
  static constexpr int kOutputs = 4, kTaps = 3, kPoints = 6;
  static constexpr T kA = T(0.70710678118654752440), kB = T(1.41421356237309504880);
  // Divided by the products of point differences: 1, -3/2, -3/2, 6, 6.
  static constexpr T kScaleA = T(-2) / 3, kScaleB = T(1) / 6;
  template <class V>
  static void input(const V* d, V* v) {
    const V even_a = d[4] - T(2) * d[2], odd_a = kA * d[3] - kB * d[1];
    const V even_b = d[4] - T(0.5) * d[2], odd_b = kB * d[3] - kA * d[1];
    v[0] = d[0] - T(2.5) * d[2] + d[4];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = d[1] - T(2.5) * d[3] + d[5];
  }
  template <class V>
  static void output(const V* m, V* y) {
    const V sum_a = m[1] + m[2], diff_a = m[1] - m[2];
    const V sum_b = m[3] + m[4], diff_b = m[3] - m[4];
    y[0] = m[0] + sum_a + sum_b;
    y[1] = kA * diff_a + kB * diff_b;
    y[2] = T(0.5) * sum_a + T(2) * sum_b;
    y[3] = T(0.5) * kA * diff_a + T(2) * kB * diff_b + m[5];
  }
  template <class V>
  static void filter(const V* g, V* u) {
    const V even_a = kScaleA * (g[0] + T(0.5) * g[2]), odd_a = kScaleA * kA * g[1];
    const V even_b = kScaleB * (g[0] + T(2) * g[2]), odd_b = kScaleB * kB * g[1];
    u[0] = g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }
  template <class V>
  static void grad_output(const V* y, V* m) {
    const V even_a = y[0] + T(0.5) * y[2], odd_a = kA * (y[1] + T(0.5) * y[3]);
    const V even_b = y[0] + T(2) * y[2], odd_b = kB * (y[1] + T(2) * y[3]);
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
  }
  template <class V>
  static void grad_filter(const V* u, V* g) {
    const V sum_a = kScaleA * (u[1] + u[2]), sum_b = kScaleB * (u[3] + u[4]);
    g[0] = u[0] + sum_a + sum_b;
    g[1] = kScaleA * kA * (u[1] - u[2]) + kScaleB * kB * (u[3] - u[4]);
    g[2] = T(0.5) * sum_a + T(2) * sum_b + u[5];
  }
};

/// F(2, 5): the points of F(4, 3), and so its input transform.
template <class T>
struct F2x5 : F4x3<T> {
  static constexpr int kOutputs = 2, kTaps = 5;
  using F4x3<T>::kA, F4x3<T>::kB, F4x3<T>::kScaleA, F4x3<T>::kScaleB;
  template <class V>
  static void output(const V* m, V* y) {
    y[0] = m[0] + (m[1] + m[2]) + (m[3] + m[4]);
    y[1] = kA * (m[1] - m[2]) + kB * (m[3] - m[4]) + m[5];
  }
  template <class V>
  static void filter(const V* g, V* u) {
    const V even_a = kScaleA * (g[0] + T(0.5) * g[2] + T(0.25) * g[4]);
    const V odd_a = kScaleA * kA * (g[1] + T(0.5) * g[3]);
    const V even_b = kScaleB * (g[0] + T(2) * g[2] + T(4) * g[4]);
    const V odd_b = kScaleB * kB * (g[1] + T(2) * g[3]);
    u[0] = g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[4];
  }
  template <class V>
  static void grad_output(const V* y, V* m) {
    m[0] = y[0];
    m[1] = y[0] + kA * y[1];
    m[2] = y[0] - kA * y[1];
    m[3] = y[0] + kB * y[1];
    m[4] = y[0] - kB * y[1];
    m[5] = y[1];
  }
  template <class V>
  static void grad_filter(const V* u, V* g) {
    const V sum_a = kScaleA * (u[1] + u[2]), diff_a = kScaleA * kA * (u[1] - u[2]);
    const V sum_b = kScaleB * (u[3] + u[4]), diff_b = kScaleB * kB * (u[3] - u[4]);
    g[0] = u[0] + sum_a + sum_b;
    g[1] = diff_a + diff_b;
    g[2] = T(0.5) * sum_a + T(2) * sum_b;
    g[3] = T(0.5) * diff_a + T(2) * diff_b;
    g[4] = T(0.25) * sum_a + T(4) * sum_b + u[5];
  }
};

/// Columns then rows of an In x In block: out[Out][Out] = M in M'.
template <int kIn, int kOut, class V, class Transform>
void transform_2d(const V (&in)[kIn][kIn], V (&out)[kOut][kOut], Transform transform) {
  V half[kIn][kOut];  // transposed: column j of `in`, transformed
#pragma GCC unroll 8
  for (int j = 0; j < kIn; ++j) {
    V column[kIn];
#pragma GCC unroll 8
    for (int i = 0; i < kIn; ++i) column[i] = in[i][j];
    transform(column, half[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kOut; ++i) {
    V row[kIn];
#pragma GCC unroll 8
    for (int j = 0; j < kIn; ++j) row[j] = half[j][i];
    transform(row, out[i]);
  }
}

template <class T, class F>
struct Transforms {
  static constexpr int L = kLanes<T>, kEdge = F::kPoints, kOut = F::kOutputs, kTaps = F::kTaps;
  typedef Compute<T> C;
  typedef C V __attribute__((vector_size(sizeof(C) * L)));

  template <class U>
  static V get(const U* p) {
    return load<L>(p);
  }

  /// For each vector of channels: loads a square, asks for the columns of the next one that this
  /// one does not have, and stores its points.
  template <int kSide, class Transform>
  static void transform_square(const WinogradSquare<T>& args, Transform transform) {
    C* v = args.v;
    for (int64_t g = 0; g < args.groups; ++g, v += args.group_step) {
      V d[kSide][kSide], points[kEdge][kEdge];
#pragma GCC unroll 8
      for (int i = 0; i < kSide; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < kSide; ++j) {
          const T* pixel = args.pixels[i * kSide + j] + args.first + g * L;
          d[i][j] = get(pixel);
          if (j >= kSide - kOut) __builtin_prefetch(pixel + args.ahead, 0, 2);
        }
      }
      transform_2d(d, points, transform);
#pragma GCC unroll 8
      for (int i = 0; i < kEdge; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < kEdge; ++j) store<L>(v + (i * kEdge + j) * args.plane, points[i][j]);
    }
  }

  static void input(const WinogradSquare<T>& args) {
    transform_square<kEdge>(args, [](const V* in, V* out) { F::input(in, out); });
  }

  static void output(const WinogradOutput<T>& args) {
    const Epilogue<T>& epilogue = args.epilogue;
    for (int64_t first = 0; first < args.n; first += L) {
      V points[kEdge][kEdge], y[kOut][kOut];
#pragma GCC unroll 8
      for (int i = 0; i < kEdge; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < kEdge; ++j)
          points[i][j] = get(args.m + (i * kEdge + j) * args.plane + first);
      transform_2d(points, y, [](const V* in, V* out) { F::output(in, out); });
      const V bias = epilogue.bias ? get(epilogue.bias + first) : V{};
      for (int i = 0; i < kOut * kOut; ++i) {
        if (args.pixels[i] == nullptr) continue;
        T* pixel = args.pixels[i] + first;
        V value = y[i / kOut][i % kOut] + bias;
        if (epilogue.residual != 0) value += get(pixel + epilogue.residual);
        if (epilogue.relu) value = value <= 0 ? V{} : value;
        if (sizeof(T) == sizeof(C) && epilogue.stream) {
          store_past_caches(reinterpret_cast<V*>(pixel), value);
        } else {
          store<L>(pixel, value);
        }
      }
    }
  }

  static void filter(const C* g, int64_t n, C* u, int64_t plane) {
    for (int64_t first = 0; first < n; first += L) {
      V taps[kTaps][kTaps], points[kEdge][kEdge];
      for (int i = 0; i < kTaps; ++i)
        for (int j = 0; j < kTaps; ++j) taps[i][j] = get(g + (kTaps * i + j) * n + first);
      transform_2d(taps, points, [](const V* in, V* out) { F::filter(in, out); });
      for (int i = 0; i < kEdge * kEdge; ++i) {
        // All threads have read what was packed here before, and a line that others hold is slow to
        // get. Half lines are not worth it: they would leave before they are whole.
        if constexpr (sizeof(V) == 64) {
          store_past_caches(reinterpret_cast<V*>(u + i * plane + first),
                            points[i / kEdge][i % kEdge]);
        } else {
          store<L>(u + i * plane + first, points[i / kEdge][i % kEdge]);
        }
      }
    }
  }

  static void grad_output(const WinogradSquare<T>& args) {
    transform_square<kOut>(args, [](const V* in, V* out) { F::grad_output(in, out); });
  }

  static void grad_filter(const C* z, int64_t n, int64_t plane, T* g, int64_t step) {
    for (int64_t first = 0; first < n; first += L) {
      V points[kEdge][kEdge], taps[kTaps][kTaps];
      for (int i = 0; i < kEdge * kEdge; ++i)
        points[i / kEdge][i % kEdge] = get(z + i * plane + first);
      transform_2d(points, taps, [](const V* in, V* out) { F::grad_filter(in, out); });
      for (int i = 0; i < kTaps * kTaps; ++i)
        store<L>(g + i * step + first, taps[i / kTaps][i % kTaps]);
    }
  }

  static constexpr WinogradTransforms<T> kTable{input, output, filter, grad_output, grad_filter};
};

template <class T>
constexpr WinogradKernels<T> kKernels{kLanes<T>, Transforms<T, F2x3<Compute<T>>>::kTable,
                                      Transforms<T, F4x3<Compute<T>>>::kTable,
                                      Transforms<T, F2x5<Compute<T>>>::kTable};

}  // namespace

#define STRIATE_WINOGRAD_GETTER(isa, name, type) STRIATE_WINOGRAD_GETTER_(isa, name, type)
#define STRIATE_WINOGRAD_GETTER_(isa, name, type) \
  const WinogradKernels<type>& winograd_kernels_##isa##_##name() { return kKernels<type>; }
STRIATE_WINOGRAD_GETTER(STRIATE_ISA, float, float)
STRIATE_WINOGRAD_GETTER(STRIATE_ISA, double, double)
STRIATE_WINOGRAD_GETTER(STRIATE_ISA, bfloat16, BFloat16)

}  // namespace striate::cpu
