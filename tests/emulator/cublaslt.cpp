/* The emulated cuBLASLt: the part that is used, with its rules checked, and the product in double precision on the stream
 * of the emulated driver. Matrices are by columns only, as they are asked for. */
#include "driver.h"
#include "faults.h"

#include "engine.h"

extern "C" {
SN_CUDA_CUBLASLT(EMU_DECLARE)
}

#include <math.h>
#include <stdlib.h>

enum { LT_EXECUTION_FAILED = 13, WORKSPACE = 4096, ALGORITHM_MARK = 0x5e17e4, PROPOSALS = 4, UNUSABLE = 1 };

struct Product {
    unsigned compute, scale;
    int32_t transposed[2]; /* of A and B */
    uint32_t epilogue;
    const void *bias;
    int32_t bias_type; /* -1: D's */
    const void *aux;
    int64_t aux_stride;
};

struct Layout {
    unsigned type;
    uint64_t rows, columns;
    int64_t stride;
    int32_t order, batch;
    int64_t batch_stride;
};

struct Preference {
    uint64_t workspace;
    uint32_t alignment[4]; /* of A, B, C, D */
};

struct cublasLtContext {
    int unused;
};

/* ---- descriptors ---- */

template <class T> static LtStatus set(T *field, const void *value, size_t size) {
    if (!value || size != sizeof *field) return LT_INVALID_VALUE;
    memcpy(field, value, size);
    return 0;
}

LtStatus cublasLtCreate(LtHandle *handle) {
    if (!emu_has_context()) return LT_NOT_INITIALIZED;
    if (emu_planted("lt_create")) return LT_ALLOC_FAILED;
    *handle = new cublasLtContext();
    return 0;
}

LtStatus cublasLtDestroy(LtHandle handle) {
    delete handle;
    return 0;
}

size_t cublasLtGetVersion(void) {
    return 130000;
}

const char *cublasLtGetStatusName(LtStatus status) {
    switch (status) {
    case 0:
        return "CUBLAS_STATUS_SUCCESS";
    case LT_NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case LT_ALLOC_FAILED:
        return "CUBLAS_STATUS_ALLOC_FAILED";
    case LT_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case LT_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
        return "CUBLAS_STATUS unknown";
    }
}

const char *cublasLtGetStatusString(LtStatus status) {
    return cublasLtGetStatusName(status);
}

LtStatus cublasLtMatmulDescCreate(LtProduct *product, unsigned compute, unsigned scale) {
    *product = new Product{compute, scale, {LT_OP_N, LT_OP_N}, LT_EPILOGUE_DEFAULT, NULL, -1, NULL, 0};
    return 0;
}

LtStatus cublasLtMatmulDescDestroy(LtProduct product) {
    delete (Product *)product;
    return 0;
}

LtStatus cublasLtMatmulDescSetAttribute(LtProduct product, unsigned attribute, const void *value,
                                        size_t size) {
    Product *p = (Product *)product;
    switch (attribute) {
    case LT_PRODUCT_TRANSA:
        return set(&p->transposed[0], value, size);
    case LT_PRODUCT_TRANSB:
        return set(&p->transposed[1], value, size);
    case LT_PRODUCT_EPILOGUE:
        return set(&p->epilogue, value, size);
    case LT_PRODUCT_BIAS_POINTER:
        return set(&p->bias, value, size);
    case LT_PRODUCT_AUX_POINTER:
        return set(&p->aux, value, size);
    case LT_PRODUCT_AUX_STRIDE:
        return set(&p->aux_stride, value, size);
    case LT_PRODUCT_BIAS_DATA_TYPE:
        return set(&p->bias_type, value, size);
    default:
        return LT_INVALID_VALUE;
    }
}

LtStatus cublasLtMatrixLayoutCreate(LtLayout *layout, unsigned type, uint64_t rows, uint64_t columns,
                                    int64_t stride) {
    *layout = new Layout{type, rows, columns, stride, LT_ORDER_COL, 1, 0};
    return 0;
}

