// Checkpoints: safetensors files, written atomically, read with every size checked first.
#pragma once

#include <map>
#include <string>

#include "striate/tensor.h"

namespace striate {

using Metadata = std::map<std::string, std::string>;

struct Checkpoint {
  std::map<std::string, Tensor> tensors;
  Metadata metadata;
};

/// Writes `path` as safetensors: temporary file in the same directory, fsync, rename. The bytes
/// depend only on the contents. A checksum of the data is stored in the metadata. Throws
/// std::system_error when the file cannot be written; an old file is then intact.
void save(const std::string& path, const Checkpoint& checkpoint);

/// Reads a safetensors file. Throws FormatError on anything malformed (truncated, bad header,
/// overlapping or out-of-range offsets, duplicate keys, checksum mismatch) and std::system_error
/// when the file cannot be read.
Checkpoint load(const std::string& path);

}  // namespace striate
