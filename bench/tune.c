#include "tune.h"
#include <math.h>

typedef enum TuneColumn {
    TUNE_DTYPE,
    TUNE_N,
    TUNE_K,
    TUNE_LAUNCHES,
    TUNE_USUAL,
    TUNE_BEST,
    TUNE_RATIO,
    TUNE_CHOICE,
    TUNE_COLUMNS
} TuneColumn;

static const Column tune_columns[TUNE_COLUMNS] = {
    [TUNE_DTYPE] = {"dtype", "weights", SN_CELL_TEXT},
    [TUNE_N] = {"n", "N", SN_CELL_COUNT},
    [TUNE_K] = {"k", "K", SN_CELL_COUNT},
    [TUNE_LAUNCHES] = {"launches", "launches", SN_CELL_COUNT},
    [TUNE_USUAL] = {"usual_s", "usual form", SN_CELL_SECONDS},
    [TUNE_BEST] = {"best_s", "quickest other", SN_CELL_SECONDS},
    [TUNE_RATIO] = {"ratio", "usual by other", SN_CELL_RATIO},
    [TUNE_CHOICE] = {"choice", "choice", SN_CELL_TEXT},
};

Table sn_tune_table(bool gpu) {
    if (gpu) return sn_tune_products_table();
    return (Table){.name = "products", .column = tune_columns, .column_count = TUNE_COLUMNS};
}

/* A product of the model. Times are seconds of its launches together. */
typedef struct Product {
    GemmKey key;
    int launches;
    double usual, best;
    GemmChoice trial, choice; /* what is being measured; what `best` was measured with */
} Product;

typedef struct Tuner {
    Arena *arena;
    const TuneRequest *request;
    Target target;
    SN_VEC(Product) product;
} Tuner;

/* ---- one measurement of all products ---- */

static const Node *contraction(const PlanLaunch *launch, GemmKey *key) {
    const Node *node = launch->cluster->body->first;
    while (node && node->op != SN_OP_CONTRACT) node = node->next;
    return node && sn_tuning_gemm_key(node, key) ? node : NULL;
}

/* The quickest of some runs, per launch of the plan. */
static Status time_launches(const Tuner *tuner, sn_Context *context, double *seconds) {
    const Inputs *inputs = tuner->request->inputs;
    for (int i = 0; i < inputs->count; i++) TRY(sn_context_set_input(context, i, &inputs->tensor[i]));
    TRY(sn_context_run(context));
    for (int run = 0; run < tuner->request->iters; run++) {
        TRY(sn_profile_enable(context));
        TRY(sn_context_run(context));
        const Profile *profile = sn_context_profile(context);
        for (int i = 0; i < profile->plan->launch_count; i++)
            seconds[i] = run ? fmin(seconds[i], profile->time[i].seconds) : profile->time[i].seconds;
    }
    return NULL;
}

static Product *product_of(Tuner *tuner, GemmKey key) {
    for (int i = 0; i < tuner->product.count; i++) {
        const GemmKey *there = &tuner->product.at[i].key;
        if (there->dtype == key.dtype && there->N == key.N && there->K == key.K) return &tuner->product.at[i];
    }
    sn_push(tuner->arena, &tuner->product, ((Product){.key = key, .usual = INFINITY, .best = INFINITY}));
    return &tuner->product.at[tuner->product.count - 1];
}

/* Keeps what is quicker than what was known, of the usual form or of the trials. */
static void keep_times(Tuner *tuner, const Plan *plan, const double *seconds, bool trial) {
    double *sum = SN_ARRAY(tuner->arena, double, plan->launch_count); /* per product; there are no more */
    int *launches = SN_ARRAY(tuner->arena, int, plan->launch_count);
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
        GemmKey key;
        if (!contraction(&plan->launch[i], &key)) continue;
        ptrdiff_t at = product_of(tuner, key) - tuner->product.at;
        sum[at] += seconds[i];
        launches[at]++;
    }
    for (int i = 0; i < tuner->product.count; i++) {
        Product *product = &tuner->product.at[i];
        if (!launches[i]) continue;
        product->launches = launches[i];
        if (!trial) product->usual = fmin(product->usual, sum[i]);
        if (!trial || sum[i] >= product->best) continue;
        product->best = sum[i];
        product->choice = product->trial;
    }
}

static Status measure(Tuner *tuner, const Tuning *tuning, const char *what) {
    if (tuner->request->progress) tuner->request->progress(what);
    sn_CompileOptions options = {.size = sizeof options, .threads = tuner->request->threads};
    SessionOptions session = {.tuning = tuning, .pipeline.training = tuner->request->training};
    sn_Program *program;
    TRY(sn_session_compile(tuner->request->model, &options, &session, &program));
    const Plan *plan = sn_program_plan(program);
    double *seconds = SN_ARRAY(tuner->arena, double, plan->launch_count);
    sn_Context *context = NULL;
    Status status = sn_context_new(program, NULL, &context);
    if (!status) status = time_launches(tuner, context, seconds);
    if (!status) keep_times(tuner, plan, seconds, tuning != NULL);
    if (!tuning) tuner->target = *plan->target; /* its strings are not used */
    sn_context_free(context);
    sn_program_free(program);
    return status;
}

/* ---- candidates ---- */

