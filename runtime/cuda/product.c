/* Products of matrices by cuBLASLt.
 *
 * The library thinks in columns; a matrix by rows is its transpose by columns. So D = A·B is asked for as Dᵀ
 * = Bᵀ·Aᵀ, with the operands in each other's places and no matrix moved: D by rows, (M, N), is Dᵀ by
 * columns, (N, M), whose bias, a vector along the rows of the library's D, runs along N as ours does, and so does aux;
 * and a sum of our B is one of its A. */
#include "gpu.h"
#include "tuning.h"
#include <stdlib.h>

enum { CHOICES = 256, ALIGNMENT_MOST = 256 };

/* What an algorithm is chosen by; without padding, so that it can be hashed. */
typedef struct ChoiceKey {
    int64_t batch, M, N, K;
    ProductMatrix a, b, c, d; /* offsets are 0: alignments stand for them */
    int64_t workspace, aux_stride;
    uint32_t dtype[4], alignment[6];
    uint32_t transposed[2], epilogue, compute, has_c, bias_dtype, proposal, nothing;
} ChoiceKey;

typedef struct Choice {
    Hash key;
    uint64_t wanted; /* by the count of requests; 0: the place is free */
    bool there;      /* the library proposes so many algorithms */
    LtAlgorithm algorithm;
} Choice;

struct Choices {
    uint64_t requests;
    Choice at[CHOICES];
};

static Status lt_check(const Cuda *cuda, LtStatus status, const char *call) {
    if (!status) return NULL;
    return sn_fail(status == LT_ALLOC_FAILED ? SN_NO_MEMORY : SN_DEVICE, "%s gave %u %s (%s)", call, status,
                   cuda->lt.cublasLtGetStatusName(status), cuda->lt.cublasLtGetStatusString(status));
}

#define LT(cuda, name, ...) lt_check(cuda, (cuda)->lt.name(__VA_ARGS__), #name)

/* ---- the library ---- */

/* With the lock held and the context entered. */
static bool open_library(Cuda *cuda) {
    const char *path;
    Arena *arena = sn_arena_new();
    if (!arena) return false;
    Status status = sn_cuda_open_cublaslt(arena, cuda->version, &cuda->lt, &path);
    if (!status) status = LT(cuda, cublasLtCreate, &cuda->lt_handle);
    bool there = !status;
    sn_error_free(status);
    sn_arena_free(arena);
    return there;
}

bool sn_cuda_library(Device *device) {
    Cuda *cuda = (Cuda *)device;
    Status entered = sn_cuda_enter(cuda);
    if (entered) {
        sn_error_free(entered);
        return false;
    }
    pthread_mutex_lock(&cuda->lock);
    if (!cuda->library_asked) cuda->library_there = open_library(cuda);
    cuda->library_asked = true;
    bool there = cuda->library_there;
    pthread_mutex_unlock(&cuda->lock);
    sn_cuda_leave(cuda);
    return there;
}

void sn_cuda_products_free(Cuda *cuda) {
    if (cuda->lt_handle) cuda->lt.cublasLtDestroy(cuda->lt_handle);
    cuda->lt_handle = NULL;
    free(cuda->choices);
    cuda->choices = NULL;
}

/* ---- descriptors ---- */

typedef struct Descriptors {
    LtProduct product;
    LtLayout left, right, c, d; /* in the library's order: left is our B */
    LtPreference preference;
} Descriptors;

static void free_descriptors(const Cuda *cuda, Descriptors *made) {
    if (made->product) cuda->lt.cublasLtMatmulDescDestroy(made->product);
    LtLayout layouts[] = {made->left, made->right, made->c, made->d};
    for (int i = 0; i < 4; i++)
        if (layouts[i]) cuda->lt.cublasLtMatrixLayoutDestroy(layouts[i]);
    if (made->preference) cuda->lt.cublasLtMatmulPreferenceDestroy(made->preference);
}

static unsigned lt_type(DType dtype) {
    return dtype == SN_F16 ? LT_R_16F : dtype == SN_BF16 ? LT_R_16BF : LT_R_32F;
}

static bool has_type(DType dtype) {
    return dtype == SN_F16 || dtype == SN_BF16 || dtype == SN_F32;
}

