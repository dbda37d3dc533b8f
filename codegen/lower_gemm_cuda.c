/* Contractions on a GPU: codegen/device/gemm.cuh with operands and results as holes. Which of its forms a launch takes
 * is decided when a shape is bound, by numbers that are Dims here: few rows, wide tiles, or narrow tiles whose K may be
 * split over blocks. */
#include "lower_gemm.h"
#include "tuning.h"

/* SnGemmMath of gemm_math.cuh, with the threads of its blocks. */
typedef enum Math { MATH_FMA, MATH_TF32, MATH_BF16, MATH_F16 } Math;

enum {
    WIDE = 128,
    NARROW = 64,    /* rows and columns of a tile */
    ROW_BYTES = 64, /* of a tile's K */
    FEW = 8,        /* rows that gemm_few.cuh does */
    FEW_BYTES = 8192 * 4,
    JOINED = 4,    /* elements a thread of the second round: sn_gemm_join */
    LEAST_K = 256, /* of a part of a K that is split */
    MOST_SPLITS = 16,
    MUCH_SHARED = 128 << 10,
};

/* How an operand is read. */
typedef struct Operand {
    bool along_k, address, aligned; /* the numbers of gemm.cuh */
} Operand;

typedef struct Plan {
    Math math;
    Operand a, b;
    int threads, stages;
    int across;            /* FEW_ACROSS of gemm_few.cuh */
    bool even;             /* B_EVEN of gemm_few.cuh */
    Dim few, wide, splits; /* 0 or 1, 0 or 1, at least 1 */
    Dim narrow_items;      /* blocks of the first round with narrow tiles */
    Dim joins;             /* blocks of the second one */
} Plan;

/* ---- operands ---- */

static void note_index(void *user, Instr *instr) {
    (void)instr;
    *(bool *)user = true;
}

/* Whether every chunk of 16 bytes is aligned, as buffers are: all that is added to its neighbours' number is a multiple
 * of a chunk. */
static bool is_aligned(Dims *dims, const Instr *load, Dim along) {
    Dim chunk = sn_dim(dims, 16 / sn_dtype_bytes(load->dtype)), unit, rest, quotient;
    return sn_dim_affine(dims, load->dim, along, &unit, &rest) &&
           sn_dim_divides(dims, chunk, rest, &quotient);
}

/* Whether `load` reads the matrix as it lies in memory, with neighbours along `row` or along `k` next to each other. */
static bool is_plain(const Lower *lower, const Instr *load, Dim row, Dim k, bool *along_k) {
    Dim of_row, of_k, rest;
    bool index = false;
    if (load->kind != SN_INSTR_LOAD || load->guard || load->which) return false;
    sn_dim_indices(lower->nest, load->dim, note_index, &index);
    if (index || !sn_dim_affine(lower->dims, load->dim, row, &of_row, &rest) ||
        !sn_dim_affine(lower->dims, rest, k, &of_k, &rest) || sn_dim_has_axis(of_row) ||
        sn_dim_has_axis(of_k))
        return false;
    *along_k = sn_dim_equals(of_k, 1);
    return *along_k || sn_dim_equals(of_row, 1);
}

/* The hole that gives the address of an operand's element, when it is plain. */
static bool read_address(Gemm *gemm, const Value *value, const HoleSpec *spec, const Dim *axes, bool left,
                         Operand *operand) {
    Lower *lower = &gemm->lower;
    Dim *to = SN_ARRAY(lower->arena, Dim, gemm->rank);
    Dim row = axes[gemm->rank - (left ? 2 : 1)], k = axes[gemm->rank - (left ? 1 : 2)];
    sn_lower_nest(lower);
    Instr *load = sn_lower_pull(lower, value, axes);
    if (lower->status || !is_plain(lower, load, row, k, &operand->along_k)) {
        lower->kernel->nest.count--;
        return false;
    }
    operand->aligned = is_aligned(lower->dims, load, operand->along_k ? k : row);
    HoleAxes at = sn_hole_axes(lower->kernel, spec, false);
    sn_gemm_stand(gemm, &at, to);
    sn_hole_add(lower, gemm->use, spec, false, &at, load, axes, to, gemm->rank);
    gemm->use->hole.at[gemm->use->hole.count - 1].address = true;
    return true;
}

