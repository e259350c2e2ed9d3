// Run-time choice of instruction set. The files in isa/ are compiled once per set, each into its
// own namespace, and reached only through the tables below.
//
// Those files include no standard headers and give everything internal linkage: an inline function
// compiled there with AVX flags could otherwise be the copy that the linker keeps for everybody.
#pragma once

#include <tuple>

#include "cpu/isa/gemm.h"
#include "cpu/isa/peak.h"
#include "cpu/isa/planar.h"
#include "cpu/isa/random.h"
#include "cpu/isa/rows.h"
#include "cpu/isa/winograd.h"

namespace striate::cpu {

/// A family's tables of each element type; null where it has none.
template <template <class> class Table>
using ByType = std::tuple<const Table<float>*, const Table<double>*, const Table<BFloat16>*>;

struct Isa {
  const char* name;
  const PeakKernels& peak;
  const RandomKernels& random;
  const ConvertKernels& convert;
  ByType<GemmKernels> gemm_tables;  // of bfloat16: null where the processor has no such products
  ByType<PlanarKernels> planar_tables;
  ByType<WinogradKernels> winograd_tables;
  ByType<RowKernels> row_tables;

  bool multiplies_bfloat16() const { return std::get<2>(gemm_tables) != nullptr; }

  template <class T>
  const GemmKernels<T>& gemm() const {
    return *std::get<const GemmKernels<T>*>(gemm_tables);
  }
  template <class T>
  const PlanarKernels<T>& planar() const {
    return *std::get<const PlanarKernels<T>*>(planar_tables);
  }
  template <class T>
  const WinogradKernels<T>& winograd() const {
    return *std::get<const WinogradKernels<T>*>(winograd_tables);
  }
  template <class T>
  const RowKernels<T>& rows() const {
    return *std::get<const RowKernels<T>*>(row_tables);
  }
};

/// The best set that the processor has, or the one STRIATE_CPU_ISA names ("baseline", "avx2",
/// "avx512"); chosen at the first call. Throws ArgumentError if the forced one is unknown or
/// missing on this processor.
const Isa& isa();

}  // namespace striate::cpu
