// Compiled by test_jax: what src/kernel/xla_ffi.h declares lies where jaxlib's own header has it.
#include <cstddef>

#include "xla/ffi/api/c_api.h"
#include "xla_ffi.h"

namespace ours = kernel::xla;

#define SAME(one, field, other, its)                               \
  static_assert(offsetof(ours::one, field) == offsetof(other, its) \
                    && sizeof(ours::one::field) == sizeof(other::its), #one "." #field)
#define EQUAL(value, other) \
  static_assert(static_cast<int>(ours::value) == static_cast<int>(other), #value)

SAME(Extension, size, XLA_FFI_Extension_Base, struct_size);
SAME(Extension, type, XLA_FFI_Extension_Base, type);
SAME(Extension, next, XLA_FFI_Extension_Base, next);
SAME(Version, size, XLA_FFI_Api_Version, struct_size);
SAME(Version, extensions, XLA_FFI_Api_Version, extension_start);
SAME(Version, major, XLA_FFI_Api_Version, major_version);
SAME(Version, minor, XLA_FFI_Api_Version, minor_version);
SAME(Metadata, size, XLA_FFI_Metadata, struct_size);
SAME(Metadata, version, XLA_FFI_Metadata, api_version);
SAME(Metadata, traits, XLA_FFI_Metadata, traits);
SAME(MetadataExtension, base, XLA_FFI_Metadata_Extension, extension_base);
SAME(MetadataExtension, metadata, XLA_FFI_Metadata_Extension, metadata);
SAME(ErrorArguments, size, XLA_FFI_Error_Create_Args, struct_size);
SAME(ErrorArguments, extensions, XLA_FFI_Error_Create_Args, extension_start);
SAME(ErrorArguments, message, XLA_FFI_Error_Create_Args, message);
SAME(ErrorArguments, code, XLA_FFI_Error_Create_Args, errc);
SAME(Api, version, XLA_FFI_Api, api_version);
SAME(Api, create_error, XLA_FFI_Api, XLA_FFI_Error_Create);
SAME(Buffer, size, XLA_FFI_Buffer, struct_size);
SAME(Buffer, type, XLA_FFI_Buffer, dtype);
SAME(Buffer, data, XLA_FFI_Buffer, data);
SAME(Buffer, rank, XLA_FFI_Buffer, rank);
SAME(Buffer, lengths, XLA_FFI_Buffer, dims);
SAME(Buffers, count, XLA_FFI_Args, size);
SAME(Buffers, kinds, XLA_FFI_Args, types);
SAME(Buffers, items, XLA_FFI_Args, args);
SAME(Buffers, count, XLA_FFI_Rets, size);
SAME(Buffers, kinds, XLA_FFI_Rets, types);
SAME(Buffers, items, XLA_FFI_Rets, rets);
SAME(Text, start, XLA_FFI_ByteSpan, ptr);
SAME(Text, length, XLA_FFI_ByteSpan, len);
SAME(Scalar, type, XLA_FFI_Scalar, dtype);
SAME(Scalar, value, XLA_FFI_Scalar, value);
SAME(Attributes, count, XLA_FFI_Attrs, size);
SAME(Attributes, kinds, XLA_FFI_Attrs, types);
SAME(Attributes, names, XLA_FFI_Attrs, names);
SAME(Attributes, items, XLA_FFI_Attrs, attrs);
SAME(Call, size, XLA_FFI_CallFrame, struct_size);
SAME(Call, extensions, XLA_FFI_CallFrame, extension_start);
SAME(Call, api, XLA_FFI_CallFrame, api);
SAME(Call, context, XLA_FFI_CallFrame, ctx);
SAME(Call, stage, XLA_FFI_CallFrame, stage);
SAME(Call, arguments, XLA_FFI_CallFrame, args);
SAME(Call, results, XLA_FFI_CallFrame, rets);
SAME(Call, attributes, XLA_FFI_CallFrame, attrs);

EQUAL(MAJOR, XLA_FFI_API_MAJOR);
EQUAL(METADATA, XLA_FFI_Extension_Metadata);
EQUAL(BUFFER, XLA_FFI_ArgType_BUFFER);
EQUAL(BUFFER, XLA_FFI_RetType_BUFFER);
EQUAL(SCALAR, XLA_FFI_AttrType_SCALAR);
EQUAL(TEXT, XLA_FFI_AttrType_STRING);
EQUAL(uint32, XLA_FFI_DataType_U32);
EQUAL(int64, XLA_FFI_DataType_S64);
EQUAL(float16, XLA_FFI_DataType_F16);
EQUAL(bfloat16, XLA_FFI_DataType_BF16);
EQUAL(float32, XLA_FFI_DataType_F32);
EQUAL(float64, XLA_FFI_DataType_F64);
EQUAL(INVALID_ARGUMENT, XLA_FFI_Error_Code_INVALID_ARGUMENT);
EQUAL(RESOURCE_EXHAUSTED, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
EQUAL(INTERNAL, XLA_FFI_Error_Code_INTERNAL);
