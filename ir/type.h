/* Element types, tensor types and tensors. */
#ifndef SN_TYPE_H
#define SN_TYPE_H

#include "dim.h"

typedef enum DType {
#define DTYPE(name, text, onnx, bytes, class) name,
#include "dtypes.def"
#undef DTYPE
    SN_DTYPE_COUNT
} DType;

const char *sn_dtype_name(DType dtype);
int sn_dtype_bytes(DType dtype);
int sn_dtype_onnx(DType dtype);
bool sn_dtype_from_onnx(int onnx, DType *out); /* false: not an element type of Sinter */
bool sn_dtype_from_name(const char *name, size_t length, DType *out);
bool sn_dtype_is_float(DType dtype);
bool sn_dtype_is_int(DType dtype);    /* signed or unsigned, not bool */
bool sn_dtype_is_signed(DType dtype); /* I or F */

enum { SN_MAX_RANK = 12 };

/* dtype and logical shape; the layout is not part of it. `dim` is an immutable arena array of `rank`. */
typedef struct Type {
    DType dtype;
    int rank;
    const Dim *dim;
} Type;

bool sn_type_equal(Type a, Type b);
/* Equal but for the dtype. */
bool sn_type_same_shape(Type a, Type b);
/* The product of the extents. */
Dim sn_type_count(Dims *dims, Type type);
/* "f32[B, T, 768]" */
void sn_type_print(Text *text, const Dims *dims, Type type);

/* Where the bytes of a constant come from. */
typedef enum PayloadKind {
    SN_PAYLOAD_BYTES,  /* in memory (an arena or a read-only mapping), little-endian, row-major, maybe
                          unaligned */
    SN_PAYLOAD_RECIPE, /* made on demand: element i = offset + scale·√3·(2u − 1), u = uniform(seed, i) */
} PayloadKind;

/* A constant tensor: concrete shape and a payload that is never copied until it is needed. */
typedef struct Tensor {
    DType dtype;
    int rank;
    const int64_t *extent; /* rank entries, each >= 0 */
    int64_t count;         /* their product */
    PayloadKind payload;
    const void *bytes;    /* BYTES: count × sn_dtype_bytes; not owned */
    uint64_t seed;        /* RECIPE */
    double scale, offset; /* RECIPE */
} Tensor;

/* Element `i` (0 <= i < count) as a double or an integer, whatever the dtype. Integers of 64 bits do not
 * survive sn_tensor_get; use sn_tensor_get_int (floats truncate). */
double sn_tensor_get(const Tensor *tensor, int64_t i);
int64_t sn_tensor_get_int(const Tensor *tensor, int64_t i);

/* Writes the elements [begin, end) as little-endian row-major bytes to `out`. Recipes are computed. */
void sn_tensor_copy(const Tensor *tensor, int64_t begin, int64_t end, void *out);

/* A tensor of `rank` extents whose zeroed bytes are in the arena; *bytes is where to write them. */
Tensor *sn_tensor_new(Arena *arena, DType dtype, int rank, const int64_t *extent, void **bytes);

/* Writes element `i` of a BYTES buffer of that dtype, rounding (floats) or wrapping (integers). */
void sn_element_set(DType dtype, void *bytes, int64_t i, double value);
void sn_element_set_int(DType dtype, void *bytes, int64_t i, int64_t value);

#endif