/* A matrix (rows, columns) by rows, or its transpose by rows, as the library sees it: by columns. */
static Status make_layout(const Cuda *cuda, const LibraryMatrix *matrix, const ProductMatrix *at,
                          int64_t rows, int64_t columns, int64_t batch, LtLayout *out) {
    uint64_t tall = (uint64_t)(matrix->transposed ? rows : columns);
    uint64_t wide = (uint64_t)(matrix->transposed ? columns : rows);
    /* One column's distance to the next one may be anything, but the library wants to see a possible one. */
    int64_t stride = wide == 1 && at->stride < (int64_t)tall ? (int64_t)tall : at->stride;
    TRY(LT(cuda, cublasLtMatrixLayoutCreate, out, lt_type(matrix->dtype), tall, wide, stride));
    int32_t count = (int32_t)batch;
    if (batch == 1) return NULL;
    TRY(LT(cuda, cublasLtMatrixLayoutSetAttribute, *out, LT_LAYOUT_BATCH_COUNT, &count, sizeof count));
    return LT(cuda, cublasLtMatrixLayoutSetAttribute, *out, LT_LAYOUT_BATCH_STRIDE, &at->batch_stride,
              sizeof at->batch_stride);
}

static unsigned compute_type(const ProductArguments *p) {
    bool full = p->product->a.dtype != SN_F32 || p->precision == SN_PRECISION_HIGHEST;
    return full ? LT_COMPUTE_32F : LT_COMPUTE_32F_FAST_TF32;
}

static uint32_t epilogue_of(const LibraryProduct *product) {
    static const uint32_t function[] = {[SN_LIBRARY_NONE] = 0,
                                        [SN_LIBRARY_RELU] = LT_EPILOGUE_RELU,
                                        [SN_LIBRARY_GELU_TANH] = LT_EPILOGUE_GELU,
                                        [SN_LIBRARY_RELU_SLOPE] = LT_EPILOGUE_DRELU,
                                        [SN_LIBRARY_GELU_SLOPE] = LT_EPILOGUE_DGELU};
    static const uint32_t sum[] = {[SN_LIBRARY_NO_SUM] = 0,
                                   [SN_LIBRARY_SUM_A] = LT_EPILOGUE_BGRADB,
                                   [SN_LIBRARY_SUM_B] = LT_EPILOGUE_BGRADA,
                                   [SN_LIBRARY_SUM_D] = LT_EPILOGUE_BGRAD};
    uint32_t epilogue = function[product->epilogue] | sum[product->sum_of] |
                        (product->bias.buffer >= 0 ? LT_EPILOGUE_BIAS : 0) |
                        (product->aux.buffer >= 0 ? LT_EPILOGUE_AUX : 0);
    return epilogue ? epilogue : LT_EPILOGUE_DEFAULT;
}

static const void *element(const ProductArguments *p, const LibraryMatrix *matrix, const ProductMatrix *at) {
    if (matrix->buffer < 0) return NULL;
    return (const char *)p->buffer[matrix->buffer] + at->offset * sn_dtype_bytes(matrix->dtype);
}

/* The library's bias vector, which a sum is stored to. */
static const void *vector_of(const ProductArguments *p) {
    return p->product->sum_of ? element(p, &p->product->sum, &p->sum)
                              : element(p, &p->product->bias, &p->bias);
}

static Status make_product(const Cuda *cuda, const ProductArguments *p, LtProduct *out) {
    const LibraryProduct *product = p->product;
    TRY(LT(cuda, cublasLtMatmulDescCreate, out, compute_type(p), LT_R_32F));
    int32_t left = product->b.transposed ? LT_OP_T : LT_OP_N,
            right = product->a.transposed ? LT_OP_T : LT_OP_N;
    uint32_t epilogue = epilogue_of(product);
    TRY(LT(cuda, cublasLtMatmulDescSetAttribute, *out, LT_PRODUCT_TRANSA, &left, sizeof left));
    TRY(LT(cuda, cublasLtMatmulDescSetAttribute, *out, LT_PRODUCT_TRANSB, &right, sizeof right));
    TRY(LT(cuda, cublasLtMatmulDescSetAttribute, *out, LT_PRODUCT_EPILOGUE, &epilogue, sizeof epilogue));
    if (product->aux.buffer >= 0) {
        const void *aux = element(p, &product->aux, &p->aux);
        TRY(LT(cuda, cublasLtMatmulDescSetAttribute, *out, LT_PRODUCT_AUX_POINTER, &aux, sizeof aux));
        TRY(LT(cuda, cublasLtMatmulDescSetAttribute, *out, LT_PRODUCT_AUX_STRIDE, &p->aux.stride,
               sizeof p->aux.stride));
    }
    const void *bias = vector_of(p);
    if (!bias) return NULL;
    int32_t type = (int32_t)lt_type(product->sum_of ? product->sum.dtype : product->bias.dtype);
    TRY(LT(cuda, cublasLtMatmulDescSetAttribute, *out, LT_PRODUCT_BIAS_POINTER, &bias, sizeof bias));
    return LT(cuda, cublasLtMatmulDescSetAttribute, *out, LT_PRODUCT_BIAS_DATA_TYPE, &type, sizeof type);
}