static Operand read_operand(Gemm *gemm, bool left) {
    const Value *value = gemm->node->input[left ? 0 : 1];
    Dim rows = left ? gemm->M : gemm->K, columns = left ? gemm->K : gemm->N;
    Dim *axes = sn_gemm_axes(gemm, rows, columns);
    HoleSpec spec = {.name = left ? "a" : "b",
                     .count = 3,
                     .argument = {"batch", left ? "m" : "k", left ? "k" : "n"},
                     .extent = {gemm->batch, rows, columns}};
    Operand operand = {0};
    operand.address = read_address(gemm, value, &spec, axes, left, &operand);
    if (!operand.address) operand.along_k = sn_gemm_runs_across(gemm, value, axes) != left;
    sn_hole_read(&gemm->lower, gemm->use, &spec, value, axes, axes, gemm->rank, sn_gemm_stand, gemm);
    return operand;
}

static Math math_of(const Gemm *gemm) {
    DType a = gemm->node->input[0]->type.dtype, b = gemm->node->input[1]->type.dtype;
    if (a == SN_BF16 && b == SN_BF16) return MATH_BF16;
    if (a == SN_F16 && b == SN_F16) return MATH_F16;
    return gemm->lower.kernel->target->precision == SN_PRECISION_HIGHEST ? MATH_FMA : MATH_TF32;
}

/* ---- the launch ---- */

/* 1 when `dim` is at least `least`, otherwise 0. */
static Dim reaches(Dims *dims, Dim dim, int64_t least) {
    return sn_dim_min(dims, sn_dim(dims, 1), sn_dim_floordiv(dims, dim, sn_dim(dims, least)));
}

static Dim not(Dims * dims, Dim flag) {
    return sn_dim_sub(dims, sn_dim(dims, 1), flag);
}

/* `yes` where the flag is 1, otherwise `no`. */
static Dim choose(Dims *dims, Dim flag, Dim yes, Dim no) {
    return sn_dim_add(dims, sn_dim_mul(dims, flag, yes), sn_dim_mul(dims, not(dims, flag), no));
}

static Dim tiles(const Gemm *gemm, int64_t side) {
    Dims *dims = gemm->lower.dims;
    Dim edge = sn_dim(dims, side);
    return sn_dim_mul(
        dims, gemm->batch,
        sn_dim_mul(dims, sn_dim_ceildiv(dims, gemm->M, edge), sn_dim_ceildiv(dims, gemm->N, edge)));
}

/* Columns of a block of few rows. Fewer make more blocks, which together read faster, down to a memory sector each. */
static int64_t few_columns(const Gemm *gemm, Plan *plan) {
    const Target *target = gemm->lower.kernel->target;
    int64_t N, chunk = plan->math >= MATH_BF16 ? 8 : 4;
    plan->across = 8;
    if (plan->b.along_k) return plan->threads / 32;
    while (sn_dim_is(gemm->N, &N) && plan->across > 2 && N / (plan->across * chunk) < 2 * target->processors)
        plan->across /= 2;
    return plan->across * chunk;
}

/* Parts of K: as many as give each processor two blocks, if each part has something to do. */
static Dim count_splits(const Gemm *gemm) {
    Dims *dims = gemm->lower.dims;
    Dim one = sn_dim(dims, 1);
    Dim wanted = sn_dim_floordiv(dims, sn_dim(dims, 2 * gemm->lower.kernel->target->processors),
                                 sn_dim_max(dims, one, tiles(gemm, NARROW)));
    Dim most =
        sn_dim_min(dims, sn_dim(dims, MOST_SPLITS), sn_dim_floordiv(dims, gemm->K, sn_dim(dims, LEAST_K)));
    return sn_dim_max(dims, one, sn_dim_min(dims, wanted, most));
}

