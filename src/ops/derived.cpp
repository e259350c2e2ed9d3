#include "ops/derived.h"

#include <mutex>
#include <optional>

#include "core/capture.h"

namespace striate {
namespace {

/// Entries of one tensor that are kept: a weight's passes, for a few geometries.
constexpr size_t kMaxEntries = 8;

std::optional<Tensor> find(DerivedCache& cache, uint64_t key, uint64_t version) {
  std::lock_guard lock(cache.mutex);
  // Before anything new is made: a packing may be as large as its weight.
  std::erase_if(cache.entries, [&](const auto& entry) { return entry.version != version; });
  for (const DerivedCache::Entry& entry : cache.entries) {
    if (entry.key == key) return entry.value;
  }
  return {};
}

void insert(DerivedCache& cache, uint64_t key, uint64_t version, const Tensor& value) {
  std::lock_guard lock(cache.mutex);
  std::erase_if(cache.entries, [&](const auto& entry) { return entry.key == key; });
  if (cache.entries.size() >= kMaxEntries) cache.entries.erase(cache.entries.begin());
  cache.entries.push_back({key, version, value});
}

}  // namespace

Tensor derived(const Tensor& x, uint64_t key, const std::function<Tensor()>& make) {
  const std::shared_ptr<Storage>& storage = x.impl().storage;
  Capture* capture = current_capture(x.device());
  const bool trained = needs_grad({x});
  NoGrad guard;
  if ((capture && (capture->backward || trained)) || storage->loans.load() > 0) return make();
  // Both only grow.
  const uint64_t version = storage->version.load() + storage->returned_loans.load();
  DerivedCache& cache = derived_cache(x);
  const std::optional<Tensor> kept = find(cache, key, version);
  if (kept && kept->defined()) {
    if (capture) {
      capture->keep(kept->impl().storage);
      capture->assumed.push_back({storage, version});
    }
    return *kept;
  }
  // Two threads may both compute it: that costs less than holding a lock over a kernel.
  const Tensor value = make();
  // A capture has computed nothing yet, and its memory is its own.
  if (!capture) insert(cache, key, version, trained && !kept ? Tensor() : value);
  return value;
}

}  // namespace striate
