/* Products with weights, as a model has them: one MatMul compiled by the project, beside oneDNN (where it was
 * found) and a peer's process. Weights come from memory in every run: there are as many copies of a small
 * matrix as no cache holds, each with a node of its own.
 *
 *   gemm_bench --shape 1024x3072x768 --threads 1,2
 *
 * A time is that of one product. `of peak` is held against the float32 multiply-adds (with --bf16, whose operands
 * are, dot products of bf16) that the same threads (with --bf16: dot products of bf16) did right before and right
 * after each turn, and is the median over the turns that count (sn_kernel_measure); `discarded` is the share of those
 * that do not; `of roofline` against the lesser of that and of what reading the operands and the result once at the
 * measured read bandwidth allows. */
#include "clock.h"
#include "harness.h"
#include "number.h"
#include "onednn.h"
#include "onnx_writer.h"
#include <math.h>
#include <stdlib.h>

enum {
    COLD_BYTES = 128 << 20, /* of weights in all: more than the caches hold that belong to us alone */
    COPIES_MOST = 64,
    FEW_ROWS = 32,  /* up to here memory may be the limit: it is measured between the turns */
    MANY_ROWS = 64, /* from here on the summary counts shares of the peak */
    SAMPLES = 200,
    SIDES_MOST = 16,
};

typedef struct Shape {
    int64_t M, N, K;
} Shape;

typedef enum GemmColumn {
    GEMM_M,
    GEMM_N,
    GEMM_K,
    GEMM_THREADS,
    GEMM_WHO,
    GEMM_MEDIAN,
    GEMM_MIN,
    GEMM_FLOPS,
    GEMM_BYTES,
    GEMM_PEAK,
    GEMM_ROOF,
    GEMM_RATIO,
    GEMM_DISCARDED,
    GEMM_COLUMNS
} GemmColumn;

static const Column gemm_columns[GEMM_COLUMNS] = {
    [GEMM_M] = {"m", "M", SN_CELL_COUNT},
    [GEMM_N] = {"n", "N", SN_CELL_COUNT},
    [GEMM_K] = {"k", "K", SN_CELL_COUNT},
    [GEMM_THREADS] = {"threads", "threads", SN_CELL_COUNT},
    [GEMM_WHO] = {"who", "who", SN_CELL_TEXT},
    [GEMM_MEDIAN] = {"median_s", "median", SN_CELL_SECONDS},
    [GEMM_MIN] = {"min_s", "min", SN_CELL_SECONDS},
    [GEMM_FLOPS] = {"flop_rate", "FLOP", SN_CELL_RATE},
    [GEMM_BYTES] = {"bytes_rate", "bytes", SN_CELL_RATE},
    [GEMM_PEAK] = {"peak_share", "of peak", SN_CELL_SHARE},
    [GEMM_ROOF] = {"roofline_share", "of roofline", SN_CELL_SHARE},
    [GEMM_RATIO] = {"ratio", "time by sinter's", SN_CELL_RATIO},
    [GEMM_DISCARDED] = {"discarded", "discarded", SN_CELL_SHARE},
};

typedef enum SumColumn {
    SUM_WHO,
    SUM_THREADS,
    SUM_COUNT,
    SUM_MEAN,
    SUM_LEAST,
    SUM_AT,
    SUM_FEW,
    SUM_FEW_LEAST,
    SUM_COLUMNS
} SumColumn;

static const Column sum_columns[SUM_COLUMNS] = {
    [SUM_WHO] = {"who", "who", SN_CELL_TEXT},
    [SUM_THREADS] = {"threads", "threads", SN_CELL_COUNT},
    [SUM_COUNT] = {"shapes", "shapes", SN_CELL_COUNT},
    [SUM_MEAN] = {"peak_share_mean", "M >= 64: of peak, geometric mean", SN_CELL_SHARE},
    [SUM_LEAST] = {"peak_share_least", "least", SN_CELL_SHARE},
    [SUM_AT] = {"least_at", "at", SN_CELL_TEXT},
    [SUM_FEW] = {"roofline_share_mean", "M <= 32: of roofline, geometric mean", SN_CELL_SHARE},
    [SUM_FEW_LEAST] = {"roofline_share_least", "least", SN_CELL_SHARE},
};

