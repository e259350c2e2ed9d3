#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "io/crc32.h"
#include "striate/error.h"

namespace striate {
namespace {

constexpr size_t kPieceBytes = 256 << 10;

[[noreturn]] void raise_errno(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

}  // namespace

InputFile::InputFile(const std::string& path)
    : path_(path), fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  struct stat info{};
  int error = fd_ < 0 || fstat(fd_, &info) != 0 ? errno : 0;
  if (error == 0 && !S_ISREG(info.st_mode)) error = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
  if (error != 0) {
    if (fd_ >= 0) close(fd_);
    raise_errno(error, "load: cannot read '" + path + "'");
  }
  size_ = static_cast<uint64_t>(info.st_size);
}

InputFile::~InputFile() { close(fd_); }

uint32_t InputFile::read(void* data, size_t size, uint32_t crc) {
  crc = read_at(fd_, position_, data, size, "load '" + path_ + "'", crc);
  position_ += size;
  return crc;
}

uint32_t read_at(int fd, uint64_t offset, void* data, size_t size, const std::string& origin,
                 uint32_t crc) {
  auto* bytes = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t count = pread(fd, bytes, std::min(size, kPieceBytes), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) raise_errno(errno, origin + ": cannot read");
    require<FormatError>(count > 0, origin, ": expected ", size,
                         " more bytes, got the end of the file");
    crc = crc32(crc, bytes, static_cast<size_t>(count));
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
  return crc;
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  do {  // a name may be left over from a process that was killed
    temporary_ = path_ + "." + std::to_string(getpid()) + "-" + std::to_string(counter++) + ".tmp";
    fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fd_ < 0 && errno == EEXIST);
  if (fd_ < 0) raise();
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

void AtomicFile::raise() const { raise_errno(errno, "save: cannot write '" + path_ + "'"); }

void AtomicFile::write(const void* data, size_t size) {
  patch(position_, data, size);
  position_ += size;
}

void AtomicFile::patch(uint64_t offset, const void* data, size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count = pwrite(fd_, bytes, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) raise();
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
}

void AtomicFile::commit() {
  if (fsync(fd_) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) raise();
  close(fd_);
  fd_ = -1;
  // The new name itself must reach the disk. Some file systems cannot flush a directory, or do not
  // let us open it; the file is complete all the same.
  const size_t slash = path_.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (error == EIO) raise_errno(error, "save: cannot flush the directory of '" + path_ + "'");
}

}  // namespace striate