LtStatus cublasLtMatrixLayoutDestroy(LtLayout layout) {
    delete (Layout *)layout;
    return 0;
}

LtStatus cublasLtMatrixLayoutSetAttribute(LtLayout layout, unsigned attribute, const void *value,
                                          size_t size) {
    Layout *l = (Layout *)layout;
    switch (attribute) {
    case LT_LAYOUT_ORDER:
        return set(&l->order, value, size);
    case LT_LAYOUT_BATCH_COUNT:
        return set(&l->batch, value, size);
    case LT_LAYOUT_BATCH_STRIDE:
        return set(&l->batch_stride, value, size);
    default:
        return LT_INVALID_VALUE;
    }
}

LtStatus cublasLtMatmulPreferenceCreate(LtPreference *preference) {
    *preference = new Preference{0, {256, 256, 256, 256}};
    return 0;
}

LtStatus cublasLtMatmulPreferenceDestroy(LtPreference preference) {
    delete (Preference *)preference;
    return 0;
}

LtStatus cublasLtMatmulPreferenceSetAttribute(LtPreference preference, unsigned attribute, const void *value,
                                              size_t size) {
    Preference *p = (Preference *)preference;
    if (attribute == LT_PREFERENCE_WORKSPACE) return set(&p->workspace, value, size);
    if (attribute < LT_PREFERENCE_ALIGNMENT_A || attribute > LT_PREFERENCE_ALIGNMENT_D)
        return LT_INVALID_VALUE;
    return set(&p->alignment[attribute - LT_PREFERENCE_ALIGNMENT_A], value, size);
}

/* ---- the rules ---- */

static size_t type_bytes(unsigned type) {
    return type == LT_R_32F ? 4 : 2;
}

/* f32 of f32, or f16, bf16 or f32 of the same narrow type. */
static bool types_are_possible(const Product *p, const Layout *a, const Layout *b, const Layout *c,
                               const Layout *d) {
    bool narrow = a->type == LT_R_16F || a->type == LT_R_16BF;
    if (a->type != b->type || c->type != d->type || p->scale != LT_R_32F) return false;
    if (p->compute == LT_COMPUTE_32F_FAST_TF32) return a->type == LT_R_32F && d->type == LT_R_32F;
    if (p->compute != LT_COMPUTE_32F) return false;
    return d->type == LT_R_32F ? narrow || a->type == LT_R_32F : narrow && d->type == a->type;
}

static bool layout_is_sound(const Layout *l) {
    return l->rows && l->columns && l->stride >= (int64_t)l->rows && l->batch >= 1 && l->batch_stride >= 0;
}

/* Batches of a result must not lie over one another. */
static bool batches_are_apart(const Layout *l) {
    return l->batch == 1 || l->batch_stride >= (int64_t)(l->columns - 1) * l->stride + (int64_t)l->rows;
}

/* What cublasLtEpilogue_t lists, and the setting does not deny. */
static bool epilogue_exists(uint32_t epilogue) {
    static const uint32_t all[] = {
        1,        2,      2 | 128,      4,        2 | 4,         2 | 128 | 4, 8 | 128, 8 | 128 | 16, 32,
        32 | 128, 32 | 4, 32 | 128 | 4, 64 | 128, 64 | 128 | 16, 256,         512};
    for (uint32_t known : all)
        if (known == epilogue) return !(epilogue & (uint32_t)emu_setting("lacking_epilogues", 0));
    return false;
}

static bool has_vector(const Product *p) {
    return p->epilogue & (LT_EPILOGUE_BIAS | LT_EPILOGUE_BGRAD | LT_EPILOGUE_BGRADA | LT_EPILOGUE_BGRADB);
}

static bool writes_vector(const Product *p) {
    return has_vector(p) && !(p->epilogue & LT_EPILOGUE_BIAS);
}

/* Of the whole vector, or of aux. */
static size_t vector_count(const Product *p, const Layout *d) {
    return p->epilogue == LT_EPILOGUE_BGRADB ? d->columns : d->rows;
}

