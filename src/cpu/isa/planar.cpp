// The tiles of planar.h. Accumulators stay in registers only if all loops over them are unrolled,
// hence the pragmas. Lanes never share arithmetic, so a result does not depend on its vector.
#include "cpu/isa/tables.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

/// Calls body.template operator()<0>() ... <n - 1>().
template <int n, class Body>
inline __attribute__((always_inline)) void unrolled(const Body& body) {
  if constexpr (n > 0) {
    unrolled<n - 1>(body);
    body.template operator()<n - 1>();
  }
}

template <int... kIndices>
struct Sequence {};
template <int n, int... kIndices>
struct MakeSequence : MakeSequence<n - 1, n - 1, kIndices...> {};
template <int... kIndices>
struct MakeSequence<0, kIndices...> {
  typedef Sequence<kIndices...> type;
};

/// Lane l of the result is lane Pick::at(l) of a and b, one behind the other.
template <class Pick, class V, int... kLane>
inline __attribute__((always_inline)) V pick(V a, V b, Sequence<kLane...>) {
  return __builtin_shufflevector(a, b, Pick::at(kLane)...);
}

/// Value v of pixels in their order, [L][F], is of filter v % F and pixel v / F. Each step picks
/// what is of one filter from its plane and keeps the rest; the first takes that of two.
template <int F, int L, int kVector, int kFilter>
struct IntoPixels {
  static constexpr int at(int lane) {
    const int value = kVector * L + lane;
    if (value % F == kFilter) return L + value / F;
    return kFilter == 1 && value % F == 0 ? value / F : lane;
  }
};
template <int F, int L, int kFilter, int kVector>
struct IntoPlane {
  static constexpr int at(int lane) {
    const int value = lane * F + kFilter;
    if (value / L == kVector) return L + value % L;
    return kVector == 1 && value < L ? value : lane;
  }
};

/// result[i] = the picks for it, of all parts.
template <template <int, int, int, int> class Pick, int F, int L, class V>
inline __attribute__((always_inline)) void exchange(const V (&parts)[F], V (&result)[F]) {
  unrolled<F>([&]<int i>() __attribute__((always_inline)) {
    result[i] = parts[0];
    unrolled<F - 1>([&]<int j>() __attribute__((always_inline)) {
      result[i] =
          pick<Pick<F, L, i, j + 1>>(result[i], parts[j + 1], typename MakeSequence<L>::type());
    });
  });
}

template <class T, int L>
inline Vector<T, L> load_first(const T* p, int64_t n) {
  T lanes[L] = {};
  copy_first<L>(p, n, lanes);
  return load<L>(lanes);
}

/// The last `n` values of a row, fewer than a vector.
template <class T, int L>
__attribute__((noinline)) void store_first(Vector<T, L> sum, int64_t n, const Epilogue<T>& epilogue,
                                           T* y) {
  if (epilogue.residual != 0) sum += load_first<T, L>(y + epilogue.residual, n);
  if (epilogue.relu) sum = sum <= 0 ? Vector<T, L>{} : sum;
  T lanes[L];
  store<L>(lanes, sum);
  copy_first<L>(lanes, n, y);
}

template <class T, int F, int kVectors>
void tile(const PlanarTileArgs<T>& args) {
  constexpr int L = kLanes<T>;
  using V = Vector<T, L>;
  const Epilogue<T>& epilogue = args.epilogue;
  V acc[kVectors][F];
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f) {
    const V start = (epilogue.bias ? epilogue.bias[f] : T(0)) - V{};
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[v][f] = start;
  }
  const T* x[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) x[v] = args.pixels[v].x;
  const T* weight = args.weight;
  for (int64_t t = 0; t < args.tap_count; ++t, weight += F) {
    const int64_t offset = args.taps[t];
    V pixels[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) pixels[v] = load<L>(x[v] + offset);
#pragma GCC unroll 8
    for (int f = 0; f < F; ++f) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[v][f] += pixels[v] * weight[f];
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    V sums[F];
    exchange<IntoPixels, F, L>(acc[v], sums);
    T* y = args.y + args.pixels[v].y;
    int64_t left = args.pixels[v].n * F;
#pragma GCC unroll 8
    for (int f = 0; f < F; ++f, y += L, left -= L) {
      if (left < L) {
        if (left > 0) store_first<T, L>(sums[f], left, epilogue, y);
        break;
      }
      if (epilogue.residual != 0) sums[f] += load<L>(y + epilogue.residual);
      if (epilogue.relu) sums[f] = sums[f] <= 0 ? V{} : sums[f];
      store<L>(y, sums[f]);
    }
  }
}

