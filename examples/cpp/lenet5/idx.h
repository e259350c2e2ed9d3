// Reads the idx files of MNIST and its relatives, plain or gzipped. The format: two zero bytes, the
// element type (8 is uint8), the rank, then each size as a big-endian uint32, then the elements.
#pragma once

#include <striate/striate.h>
#include <zlib.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

/// The uint8 tensor in `path`, or in `path`.gz.
inline striate::Tensor read_idx(const std::string& path) {
  // gzopen reads plain files too.
  using File = std::unique_ptr<gzFile_s, int (*)(gzFile)>;
  File file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) file.reset(gzopen((path + ".gz").c_str(), "rb"));
  if (!file) throw std::runtime_error(path + " and " + path + ".gz: " + std::strerror(errno));

  const auto read = [&](void* target, size_t bytes) {
    for (auto* next = static_cast<char*>(target); bytes > 0;) {
      const int got = gzread(file.get(), next, static_cast<unsigned>(std::min(bytes, 1ul << 30)));
      if (got <= 0) throw std::runtime_error(path + ": truncated or not an idx file");
      next += got;
      bytes -= static_cast<size_t>(got);
    }
  };
  unsigned char magic[4];
  read(magic, sizeof magic);
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] < 1 || magic[3] > 4) {
    throw std::runtime_error(path + ": expected an idx file of uint8");
  }
  striate::Dims shape;
  for (int d = 0; d < magic[3]; ++d) {
    unsigned char size[4];
    read(size, sizeof size);
    shape.push_back(int64_t{size[0]} << 24 | size[1] << 16 | size[2] << 8 | size[3]);
  }
  striate::Tensor values = striate::empty(shape, {.dtype = striate::DType::kUInt8});
  read(values.data(), static_cast<size_t>(values.numel()));
  return values;
}