/* B is made of whole chunks along `k` or along its columns. */
static bool is_even(const Gemm *gemm, const Plan *plan) {
    Dims *dims = gemm->lower.dims;
    Dim quotient, chunk = sn_dim(dims, plan->math >= MATH_BF16 ? 8 : 4);
    return plan->b.aligned && sn_dim_divides(dims, chunk, plan->b.along_k ? gemm->K : gemm->N, &quotient);
}

/* Large products are the library's where there is one and tuning does not say otherwise, so that wide tiles would only take
 * time to compile. */
static void plan_launch(const Gemm *gemm, bool library, Plan *plan) {
    Dims *dims = gemm->lower.dims;
    TemplateUse *use = gemm->use;
    Dim zero = sn_dim(dims, 0), one = sn_dim(dims, 1);
    int64_t columns = few_columns(gemm, plan), stages = plan->stages;
    plan->few = plan->b.address ? not(dims, reaches(dims, gemm->M, FEW + 1)) : zero;
    plan->wide = library ? zero : reaches(dims, tiles(gemm, WIDE), gemm->lower.kernel->target->processors);
    plan->splits = count_splits(gemm);
    plan->narrow_items = sn_dim_mul(dims, tiles(gemm, NARROW), plan->splits);
    Dim elements = sn_dim_mul(dims, gemm->batch, sn_dim_mul(dims, gemm->M, gemm->N));
    Dim split = sn_dim_min(dims, one, sn_dim_addc(dims, plan->splits, -1));
    split = sn_dim_mul(dims, split, sn_dim_mul(dims, not(dims, plan->few), not(dims, plan->wide)));
    plan->joins =
        sn_dim_mul(dims, split, sn_dim_ceildiv(dims, elements, sn_dim(dims, plan->threads * JOINED)));
    Dim few_items = sn_dim_mul(dims, gemm->batch, sn_dim_ceildiv(dims, gemm->N, sn_dim(dims, columns)));
    use->items =
        choose(dims, plan->few, few_items, choose(dims, plan->wide, tiles(gemm, WIDE), plan->narrow_items));
    use->after = sn_dim_equals(plan->joins, 0) ? NULL : plan->joins;
    Dim stage =
        choose(dims, plan->wide, sn_dim(dims, 2 * WIDE * ROW_BYTES), sn_dim(dims, 2 * NARROW * ROW_BYTES));
    use->shared = choose(dims, plan->few, sn_dim(dims, FEW_BYTES), sn_dim_mulc(dims, stage, stages));
    use->threads = plan->threads;
    use->blocks = 2;
}

/* Scratch for the parts of the products, when there can be several. */
static void add_partial(Gemm *gemm, const Plan *plan) {
    Lower *lower = &gemm->lower;
    Dims *dims = lower->dims;
    Dim parts = sn_dim_mul(dims, sn_dim_min(dims, plan->joins, sn_dim(dims, 1)), plan->splits);
    Dim floats = sn_dim_mul(dims, parts, sn_dim_mul(dims, gemm->batch, sn_dim_mul(dims, gemm->M, gemm->N)));
    sn_hole_scratch(lower, gemm->use, "partial", floats);
}