/// Lanes behind the last column count as zero, whatever is there.
template <bool kPart, class T, int F, int kTaps, class V>
inline __attribute__((always_inline)) void add_products(V (&acc)[kTaps][F], const T* x,
                                                        const int64_t (&taps)[kTaps],
                                                        const T* grad_y, int64_t plane,
                                                        Vector<Integer<T>, kLanes<T>> inside) {
  constexpr int L = kLanes<T>;
  V pixels[kTaps];
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
    pixels[t] = load<L>(x + taps[t]);
    if constexpr (kPart) pixels[t] = inside ? pixels[t] : V{};
  }
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f) {
    V grad = load<L>(grad_y + f * plane);
    if constexpr (kPart) grad = inside ? grad : V{};
#pragma GCC unroll 8
    for (int t = 0; t < kTaps; ++t) acc[t][f] += pixels[t] * grad;
  }
}

template <class T, int F, int kTaps>
void grad(const PlanarGradArgs<T>& args) {
  constexpr int L = kLanes<T>;
  using V = Vector<T, L>;
  const int64_t whole = args.columns / L * L, rest = args.columns - whole;
  Integer<T> lanes[L];
  for (int i = 0; i < L; ++i) lanes[i] = i < rest ? -1 : 0;
  const auto inside = *reinterpret_cast<const Vector<Integer<T>, L>*>(lanes);
  int64_t taps[kTaps];
  V acc[kTaps][F];
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
    taps[t] = args.taps[t];
#pragma GCC unroll 8
    for (int f = 0; f < F; ++f) acc[t][f] = load<L>(args.sums + (t * F + f) * L);
  }
  const T *x = args.x, *grad_y = args.grad_y;
  for (int64_t row = 0; row < args.rows; ++row, x += args.x_row, grad_y += args.columns) {
    for (int64_t i = 0; i < whole; i += L)
      add_products<false, T, F, kTaps>(acc, x + i, taps, grad_y + i, args.plane, inside);
    if (rest > 0)
      add_products<true, T, F, kTaps>(acc, x + whole, taps, grad_y + whole, args.plane, inside);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
#pragma GCC unroll 8
    for (int f = 0; f < F; ++f) store<L>(args.sums + (t * F + f) * L, acc[t][f]);
  }
}

template <class T, int F>
inline void split_vector(const T* pixels, T* planes, int64_t plane) {
  constexpr int L = kLanes<T>;
  Vector<T, L> from[F], to[F];
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f) from[f] = load<L>(pixels + f * L);
  exchange<IntoPlane, F, L>(from, to);
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f) store<L>(planes + f * plane, to[f]);
}
template <class T, int F>
void split(const T* pixels, int64_t n, T* planes, int64_t plane) {
  constexpr int L = kLanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L) split_vector<T, F>(pixels + i * F, planes + i, plane);
  if (i == n) return;
  T last[F * L] = {};
  __builtin_memcpy(last, pixels + i * F, (n - i) * F * sizeof(T));
  split_vector<T, F>(last, planes + i, plane);
}

// Sets of 512 bits have 32 registers, others 16, of which some are for operands.
template <class T>
constexpr int kAccumulators = kLanes<T> * sizeof(T) == 64 ? 24 : 12;

template <class T, int F, int kTaps>
constexpr void fill_grads(PlanarTile<T>& tile) {
  tile.grad[kTaps] = grad<T, F, kTaps>;
  if constexpr (kTaps > 1) fill_grads<T, F, kTaps - 1>(tile);
}
template <class T, int F>
constexpr void fill_tiles(PlanarKernels<T>& kernels) {
  constexpr int kVectors = F <= 3 ? kMaxPlanarVectors : 2;
  constexpr int kFit = kAccumulators<T> / F;
  constexpr int kTaps = kFit < kMaxPlanarTaps ? kFit : kMaxPlanarTaps;
  PlanarTile<T>& of = kernels.tiles[F];
  of.vectors = kVectors;
  of.taps = kTaps;
  of.tile = tile<T, F, kVectors>;
  of.split = split<T, F>;
  fill_grads<T, F, kTaps>(of);
  if constexpr (F > 1) fill_tiles<T, F - 1>(kernels);
}

/// Half a vector of filters is where the tile of gemm.h becomes the better one.
template <class T>
constexpr PlanarKernels<T> make_kernels() {
  PlanarKernels<T> kernels{kLanes<T>, kLanes<T> / 2, {}};
  fill_tiles<T, kLanes<T> / 2>(kernels);
  return kernels;
}

}  // namespace

namespace STRIATE_ISA {
constexpr PlanarKernels<float> planar_float = make_kernels<float>();
constexpr PlanarKernels<double> planar_double = make_kernels<double>();
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