static bool aux_is_mask(const Product *p) {
    return p->epilogue & (2 | 8);
}

static bool writes_aux(const Product *p) {
    return p->epilogue & (LT_EPILOGUE_RELU | LT_EPILOGUE_GELU);
}

static size_t aux_bytes(const Product *p, const Layout *d) {
    size_t stride = (size_t)p->aux_stride, whole = (size_t)(d->columns - 1) * stride;
    return aux_is_mask(p) ? (whole + stride) / 8 : (whole + (size_t)d->rows) * type_bytes(d->type);
}

static bool epilogue_is_possible(const Product *p, const Layout *d) {
    bool more = p->epilogue & LT_EPILOGUE_AUX || writes_vector(p);
    if (!epilogue_exists(p->epilogue) || (more && d->batch > 1)) return false;
    return !has_vector(p) || p->bias_type < 0 || (unsigned)p->bias_type == d->type;
}

/* What cublasLt.h demands of CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD. */
static bool aux_is_sound(const Product *p, const Layout *d) {
    if (!(p->epilogue & LT_EPILOGUE_AUX)) return true;
    return p->aux && p->aux_stride >= (int64_t)d->rows && p->aux_stride % (aux_is_mask(p) ? 128 : 8) == 0;
}

/* Whether the shapes fit together is the caller's error, whether the library has it another matter. */
static LtStatus check(const Product *p, const Layout *a, const Layout *b, const Layout *c, const Layout *d) {
    const Layout *all[] = {a, b, c, d};
    for (const Layout *l : all) {
        if (l->order != LT_ORDER_COL) return LT_NOT_SUPPORTED;
        if (!layout_is_sound(l) || l->batch != d->batch) return LT_INVALID_VALUE;
    }
    if (p->transposed[0] < 0 || p->transposed[0] > 1 || p->transposed[1] < 0 || p->transposed[1] > 1)
        return LT_INVALID_VALUE;
    uint64_t m = p->transposed[0] ? a->columns : a->rows, k = p->transposed[0] ? a->rows : a->columns;
    uint64_t n = p->transposed[1] ? b->rows : b->columns, depth = p->transposed[1] ? b->columns : b->rows;
    if (k != depth || m != d->rows || n != d->columns || c->rows != m || c->columns != n)
        return LT_INVALID_VALUE;
    if (!batches_are_apart(d) || !aux_is_sound(p, d)) return LT_INVALID_VALUE;
    return types_are_possible(p, a, b, c, d) && epilogue_is_possible(p, d) ? 0 : LT_NOT_SUPPORTED;
}

/* ---- algorithms ---- */

static uint32_t alignment_of(const void *at) {
    uint32_t alignment = 1;
    while (alignment < 256 && (uintptr_t)at % (2 * alignment) == 0) alignment *= 2;
    return alignment;
}

/* What an algorithm of the emulator says: what it was chosen for, so that another use of it is found. */
struct Algorithm {
    uint32_t mark, number; /* number: of the proposal */
    uint32_t workspace, compute;
    uint32_t alignment[6]; /* of A, B, C, D, aux and the vector */
    uint32_t epilogue, rows, columns;
    uint32_t aux_stride;
};
static_assert(sizeof(Algorithm) <= sizeof(LtAlgorithm), "an algorithm fits");

