// Run-time choice of instruction set. The files in isa/ are compiled once per set, each into its
// own namespace, and reached only through the tables below.
//
// Those files include no standard headers and give everything internal linkage: an inline function
// compiled there with AVX flags could otherwise be the copy that the linker keeps for everybody.
#pragma once

#include <tuple>

#include "cpu/isa/tables.h"

namespace striate::cpu {

/// The tables of one element type; null where it has none.
template <class T>
struct TypedKernels {
  const GemmKernels<T>* gemm;  // of bfloat16: null where the processor has no such products
  const PlanarKernels<T>* planar;
  const WinogradKernels<T, Compute<T>>* winograd;
  RowKernels<T> rows;
  NormalKernel<T> normal;
};

struct Isa {
  const char* name;
  const PeakKernels& peak;
  const ConvertKernels& convert;
  std::tuple<TypedKernels<float>, TypedKernels<double>, TypedKernels<BFloat16>> typed;
  const WinogradKernels<BFloat16, BFloat16>* winograd_pairs = nullptr;  // with its gemm

  bool multiplies_bfloat16() const { return of<BFloat16>().gemm != nullptr; }

  template <class T>
  const TypedKernels<T>& of() const {
    return std::get<TypedKernels<T>>(typed);
  }
  template <class T>
  const GemmKernels<T>& gemm() const {
    return *of<T>().gemm;
  }
  template <class T>
  const PlanarKernels<T>& planar() const {
    return *of<T>().planar;
  }
  /// Between images of T and products of P.
  template <class T, class P>
  const WinogradKernels<T, P>& winograd() const {
    if constexpr (kStep<P> > 1) {
      return *winograd_pairs;
    } else {
      return *of<T>().winograd;
    }
  }
  template <class T>
  const RowKernels<T>& rows() const {
    return of<T>().rows;
  }
};

/// The best set that the processor has, or the one STRIATE_CPU_ISA names ("baseline", "avx2",
/// "avx512"); chosen at the first call. Throws ArgumentError if the forced one is unknown or
/// missing on this processor.
const Isa& isa();

}  // namespace striate::cpu
