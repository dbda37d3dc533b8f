#include "type.h"
#include "number.h"
#include <math.h>

typedef enum DTypeClass { B, U, I, F } DTypeClass;

typedef struct DTypeRow {
    const char *text;
    int onnx, bytes;
    DTypeClass class;
} DTypeRow;

static const DTypeRow rows[SN_DTYPE_COUNT] = {
#define DTYPE(name, text, onnx, bytes, class) [name] = {text, onnx, bytes, class},
#include "dtypes.def"
#undef DTYPE
};

const char *sn_dtype_name(DType dtype) {
    return rows[dtype].text;
}
int sn_dtype_bytes(DType dtype) {
    return rows[dtype].bytes;
}
int sn_dtype_onnx(DType dtype) {
    return rows[dtype].onnx;
}
bool sn_dtype_is_float(DType dtype) {
    return rows[dtype].class == F;
}
bool sn_dtype_is_int(DType dtype) {
    return rows[dtype].class == U || rows[dtype].class == I;
}
bool sn_dtype_is_signed(DType dtype) {
    return rows[dtype].class == I || rows[dtype].class == F;
}

bool sn_dtype_from_onnx(int onnx, DType *out) {
    for (int i = 0; i < SN_DTYPE_COUNT; i++) {
        if (rows[i].onnx != onnx) continue;
        *out = (DType)i;
        return true;
    }
    return false;
}

bool sn_dtype_from_name(const char *name, size_t length, DType *out) {
    for (int i = 0; i < SN_DTYPE_COUNT; i++) {
        if (strlen(rows[i].text) != length || memcmp(rows[i].text, name, length) != 0) continue;
        *out = (DType)i;
        return true;
    }
    return false;
}

