// The exceptions every layer throws. Each message names the operation, what it expected and what
// it was given; Python sees the same classes with the matching built-in as a second base.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace striate {

/// Base of every exception that Striate throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A parameter outside its domain (a probability above 1, a negative learning rate). ValueError.
class ArgumentError : public Error {
 public:
  using Error::Error;
};
/// Sizes, ranks or strides that do not fit together. ValueError.
class ShapeError : public ArgumentError {
 public:
  using ArgumentError::ArgumentError;
};
/// An element type that the operation does not take. TypeError.
class DTypeError : public Error {
 public:
  using Error::Error;
};
/// A device that is absent, mismatched or does not implement the operation. RuntimeError.
class DeviceError : public Error {
 public:
  using Error::Error;
};
/// A file that is truncated, corrupt or of another format. ValueError.
class FormatError : public Error {
 public:
  using Error::Error;
};
/// An allocation that the device cannot satisfy. MemoryError.
class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};
/// A label or index outside its range. IndexError.
class IndexError : public Error {
 public:
  using Error::Error;
};
/// A misuse of the tape: a second backward, an edited saved tensor. RuntimeError.
class AutogradError : public Error {
 public:
  using Error::Error;
};

/// Throws E with all parts written to one string.
template <class E, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw E(message.str());
}

/// Throws E unless `condition` holds.
template <class E, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail<E>(parts...);
}

}  // namespace striate
