// What of XLA's foreign function interface the handlers here use, declared anew: a C interface with
// versions, in which every struct begins with its size, so that either side can be newer than the
// other. Nothing of XLA or jaxlib is needed to build. Not here: what the handlers compute.
//
// Facts from: the header xla/ffi/api/c_api.h of jaxlib 0.10.2 (version 0.3 of the interface), with
// which tests/hosts/test_jax.py compares each place. 0.1 and 0.2, of jaxlib 0.6.0 and 0.9.0, have
// the same.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kernel::xla {

constexpr int MAJOR = 0, MINOR = 3, OLDEST_MINOR = 1;

struct Extension {
  std::size_t size;
  int type;
  Extension* next;
};
constexpr int METADATA = 1;  // an extension's type

struct Version {
  std::size_t size;
  Extension* extensions;
  int major, minor;
};

// A call with this extension asks which version the handler was written for, and computes nothing.
struct Metadata {  // its beginning
  std::size_t size;
  Version version;
  std::uint32_t traits;
};
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

struct Error;  // XLA's own

struct ErrorArguments {
  std::size_t size;
  Extension* extensions;
  const char* message;
  int code;
};
constexpr int INVALID_ARGUMENT = 3, RESOURCE_EXHAUSTED = 8, INTERNAL = 13;

struct Api {  // its beginning
  std::size_t size;
  Extension* extensions;
  Version version;
  const void* internal;
  Error* (*create_error)(ErrorArguments*);
};

enum Type : int { uint32 = 8, float16 = 10, float32 = 11, float64 = 12, bfloat16 = 16, int64 = 5 };

struct Buffer {  // dense, row-major
  std::size_t size;
  Extension* extensions;
  int type;
  void* data;
  std::int64_t rank;
  std::int64_t* lengths;
};

struct Buffers {  // arguments or results
  std::size_t size;
  Extension* extensions;
  std::int64_t count;
  int* kinds;
  void** items;
};
constexpr int BUFFER = 1;  // the only kind of arguments and results

struct Text {
  const char* start;
  std::size_t length;
};
struct Scalar {
  int type;
  void* value;
};
struct Attributes {
  std::size_t size;
  Extension* extensions;
  std::int64_t count;
  int* kinds;
  Text** names;
  void** items;
};
constexpr int SCALAR = 3, TEXT = 4;  // kinds of attributes

struct Call {  // without its end, which is for asynchronous handlers
  std::size_t size;
  Extension* extensions;
  const Api* api;
  void* context;
  int stage;
  Buffers arguments, results;
  Attributes attributes;
};

using Handler = Error* (*)(Call*);

// "forward" or "backward", see xla_ffi.cpp; null for another name.
Handler find_handler(const char* name);

}  // namespace kernel::xla