typedef struct Gemm {
    KernelBench bench;
    Table rows, sums;
    /* The (N, K) at hand. */
    int copies;
    sn_Model *model;
    /* The case at hand. */
    sn_Context *context;
    void *x, *y; /* (M, K), and (copies, M, N) of oneDNN; of type_of(g) */
} Gemm;

static DType type_of(const Gemm *g) {
    return g->bench.bf16 ? SN_BF16 : SN_F32;
}

/* ---- the model ---- */

static int copies_of(const Gemm *g, int64_t N, int64_t K) {
    if (g->bench.hot) return 1;
    int64_t copies = COLD_BYTES / (sn_dtype_bytes(type_of(g)) * N * K) + 1;
    return copies > COPIES_MOST ? COPIES_MOST : (int)copies;
}

static Status make_model(Gemm *g, int64_t N, int64_t K) {
    Arena *arena = sn_arena_child(g->bench.arena);
    Writer *writer = sn_writer_new(arena, "product", 17);
    static const char *const dims[2] = {"M", ""};
    const int64_t input[2] = {-1, K}, output[2] = {-1, N}, weight[2] = {K, N};
    for (int i = 0; i < g->copies; i++) {
        const char *x = sn_arena_printf(arena, "x%d", i), *y = sn_arena_printf(arena, "y%d", i);
        const char *w =
            sn_writer_weight(writer, sn_arena_printf(arena, "w%d", i), type_of(g), 2, weight, 1, 0);
        sn_writer_input(writer, x, type_of(g), 2, input, dims);
        sn_writer_op2(writer, "MatMul", y, x, w);
        sn_writer_output(writer, y, type_of(g), 2, output, dims);
    }
    Status status = sn_kernel_model(&g->bench, writer, &g->model);
    sn_arena_free(arena);
    return status;
}

static const Tensor *weight_of(const Gemm *g, int copy) {
    const Value *result = g->model->graph->body->result.at[copy];
    return ((const AttrConstant *)result->producer->input[1]->producer->attr)->tensor;
}

/* ---- running ---- */

static Status run_ours(void *user, int count, double *seconds) {
    Gemm *g = user;
    double start = sn_clock();
    for (int i = 0; i < count; i++) TRY(sn_context_run(g->context));
    *seconds = sn_clock() - start;
    return NULL;
}

static void fill_weights(void *user, int copy, void *w) {
    const Tensor *tensor = weight_of(user, copy);
    sn_tensor_copy(tensor, 0, tensor->count, w);
}

static double element(const Gemm *g, const void *data, int64_t i) {
    return g->bench.bf16 ? sn_bf16_to(((const uint16_t *)data)[i]) : (double)((const float *)data)[i];
}

/* (M, K), uniform around 0 with deviation 1, in type_of(g); NULL without memory. */
static void *random_rows(const Gemm *g, const Shape *s) {
    int64_t count = s->M * s->K;
    float *wide = sn_kernel_random(count, 1);
    for (int64_t i = 0; wide && g->bench.bf16 && i < count; i++) {
        uint16_t narrow = sn_bf16_from((double)wide[i]);
        memcpy((char *)wide + i * (int64_t)sizeof narrow, &narrow, sizeof narrow);
    }
    return wide;
}

