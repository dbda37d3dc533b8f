/* Products on a GPU: the generated kernel beside what the library proposes. */
#include "trial.h"
#include "tune.h"
#include <math.h>

typedef enum ProductColumn {
    PRODUCT_KEY,
    PRODUCT_LAUNCHES,
    PRODUCT_KERNEL,
    PRODUCT_USUAL,
    PRODUCT_BEST,
    PRODUCT_RATIO,
    PRODUCT_CHOICE,
    PRODUCT_COLUMNS
} ProductColumn;

static const Column product_columns[PRODUCT_COLUMNS] = {
    [PRODUCT_KEY] = {"product", "product", SN_CELL_TEXT},
    [PRODUCT_LAUNCHES] = {"launches", "launches", SN_CELL_COUNT},
    [PRODUCT_KERNEL] = {"kernel_s", "generated kernel", SN_CELL_SECONDS},
    [PRODUCT_USUAL] = {"usual_s", "as usual", SN_CELL_SECONDS},
    [PRODUCT_BEST] = {"best_s", "quickest", SN_CELL_SECONDS},
    [PRODUCT_RATIO] = {"ratio", "usual by quickest", SN_CELL_RATIO},
    [PRODUCT_CHOICE] = {"choice", "choice", SN_CELL_TEXT},
};

Table sn_tune_products_table(void) {
    return (Table){.name = "products", .column = product_columns, .column_count = PRODUCT_COLUMNS};
}

/* Equal products of the model, of which one is timed. Times are seconds of a launch. */
typedef struct Product {
    ProductKey key;
    int index, launches; /* of the first of them in the plan; how many there are */
    int usual_way, best_way;
    double kernel, usual, best;
} Product;

typedef struct Tuner {
    Arena *arena;
    const TuneRequest *request;
    Target target;       /* without any tuning: what is usual */
    sn_Context *context; /* of the program at hand */
    Tuning *tuning;
    Table *table;
    SN_VEC(Product) product;
} Tuner;

static bool same_key(const ProductKey *a, const ProductKey *b) {
    return a->operands == b->operands && a->result == b->result && a->tf32 == b->tf32 &&
           a->transposed[0] == b->transposed[0] && a->transposed[1] == b->transposed[1] &&
           a->batch == b->batch && a->rows == b->rows && a->N == b->N && a->K == b->K && a->with == b->with;
}

static Status find_products(Tuner *tuner) {
    const Plan *plan = tuner->context->program->plan;
    const int64_t *dim = tuner->context->binding->dim;
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
        ProductKey key;
        int at = 0;
        int64_t rows = 1; /* those of a line of the file */
        if (!sn_plan_product_key(&plan->launch[i], dim, &tuner->target, &key)) continue;
        while (rows < key.rows) rows *= 2;
        key.rows = rows;
        while (at < tuner->product.count && !same_key(&tuner->product.at[at].key, &key)) at++;
        if (at == tuner->product.count) {
            int way = sn_plan_way(&plan->launch[i], dim, &tuner->target);
            sn_push(tuner->arena, &tuner->product, ((Product){.key = key, .index = i, .usual_way = way}));
        }
        tuner->product.at[at].launches++;
    }
    return NULL;
}

static Status time_way(const Tuner *tuner, const Product *product, int way, double *least) {
    double seconds;
    TRY(sn_context_try(tuner->context, product->index, way, tuner->request->iters, &seconds));
    *least = fmin(*least, seconds);
    return NULL;
}

/* What was quickest is measured again, beside what is usual, and must be quicker again. */
static Status measure(const Tuner *tuner, Product *product) {
    product->kernel = product->best = INFINITY;
    for (int way = 0; way <= SN_PROPOSALS_MOST; way++) {
        double seconds = INFINITY;
        TRY(time_way(tuner, product, way, &seconds));
        if (way == 0) product->kernel = seconds;
        if (seconds >= product->best) continue;
        product->best = seconds;
        product->best_way = way;
    }
    product->usual = product->best = INFINITY;
    for (int round = 0; round < 2; round++) {
        TRY(time_way(tuner, product, product->usual_way, &product->usual));
        TRY(time_way(tuner, product, product->best_way, &product->best));
    }
    return NULL;
}

