#include "ops/row_moments.h"

#include "core/capture.h"

namespace striate {
namespace {

/// Only grows. Edits through memory on loan do not show until it is returned.
uint64_t version_of(const Storage& storage) {
  return storage.version.load() + storage.returned_loans.load();
}

}  // namespace

void keep_moments(const Tensor& y, const KeptMoments& moments) {
  DerivedCache& cache = derived_cache(y);
  std::lock_guard lock(cache.mutex);
  cache.moments = {moments.storage, moments.chunk_rows, version_of(*y.impl().storage)};
}

KeptMoments take_moments(const Tensor& x) {
  if (!x.impl().derived) return {};
  const Storage& storage = *x.impl().storage;
  DerivedCache& cache = derived_cache(x);
  std::lock_guard lock(cache.mutex);
  const auto kept = std::exchange(cache.moments, {});
  if (!kept.storage || kept.version != version_of(storage) || storage.loans.load() > 0) return {};
  // A graph computes them at each replay, or else does without.
  const Capture* capture = current_capture(x.device());
  if (capture != nullptr && kept.storage->arena != capture->arena) return {};
  return {kept.storage, kept.chunk_rows};
}

}  // namespace striate