/* Elements spread over y (M, N) of `copy`, against sums in double precision. */
static Status check(const Gemm *g, const char *who, const Shape *s, int copy, const void *y) {
    const Tensor *w = weight_of(g, copy);
    double rounded = g->bench.bf16 ? 0x1p-8 : 0;
    for (int64_t i = 0; i < SAMPLES; i++) {
        int64_t m = i * 7919 % s->M, n = i * 104729 % s->N;
        double sum = 0, size = 0;
        for (int64_t k = 0; k < s->K; k++) {
            double product = element(g, g->x, m * s->K + k) * sn_tensor_get(w, k * s->N + n);
            sum += product;
            size += fabs(product);
        }
        double is = element(g, y, m * s->N + n);
        if (fabs(sum - is) > 1e-5 * size + rounded * fabs(sum))
            return sn_fail(SN_INTERNAL, "%s computes %g instead of %g at (%lld, %lld)", who, is, sum,
                           (long long)m, (long long)n);
    }
    return NULL;
}

static Status bind(Gemm *g, const sn_Program *program, const Shape *s) {
    sn_ContextOptions options = {.size = sizeof options};
    TRY(sn_context_new(program, &options, &g->context));
    const int64_t extent[2] = {s->M, s->K};
    sn_Tensor x = {.element_type = sn_dtype_onnx(type_of(g)), .rank = 2, .extent = extent, .data = g->x};
    for (int i = 0; i < g->copies; i++) TRY(sn_context_set_input(g->context, i, &x));
    TRY(sn_context_run(g->context));
    for (int i = 0; i<g->copies; i += g->copies> 1 ? g->copies - 1 : 1) {
        sn_Tensor y;
        TRY(sn_context_output(g->context, i, &y));
        TRY(check(g, "sinter", s, i, y.data));
    }
    return NULL;
}

/* ---- the tables ---- */

static double traffic(const Gemm *g, const Shape *s) {
    return (double)sn_dtype_bytes(type_of(g)) *
           ((double)s->M * (double)s->K + (double)s->K * (double)s->N + (double)s->M * (double)s->N);
}

static void add_row(Gemm *g, const Shape *s, const char *who, const Timing *t, const Peaks *peaks,
                    const Timing *ours) {
    Arena *arena = g->bench.arena;
    Cell *row = sn_table_row(arena, &g->rows);
    double flops = 2.0 * (double)s->M * (double)s->N * (double)s->K, each = t->median / g->copies;
    row[GEMM_M] = sn_cell_number((double)s->M);
    row[GEMM_N] = sn_cell_number((double)s->N);
    row[GEMM_K] = sn_cell_number((double)s->K);
    row[GEMM_THREADS] = sn_cell_number(peaks->threads);
    row[GEMM_WHO] = sn_cell_text(arena, who);
    row[GEMM_MEDIAN] = sn_cell_number(each);
    row[GEMM_MIN] = sn_cell_number(t->min / g->copies);
    row[GEMM_FLOPS] = sn_cell_number(flops / each);
    row[GEMM_BYTES] = sn_cell_number(traffic(g, s) / each);
    row[GEMM_PEAK] = sn_cell_number(flops * g->copies / t->could);
    if (peaks->read > 0) {
        double most = fmin(peaks->fma, peaks->read * flops / traffic(g, s));
        row[GEMM_ROOF] = sn_cell_number(flops / each / most);
    }
    row[GEMM_RATIO] = sn_cell_number(t->median / ours->median);
    row[GEMM_DISCARDED] = sn_cell_number(t->discarded);
}

/* The mean of the logarithms, least and where, of one column over the rows of a participant. */
typedef struct Summary {
    int count;
    double logarithms, least;
    const Cell *at;
} Summary;

static Summary summarise(const Table *rows, const char *who, double threads, GemmColumn column, bool many) {
    Summary s = {0};
    for (int i = 0; i < rows->row.count; i++) {
        const Cell *row = rows->row.at[i];
        if (strcmp(row[GEMM_WHO].text, who) != 0 || row[GEMM_THREADS].number != threads || !row[column].set ||
            (row[GEMM_M].number >= MANY_ROWS) != many)
            continue;
        double share = row[column].number;
        s.logarithms += log(share);
        if (!s.count++ || share < s.least) s.least = share, s.at = row;
    }
    return s;
}

