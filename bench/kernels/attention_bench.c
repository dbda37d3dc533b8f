/* Attention as one operator compiled by the project, beside a peer's process:
 *
 *   attention_bench --shape 1x12x1024x1024x64:causal --peer "PYTHON bench/peers/torch_kernels.py"
 *
 * A shape is batch, heads, queries, keys, width of a head. Keys and values come from memory in every run where they
 * are few: there are as many copies as no cache holds, each with a node of its own. A time is that of one attention;
 * work counts what the mask leaves. `of peak` is held against the float32 multiply-adds that the same threads did
 * right before and after each turn that counts (sn_kernel_measure), `of roofline` against the lesser of that and of
 * what reading and writing the operands once at the measured read bandwidth allows. */
#include "clock.h"
#include "harness.h"
#include "onnx_writer.h"
#include <math.h>
#include <stdlib.h>

enum {
    COLD_BYTES = 128 << 20, /* of keys and values in all: more than the caches hold that belong to us alone */
    COPIES_MOST = 64,
    FEW_QUERIES = 16, /* up to here memory may be the limit: it is measured between the turns */
    SAMPLES = 5,      /* rows of the result that are checked */
    OPSET = 23,
};

typedef struct Shape {
    int64_t B, H, Sq, Sk, D;
    bool causal;
} Shape;

typedef enum AttentionColumn {
    ATTENTION_B,
    ATTENTION_H,
    ATTENTION_SQ,
    ATTENTION_SK,
    ATTENTION_D,
    ATTENTION_MASK,
    ATTENTION_THREADS,
    ATTENTION_WHO,
    ATTENTION_MEDIAN,
    ATTENTION_MIN,
    ATTENTION_FLOPS,
    ATTENTION_BYTES,
    ATTENTION_PEAK,
    ATTENTION_ROOF,
    ATTENTION_RATIO,
    ATTENTION_DISCARDED,
    ATTENTION_COLUMNS
} AttentionColumn;

static const Column attention_columns[ATTENTION_COLUMNS] = {
    [ATTENTION_B] = {"batch", "B", SN_CELL_COUNT},
    [ATTENTION_H] = {"heads", "H", SN_CELL_COUNT},
    [ATTENTION_SQ] = {"queries", "Sq", SN_CELL_COUNT},
    [ATTENTION_SK] = {"keys", "Sk", SN_CELL_COUNT},
    [ATTENTION_D] = {"d", "D", SN_CELL_COUNT},
    [ATTENTION_MASK] = {"mask", "mask", SN_CELL_TEXT},
    [ATTENTION_THREADS] = {"threads", "threads", SN_CELL_COUNT},
    [ATTENTION_WHO] = {"who", "who", SN_CELL_TEXT},
    [ATTENTION_MEDIAN] = {"median_s", "median", SN_CELL_SECONDS},
    [ATTENTION_MIN] = {"min_s", "min", SN_CELL_SECONDS},
    [ATTENTION_FLOPS] = {"flop_rate", "FLOP", SN_CELL_RATE},
    [ATTENTION_BYTES] = {"bytes_rate", "bytes", SN_CELL_RATE},
    [ATTENTION_PEAK] = {"peak_share", "of peak", SN_CELL_SHARE},
    [ATTENTION_ROOF] = {"roofline_share", "of roofline", SN_CELL_SHARE},
    [ATTENTION_RATIO] = {"ratio", "time by sinter's", SN_CELL_RATIO},
    [ATTENTION_DISCARDED] = {"discarded", "discarded", SN_CELL_SHARE},
};

typedef struct Bench {
    KernelBench bench;
    Table rows;
    /* The case at hand. */
    const Shape *shape;
    int copies;
    sn_Context *context;
    float *query, **key, **value; /* (B, H, Sq, D); per copy (B, H, Sk, D) */
} Bench;

/* ---- the model ---- */

static const char *operand(Writer *writer, Arena *arena, const char *name, int copy, const Shape *s,
                           const char *length) {
    const char *const dims[4] = {"B", "", length, ""};
    const int64_t extent[4] = {-1, s->H, -1, s->D};
    const char *full = sn_arena_printf(arena, "%s%d", name, copy);
    sn_writer_input(writer, full, SN_F32, 4, extent, dims);
    return full;
}