bool sn_type_same_shape(Type a, Type b) {
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

bool sn_type_equal(Type a, Type b) {
    return a.dtype == b.dtype && sn_type_same_shape(a, b);
}

Dim sn_type_count(Dims *dims, Type type) {
    Dim count = sn_dim(dims, 1);
    for (int i = 0; i < type.rank; i++) count = sn_dim_mul(dims, count, type.dim[i]);
    return count;
}

void sn_type_print(Text *text, const Dims *dims, Type type) {
    sn_text_add(text, "%s[", sn_dtype_name(type.dtype));
    for (int i = 0; i < type.rank; i++) {
        if (i > 0) sn_text_add(text, ", ");
        sn_dim_print(text, dims, type.dim[i]);
    }
    sn_text_add(text, "]");
}

/* ---- elements ---- */

/* The bits of element `i`, zero-extended; `bytes` may be unaligned. Hosts are little-endian, as the payload
 * is. */
static uint64_t load_bits(DType dtype, const void *bytes, int64_t i) {
    uint64_t bits = 0;
    size_t size = (size_t)sn_dtype_bytes(dtype);
    memcpy(&bits, (const char *)bytes + (size_t)i * size, size);
    return bits;
}

static void store_bits(DType dtype, void *bytes, int64_t i, uint64_t bits) {
    size_t size = (size_t)sn_dtype_bytes(dtype);
    memcpy((char *)bytes + (size_t)i * size, &bits, size);
}

static double float_of_bits(DType dtype, uint64_t bits) {
    if (dtype == SN_F16) return sn_f16_to((uint16_t)bits);
    if (dtype == SN_BF16) return sn_bf16_to((uint16_t)bits);
    double wide;
    float narrow;
    uint32_t low = (uint32_t)bits;
    memcpy(&wide, &bits, sizeof wide);
    memcpy(&narrow, &low, sizeof narrow);
    return dtype == SN_F32 ? (double)narrow : wide;
}

static uint64_t bits_of_float(DType dtype, double value) {
    if (dtype == SN_F16) return sn_f16_from(value);
    if (dtype == SN_BF16) return sn_bf16_from(value);
    uint64_t bits = 0;
    float narrow = (float)value;
    if (dtype == SN_F32)
        memcpy(&bits, &narrow, sizeof narrow);
    else
        memcpy(&bits, &value, sizeof value);
    return bits;
}

/* Sign-extended where the dtype is signed. */
static int64_t int_of_bits(DType dtype, uint64_t bits) {
    int unused = 64 - 8 * sn_dtype_bytes(dtype);
    if (rows[dtype].class == B) return bits != 0;
    if (rows[dtype].class != I || unused == 0) return (int64_t)bits;
    uint64_t sign = UINT64_C(1) << (63 - unused);
    return (int64_t)((bits ^ sign) - sign);
}

/* Towards zero; what does not fit becomes the nearest int64, NaN 0. */
static int64_t int_of_float(double value) {
    if (isnan(value)) return 0;
    if (value >= 0x1p63) return INT64_MAX;
    return value < -0x1p63 ? INT64_MIN : (int64_t)value;
}

/* Uniform with the recipe's deviation: √3·(2u − 1) has deviation 1. One multiplication and one addition of
 * exact doubles, so every machine computes the same bits. */
static double recipe_value(const Tensor *tensor, uint32_t word) {
    const double sqrt3 = 1.7320508075688772;
    return tensor->scale * (sqrt3 * (word * 0x1p-31 - 1)) + tensor->offset;
}

static double recipe_element(const Tensor *tensor, int64_t i) {
    uint32_t word[4];
    sn_philox(tensor->seed, (uint64_t)i / 4, word);
    return recipe_value(tensor, word[i % 4]);
}

/* Elements [begin, end) of a recipe, each block of four words drawn once. */
static void copy_recipe(const Tensor *tensor, int64_t begin, int64_t end, void *out) {
    uint32_t word[4];
    for (int64_t i = begin; i < end; i++) {
        if (i == begin || i % 4 == 0) sn_philox(tensor->seed, (uint64_t)i / 4, word);
        double value = recipe_value(tensor, word[i % 4]);
        if (tensor->dtype == SN_F32)
            ((float *)out)[i - begin] = (float)value;
        else
            sn_element_set(tensor->dtype, out, i - begin, value);
    }
}

double sn_tensor_get(const Tensor *tensor, int64_t i) {
    DType dtype = tensor->dtype;
    uint64_t bits = 0;
    if (tensor->payload == SN_PAYLOAD_RECIPE)
        sn_element_set(dtype, &bits, 0, recipe_element(tensor, i));
    else
        bits = load_bits(dtype, tensor->bytes, i);
    if (sn_dtype_is_float(dtype)) return float_of_bits(dtype, bits);
    return dtype == SN_U64 ? (double)bits : (double)int_of_bits(dtype, bits);
}

int64_t sn_tensor_get_int(const Tensor *tensor, int64_t i) {
    if (sn_dtype_is_float(tensor->dtype) || tensor->payload == SN_PAYLOAD_RECIPE)
        return int_of_float(sn_tensor_get(tensor, i));
    return int_of_bits(tensor->dtype, load_bits(tensor->dtype, tensor->bytes, i));
}

void sn_tensor_copy(const Tensor *tensor, int64_t begin, int64_t end, void *out) {
    size_t size = (size_t)sn_dtype_bytes(tensor->dtype);
    if (end <= begin) return;
    if (tensor->payload == SN_PAYLOAD_BYTES) {
        memcpy(out, (const char *)tensor->bytes + (size_t)begin * size, (size_t)(end - begin) * size);
        return;
    }
    copy_recipe(tensor, begin, end, out);
}

Tensor *sn_tensor_new(Arena *arena, DType dtype, int rank, const int64_t *extent, void **bytes) {
    Tensor *tensor = SN_NEW(arena, Tensor);
    int64_t *copy = SN_ARRAY(arena, int64_t, rank);
    size_t count = 1;
    for (int i = 0; i < rank; i++) copy[i] = extent[i];
    for (int i = 0; i < rank; i++) /* a product past size_t is what the arena calls exhaustion */
        if (__builtin_mul_overflow(count, (size_t)extent[i], &count)) count = SIZE_MAX;
    *bytes = sn_arena_array(arena, count, (size_t)sn_dtype_bytes(dtype) + (count == SIZE_MAX));
    tensor->dtype = dtype;
    tensor->rank = rank;
    tensor->extent = copy;
    tensor->count = (int64_t)count;
    tensor->payload = SN_PAYLOAD_BYTES;
    tensor->bytes = *bytes;
    return tensor;
}

void sn_element_set(DType dtype, void *bytes, int64_t i, double value) {
    if (sn_dtype_is_float(dtype))
        store_bits(dtype, bytes, i, bits_of_float(dtype, value));
    else if (rows[dtype].class == B)
        store_bits(dtype, bytes, i, value != 0);
    else if (dtype == SN_U64 && value >= 0x1p63 && value < 0x1p64)
        store_bits(dtype, bytes, i, (uint64_t)value);
    else
        store_bits(dtype, bytes, i, (uint64_t)int_of_float(value));
}

void sn_element_set_int(DType dtype, void *bytes, int64_t i, int64_t value) {
    if (sn_dtype_is_float(dtype))
        store_bits(dtype, bytes, i, bits_of_float(dtype, (double)value));
    else if (rows[dtype].class == B)
        store_bits(dtype, bytes, i, value != 0);
    else
        store_bits(dtype, bytes, i, (uint64_t)value);
}