/* Every product's trial. */
static Status measure_trials(Tuner *tuner, const char *what) {
    Tuning *tuning = sn_tuning_new(tuner->arena);
    for (int i = 0; i < tuner->product.count; i++)
        sn_tuning_set_gemm(tuner->arena, tuning, &tuner->target, tuner->product.at[i].key,
                           tuner->product.at[i].trial, "");
    return measure(tuner, tuning, what);
}

static bool possible(const Tuner *tuner, const GemmChoice *choice) {
    return !sn_tuning_gemm_problem(tuner->target.vector_bytes, tuner->target.vector_registers, choice);
}

static int heights_of(Tile tile, int rows) {
    return rows > tile.rows ? rows / tile.rows : 1;
}

/* The tiles that fill the registers, with middling blocks. */
static Status try_tiles(Tuner *tuner) {
    static const Tile tiles[] = {{8, 3}, {14, 2}, {12, 2}, {6, 4}, {6, 2}, {4, 3}, {12, 1}};
    int registers = tuner->target.vector_registers;
    for (size_t t = 0; t < sizeof tiles / sizeof *tiles; t++) {
        GemmChoice choice = {tiles[t], heights_of(tiles[t], 64), 768};
        bool fills = tiles[t].rows * tiles[t].vectors * 10 > registers * 7;
        if (!fills || !possible(tuner, &choice)) continue;
        for (int i = 0; i < tuner->product.count; i++) tuner->product.at[i].trial = choice;
        TRY(measure_trials(
            tuner, sn_arena_printf(tuner->arena, "tile %dx%d", choice.tile.rows, choice.tile.vectors)));
    }
    return NULL;
}

/* Other pieces (rows 0) or other blocks of rows (piece 0) with what was best so far. */
static Status try_blocks(Tuner *tuner, int rows, int piece) {
    for (int i = 0; i < tuner->product.count; i++) {
        Product *product = &tuner->product.at[i];
        GemmChoice choice = product->choice;
        if (rows) choice.heights = heights_of(choice.tile, rows);
        if (piece) choice.piece = piece;
        product->trial = possible(tuner, &choice) ? choice : product->choice;
    }
    return measure_trials(tuner, sn_arena_printf(tuner->arena, rows ? "blocks of %d rows" : "pieces of %d",
                                                 rows ? rows : piece));
}

static Status try_all(Tuner *tuner) {
    static const int pieces[] = {256, 384, 512, 1024}, rows[] = {32, 96, 128};
    TRY(measure(tuner, NULL, "the usual form"));
    if (!tuner->product.count) return NULL;
    TRY(try_tiles(tuner));
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) TRY(try_blocks(tuner, 0, pieces[i]));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) TRY(try_blocks(tuner, rows[i], 0));
    return NULL;
}

/* ---- the outcome ---- */

static void add_row(Tuner *tuner, const Product *product, bool taken, Table *table) {
    const GemmChoice *choice = &product->choice;
    Cell *row = sn_table_row(tuner->arena, table);
    row[TUNE_DTYPE] = sn_cell_text(tuner->arena, sn_dtype_name(product->key.dtype));
    row[TUNE_N] = sn_cell_number((double)product->key.N);
    row[TUNE_K] = sn_cell_number((double)product->key.K);
    row[TUNE_LAUNCHES] = sn_cell_number(product->launches);
    row[TUNE_USUAL] = sn_cell_number(product->usual);
    row[TUNE_BEST] = sn_cell_number(product->best);
    row[TUNE_RATIO] = sn_cell_number(product->usual / product->best);
    row[TUNE_CHOICE] =
        sn_cell_text(tuner->arena, taken ? sn_arena_printf(tuner->arena, "tile=%dx%d heights=%d piece=%d",
                                                           choice->tile.rows, choice->tile.vectors,
                                                           choice->heights, choice->piece)
                                         : "as usual");
}

static void settle(Tuner *tuner, const Product *product, Tuning *tuning, Table *table) {
    bool taken = product->best < SN_TUNE_WORTH * product->usual;
    if (taken)
        sn_tuning_set_gemm(tuner->arena, tuning, &tuner->target, product->key, product->choice,
                           sn_arena_printf(tuner->arena, "%d launches %.3f ms, usually %.3f ms",
                                           product->launches, 1e3 * product->best, 1e3 * product->usual));
    else
        sn_tuning_drop_gemm(tuning, &tuner->target, product->key);
    add_row(tuner, product, taken, table);
}

/* What was quickest once is measured again, beside the usual form, and must be quicker again. */
static Status confirm(Tuner *tuner) {
    for (int i = 0; i < tuner->product.count; i++) {
        Product *product = &tuner->product.at[i];
        product->trial = product->choice;
        product->best = product->usual = INFINITY;
    }
    for (int round = 0; round < 2; round++) {
        TRY(measure(tuner, NULL, "the usual form again"));
        TRY(measure_trials(tuner, "the quickest again"));
    }
    return NULL;
}

Status sn_tune(Arena *arena, const TuneRequest *request, Tuning *tuning, Table *table) {
    Tuner tuner = {.arena = arena, .request = request};
    TRY(try_all(&tuner));
    if (!tuner.product.count) return NULL;
    TRY(confirm(&tuner));
    for (int i = 0; i < tuner.product.count; i++) settle(&tuner, &tuner.product.at[i], tuning, table);
    return NULL;
}