static Status make_model(Bench *b, sn_Model **out) {
    Arena *arena = sn_arena_child(b->bench.arena);
    Writer *writer = sn_writer_new(arena, "attention", OPSET);
    const Shape *s = b->shape;
    const char *keys = s->causal ? "Q" : "K", *const dims[4] = {"B", "", "Q", ""};
    const int64_t extent[4] = {-1, s->H, -1, s->D};
    for (int i = 0; i < b->copies; i++) {
        const char *input[3] = {operand(writer, arena, "q", i, s, "Q"),
                                operand(writer, arena, "k", i, s, keys),
                                operand(writer, arena, "v", i, s, keys)};
        const char *y = sn_arena_printf(arena, "y%d", i);
        sn_writer_node(writer, "Attention", y, 3, input);
        sn_writer_attr_int(writer, "is_causal", s->causal);
        sn_writer_output(writer, y, SN_F32, 4, extent, dims);
    }
    Status status = sn_kernel_model(&b->bench, writer, out);
    sn_arena_free(arena);
    return status;
}

/* ---- running ---- */

static Status run_ours(void *user, int count, double *seconds) {
    Bench *b = user;
    double start = sn_clock();
    for (int i = 0; i < count; i++) TRY(sn_context_run(b->context));
    *seconds = sn_clock() - start;
    return NULL;
}

/* One row of the result, in double precision: out (D). `weight` has room for Sk. */
static void reference(const Bench *b, int copy, int64_t head, int64_t row, double *weight, double *out) {
    const Shape *s = b->shape;
    const float *q = b->query + (head * s->Sq + row) * s->D;
    int64_t seen = s->causal ? row + 1 : s->Sk;
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < seen; j++) {
        const float *k = b->key[copy] + (head * s->Sk + j) * s->D;
        double score = 0;
        for (int64_t d = 0; d < s->D; d++) score += (double)q[d] * (double)k[d];
        weight[j] = score / sqrt((double)s->D);
        most = fmax(most, weight[j]);
    }
    for (int64_t j = 0; j < seen; j++) sum += weight[j] = exp(weight[j] - most);
    for (int64_t d = 0; d < s->D; d++) out[d] = 0;
    for (int64_t j = 0; j < seen; j++)
        for (int64_t d = 0; d < s->D; d++)
            out[d] += weight[j] / sum * (double)b->value[copy][(head * s->Sk + j) * s->D + d];
}

static Status check(const Bench *b, int copy, const float *y) {
    const Shape *s = b->shape;
    double *weight = malloc((size_t)(s->Sk + s->D) * sizeof *weight);
    if (!weight) return sn_fail(SN_NO_MEMORY, "out of memory for a reference");
    Status status = NULL;
    for (int64_t i = 0; i < SAMPLES && !status; i++) {
        int64_t head = i * 7919 % (s->B * s->H), row = (s->Sq - 1) * i / (SAMPLES - 1);
        double *want = weight + s->Sk;
        reference(b, copy, head, row, weight, want);
        for (int64_t d = 0; d < s->D && !status; d++) {
            double got = (double)y[(head * s->Sq + row) * s->D + d];
            if (!(fabs(got - want[d]) <= 1e-4 * (1 + fabs(want[d]))))
                status = sn_fail(SN_INTERNAL, "sinter computes %g instead of %g in head %lld, row %lld", got,
                                 want[d], (long long)head, (long long)row);
        }
    }
    free(weight);
    return status;
}

static Status bind(Bench *b, const sn_Program *program) {
    const Shape *s = b->shape;
    sn_ContextOptions options = {.size = sizeof options};
    TRY(sn_context_new(program, &options, &b->context));
    const int64_t queries[4] = {s->B, s->H, s->Sq, s->D}, keys[4] = {s->B, s->H, s->Sk, s->D};
    for (int i = 0; i < 3 * b->copies; i++) {
        float *data[3] = {b->query, b->key[i / 3], b->value[i / 3]};
        sn_Tensor tensor = {.element_type = sn_dtype_onnx(SN_F32),
                            .rank = 4,
                            .extent = i % 3 ? keys : queries,
                            .data = data[i % 3]};
        TRY(sn_context_set_input(b->context, i, &tensor));
    }
    TRY(sn_context_run(b->context));
    sn_Tensor y;
    TRY(sn_context_output(b->context, b->copies - 1, &y));
    return check(b, b->copies - 1, y.data);
}

/* ---- the table ---- */

