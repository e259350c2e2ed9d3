// Statistics that a convolution leaves with its result, while it has it in registers, for the batch
// norm that may follow: that need not read it once more.
#pragma once

#include "ops/common.h"

namespace striate {

/// RowMoments and their memory; undefined storage for none.
struct KeptMoments {
  std::shared_ptr<Storage> storage;
  int64_t chunk_rows = 0;

  RowMoments args() const {
    return {storage ? static_cast<const double*>(storage->data) : nullptr, chunk_rows};
  }
};

/// Leaves the moments of y's rows, as y is now, with y.
void keep_moments(const Tensor& y, const KeptMoments& moments);
/// Takes what was left with x, if x has not been edited since; there is one taker.
KeptMoments take_moments(const Tensor& x);

}  // namespace striate
