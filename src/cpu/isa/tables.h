// What the files of this folder define, each for the instruction set that it is compiled for, in
// the set's namespace.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/isa/peak.h"
#include "cpu/isa/planar.h"
#include "cpu/isa/random.h"
#include "cpu/isa/rows.h"
#include "cpu/isa/winograd.h"

namespace striate::cpu {

#define STRIATE_DECLARE_TABLES(set)                                \
  namespace set {                                                  \
  extern const PeakKernels peak;                                   \
  extern const ConvertKernels convert;                             \
  extern const NormalKernel<float> normal_float;                   \
  extern const NormalKernel<double> normal_double;                 \
  extern const GemmKernels<float> gemm_float;                      \
  extern const GemmKernels<double> gemm_double;                    \
  extern const PlanarKernels<float> planar_float;                  \
  extern const PlanarKernels<double> planar_double;                \
  extern const WinogradKernels<float, float> winograd_float;       \
  extern const WinogradKernels<double, double> winograd_double;    \
  extern const WinogradKernels<BFloat16, float> winograd_bfloat16; \
  extern const ElementKernels<float> element_float;                \
  extern const ElementKernels<double> element_double;              \
  extern const ElementKernels<BFloat16> element_bfloat16;          \
  extern const ColumnKernels<float> column_float;                  \
  extern const ColumnKernels<double> column_double;                \
  extern const ColumnKernels<BFloat16> column_bfloat16;            \
  extern const PoolKernels<float> pool_float;                      \
  extern const PoolKernels<double> pool_double;                    \
  extern const PoolKernels<BFloat16> pool_bfloat16;                \
  }
STRIATE_DECLARE_TABLES(baseline)
STRIATE_DECLARE_TABLES(avx2)
STRIATE_DECLARE_TABLES(avx512)
#undef STRIATE_DECLARE_TABLES

namespace avx512_bf16 {
/// For processors that multiply pairs of bfloat16. Denormal numbers count as zero there.
extern const GemmKernels<BFloat16> gemm_bfloat16;
extern const WinogradKernels<BFloat16, BFloat16> winograd_pairs;
extern const ColumnKernels<BFloat16> column_bfloat16;
}  // namespace avx512_bf16

}  // namespace striate::cpu