/* Multiply-adds of both products, twice; the pairs that the mask leaves. */
static double work_of(const Shape *s) {
    double pairs = s->causal ? (double)s->Sq * ((double)s->Sq + 1) / 2 : (double)s->Sq * (double)s->Sk;
    return 4 * (double)s->B * (double)s->H * (double)s->D * pairs;
}

static double traffic_of(const Shape *s) {
    return 2 * sizeof(float) * (double)s->B * (double)s->H * (double)s->D * ((double)s->Sq + (double)s->Sk);
}

static void add_row(Bench *b, const char *who, const Timing *t, const Peaks *peaks, const Timing *ours) {
    const Shape *s = b->shape;
    Cell *row = sn_table_row(b->bench.arena, &b->rows);
    double each = t->median / b->copies, rate = work_of(s) / each;
    row[ATTENTION_B] = sn_cell_number((double)s->B);
    row[ATTENTION_H] = sn_cell_number((double)s->H);
    row[ATTENTION_SQ] = sn_cell_number((double)s->Sq);
    row[ATTENTION_SK] = sn_cell_number((double)s->Sk);
    row[ATTENTION_D] = sn_cell_number((double)s->D);
    row[ATTENTION_MASK] = sn_cell_text(b->bench.arena, s->causal ? "causal" : "full");
    row[ATTENTION_THREADS] = sn_cell_number(peaks->threads);
    row[ATTENTION_WHO] = sn_cell_text(b->bench.arena, who);
    row[ATTENTION_MEDIAN] = sn_cell_number(each);
    row[ATTENTION_MIN] = sn_cell_number(t->min / b->copies);
    row[ATTENTION_FLOPS] = sn_cell_number(rate);
    row[ATTENTION_BYTES] = sn_cell_number(traffic_of(s) / each);
    row[ATTENTION_PEAK] = sn_cell_number(work_of(s) * b->copies / t->could);
    if (peaks->read > 0)
        row[ATTENTION_ROOF] =
            sn_cell_number(rate / fmin(peaks->fma, peaks->read * work_of(s) / traffic_of(s)));
    row[ATTENTION_RATIO] = sn_cell_number(t->median / ours->median);
    row[ATTENTION_DISCARDED] = sn_cell_number(t->discarded);
}

/* ---- the cases ---- */

static Status measure(Bench *b, int at) {
    const Shape *s = b->shape;
    Runner runner[2] = {{"sinter", b, run_ours}, {"peer", &b->bench, sn_kernel_peer_run}};
    int count = b->bench.peer_process.process ? 2 : 1;
    if (count == 2) {
        char line[200];
        snprintf(line, sizeof line, "attention %lld %lld %lld %lld %lld %s threads %d copies %d",
                 (long long)s->B, (long long)s->H, (long long)s->Sq, (long long)s->Sk, (long long)s->D,
                 s->causal ? "causal" : "full", b->bench.threads[at], b->copies);
        TRY(sn_kernel_peer_case(&b->bench, line));
    }
    Timing timing[2];
    Peaks peaks;
    TRY(sn_kernel_measure(&b->bench, at, s->Sq <= FEW_QUERIES, runner, count, timing, &peaks));
    for (int i = 0; i < count; i++) add_row(b, runner[i].name, &timing[i], &peaks, &timing[0]);
    return NULL;
}

static Status run_threads(Bench *b, const sn_Model *model) {
    Status status = NULL;
    for (int at = 0; at < b->bench.thread_count && !status; at++) {
        sn_Program *program = NULL;
        sn_CompileOptions options = {.size = sizeof options, .threads = b->bench.threads[at]};
        status = sn_compile(model, &options, &program);
        if (!status) status = bind(b, program);
        if (!status) status = measure(b, at);
        sn_context_free(b->context);
        b->context = NULL;
        if (program) sn_program_free(program);
    }
    return status;
}

/* The operands; false without memory. */
static bool fill(Bench *b) {
    const Shape *s = b->shape;
    b->query = sn_kernel_random(s->B * s->H * s->Sq * s->D, 1);
    bool good = b->query != NULL;
    for (int i = 0; i < b->copies && good; i++) {
        b->key[i] = sn_kernel_random(s->B * s->H * s->Sk * s->D, 2 + 2 * (uint64_t)i);
        b->value[i] = sn_kernel_random(s->B * s->H * s->Sk * s->D, 3 + 2 * (uint64_t)i);
        good = b->key[i] && b->value[i];
    }
    return good;
}

