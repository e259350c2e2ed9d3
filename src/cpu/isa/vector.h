// Vectors of the instruction set that a file in this folder is compiled for. Everything is
// internal to the file that includes it.
#pragma once

#include <cstdint>

#include "cpu/isa/bfloat16.h"

namespace striate::cpu {
namespace {

/// L lanes of T, loadable from any address that is aligned for T; one lane is T itself.
template <class T, int L>
struct VectorOf {
  typedef T type __attribute__((vector_size(sizeof(T) * L), aligned(sizeof(T)), may_alias));
};
template <class T>
struct VectorOf<T, 1> {
  typedef T type;
};
template <class T, int L>
using Vector = typename VectorOf<T, L>::type;

/// Lanes of a register; the compiler's largest useful alignment is its width.
template <class T>
constexpr int kLanes = __BIGGEST_ALIGNMENT__ / static_cast<int>(sizeof(Compute<T>));

/// The integer as wide as T, which comparisons yield.
template <class T>
struct IntegerOf {
  typedef int32_t type;
};
template <>
struct IntegerOf<double> {
  typedef int64_t type;
};
template <class T>
using Integer = typename IntegerOf<T>::type;

/// Vectors of bfloat16 are vectors of float once they are in registers. One instruction widens and
/// one narrows a register of them, for which the compiler takes up to six.
template <int L, class T>
inline Vector<Compute<T>, L> load(const T* p) {
  if constexpr (L == 1) {
    return value_of(*p);
  } else if constexpr (sizeof(T) == sizeof(BFloat16)) {
    const Vector<uint16_t, L>& bits = *reinterpret_cast<const Vector<uint16_t, L>*>(p);
    Vector<uint32_t, L> words;
    if constexpr (L == kLanes<T> && L > 4) {
      asm("vpmovzxwd %1, %0" : "=v"(words) : "m"(bits));
    } else {
      words = __builtin_convertvector(bits, Vector<uint32_t, L>);
    }
    return (Vector<float, L>)(words << 16);
  } else {
    return *reinterpret_cast<const Vector<T, L>*>(p);
  }
}

template <int L>
inline Vector<uint16_t, L> upper_halves(Vector<uint32_t, L> words) {
  Vector<uint16_t, L> halves;
  if constexpr (L == 16) {
    asm("vpmovdw %1, %0" : "=v"(halves) : "v"(words >> 16));
  } else {
    halves = __builtin_convertvector(words >> 16, Vector<uint16_t, L>);
  }
  return halves;
}
/// To nearest, ties to even; a NaN stays one.
template <int L>
inline Vector<uint16_t, L> narrowed(Vector<float, L> v) {
  if constexpr (L == 16 && STRIATE_NARROWS_BFLOAT16) {
    Vector<uint16_t, L> halves;
    asm("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(v));
    return halves;
  } else {
    const Vector<uint32_t, L> word = (Vector<uint32_t, L>)v;
    const Vector<uint32_t, L> nearest = word + 0x7FFF + (word >> 16 & 1);
    return upper_halves<L>(v != v ? (word | 0x400000) : nearest);
  }
}

/// Stores a register of 8 to 64 bytes without reading its cache line first, and without keeping
/// it: for results that the caches would lose before anyone reads them. The address is a multiple
/// of the size. Other threads see it after the fence that ends each part of a parallel region.
template <class V>
inline void store_past_caches(V* p, V v) {
  if constexpr (sizeof(V) == 8) {
    asm("movnti %1, %0" : "=m"(*p) : "r"((int64_t)v));
  } else if constexpr (__BIGGEST_ALIGNMENT__ == 16) {
    asm("movntps %1, %0" : "=m"(*p) : "x"(v));
  } else {
    asm("vmovntps %1, %0" : "=m"(*p) : "v"(v));
  }
}

/// With `stream`, whose elements are more than one, past the caches.
template <int L, class T>
inline void store(T* p, Vector<Compute<T>, L> v, bool stream = false) {
  if constexpr (L == 1) {
    *p = rounded<T>(v);
  } else if constexpr (sizeof(T) == sizeof(BFloat16)) {
    Vector<uint16_t, L>* target = reinterpret_cast<Vector<uint16_t, L>*>(p);
    const Vector<uint16_t, L> bits = narrowed<L>(v);
    stream ? store_past_caches(target, bits) : void(*target = bits);
  } else {
    Vector<T, L>* target = reinterpret_cast<Vector<T, L>*>(p);
    stream ? store_past_caches(target, v) : void(*target = v);
  }
}
/// Stores elements of T as load() returns them: nothing is rounded.
template <int L, class T>
inline void store_exact(T* p, Vector<Compute<T>, L> v) {
  if constexpr (L > 1 && sizeof(T) == sizeof(BFloat16)) {
    *reinterpret_cast<Vector<uint16_t, L>*>(p) = upper_halves<L>((Vector<uint32_t, L>)v);
  } else {
    store<L>(p, v);
  }
}

/// Copies n values, fewer than kWidth, in powers of two, each of which is one move.
template <int kWidth, class T>
inline void copy_first(const T* from, int64_t n, T* to) {
  int64_t i = 0;
#pragma GCC unroll 8
  for (int size = kWidth / 2; size > 0; size /= 2) {
    if (n & size) {
      __builtin_memcpy(to + i, from + i, size * sizeof(T));
      i += size;
    }
  }
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }
inline float logarithm(float x) { return __builtin_logf(x); }
inline double logarithm(double x) { return __builtin_log(x); }
inline float power(float x, float y) { return __builtin_powf(x, y); }
inline double power(double x, double y) { return __builtin_pow(x, y); }
inline double exponential(double x) { return __builtin_exp(x); }
inline double hyperbolic_tangent(double x) { return __builtin_tanh(x); }

/// e^x = 2^n e^r with |r| <= ln(2)/2; e^r = 1 + r + r^2 P(r), where P is the minimax polynomial of
/// degree 4 (error 2^-28 of the result).
inline float exponential(float x) {
  constexpr float kRound = 0x1.8p23f;  // what is added to it is rounded to an integer
  const float low = x < -104.0f ? -104.0f : x;
  const float inside = low > 89.0f ? 89.0f : low;  // NaN passes both
  const float shifted = inside * 0x1.715476p0f + kRound;
  const float n = shifted - kRound;
  // ln(2) in two parts; n times the first is exact.
  const float r = (inside - n * 0x1.63p-1f) + n * 0x1.bd0106p-13f;
  float p = 0x1.6a23dp-10f;
  p = p * r + 0x1.123a2p-7f;
  p = p * r + 0x1.5558f2p-5f;
  p = p * r + 0x1.555492p-3f;
  p = p * r + 0x1.fffffcp-2f;
  const float e = 1.0f + (r + r * r * p);
  // 2^n in two factors, so that overflow and underflow happen where they should.
  const int32_t power = __builtin_bit_cast(int32_t, shifted) - __builtin_bit_cast(int32_t, kRound);
  const int32_t half = power >> 1;
  const float scale1 = __builtin_bit_cast(float, (half + 127) << 23);
  const float scale2 = __builtin_bit_cast(float, (power - half + 127) << 23);
  return e * scale1 * scale2;
}

/// Near 0 the minimax polynomial x + x^3 Q(x^2) (error 2^-27), elsewhere from e^(2|x|).
inline float hyperbolic_tangent(float x) {
  const float size = __builtin_fabsf(x);
  const float far = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
  const float z = x * x;
  float q = -0x1.76ac1cp-8f;
  q = q * z + 0x1.5256d8p-6f;
  q = q * z + -0x1.b84448p-5f;
  q = q * z + 0x1.110768p-3f;
  q = q * z + -0x1.555534p-2f;
  const float near = x + x * z * q;
  return size < 0.625f ? near : (x < 0 ? -far : far);
}

template <class T>
inline T logistic(T x) {
  return 1 / (1 + exponential(-x));
}

}  // namespace
}  // namespace striate::cpu