LtStatus cublasLtMatmulAlgoGetHeuristic(LtHandle handle, LtProduct product, LtLayout a, LtLayout b,
                                        LtLayout c, LtLayout d, LtPreference preference, int wanted,
                                        LtChoice *choice, int *found) {
    const Product *p = (const Product *)product;
    const Preference *wish = (const Preference *)preference;
    *found = 0;
    if (!handle || wanted < 1) return LT_INVALID_VALUE;
    LtStatus status = check(p, (Layout *)a, (Layout *)b, (Layout *)c, (Layout *)d);
    if (status == LT_INVALID_VALUE && !emu_setting("contradictions", 0)) {
        emu_say("a product whose descriptors contradict one another: the caller would take it for one that is lacking");
        abort();
    }
    if (!status && emu_planted("heuristic")) status = (LtStatus)emu_setting("heuristic_code", LT_NOT_SUPPORTED);
    if (status) return status;
    for (; *found < wanted && *found < PROPOSALS; ++*found, choice++) {
        Algorithm algorithm = {ALGORITHM_MARK,
                               (uint32_t)*found,
                               wish->workspace < WORKSPACE ? 0 : (uint32_t)WORKSPACE,
                               p->compute,
                               {},
                               p->epilogue,
                               (uint32_t)((Layout *)d)->rows,
                               (uint32_t)((Layout *)d)->columns,
                               (uint32_t)p->aux_stride};
        memcpy(algorithm.alignment, wish->alignment, sizeof wish->alignment);
        algorithm.alignment[4] = alignment_of(p->aux), algorithm.alignment[5] = alignment_of(p->bias);
        *choice = LtChoice();
        memcpy(&choice->algorithm, &algorithm, sizeof algorithm);
        choice->workspace = algorithm.workspace;
        choice->waves = 1;
        choice->state = *found == UNUSABLE ? LT_NOT_SUPPORTED : 0;
    }
    return 0;
}

/* ---- the product ---- */

static double read_element(unsigned type, const void *at, int64_t index) {
    uint16_t half;
    if (type == LT_R_32F) return ((const float *)at)[index];
    memcpy(&half, (const char *)at + 2 * index, sizeof half);
    if (type == LT_R_16BF) return emu_bits<float>((uint32_t)half << 16);
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00u) return emu_bits<float>(sign | 0x7f800000u | rest << 13);
    return emu_bits<float>(sign | emu_bits<uint32_t>(emu_bits<float>(rest << 13) * 0x1p112f));
}

/* To nearest, ties to even: by scaling to the last place that the type has there. */
static double round_to(double x, int digits, int least_exponent, double largest) {
    int exponent;
    if (!(x - x == 0) || x == 0) return x;
    frexp(x, &exponent);
    if (exponent < least_exponent) exponent = least_exponent;
    double rounded = ldexp(nearbyint(ldexp(x, digits - exponent)), exponent - digits);
    return fabs(rounded) > largest ? copysign(INFINITY, x) : rounded;
}

static uint16_t to_half(double x) {
    float rounded = (float)round_to(x, 11, -13, 65504);
    uint32_t bits = emu_bits<uint32_t>(rounded), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return 0x7fff;
    if (rest == 0x7f800000u) return (uint16_t)(sign | 0x7c00u);
    return (uint16_t)(sign | (emu_bits<uint32_t>(emu_bits<float>(rest) * 0x1p-112f) >> 13));
}

static void write_element(unsigned type, void *at, int64_t index, double x) {
    if (type == LT_R_32F) {
        ((float *)at)[index] = (float)x;
        return;
    }
    uint16_t half = type == LT_R_16F
                        ? to_half(x)
                        : (uint16_t)(emu_bits<uint32_t>((float)round_to(x, 8, -125, 3.4e38)) >> 16);
    if (type == LT_R_16BF && x != x) half = 0x7fff;
    memcpy((char *)at + 2 * index, &half, sizeof half);
}

struct Matmul {
    Product product;
    Layout a, b, c, d;
    const void *a_at, *b_at, *c_at;
    void *d_at, *workspace;
    float alpha, beta;
    size_t workspace_bytes;
    Algorithm algorithm;
};

/* One batch of an operand as (rows, columns) by rows, of op(A) or op(B)'s transpose, so that both run along K. */
static std::vector<double> read_operand(const Matmul *m, const Layout *l, const void *at, int64_t batch,
                                        bool along_rows) {
    uint64_t lines = along_rows ? l->columns : l->rows, depth = along_rows ? l->rows : l->columns;
    std::vector<double> out(lines * depth);
    for (uint64_t i = 0; i < lines; i++)
        for (uint64_t k = 0; k < depth; k++) {
            uint64_t row = along_rows ? k : i, column = along_rows ? i : k;
            double x = read_element(l->type, at,
                                    batch * l->batch_stride + (int64_t)column * l->stride + (int64_t)row);
            if (m->product.compute == LT_COMPUTE_32F_FAST_TF32) x = emu_bits<float>(emu_to_tf32((float)x));
            out[i * depth + k] = x;
        }
    return out;
}