static void add_summary(Gemm *g, const char *who, double threads) {
    Arena *arena = g->bench.arena;
    Summary many = summarise(&g->rows, who, threads, GEMM_PEAK, true);
    Summary few = summarise(&g->rows, who, threads, GEMM_ROOF, false);
    if (!many.count && !few.count) return;
    Cell *row = sn_table_row(arena, &g->sums);
    row[SUM_WHO] = sn_cell_text(arena, who);
    row[SUM_THREADS] = sn_cell_number(threads);
    row[SUM_COUNT] = sn_cell_number(many.count + few.count);
    if (many.count) {
        row[SUM_MEAN] = sn_cell_number(exp(many.logarithms / many.count));
        row[SUM_LEAST] = sn_cell_number(many.least);
        row[SUM_AT] = sn_cell_text(arena, sn_arena_printf(arena, "%.0fx%.0fx%.0f", many.at[GEMM_M].number,
                                                          many.at[GEMM_N].number, many.at[GEMM_K].number));
    }
    if (few.count) {
        row[SUM_FEW] = sn_cell_number(exp(few.logarithms / few.count));
        row[SUM_FEW_LEAST] = sn_cell_number(few.least);
    }
}

/* ---- the cases ---- */

static Status add_peer(Gemm *g, int at, const Shape *s, Runner *runner) {
    char line[160];
    snprintf(line, sizeof line, "gemm %lld %lld %lld threads %d copies %d", (long long)s->M, (long long)s->N,
             (long long)s->K, g->bench.threads[at], g->copies);
    *runner = (Runner){"peer", &g->bench, sn_kernel_peer_run};
    return sn_kernel_peer_case(&g->bench, line);
}

static Status measure(Gemm *g, int at, const Shape *s, OnednnProduct *dnnl) {
    Runner runner[SN_KERNEL_RUNNERS_MOST] = {{"sinter", g, run_ours}};
    int count = 1;
    if (dnnl) runner[count++] = (Runner){sn_onednn_name(), dnnl, sn_onednn_product_run};
    if (g->bench.peer_process.process && !g->bench.bf16) TRY(add_peer(g, at, s, &runner[count++]));
    Timing timing[SN_KERNEL_RUNNERS_MOST];
    Peaks peaks;
    TRY(sn_kernel_measure(&g->bench, at, s->M <= FEW_ROWS, runner, count, timing, &peaks));
    if (dnnl) TRY(check(g, sn_onednn_name(), s, 0, g->y));
    for (int i = 0; i < count; i++) add_row(g, s, runner[i].name, &timing[i], &peaks, &timing[0]);
    return NULL;
}

static Status run_case(Gemm *g, int at, const sn_Program *program, const Shape *s) {
    fprintf(stderr, "%lldx%lldx%lld, %d threads, %d copies of the weights\n", (long long)s->M,
            (long long)s->N, (long long)s->K, g->bench.threads[at], g->copies);
    OnednnProduct *dnnl = NULL;
    bool with = g->bench.peers && sn_onednn_name();
    g->x = random_rows(g, s);
    g->y =
        with ? malloc((size_t)sn_dtype_bytes(type_of(g)) * (size_t)(s->M * s->N) * (size_t)g->copies) : NULL;
    Status status = g->x && (g->y || !with) ? NULL : sn_fail(SN_NO_MEMORY, "out of memory for operands");
    if (!status) status = bind(g, program, s);
    if (!status && with)
        status = sn_onednn_product_new(g->bench.threads[at], s->M, s->N, s->K, g->copies, g->bench.bf16,
                                       fill_weights, g, g->x, g->y, &dnnl);
    if (!status) status = measure(g, at, s, dnnl);
    sn_onednn_product_free(dnnl);
    sn_context_free(g->context);
    free(g->x);
    free(g->y);
    g->context = NULL, g->x = g->y = NULL;
    return status;
}