/* The statement that runs one of the forms; those that no shape takes are left out. */
static const char *driver_text(Gemm *gemm, const Plan *plan) {
    KernelIr *kernel = gemm->lower.kernel;
    TemplateUse *use = gemm->use;
    Text text = sn_text(kernel->arena);
    const char *sizes =
        sn_arena_printf(kernel->arena, "use, %s, %s, %s", sn_template_number(kernel, use, gemm->M),
                        sn_template_number(kernel, use, gemm->N), sn_template_number(kernel, use, gemm->K));
    const char *batch = sn_template_number(kernel, use, gemm->batch);
    if (!sn_dim_equals(plan->few, 0))
        sn_text_add(&text, "if (%s) return sn_gemm_few(%s, block);\n    ",
                    sn_template_number(kernel, use, plan->few), sizes);
    if (sn_dim_equals(plan->few, 1)) return sn_text_string(&text);
    if (!sn_dim_equals(plan->wide, 0))
        sn_text_add(&text, "if (%s) return sn_gemm_tile<%d, %d>(%s, 1, %s, block);\n    ",
                    sn_template_number(kernel, use, plan->wide), WIDE, WIDE, sizes, batch);
    if (sn_dim_equals(plan->wide, 1)) return sn_text_string(&text);
    const char *splits =
        sn_arena_printf(kernel->arena, "(int)%s", sn_template_number(kernel, use, plan->splits));
    if (use->after)
        sn_text_add(&text, "if (block >= %s) return sn_gemm_join(%s, %s, %s, block - %s);\n    ",
                    sn_template_number(kernel, use, plan->narrow_items), sizes, splits, batch,
                    sn_template_number(kernel, use, plan->narrow_items));
    sn_text_add(&text, "sn_gemm_tile<%d, %d>(%s, %s, %s, block);", NARROW, NARROW, sizes, splits, batch);
    return sn_text_string(&text);
}

static const char *numbers_text(const Gemm *gemm, const Plan *plan) {
    static const char *const word[] = {"false", "true"};
    return sn_arena_printf(gemm->lower.arena,
                           "    static constexpr int MATH = %d, THREADS = %d, STAGES = %d, FEW_ACROSS = %d;\n"
                           "    static constexpr bool A_ALONG_K = %s, A_ADDRESS = %s, A_ALIGNED = %s;\n"
                           "    static constexpr bool B_ALONG_K = %s, B_ADDRESS = %s, B_ALIGNED = %s;\n"
                           "    static constexpr bool SPLIT = %s, B_EVEN = %s;\n",
                           plan->math, plan->threads, plan->stages, plan->across, word[plan->a.along_k],
                           word[plan->a.address], word[plan->a.aligned], word[plan->b.along_k],
                           word[plan->b.address], word[plan->b.aligned], word[gemm->use->after != NULL],
                           word[plan->even]);
}

Status sn_lower_gemm_cuda(Gemm *gemm) {
    Lower *lower = &gemm->lower;
    TemplateUse *use = gemm->use;
    Plan plan = {.math = math_of(gemm)};
    plan.threads = plan.math == MATH_FMA ? 256 : 128;
    plan.stages = lower->kernel->target->shared_bytes >= MUCH_SHARED ? 4 : 3;
    plan.a = read_operand(gemm, true);
    plan.b = read_operand(gemm, false);
    TRY(lower->status);
    HoleSpec epilogue = {.name = "store",
                         .count = 3,
                         .argument = {"batch", "m", "n"},
                         .extent = {gemm->batch, gemm->M, gemm->N},
                         .takes_value = true};
    TRY(sn_hole_store(lower, use, &epilogue, sn_gemm_stand, gemm));
    plan.even = is_even(gemm, &plan);
    bool whole = true;
    LibraryProduct *full = NULL, *library = sn_gemm_library(gemm, &whole, &full);
    bool by_library = library && !sn_tuning_wants_kernel(lower->kernel->target, gemm->N, gemm->K);
    plan_launch(gemm, by_library, &plan);
    if (use->after) add_partial(gemm, &plan);
    use->defines = numbers_text(gemm, &plan);
    use->file[0] = "tensor.cuh", use->file[1] = "gemm_math.cuh";
    use->file[2] = "gemm.cuh", use->file[3] = "gemm_few.cuh";
    use->driver = driver_text(gemm, &plan);
    lower->kernel->use = use;
    lower->kernel->library = library, lower->kernel->full = full;
    return whole ? NULL : sn_gemm_rest(gemm, library);
}
