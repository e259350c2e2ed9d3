// Winograd transforms (Lavin and Gray 2016) as Cook-Toom at points 0, +-1, inf for F(2x2, 3x3) and
// 0, +-1/sqrt(2), +-sqrt(2), inf for F(4x4, 3x3) and F(2x2, 5x5). The second set has about half the
// rounding error of the usual 0, +-1, +-2, inf, because no entry of the matrices is far from 1.
// F(3x3, 3x3) has +-5/4, +-3/8, inf, at which rounding the operands of its products counts least:
// it is for products of bfloat16.
//
// Outputs and filters are polynomials, of which a 1-D transform takes the values at the points, or
// whose coefficients are found from those: the transpose. A 2-D one applies it to the columns and
// then to the rows of a tile, a vector of channels at a time. A tile of fewer outputs leaves out
// the last finite points; at the others it multiplies by the same values of the filter.
// Operands stores the points that products take, an Element for each lane or several, which belong
// to the terms of one step, side by side.
#pragma once

#include "cpu/isa/vector.h"
#include "cpu/isa/winograd.h"

namespace striate::cpu {
namespace {

/// The finite points of a grid; infinity is the last of its kEdge. A negative follows its opposite.
template <int kEdge>
constexpr long double kPoints[] = {0, 1, -1};
constexpr long double kRootHalf = 0.707106781186547524400844362104849L;
template <>
constexpr long double kPoints<5>[] = {1.25L, -1.25L, 0.375L, -0.375L};
template <>
constexpr long double kPoints<6>[] = {0, kRootHalf, -kRootHalf, 2 * kRootHalf, -2 * kRootHalf};

/// 1 / product of a point's differences from the other finite ones of the first `count`. Filters
/// take its size at the whole grid, inputs the rest of it.
template <int kEdge>
constexpr long double scale(int point, int count) {
  long double product = 1;
  for (int other = 0; other < count; ++other)
    if (other != point) product *= kPoints<kEdge>[point] - kPoints<kEdge>[other];
  return 1 / product;
}

template <int kEdge>
constexpr long double filter_scale(int point) {
  const long double whole = scale<kEdge>(point, kEdge - 1);
  return whole < 0 ? -whole : whole;
}

/// A row for each point.
template <class T, int rows, int columns>
struct Matrix {
  static constexpr int kRows = rows, kColumns = columns;
  T at[kRows][kColumns];
  /// Whether a row is that of the point before, but for the sign of odd columns.
  bool mirrors[kRows];

  constexpr void find_mirrors() {
    for (int i = 1; i < kRows; ++i) {
      mirrors[i] = !mirrors[i - 1];
      for (int j = 0; j < kColumns; ++j)
        mirrors[i] &= at[i][j] == (j % 2 == 0 ? at[i - 1][j] : -at[i - 1][j]);
    }
  }
};

/// The values of polynomials of kTerms coefficients at the first kRows - 1 finite points, and at
/// infinity, where it is the last coefficient; with `scaled`, of filters.
template <class T, int kEdge, int kRows, int kTerms>
constexpr Matrix<T, kRows, kTerms> values(bool scaled) {
  Matrix<T, kRows, kTerms> m{};
  for (int i = 0; i < kRows - 1; ++i) {
    long double power = scaled ? filter_scale<kEdge>(i) : 1;
    for (int k = 0; k < kTerms; ++k, power *= kPoints<kEdge>[i]) m.at[i][k] = static_cast<T>(power);
  }
  m.at[kRows - 1][kTerms - 1] = 1;
  m.find_mirrors();
  return m;
}

/// What inputs count at the same points: the coefficients of the product of (x - q) over the other
/// finite points q, by what the filter's values lack of the scale.
template <class T, int kEdge, int kRows>
constexpr Matrix<T, kRows, kRows> inputs() {
  Matrix<T, kRows, kRows> m{};
  for (int i = 0; i < kRows; ++i) {
    long double product[kRows] = {1};
    for (int q = 0; q < kRows - 1; ++q) {
      if (q == i) continue;
      for (int k = kRows - 1; k >= 0; --k)
        product[k] = (k > 0 ? product[k - 1] : 0) - kPoints<kEdge>[q] * product[k];
    }
    const bool finite = i < kRows - 1;
    const long double rest = finite ? scale<kEdge>(i, kRows - 1) / filter_scale<kEdge>(i) : 1;
    for (int k = 0; k < kRows; ++k) m.at[i][k] = static_cast<T>(product[k] * rest);
  }
  m.find_mirrors();
  return m;
}

/// out = m in. A point and its negative share the sums over even and over odd columns.
template <const auto& m>
struct Product {
  template <class V>
  static inline __attribute__((always_inline)) void apply(const V* in, V* out) {
    V even{}, odd{};
#pragma GCC unroll 8
    for (int i = 0; i < m.kRows; ++i) {
      if (m.mirrors[i]) {
        out[i] = even - odd;
        continue;
      }
      even = odd = V{};
#pragma GCC unroll 8
      for (int j = 0; j < m.kColumns; ++j)
        if (m.at[i][j] != 0) (j % 2 == 0 ? even : odd) += m.at[i][j] * in[j];
      out[i] = even + odd;
    }
  }
};

/// out = m' in.
template <const auto& m>
struct TransposedProduct {
  template <class V>
  static inline __attribute__((always_inline)) void apply(const V* in, V* out) {
#pragma GCC unroll 8
    for (int j = 0; j < m.kColumns; ++j) {
      out[j] = V{};
#pragma GCC unroll 8
      for (int i = 0; i < m.kRows; ++i) {
        if (m.at[i][j] == 0 || m.mirrors[i]) continue;
        const bool pair = i + 1 < m.kRows && m.mirrors[i + 1];
        out[j] += m.at[i][j] * (!pair ? in[i] : j % 2 == 0 ? in[i] + in[i + 1] : in[i] - in[i + 1]);
      }
    }
  }
};

/// The matrices of one axis: of a tile of kOut outputs, on the points of F(kEdge - kTaps + 1).
template <class T, int kEdge, int kTaps, int kOut>
struct Axis {
  static constexpr int kIn = kOut + kTaps - 1;  // inputs, and points
  static constexpr Matrix kInput = inputs<T, kEdge, kIn>();
  static constexpr Matrix kOutput = values<T, kEdge, kIn, kOut>(false);

