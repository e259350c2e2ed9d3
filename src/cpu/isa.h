// Run-time choice of instruction set. The files in isa/ are compiled once per set, each into its
// own namespace, and reached only through the tables below.
//
// Those files include no standard headers and give everything internal linkage: an inline function
// compiled there with AVX flags could otherwise be the copy that the linker keeps for everybody.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/isa/peak.h"
#include "cpu/isa/planar.h"
#include "cpu/isa/random.h"
#include "cpu/isa/rows.h"
#include "cpu/isa/winograd.h"

namespace striate::cpu {

struct Isa {
  const char* name;
  const PeakKernels& peak;
  const RandomKernels& random;
  const GemmKernels<float>& gemm_float;
  const GemmKernels<double>& gemm_double;
  const PlanarKernels<float>& planar_float;
  const PlanarKernels<double>& planar_double;
  const WinogradKernels<float>& winograd_float;
  const WinogradKernels<double>& winograd_double;
  const WinogradKernels<BFloat16>& winograd_bfloat16;
  const RowKernels<float>& rows_float;
  const RowKernels<double>& rows_double;
  const RowKernels<BFloat16>& rows_bfloat16;
  const ConvertKernels& convert;
  const GemmKernels<BFloat16>* gemm_bfloat16 = nullptr;  // null: the processor has no such products

  template <class T>
  const GemmKernels<T>& gemm() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return gemm_float;
    } else if constexpr (sizeof(T) == sizeof(double)) {
      return gemm_double;
    } else {
      return *gemm_bfloat16;
    }
  }
  template <class T>
  const PlanarKernels<T>& planar() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return planar_float;
    } else {
      return planar_double;
    }
  }
  template <class T>
  const WinogradKernels<T>& winograd() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return winograd_float;
    } else if constexpr (sizeof(T) == sizeof(double)) {
      return winograd_double;
    } else {
      return winograd_bfloat16;
    }
  }
  template <class T>
  const RowKernels<T>& rows() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return rows_float;
    } else if constexpr (sizeof(T) == sizeof(double)) {
      return rows_double;
    } else {
      return rows_bfloat16;
    }
  }
};

/// The best set that the processor has, or the one STRIATE_CPU_ISA names ("baseline", "avx2",
/// "avx512"); chosen at the first call. Throws ArgumentError if the forced one is unknown or
/// missing on this processor.
const Isa& isa();

}  // namespace striate::cpu
