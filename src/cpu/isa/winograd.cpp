// Winograd transforms (Lavin and Gray 2016) as Cook-Toom at points 0, -+1, inf for F(2x2, 3x3) and
// 0, -+1/sqrt(2), -+sqrt(2), inf for F(4x4, 3x3) and F(2x2, 5x5). The second set has about half the
// rounding error of the usual 0, -+1, -+2, inf, because no entry of the matrices is far from 1.
//
// Outputs and filters are polynomials, of which a 1-D transform takes the values at the points, or
// whose coefficients are found from those: the transpose. A 2-D one applies it to the columns and
// then to the rows of a tile, a vector of channels at a time.
#include "cpu/isa/winograd.h"

#include "cpu/isa/tables.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

/// 0, then pairs of a point and its negative, then infinity. The values of filters are divided by
/// products of point differences: kScale.
template <class T, int kPoints>
struct Points;

template <class T>
struct Points<T, 4> {
  static constexpr T kPoint[] = {1}, kSquare[] = {1}, kScale[] = {T(0.5)};

  template <class V>
  static void input(const V* d, V* v) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
};

template <class T>
struct Points<T, 6> {
  static constexpr T kPoint[] = {T(0.70710678118654752440), T(1.41421356237309504880)};
  static constexpr T kSquare[] = {T(0.5), T(2)}, kScale[] = {T(-2) / 3, T(1) / 6};

  template <class V>
  static void input(const V* d, V* v) {
    constexpr T kA = kPoint[0], kB = kPoint[1];
    const V even_a = d[4] - T(2) * d[2], odd_a = kA * d[3] - kB * d[1];
    const V even_b = d[4] - T(0.5) * d[2], odd_b = kB * d[3] - kA * d[1];
    v[0] = d[0] - T(2.5) * d[2] + d[4];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = d[1] - T(2.5) * d[3] + d[5];
  }
};

/// Polynomials of kTerms coefficients at those points; with kScaled, of filters.
template <class T, int kPoints, int kTerms, bool kScaled>
struct Polynomial {
  static constexpr int kPairs = kPoints / 2 - 1;
  using P = Points<T, kPoints>;

  /// What coefficient k counts at a point. The squares are exact, the points are not.
  static constexpr T weight(int pair, int k) {
    const T square = P::kSquare[pair], even = k < 2 ? 1 : k < 4 ? square : square * square;
    return (kScaled ? P::kScale[pair] : 1) * (k % 2 == 0 ? even : even * P::kPoint[pair]);
  }

  /// The values of c[0] + c[1] x + ...; at infinity it is the last coefficient.
  template <class V>
  static void evaluate(const V* c, V* values) {
    values[0] = c[0];
#pragma GCC unroll 8
    for (int pair = 0; pair < kPairs; ++pair) {
      V even = weight(pair, 0) * c[0], odd = weight(pair, 1) * c[1];
#pragma GCC unroll 8
      for (int k = 2; k < kTerms; ++k) (k % 2 == 0 ? even : odd) += weight(pair, k) * c[k];
      values[2 * pair + 1] = even + odd;
      values[2 * pair + 2] = even - odd;
    }
    values[kPoints - 1] = c[kTerms - 1];
  }

  /// The transpose.
  template <class V>
  static void transpose(const V* values, V* c) {
#pragma GCC unroll 8
    for (int k = 0; k < kTerms; ++k) {
      V total = k == 0 ? values[0] : V{};
#pragma GCC unroll 8
      for (int pair = 0; pair < kPairs; ++pair) {
        const V plus = values[2 * pair + 1], minus = values[2 * pair + 2];
        total += weight(pair, k) * (k % 2 == 0 ? plus + minus : plus - minus);
      }
      c[k] = k == kTerms - 1 ? total + values[kPoints - 1] : total;
    }
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

/// F(kOut, kTaps).
template <class T, int kOut, int kTaps>
struct Transforms {
  static constexpr int L = kLanes<T>, kEdge = kOut + kTaps - 1;
  typedef Compute<T> C;
  using Outputs = Polynomial<C, kEdge, kOut, false>;
  using Taps = Polynomial<C, kEdge, kTaps, true>;
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
    transform_square<kEdge>(args, [](const V* in, V* out) { Points<C, kEdge>::input(in, out); });
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
      transform_2d(points, y, [](const V* in, V* out) { Outputs::transpose(in, out); });
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
      transform_2d(taps, points, [](const V* in, V* out) { Taps::evaluate(in, out); });
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
    transform_square<kOut>(args, [](const V* in, V* out) { Outputs::evaluate(in, out); });
  }

  static void grad_filter(const C* z, int64_t n, int64_t plane, T* g, int64_t step) {
    for (int64_t first = 0; first < n; first += L) {
      V points[kEdge][kEdge], taps[kTaps][kTaps];
      for (int i = 0; i < kEdge * kEdge; ++i)
        points[i / kEdge][i % kEdge] = get(z + i * plane + first);
      transform_2d(points, taps, [](const V* in, V* out) { Taps::transpose(in, out); });
      for (int i = 0; i < kTaps * kTaps; ++i)
        store<L>(g + i * step + first, taps[i / kTaps][i % kTaps]);
    }
  }

  static constexpr WinogradTransforms<T> kTable{input, output, filter, grad_output, grad_filter};
};

template <class T>
constexpr WinogradKernels<T> kKernels{kLanes<T>, Transforms<T, 2, 3>::kTable,
                                      Transforms<T, 4, 3>::kTable, Transforms<T, 2, 5>::kTable};

}  // namespace

namespace STRIATE_ISA {
constexpr WinogradKernels<float> winograd_float = kKernels<float>;
constexpr WinogradKernels<double> winograd_double = kKernels<double>;
constexpr WinogradKernels<BFloat16> winograd_bfloat16 = kKernels<BFloat16>;
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