/* The byte of a mask that has an element's bit, and which it is. The layout is nobody else's business, so it is not the obvious
 * one: bits run down from the highest, and a bit that is set says that the slope is 0. */
static unsigned char *mask_byte(const Matmul *m, uint64_t row, uint64_t column, unsigned *bit) {
    uint64_t at = column * (uint64_t)m->product.aux_stride + row;
    *bit = 0x80u >> at % 8;
    return (unsigned char *)(uintptr_t)m->product.aux + at / 8;
}

static void keep_aux(const Matmul *m, double x, uint64_t row, uint64_t column) {
    unsigned bit;
    if (!aux_is_mask(&m->product)) {
        int64_t at = (int64_t)(column * (uint64_t)m->product.aux_stride + row);
        return write_element(m->d.type, (void *)(uintptr_t)m->product.aux, at, x);
    }
    unsigned char *byte = mask_byte(m, row, column, &bit);
    *byte = (unsigned char)(x > 0 ? *byte & ~bit : *byte | bit);
}

static double slope_at(const Matmul *m, uint64_t row, uint64_t column) {
    unsigned bit;
    if (aux_is_mask(&m->product)) return *mask_byte(m, row, column, &bit) & bit ? 0 : 1;
    double x =
        read_element(m->d.type, m->product.aux, (int64_t)(column * (uint64_t)m->product.aux_stride + row));
    double inner = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    double slope = 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
    return 0.5 * (1 + inner) + 0.5 * x * (1 - inner * inner) * slope;
}

static double finish(const Matmul *m, double x, uint64_t row, uint64_t column) {
    uint32_t epilogue = m->product.epilogue;
    bool aux = epilogue & LT_EPILOGUE_AUX;
    if (epilogue & LT_EPILOGUE_BIAS) x += read_element(m->d.type, m->product.bias, (int64_t)row);
    if (aux && writes_aux(&m->product)) keep_aux(m, x, row, column);
    if (aux && !writes_aux(&m->product)) x *= slope_at(m, row, column);
    if (epilogue & LT_EPILOGUE_RELU) x = x > 0 || x != x ? x : 0;
    if (epilogue & LT_EPILOGUE_GELU)
        x = 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return x;
}

/* The sums that go to the vector: of D's rows as they were before they were rounded, or of A's or B's over k. */
static void store_sums(const Matmul *m, const std::vector<double> &a, const std::vector<double> &b,
                       const std::vector<double> &d) {
    const std::vector<double> &of = m->product.epilogue == LT_EPILOGUE_BGRADA   ? a
                                    : m->product.epilogue == LT_EPILOGUE_BGRADB ? b
                                                                                : d;
    size_t count = vector_count(&m->product, &m->d), run = of.size() / count;
    /* A planted fault: the last term is missing. */
    size_t terms = emu_setting("short_sums", 0) ? run - 1 : run;
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t k = 0; k < terms; k++) sum += of[i * run + k];
        write_element(m->d.type, (void *)(uintptr_t)m->product.bias, (int64_t)i, sum);
    }
}

static void multiply_batch(const Matmul *m, int64_t batch) {
    uint64_t depth = m->product.transposed[0] ? m->a.rows : m->a.columns;
    std::vector<double> a = read_operand(m, &m->a, m->a_at, batch, m->product.transposed[0]);
    std::vector<double> b = read_operand(m, &m->b, m->b_at, batch, !m->product.transposed[1]);
    std::vector<double> rows(m->d.rows * m->d.columns);
    for (uint64_t n = 0; n < m->d.columns; n++)
        for (uint64_t row = 0; row < m->d.rows; row++) {
            double sum = 0;
            for (uint64_t k = 0; k < depth; k++) sum += a[row * depth + k] * b[n * depth + k];
            int64_t c = batch * m->c.batch_stride + (int64_t)n * m->c.stride + (int64_t)row;
            sum *= m->alpha;
            if (m->beta != 0) sum += m->beta * read_element(m->c.type, m->c_at, c);
            sum = finish(m, sum, row, n);
            rows[row * m->d.columns + n] = sum;
            write_element(m->d.type, m->d_at,
                          batch * m->d.batch_stride + (int64_t)n * m->d.stride + (int64_t)row, sum);
        }
    if (writes_vector(&m->product)) store_sums(m, a, b, rows);
}