static Status make_descriptors(const Cuda *cuda, const ProductArguments *p, Descriptors *out) {
    const LibraryProduct *product = p->product;
    bool adds = product->c.buffer >= 0;
    TRY(make_product(cuda, p, &out->product));
    TRY(make_layout(cuda, &product->b, &p->b, p->K, p->N, p->batch, &out->left));
    TRY(make_layout(cuda, &product->a, &p->a, p->M, p->K, p->batch, &out->right));
    TRY(make_layout(cuda, adds ? &product->c : &product->d, adds ? &p->c : &p->d, p->M, p->N, p->batch,
                    &out->c));
    return make_layout(cuda, &product->d, &p->d, p->M, p->N, p->batch, &out->d);
}

/* ---- algorithms ---- */

static uint32_t alignment_of(const void *at) {
    uintptr_t address = (uintptr_t)at, lowest = address & -address;
    return lowest && lowest < ALIGNMENT_MOST ? (uint32_t)lowest : ALIGNMENT_MOST;
}

typedef struct Operands {
    const void *left, *right, *c, *d;
} Operands;

static Operands operands_of(const ProductArguments *p) {
    const LibraryProduct *product = p->product;
    Operands at = {.left = element(p, &product->b, &p->b),
                   .right = element(p, &product->a, &p->a),
                   .c = element(p, &product->c, &p->c),
                   .d = element(p, &product->d, &p->d)};
    if (!at.c) at.c = at.d;
    return at;
}

static Hash key_of(const ProductArguments *p, const Operands *at) {
    const LibraryProduct *product = p->product;
    ChoiceKey key;
    memset(&key, 0, sizeof key);
    key.batch = p->batch, key.M = p->M, key.N = p->N, key.K = p->K;
    key.a = p->a, key.b = p->b, key.d = p->d;
    key.has_c = product->c.buffer >= 0;
    if (key.has_c) key.c = p->c;
    key.a.offset = key.b.offset = key.c.offset = key.d.offset = 0;
    key.workspace = p->workspace_bytes;
    key.dtype[0] = product->a.dtype, key.dtype[1] = product->b.dtype, key.dtype[2] = product->d.dtype;
    const void *pointer[] = {at->left,    at->right, at->c, at->d, element(p, &product->aux, &p->aux),
                             vector_of(p)};
    for (int i = 0; i < 6; i++) key.alignment[i] = alignment_of(pointer[i]);
    if (product->aux.buffer >= 0) key.aux_stride = p->aux.stride;
    key.transposed[0] = product->a.transposed, key.transposed[1] = product->b.transposed;
    key.epilogue = epilogue_of(product);
    key.compute = compute_type(p);
    if (product->bias.buffer >= 0) key.bias_dtype = 1 + (uint32_t)product->bias.dtype;
    key.proposal = (uint32_t)p->proposal;
    return sn_hash((Hash){0}, &key, sizeof key);
}

/* With the lock held. */
static Choice *find_choice(Choices *choices, Hash key) {
    for (int i = 0; i < CHOICES; i++)
        if (choices->at[i].wanted && sn_hash_equal(choices->at[i].key, key)) return &choices->at[i];
    return NULL;
}

static bool known_choice(Cuda *cuda, Hash key, Choice *out) {
    pthread_mutex_lock(&cuda->lock);
    Choice *choice = cuda->choices ? find_choice(cuda->choices, key) : NULL;
    if (choice) {
        choice->wanted = ++cuda->choices->requests;
        *out = *choice;
    }
    pthread_mutex_unlock(&cuda->lock);
    return choice != NULL;
}

/* In the place of the one whose last request is longest ago. Without memory it is chosen again next time. */
static void remember_choice(Cuda *cuda, const Choice *made) {
    pthread_mutex_lock(&cuda->lock);
    if (!cuda->choices) cuda->choices = calloc(1, sizeof *cuda->choices);
    if (cuda->choices) {
        Choice *place = find_choice(cuda->choices, made->key);
        for (int i = 0; i < CHOICES && !place; i++)
            if (!cuda->choices->at[i].wanted) place = &cuda->choices->at[i];
        if (!place) place = &cuda->choices->at[0];
        for (int i = 0; i < CHOICES && place->wanted && !sn_hash_equal(place->key, made->key); i++)
            if (cuda->choices->at[i].wanted < place->wanted) place = &cuda->choices->at[i];
        *place = *made;
        place->wanted = ++cuda->choices->requests;
    }
    pthread_mutex_unlock(&cuda->lock);
}

/* There is no preference for the vector and aux, which an algorithm may read and store in pieces as wide as D's: these are
 * no wider than all three allow. */
