// Files whose errors are exceptions: std::system_error with the cause.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace striate {

/// Fills `data` from an open file, by pieces that are still in the cache when the checksum is
/// taken. Returns `crc`, a CRC-32, continued over the bytes. Throws FormatError, which begins with
/// `origin`, if the file ends before.
uint32_t read_at(int fd, uint64_t offset, void* data, size_t size, const std::string& origin,
                 uint32_t crc);

/// A regular file, read from its start.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }
  /// The next `size` bytes; see read_at().
  uint32_t read(void* data, size_t size, uint32_t crc = 0);

 private:
  std::string path_;
  int fd_;
  uint64_t size_ = 0, position_ = 0;
};

/// Replaces `path` as a whole or not at all: written under a temporary name in the same directory,
/// flushed to disk, then renamed. Destroyed without commit(), it leaves no trace.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size);
  /// Overwrites bytes written before.
  void patch(uint64_t offset, const void* data, size_t size);
  void commit();

 private:
  [[noreturn]] void raise() const;

  std::string path_, temporary_;
  int fd_ = -1;
  uint64_t position_ = 0;
};

}  // namespace striate