/* ---- the call ---- */

static size_t extent(const Layout *l) {
    int64_t last =
        (l->batch - 1) * l->batch_stride + (int64_t)(l->columns - 1) * l->stride + (int64_t)l->rows;
    return (size_t)last * type_bytes(l->type);
}

static bool overlap(const void *x, size_t x_bytes, const void *y, size_t y_bytes) {
    return (const char *)x < (const char *)y + y_bytes && (const char *)y < (const char *)x + x_bytes;
}

static size_t vector_bytes(const Matmul *m) {
    return vector_count(&m->product, &m->d) * type_bytes(m->d.type);
}

/* The vector and aux are the device's; what is written of them lies over nothing else, and nothing over what is read. */
static bool more_is_sound(const Matmul *m) {
    const Product *p = &m->product;
    bool vector = has_vector(p), aux = p->epilogue & LT_EPILOGUE_AUX;
    const void *at[] = {vector ? p->bias : NULL, aux ? p->aux : NULL};
    size_t bytes[] = {vector ? vector_bytes(m) : 0, aux ? aux_bytes(p, &m->d) : 0};
    bool written[] = {writes_vector(p), aux && writes_aux(p)};
    for (int i = 0; i < 2; i++) {
        if (!at[i]) continue;
        if (!emu_device_sees(at[i], bytes[i]) || overlap(at[i], bytes[i], m->d_at, extent(&m->d)))
            return false;
        if (written[i] && (overlap(at[i], bytes[i], m->a_at, extent(&m->a)) ||
                           overlap(at[i], bytes[i], m->b_at, extent(&m->b)) ||
                           (m->beta != 0 && overlap(at[i], bytes[i], m->c_at, extent(&m->c)))))
            return false;
    }
    return !at[0] || !at[1] || !overlap(at[0], bytes[0], at[1], bytes[1]);
}

/* All operands lie in memory of the device, and the result over no other operand but C in its own place. */
static bool memory_is_sound(const Matmul *m) {
    size_t d = extent(&m->d);
    bool adds = m->beta != 0, in_place = m->c_at == m->d_at && m->c.stride == m->d.stride;
    if (!emu_device_sees(m->a_at, extent(&m->a)) || !emu_device_sees(m->b_at, extent(&m->b)) ||
        !emu_device_sees(m->d_at, d) || (adds && !emu_device_sees(m->c_at, extent(&m->c))))
        return false;
    if (!more_is_sound(m)) return false;
    if (m->algorithm.workspace && (!emu_device_sees(m->workspace, m->algorithm.workspace) ||
                                   overlap(m->workspace, m->algorithm.workspace, m->d_at, d)))
        return false;
    return !overlap(m->d_at, d, m->a_at, extent(&m->a)) && !overlap(m->d_at, d, m->b_at, extent(&m->b)) &&
           (!adds || in_place || !overlap(m->d_at, d, m->c_at, extent(&m->c)));
}

/* The vector and aux are reached in pieces as wide as D's, which an algorithm takes to be of 16 bytes at most. */
static bool pieces_are_aligned(const Matmul *m) {
    const Product *p = &m->product;
    const void *at[] = {has_vector(p) ? p->bias : NULL, p->epilogue & LT_EPILOGUE_AUX ? p->aux : NULL};
    uint32_t piece = m->algorithm.alignment[3] < 16 ? m->algorithm.alignment[3] : 16;
    return (uintptr_t)at[0] % piece == 0 && (uintptr_t)at[1] % piece == 0;
}