static uint32_t alignment_of_results(const ProductArguments *p, const Operands *at) {
    const void *pointer[] = {at->d, element(p, &p->product->aux, &p->aux), vector_of(p)};
    uint32_t least = ALIGNMENT_MOST;
    for (int i = 0; i < 3; i++)
        if (alignment_of(pointer[i]) < least) least = alignment_of(pointer[i]);
    return least;
}

static Status set_preference(const Cuda *cuda, const ProductArguments *p, const Operands *at,
                             LtPreference preference) {
    uint64_t workspace = (uint64_t)p->workspace_bytes;
    TRY(LT(cuda, cublasLtMatmulPreferenceSetAttribute, preference, LT_PREFERENCE_WORKSPACE, &workspace,
           sizeof workspace));
    static const unsigned which[] = {LT_PREFERENCE_ALIGNMENT_A, LT_PREFERENCE_ALIGNMENT_B,
                                     LT_PREFERENCE_ALIGNMENT_C, LT_PREFERENCE_ALIGNMENT_D};
    uint32_t alignment[] = {alignment_of(at->left), alignment_of(at->right), alignment_of(at->c),
                            alignment_of_results(p, at)};
    for (int i = 0; i < 4; i++)
        TRY(LT(cuda, cublasLtMatmulPreferenceSetAttribute, preference, which[i], &alignment[i],
               sizeof alignment[i]));
    return NULL;
}

/* The one that was asked for among the proposals that can be used. */
static Choice pick(const LtChoice *proposed, int count, int wanted) {
    for (int i = 0; i < count; i++)
        if (!proposed[i].state && wanted-- == 0)
            return (Choice){.there = true, .algorithm = proposed[i].algorithm};
    return (Choice){.there = false};
}

/* What the library proposes depends on the key and the library alone. */
static Status choose(Cuda *cuda, const ProductArguments *p, const Operands *at, Descriptors *made,
                     Choice *out) {
    Hash key = key_of(p, at);
    if (known_choice(cuda, key, out)) return NULL;
    LtChoice proposed[SN_PROPOSALS_MOST] = {0};
    int wanted = p->proposal ? SN_PROPOSALS_MOST : 1, found = 0;
    TRY(LT(cuda, cublasLtMatmulPreferenceCreate, &made->preference));
    TRY(set_preference(cuda, p, at, made->preference));
    LtStatus status =
        cuda->lt.cublasLtMatmulAlgoGetHeuristic(cuda->lt_handle, made->product, made->left, made->right,
                                                made->c, made->d, made->preference, wanted, proposed, &found);
    /* Of forms that it does not have the library calls some an invalid value. */
    bool lacking = status == LT_NOT_SUPPORTED || status == LT_INVALID_VALUE;
    if (!lacking) TRY(lt_check(cuda, status, "cublasLtMatmulAlgoGetHeuristic"));
    *out = pick(proposed, status ? 0 : found, p->proposal);
    out->key = key;
    remember_choice(cuda, out);
    return NULL;
}

/* ---- the product ---- */

static Status multiply(Cuda *cuda, const ProductArguments *p, Descriptors *made, bool *done) {
    static const float one = 1, zero = 0;
    Operands at = operands_of(p);
    Choice choice;
    Lane *lane;
    TRY(make_descriptors(cuda, p, made));
    TRY(choose(cuda, p, &at, made, &choice));
    *done = choice.there;
    if (!choice.there) return NULL;
    TRY(sn_cuda_lane(cuda, &lane));
    return LT(cuda, cublasLtMatmul, cuda->lt_handle, made->product, &one, at.left, made->left, at.right,
              made->right, p->product->c.buffer >= 0 ? &one : &zero, at.c, made->c, (void *)(uintptr_t)at.d,
              made->d, &choice.algorithm, p->workspace, (size_t)p->workspace_bytes,
              sn_cuda_lane_stream(lane));
}

Status sn_cuda_product(Device *device, const ProductArguments *p, bool *done) {
    Cuda *cuda = (Cuda *)device;
    const LibraryProduct *product = p->product;
    if (!has_type(product->a.dtype) || product->a.dtype != product->b.dtype || !has_type(product->d.dtype))
        return sn_fail(SN_INTERNAL, "a product of types that the library lacks");
    if (p->batch > INT32_MAX)
        return sn_fail(SN_UNSUPPORTED, "a product of %lld matrices is unsupported", (long long)p->batch);
    TRY(sn_cuda_enter(cuda));
    Descriptors made = {0};
    Status status = multiply(cuda, p, &made, done);
    free_descriptors(cuda, &made);
    sn_cuda_leave(cuda);
    return sn_status_prefix(status, "a product of %lld x %lld x %lld by the library", (long long)p->M,
                            (long long)p->N, (long long)p->K);
}