  /// Where a tile's point is in the grid.
  static constexpr int point(int i) { return i < kIn - 1 ? i : kEdge - 1; }
};

/// `in` by columns and then by rows.
template <class Vertical, class Horizontal, int kInRows, int kInColumns, int kOutRows,
          int kOutColumns, class V>
inline __attribute__((always_inline)) void transform_2d(const V (&in)[kInRows][kInColumns],
                                                        V (&out)[kOutRows][kOutColumns]) {
  V half[kInColumns][kOutRows];  // transposed: column j of `in`, transformed
#pragma GCC unroll 8
  for (int j = 0; j < kInColumns; ++j) {
    V column[kInRows];
#pragma GCC unroll 8
    for (int i = 0; i < kInRows; ++i) column[i] = in[i][j];
    Vertical::apply(column, half[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kOutRows; ++i) {
    V row[kInColumns];
#pragma GCC unroll 8
    for (int j = 0; j < kInColumns; ++j) row[j] = half[j][i];
    Horizontal::apply(row, out[i]);
  }
}

template <class T>
using Register __attribute__((vector_size(sizeof(Compute<T>) * kLanes<T>))) = Compute<T>;

/// Operands of the type of sums.
template <class C>
struct Plain {
  typedef C Element;
  using V = Register<C>;
  static void store(C* p, const V (&terms)[1]) { cpu::store<kLanes<C>>(p, terms[0]); }
  static void stream(C* p, const V (&terms)[1]) { cpu::store<kLanes<C>>(p, terms[0], true); }
};

/// Of a tile of kHeight x kWidth outputs.
template <class T, class Operands, int kEdge, int kTaps, int kHeight, int kWidth>
struct TileTransforms {
  static constexpr int L = kLanes<T>;
  using V = Register<T>;
  using P = typename Operands::Element;
  using Rows = Axis<Compute<T>, kEdge, kTaps, kHeight>;
  using Columns = Axis<Compute<T>, kEdge, kTaps, kWidth>;

  static constexpr int point(int i, int j) { return Rows::point(i) * kEdge + Columns::point(j); }

  /// For each vector of channels: loads patches, asks for the columns of the next ones that these
  /// do not have, and stores their points.
  template <class Vertical, class Horizontal, int kPatchRows, int kPatchColumns, int kPatches>
  static void transform_patches(const WinogradPatches<T, P>& args) {
    P* v = args.v;
    for (int64_t g = 0; g < args.groups; ++g, v += args.group_step) {
      V points[kPatches][Rows::kIn][Columns::kIn];
#pragma GCC unroll 2
      for (int patch = 0; patch < kPatches; ++patch) {
        const T* const* pixels = args.pixels + patch * kPatchRows * kPatchColumns;
        V d[kPatchRows][kPatchColumns];
#pragma GCC unroll 8
        for (int i = 0; i < kPatchRows; ++i) {
#pragma GCC unroll 8
          for (int j = 0; j < kPatchColumns; ++j) {
            const T* pixel = pixels[i * kPatchColumns + j] + args.first + g * L;
            d[i][j] = load<L>(pixel);
            if (j >= kPatchColumns - kWidth) __builtin_prefetch(pixel + args.ahead, 0, 2);
          }
        }
        transform_2d<Vertical, Horizontal>(d, points[patch]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < Rows::kIn; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < Columns::kIn; ++j) {
          V terms[kPatches];
#pragma GCC unroll 2
          for (int patch = 0; patch < kPatches; ++patch) terms[patch] = points[patch][i][j];
          Operands::store(v + point(i, j) * args.plane, terms);
        }
      }
    }
  }

  template <int kPatches>
  static void input(const WinogradPatches<T, P>& args) {
    transform_patches<Product<Rows::kInput>, Product<Columns::kInput>, Rows::kIn, Columns::kIn,
                      kPatches>(args);
  }

  static void output(const WinogradOutput<T>& args) {
    const Epilogue<T>& epilogue = args.epilogue;
    for (int64_t first = 0; first < args.n; first += L) {
      V points[Rows::kIn][Columns::kIn], y[kHeight][kWidth];
#pragma GCC unroll 8
      for (int i = 0; i < Rows::kIn; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Columns::kIn; ++j)
          points[i][j] = load<L>(args.m + point(i, j) * args.plane + first);
      transform_2d<TransposedProduct<Rows::kOutput>, TransposedProduct<Columns::kOutput>>(points,
                                                                                          y);
      const V bias = epilogue.bias ? load<L>(epilogue.bias + first) : V{};
      for (int i = 0; i < kHeight; ++i) {
        for (int j = 0; j < kWidth; ++j) {
          T* pixel = args.pixel + i * args.row_step + j * args.column_step + first;
          V value = y[i][j] + bias;
          if (epilogue.residual != 0) value += load<L>(pixel + epilogue.residual);
          if (epilogue.relu) value = value <= 0 ? V{} : value;
          if constexpr (sizeof(T) == sizeof(P)) {
            const V values[] = {value};
            epilogue.stream ? Operands::stream(pixel, values) : Operands::store(pixel, values);
          } else {
            store<L>(pixel, value);
          }
        }
      }
    }
  }

  static void grad_outputs(const WinogradPatches<T, P>& args) {
    transform_patches<Product<Rows::kOutput>, Product<Columns::kOutput>, kHeight, kWidth, kStep<P>>(
        args);
  }
};

template <class T, class Operands, int kEdge, int kTaps>
struct FilterTransforms {
  static constexpr int L = kLanes<T>;
  using C = Compute<T>;
  using P = typename Operands::Element;
  using V = Register<T>;
  static constexpr Matrix kValues = values<C, kEdge, kEdge, kTaps>(true);

  static void filter(const C* g, int64_t step, int64_t n, P* u, int64_t plane) {
    for (int64_t first = 0; first < n; first += L) {
      V points[kStep<P>][kEdge][kEdge];
      for (int channel = 0; channel < kStep<P>; ++channel) {
        V taps[kTaps][kTaps];
        for (int i = 0; i < kTaps; ++i)
          for (int j = 0; j < kTaps; ++j)
            taps[i][j] = load<L>(g + channel * step + (kTaps * i + j) * n + first);
        transform_2d<Product<kValues>, Product<kValues>>(taps, points[channel]);
      }
      for (int i = 0; i < kEdge * kEdge; ++i) {
        V terms[kStep<P>];
        for (int channel = 0; channel < kStep<P>; ++channel)
          terms[channel] = points[channel][i / kEdge][i % kEdge];
        // All threads have read what was packed here before, and a line that others hold is slow to
        // get. Half lines are not worth it: they would leave before they are whole.
        P* target = u + i * plane + first * kStep<P>;
        if constexpr (sizeof(V) == 64) {
          Operands::stream(target, terms);
        } else {
          Operands::store(target, terms);
        }
      }
    }
  }

  static void grad_filter(const C* u, int64_t n, int64_t plane, C* g, int64_t step) {
    for (int64_t first = 0; first < n; first += L) {
      V points[kEdge][kEdge], taps[kTaps][kTaps];
      for (int i = 0; i < kEdge * kEdge; ++i)
        points[i / kEdge][i % kEdge] = load<L>(u + i * plane + first);
      transform_2d<TransposedProduct<kValues>, TransposedProduct<kValues>>(points, taps);
      for (int i = 0; i < kTaps * kTaps; ++i)
        store<L>(g + i * step + first, taps[i / kTaps][i % kTaps]);
    }
  }
};

template <class T, class Operands, int kEdge, int kTaps, int kHeight = 1, int kWidth = 1>
constexpr void fill_tiles(WinogradTransforms<T, typename Operands::Element>& table) {
  constexpr int kLargest = kEdge - kTaps + 1;
  using Tile = TileTransforms<T, Operands, kEdge, kTaps, kHeight, kWidth>;
  constexpr int kPatches = kStep<typename Operands::Element>;
  table.tiles[kHeight - 1][kWidth - 1] = {Tile::template input<1>, Tile::output,
                                          Tile::template input<kPatches>, Tile::grad_outputs};
  if constexpr (kWidth < kLargest) {
    fill_tiles<T, Operands, kEdge, kTaps, kHeight, kWidth + 1>(table);
  } else if constexpr (kHeight < kLargest) {
    fill_tiles<T, Operands, kEdge, kTaps, kHeight + 1, 1>(table);
  }
}

template <class T, class Operands, int kEdge, int kTaps>
constexpr WinogradTransforms<T, typename Operands::Element> make_transforms() {
  using Filters = FilterTransforms<T, Operands, kEdge, kTaps>;
  WinogradTransforms<T, typename Operands::Element> table{
      {}, Filters::filter, Filters::grad_filter};
  fill_tiles<T, Operands, kEdge, kTaps>(table);
  return table;
}

}  // namespace
}  // namespace striate::cpu