/* For the check of what runs at once: whole operands, gaps between their columns included. */
static void touch(const Matmul *m) {
    emu_touch(m->a_at, extent(&m->a), false);
    emu_touch(m->b_at, extent(&m->b), false);
    if (m->beta != 0) emu_touch(m->c_at, extent(&m->c), false);
    if (has_vector(&m->product)) emu_touch(m->product.bias, vector_bytes(m), writes_vector(&m->product));
    if (m->product.epilogue & LT_EPILOGUE_AUX)
        emu_touch(m->product.aux, aux_bytes(&m->product, &m->d), writes_aux(&m->product));
    emu_touch(m->d_at, extent(&m->d), true);
    if (m->algorithm.workspace) emu_touch(m->workspace, m->algorithm.workspace, true);
}

static CuResult run(const Matmul *m) {
    if (!memory_is_sound(m)) {
        emu_say(
            "a product of %llu x %llu by the library: an operand is not the device's, or lies over another",
            (unsigned long long)m->d.columns, (unsigned long long)m->d.rows);
        return SN_CU_ILLEGAL_ADDRESS;
    }
    if (!pieces_are_aligned(m)) {
        emu_say("a product by the library: its vector or aux is less aligned than was promised of D");
        return SN_CU_MISALIGNED_ADDRESS;
    }
    if (m->algorithm.workspace) memset(m->workspace, EMU_FILL, m->algorithm.workspace);
    touch(m);
    for (int64_t batch = 0; batch < m->d.batch; batch++) multiply_batch(m, batch);
    return SN_CU_SUCCESS;
}

/* The algorithm was chosen for this product, and the operands are as aligned as was promised. */
static bool algorithm_fits(const Matmul *m) {
    const Product *p = &m->product;
    const void *at[] = {m->a_at, m->b_at, m->beta != 0 ? m->c_at : NULL, m->d_at, p->aux, p->bias};
    const Algorithm *algorithm = &m->algorithm;
    for (int i = 0; i < 6; i++)
        if ((uintptr_t)at[i] % algorithm->alignment[i]) return false;
    return algorithm->mark == ALGORITHM_MARK && algorithm->epilogue == m->product.epilogue &&
           algorithm->compute == m->product.compute && algorithm->rows == m->d.rows &&
           algorithm->columns == m->d.columns && algorithm->workspace <= m->workspace_bytes &&
           algorithm->aux_stride == p->aux_stride && algorithm->number != UNUSABLE;
}

LtStatus cublasLtMatmul(LtHandle handle, LtProduct product, const void *alpha, const void *a,
                        LtLayout a_layout, const void *b, LtLayout b_layout, const void *beta, const void *c,
                        LtLayout c_layout, void *d, LtLayout d_layout, const LtAlgorithm *algorithm,
                        void *workspace, size_t workspace_bytes, CuStream stream) {
    if (!handle || !alpha || !beta || !algorithm || !a || !b || !d) return LT_INVALID_VALUE;
    Matmul m = {*(Product *)product,
                *(Layout *)a_layout,
                *(Layout *)b_layout,
                *(Layout *)c_layout,
                *(Layout *)d_layout,
                a,
                b,
                c,
                d,
                workspace,
                *(const float *)alpha,
                *(const float *)beta,
                workspace_bytes,
                {}};
    memcpy(&m.algorithm, algorithm, sizeof m.algorithm);
    LtStatus status = check(&m.product, &m.a, &m.b, &m.c, &m.d);
    if (status) return status;
    if (has_vector(&m.product) && !m.product.bias) return LT_INVALID_VALUE;
    if (!algorithm_fits(&m)) return LT_INVALID_VALUE;
    if (emu_planted("product")) return LT_ALLOC_FAILED;
    if ((long)m.algorithm.number == emu_setting("refused_algorithm", -1)) return LT_NOT_SUPPORTED;
    return emu_enqueue(stream, "product", [=]() -> CuResult { return run(&m); }) ? LT_EXECUTION_FAILED : 0;
}
