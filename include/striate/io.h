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

/// Reads a safetensors file; float16 becomes float32, and int8, int16, uint16 and uint32 become
/// int64. Throws FormatError on anything malformed (truncated, bad header,
/// overlapping or out-of-range offsets, duplicate keys, checksum mismatch) and std::system_error
/// when the file cannot be read.
Checkpoint load(const std::string& path);

/// Fills a contiguous tensor of the CPU with the bytes of an open file from `offset` on, and
/// returns their CRC-32: for readers of other formats. Throws FormatError if the file ends before.
uint32_t read_into(const Tensor& target, int file, int64_t offset);

}  // namespace striate