static Status run_case(Bench *b, const Shape *shape) {
    float *key[COPIES_MOST] = {0}, *value[COPIES_MOST] = {0};
    b->shape = shape, b->key = key, b->value = value;
    int64_t bytes = 2 * (int64_t)sizeof(float) * shape->B * shape->H * shape->Sk * shape->D;
    int64_t copies = b->bench.hot || shape->Sq > FEW_QUERIES ? 1 : COLD_BYTES / bytes + 1;
    b->copies = copies > COPIES_MOST ? COPIES_MOST : (int)copies;
    fprintf(stderr, "%lldx%lldx%lldx%lldx%lld%s, %d copies\n", (long long)shape->B, (long long)shape->H,
            (long long)shape->Sq, (long long)shape->Sk, (long long)shape->D, shape->causal ? ":causal" : "",
            b->copies);
    sn_Model *model = NULL;
    Status status = fill(b) ? make_model(b, &model) : sn_fail(SN_NO_MEMORY, "out of memory for operands");
    if (!status) status = run_threads(b, model);
    if (model) sn_model_close(model);
    for (int i = 0; i < b->copies; i++) free(key[i]), free(value[i]);
    free(b->query);
    return status;
}

static int usual_shapes(const KernelBench *bench, Shape *out) {
    if (bench->quick) {
        out[0] = (Shape){1, 2, 48, 48, 64, true};
        out[1] = (Shape){1, 2, 1, 100, 64, false};
        return 2;
    }
    static const int64_t lengths[] = {128, 256, 1024, 4096}, caches[] = {512, 4096, 32768},
                         widths[] = {64, 128};
    int count = 0;
    for (int w = 0; w < 2; w++) {
        for (int i = 0; i < 4; i++)
            for (int causal = 0; causal < 2; causal++)
                out[count++] = (Shape){1, 12, lengths[i], lengths[i], widths[w], causal};
        for (int i = 0; i < 3; i++) out[count++] = (Shape){1, 12, 1, caches[i], widths[w], false};
    }
    return count;
}

static Status read_shape(const char *text, Shape *out) {
    long long extent[5];
    int end = 0, most = 1 << 24;
    int fields = sscanf(text, "%lldx%lldx%lldx%lldx%lld%n", &extent[0], &extent[1], &extent[2], &extent[3],
                        &extent[4], &end);
    bool causal = fields == 5 && strcmp(text + end, ":causal") == 0,
         good = fields == 5 && (causal || !text[end]);
    for (int i = 0; i < 5 && good; i++) good = extent[i] > 0 && extent[i] <= most;
    if (!good || (causal && extent[2] != extent[3]))
        return sn_fail(SN_INVALID, "shape '%s' is not BxHxQxKxD, or with Q = K BxHxQxKxD:causal", text);
    *out = (Shape){extent[0], extent[1], extent[2], extent[3], extent[4], causal};
    return NULL;
}

static Status run_all(Bench *b) {
    Shape shape[SN_KERNEL_SHAPES_MOST];
    int count = b->bench.shape_count ? b->bench.shape_count : usual_shapes(&b->bench, shape);
    for (int i = 0; i < b->bench.shape_count; i++) TRY(read_shape(b->bench.shape[i], &shape[i]));
    TRY(sn_kernel_bench_open(&b->bench));
    for (int i = 0; i < count; i++) TRY(run_case(b, &shape[i]));
    const Table *const table = &b->rows;
    return sn_kernel_bench_print(&b->bench, &table, 1);
}

int main(int count, char **words) {
    static Bench b = {
        .rows = {.name = "rows", .column = attention_columns, .column_count = ATTENTION_COLUMNS}};
    int code;
    if (!sn_kernel_bench_options(&b.bench, count, words, "BxHxQxKxD[:causal]", &code)) return code;
    b.bench.arena = sn_arena_new();
    if (!b.bench.arena) return 1;
    Status status = b.bench.bf16 ? sn_fail(SN_UNSUPPORTED, "unsupported: attention of bf16") : run_all(&b);
    if (status) fprintf(stderr, "%s: %s\n", words[0], sn_error_message(status));
    code = status != NULL;
    sn_error_free(status);
    sn_kernel_bench_close(&b.bench);
    sn_arena_free(b.bench.arena);
    return code;
}