/* All rows of one (N, K): shape[0 .. count), those with the same N and K as the first. */
static Status run_weights(Gemm *g, const Shape *shape, int count) {
    const Shape *first = shape;
    g->copies = copies_of(g, first->N, first->K);
    Status status = make_model(g, first->N, first->K);
    for (int at = 0; at < g->bench.thread_count && !status; at++) {
        sn_Program *program = NULL;
        sn_CompileOptions options = {.size = sizeof options, .threads = g->bench.threads[at]};
        status = sn_compile(g->model, &options, &program);
        for (int i = 0; i < count && !status; i++)
            if (shape[i].N == first->N && shape[i].K == first->K)
                status = run_case(g, at, program, &shape[i]);
        if (program) sn_program_free(program);
    }
    if (g->model) sn_model_close(g->model);
    g->model = NULL;
    return status;
}

static int usual_shapes(const KernelBench *bench, Shape *out) {
    static const int64_t rows[] = {1, 8, 32, 64, 128, 256, 1024}, columns[] = {768, 2304, 3072, 50257},
                         depths[] = {768, 3072};
    if (bench->quick) {
        out[0] = (Shape){5, 100, 96};
        out[1] = (Shape){64, 256, 128};
        return 2;
    }
    int count = 0;
    for (size_t n = 0; n < sizeof columns / sizeof *columns; n++)
        for (size_t k = 0; k < sizeof depths / sizeof *depths; k++)
            for (size_t m = 0; m < sizeof rows / sizeof *rows; m++)
                out[count++] = (Shape){rows[m], columns[n], depths[k]};
    return count;
}

static Status read_shapes(const KernelBench *bench, Shape *out, int *count) {
    *count = bench->shape_count;
    for (int i = 0; i < bench->shape_count; i++) {
        long long M, N, K;
        int end = 0;
        int fields = sscanf(bench->shape[i], "%lldx%lldx%lld%n", &M, &N, &K, &end);
        if (fields != 3 || bench->shape[i][end] || M < 1 || N < 1 || K < 1 || M > 1 << 20 || N > 1 << 24 ||
            K > 1 << 24)
            return sn_fail(SN_INVALID, "shape '%s' is not MxNxK", bench->shape[i]);
        out[i] = (Shape){M, N, K};
    }
    if (!bench->shape_count) *count = usual_shapes(bench, out);
    return NULL;
}

static Status run_all(Gemm *g) {
    Shape shape[SN_KERNEL_SHAPES_MOST];
    int count;
    TRY(read_shapes(&g->bench, shape, &count));
    TRY(sn_kernel_bench_open(&g->bench));
    for (int i = 0; i < count; i++) {
        bool done = false;
        for (int k = 0; k < i; k++) done = done || (shape[k].N == shape[i].N && shape[k].K == shape[i].K);
        if (!done) TRY(run_weights(g, shape + i, count - i));
    }
    const char *const who[] = {"sinter", sn_onednn_name(), "peer"};
    for (size_t i = 0; i < sizeof who / sizeof *who; i++)
        for (int at = 0; at < g->bench.thread_count && who[i]; at++)
            add_summary(g, who[i], g->bench.threads[at]);
    const Table *const tables[] = {&g->rows, &g->sums};
    return sn_kernel_bench_print(&g->bench, tables, 2);
}

int main(int count, char **words) {
    static Gemm g = {.rows = {.name = "rows", .column = gemm_columns, .column_count = GEMM_COLUMNS},
                     .sums = {.name = "summary", .column = sum_columns, .column_count = SUM_COLUMNS}};
    int code;
    if (!sn_kernel_bench_options(&g.bench, count, words, "MxNxK", &code)) return code;
    g.bench.arena = sn_arena_new();
    if (!g.bench.arena) return 1;
    Status status = run_all(&g);
    if (status) fprintf(stderr, "%s: %s\n", words[0], sn_error_message(status));
    code = status != NULL;
    sn_error_free(status);
    sn_kernel_bench_close(&g.bench);
    sn_arena_free(g.bench.arena);
    return code;
}