static ProductWay way_of(const Product *product) {
    bool library = product->best_way > 0;
    return (ProductWay){library, library ? product->best_way - 1 : 0};
}

static const char *choice_text(const Tuner *tuner, const Product *product, bool taken) {
    if (!taken) return "as usual";
    return product->best_way
               ? sn_arena_printf(tuner->arena, "the library's proposal %d", product->best_way - 1)
               : "the generated kernel";
}

static void settle(const Tuner *tuner, const Product *product, Tuning *tuning, Table *table) {
    bool taken = product->best_way != product->usual_way && product->best < SN_TUNE_WORTH * product->usual;
    Text key = sn_text(tuner->arena);
    sn_tuning_product_print(&key, &product->key);
    if (taken)
        sn_tuning_set_product(tuner->arena, tuning, &tuner->target, &product->key, way_of(product),
                              sn_arena_printf(tuner->arena, "%.1f us, usually %.1f us", 1e6 * product->best,
                                              1e6 * product->usual));
    else
        sn_tuning_drop_product(tuning, &tuner->target, &product->key);
    Cell *row = sn_table_row(tuner->arena, table);
    row[PRODUCT_KEY] = sn_cell_text(tuner->arena, sn_text_string(&key));
    row[PRODUCT_LAUNCHES] = sn_cell_number(product->launches);
    row[PRODUCT_KERNEL] = sn_cell_number(product->kernel);
    row[PRODUCT_USUAL] = sn_cell_number(product->usual);
    row[PRODUCT_BEST] = sn_cell_number(product->best);
    row[PRODUCT_RATIO] = sn_cell_number(product->usual / product->best);
    row[PRODUCT_CHOICE] = sn_cell_text(tuner->arena, choice_text(tuner, product, taken));
}

static Status run_once(const Tuner *tuner) {
    const Inputs *inputs = tuner->request->inputs;
    for (int i = 0; i < inputs->count; i++) TRY(sn_context_set_input(tuner->context, i, &inputs->tensor[i]));
    return sn_context_run(tuner->context);
}

static Status tune(Tuner *tuner) {
    for (int i = 0; i < tuner->product.count; i++) {
        Product *product = &tuner->product.at[i];
        if (tuner->request->progress)
            tuner->request->progress(
                sn_arena_printf(tuner->arena, "product %d of %d", i + 1, tuner->product.count));
        TRY(measure(tuner, product));
        settle(tuner, product, tuner->tuning, tuner->table);
    }
    return NULL;
}

/* Compiles the model, whose kernels `kernels` (may be NULL) is asked about, and lets `work` look at a run of it. */
static Status with_run(Tuner *tuner, const Tuning *kernels, Status (*work)(Tuner *tuner)) {
    const TuneRequest *request = tuner->request;
    sn_CompileOptions options = {.size = sizeof options,
                                 .device = request->device,
                                 .threads = request->threads,
                                 .precision = request->precision};
    SessionOptions session = {.pipeline.training = request->training, .tuning = kernels};
    sn_Program *program;
    TRY(sn_session_compile(request->model, &options, &session, &program));
    tuner->target = program->device->target;
    tuner->target.tuning = NULL;
    Status status = program->library || program->device->absent
                        ? sn_context_new(program, NULL, &tuner->context)
                        : sn_fail(SN_UNSUPPORTED, "tuning on a GPU is unsupported without cuBLASLt");
    if (!status) status = run_once(tuner);
    if (!status) status = work(tuner);
    sn_context_free(tuner->context);
    tuner->context = NULL;
    sn_program_free(program);
    return status;
}

/* The kernels of all products are made as if they were to do large ones too. */
Status sn_tune_products(Arena *arena, const TuneRequest *request, Tuning *tuning, Table *table) {
    Tuner tuner = {.arena = arena, .request = request, .tuning = tuning, .table = table};
    Tuning *kernels = sn_tuning_new(arena);
    TRY(with_run(&tuner, NULL, find_products));
    for (int i = 0; i < tuner.product.count; i++)
        sn_tuning_set_product(arena, kernels, &tuner.target, &tuner.product.at[i].key, (ProductWay){false, 0},
                              "");
    return tuner.product.count ? with_run(&tuner, kernels, tune) : NULL;
}
