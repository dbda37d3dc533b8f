/* Generated C for rows and maps where memory decides: stores past the caches, rows that are read ahead, tiles,
 * reductions in pieces. */
#include "codegen_fixture.h"

static const int64_t sizes[] = {1, 1, 2, 3, 3, 17, 2, 64, 1, 1000, 37, 133};
enum { SIZES = 6 };

static Case *storing(DType dtype) {
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, "B, T, 7"), *y = param(c, SN_F32, "B, T, 7");
    result(c, cast(c, two(c, SN_OP_ADD, x, y), dtype));
    return c;
}

/* Outputs begin at odd addresses, and their rows at any. */
static void stores_past_the_caches(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_F64, SN_F16, SN_BF16, SN_I8, SN_I32, SN_I64, SN_BOOL};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        check_text(storing(types[i]), "sn_stream_end();", true, SIZES, sizes);
}

/* Rows plus one of their own, since dense maps take their length from the launch. */
static Case *of_rows(const char *shape) {
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, shape);
    result(c, two(c, SN_OP_ADD, x, expand(c, param(c, SN_F32, "20"), shape)));
    return c;
}

static void small_results_stay_in_the_caches(void **state) {
    (void)state;
    check_text(of_rows("100, 20"), "sn_stream_end();", false, 1, sizes); /* 8000 bytes */
    check_text(of_rows("103, 20"), "sn_stream_end();", true, 1, sizes);
    Case *c = storing(SN_F32);
    c->target.stream_bytes = 0;
    check_text(c, "sn_stream_end();", false, 1, sizes);
}

/* A map that stores each element where it loads one is told by the addresses of a run whether these are the same, and stores past
 * the caches only where they are not: with several results, all of them. One that reads rows in another order, or has a result that
 * is wider than what it reads, is not asked. */
static void results_in_place_stay_in_the_caches(void **state) {
    (void)state;
    static const bool asked[] = {true, true, false, false};
    for (int i = 0; i < 4; i++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *x = param(c, i == 3 ? SN_F16 : SN_F32, "B, T, 37"), *y = param(c, SN_F32, "B, T, 37");
        if (i == 2) y = transpose(c, x = param(c, SN_F32, "T, B, 37"), (int[]){1, 0, 2});
        result(c, i == 3 ? cast(c, x, SN_F32) : i == 2 ? one(c, SN_OP_NEG, y) : two(c, SN_OP_ADD, x, y));
        if (i == 1) result(c, two(c, SN_OP_SUB, x, y));
        check_text(c, "&& !in_place ? 0 : UINTPTR_MAX;", asked[i], SIZES, sizes);
    }
}

static Value *softmax(Case *c, Value *x, int64_t axis) {
    Value *top = reduce(c, SN_OP_REDUCE_MAX, x, axis);
    Value *e = one(c, SN_OP_EXP, two(c, SN_OP_SUB, x, spread(c, top, x)));
    return two(c, SN_OP_DIV, e, spread(c, reduce(c, SN_OP_REDUCE_SUM, e, axis), x));
}

/* Rows whose length is no multiple of a vector, normalised and stored past the caches with their sums. */
static void rows_are_read_ahead(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *x = param(c, SN_F32, "B, T, 37"), *y = param(c, SN_F32, "B, T, 37");
    Value *sum = two(c, SN_OP_ADD, x, y);
    result(c, softmax(c, sum, 2));
    result(c, sum);
    check_text(c, "SN_AHEAD(b", true, SIZES, sizes);
}

/* Where the target gains by it, each load of a whole vector fetches one further on, but for what rows have in common
 * and in kernels that read too little. */
static void streams_are_fetched(void **state) {
    (void)state;
    static const struct {
        int fetch, l2, loads;
    } targets[] = {{2048, 1024, 2}, {2048, 1 << 20, 2}, {0, 1024, 0}};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        for (int form = 0; form < 4; form++) {
            Case *c = form == 0   ? storing(SN_F32)
                      : form == 1 ? of_rows("B, T, 20")
                                  : begin_case(SN_CLUSTER_REDUCE);
            if (form == 2) result(c, softmax(c, param(c, SN_F32, "B, T, 37"), 2));
            if (form == 3) result(c, reduce(c, SN_OP_REDUCE_SUM, param(c, SN_F32, "B, T, 300"), 1));
            c->target.fetch_bytes = targets[i].fetch;
            c->target.l2_bytes = targets[i].l2;
            c->tolerance = 2e-5;
            const Kernel *kernel = generate(c);
            int count = count_of(kernel, "SN_FETCH(b"),
                loads = form ? targets[i].loads / 2 : targets[i].loads;
            assert_true(form < 2 ? count == loads : (count > 0) == (loads > 0));
            assert_true(mentions(kernel, "#define SN_FETCHES 1") == (targets[i].fetch > 0));
            if (form == 2) assert_true(mentions(kernel, "SN_AHEAD(b") == (targets[i].fetch == 0));
            check_kernel(c, kernel, SIZES, sizes);
        }
    Case *c = of_rows("100, 20");
    c->target.fetch_bytes = 2048;
    check_text(c, "SN_FETCH(b", false, 1, sizes);
}

/* A line of several vectors is fetched once by a loop that does several at a time. */
static void lines_are_fetched_once(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_BF16};
    for (int i = 0; i < 2; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        result(c, reduce(c, SN_OP_REDUCE_SUM, cast(c, param(c, types[i], "B, T, 300"), SN_F32), 2));
        c->target.fetch_bytes = 2048;
        c->tolerance = 2e-5;
        const Kernel *kernel = generate(c);
        int bytes = c->target.vector_bytes / 4 * sn_dtype_bytes(types[i]), group = 4 * bytes;
        assert_int_equal(count_of(kernel, "SN_FETCH(b"), 1 + (group < 64 ? 1 : bytes < 64 ? group / 64 : 4));
        check_kernel(c, kernel, SIZES, sizes);
    }
}

static Value *centred(Case *c, Value *x) {
    Value *middle = two(c, SN_OP_SUB, x, spread(c, reduce(c, SN_OP_REDUCE_MIN, x, 2), x));
    Value *most = reduce(c, SN_OP_REDUCE_MAX, one(c, SN_OP_ABS, middle), 2);
    return two(c, SN_OP_SUB, middle, spread(c, most, x));
}

/* Rows behind one another are a stream, which is fetched only where there is more to do than to load. */
static void streams_are_not_read_ahead(void **state) {
    (void)state;
    for (int maximum = 0; maximum < 2; maximum++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        OpCode op = maximum ? SN_OP_REDUCE_MAX : SN_OP_REDUCE_SUM;
        result(c, reduce(c, op, param(c, SN_F32, "B, T, 300"), 2));
        c->tolerance = 2e-5;
        check_text(c, "SN_AHEAD(b", maximum, SIZES, sizes);
    }
}

/* Sums of rows that three loops need are kept, also where they are results; what has one row, or is too long, is not. Rows
 * of whole groups are read ahead by other loops where results go past the caches, unless streams are fetched. */
static void sums_of_rows_are_kept(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 300", "B, T, 37"};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int both = 0; both < 2; both++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *x = param(c, SN_F32, shape[i]), *y = param(c, i ? SN_BF16 : SN_F32, shape[i]);
            Value *sum = two(c, SN_OP_ADD, x, i ? cast(c, y, SN_F32) : y);
            result(c, centred(c, sum));
            if (both) result(c, sum);
            check_text(c, i ? "float r0[37]" : "float r0[300]", true, SIZES, sizes);
        }
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *x = param(c, SN_F32, "B, T, 300");
    result(c, centred(c, two(c, SN_OP_ADD, x, expand(c, param(c, SN_F32, "300"), "B, T, 300"))));
    check_text(c, "float r0[", false, SIZES, sizes);
    c = begin_case(SN_CLUSTER_REDUCE);
    x = param(c, SN_F32, "B, T, 40000");
    result(c, centred(c, two(c, SN_OP_ADD, x, param(c, SN_F32, "B, T, 40000"))));
    check_text(c, "float r0[", false, 2, sizes);
    for (int fetches = 0; fetches < 2; fetches++) {
        c = begin_case(SN_CLUSTER_REDUCE);
        result(c, centred(c, param(c, SN_F32, "B, T, 300")));
        if (fetches) c->target.fetch_bytes = 2048;
        check_text(c, "(past ? ", !fetches, SIZES, sizes);
    }
}

/* Whole groups of vectors, a rest, and rows shorter than a group; results that are kept, and that are computed twice. */
static void rows_are_stored_while_the_next_is_computed(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 300", "B, T, 64", "B, T, 13"};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, SN_F32, shape[i]), *bias = param(c, SN_F32, "B, T, 1");
        Value *y = softmax(c, two(c, SN_OP_ADD, x, expand(c, bias, shape[i])), 2);
        result(c, i ? cast(c, y, SN_BF16) : y);
        check_text(c, "done = 0;", true, SIZES, sizes);
        c = begin_case(SN_CLUSTER_REDUCE);
        x = param(c, SN_F32, shape[i]);
        Value *sum = reduce(c, SN_OP_REDUCE_SUM, one(c, SN_OP_EXP, x), 2);
        result(c, two(c, SN_OP_SUB, x, spread(c, one(c, SN_OP_LOG, sum), x)));
        check_text(c, "done = 0;", true, SIZES, sizes);
    }
    Case *c = begin_case(SN_CLUSTER_REDUCE); /* kept in memory, where each work item has its own */
    result(c, softmax(c, param(c, SN_F32, "B, T"), 1));
    check_text(c, "done = 0;", false, SIZES, sizes);
}

/* Rows of which nothing is dear: gathered ones, whose sums are kept or not, and such as are too long for the first cache beside
 * the next ones; with a sum stored in the loop that stores the row before. Others have loops of their own. */
static void plain_rows_are_stored_while_the_next_is_read(void **state) {
    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *table = param(c, SN_F32, "50, 75"), *ids = param(c, SN_I64, "B, T"),
              *x = param(c, SN_F32, "T, 75");
        Value *row = apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, ids);
        result(c, centred(c, kept ? two(c, SN_OP_ADD, row, expand(c, x, "B, T, 75")) : row));
        c->low = -50, c->high = 49;
        check_text(c, "done = 0;", true, SIZES, sizes);
    }
    for (int far = 0; far < 2; far++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        c->target.l1_bytes = far ? 4096 : 8192;
        Value *x = param(c, SN_F32, "B, T, 300"), *y = param(c, SN_F32, "B, T, 300");
        Value *sum = two(c, SN_OP_ADD, x, y);
        Value *squares = reduce(c, SN_OP_REDUCE_SUM, two(c, SN_OP_MUL, sum, sum), 2);
        result(c, two(c, SN_OP_DIV, sum, spread(c, squares, sum)));
        result(c, cast(c, sum, SN_BF16));
        check_text(c, "done = 0;", far, SIZES, sizes);
        c = begin_case(SN_CLUSTER_REDUCE);
        c->target.l1_bytes = far ? 4096 : 8192;
        result(c, centred(c, cast(c, param(c, SN_BF16, "B, T, 301"), SN_F32)));
        check_text(c, "float r0[301]", far, SIZES, sizes);
    }
}

/* Where streams are fetched, rows of three loops of which nothing is dear go through all of them at once, each loop
 * at another row: with whole groups of vectors, less than a group left behind the first line's border, or no group.
 * They do while the first cache holds three rows and what these have in common, or where it does not hold four rows
 * and half of the second one does. */
static void rows_go_through_three_loops_at_once(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 300", "B, T, 64", "B, T, 68", "B, T, 85", "B, T, 13"};
    enum { ROW = 4 * 300, ROWS = 5 * ROW };
    static const struct {
        int fetch, l1, l2;
        bool beside;
    } targets[] = {{2048, 32768, 1 << 20, true},
                   {2048, ROWS, 1 << 20, true},
                   {2048, ROWS - 1, 1 << 20, false},
                   {2048, 4 * ROW - 1, 2 * ROWS, true},
                   {2048, 4 * ROW - 1, 2 * ROWS - 1, false},
                   {0, 32768, 1 << 20, false}};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        for (size_t k = 0; k < (i ? 1 : sizeof shape / sizeof *shape); k++) {
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *y = centred(c, param(c, SN_F32, shape[k]));
            y = two(c, SN_OP_MUL, y, expand(c, param(c, SN_F32, shape[k] + 6), shape[k]));
            result(c, two(c, SN_OP_ADD, y, expand(c, param(c, SN_F32, shape[k] + 6), shape[k])));
            c->target.fetch_bytes = targets[i].fetch;
            c->target.l1_bytes = targets[i].l1;
            c->target.l2_bytes = targets[i].l2;
            const Kernel *kernel = generate(c);
            assert_true(mentions(kernel, "float lead") == targets[i].beside);
            if (targets[i].beside) assert_true(mentions(kernel, "done += SN_LANES;"));
            check_kernel(c, kernel, SIZES, sizes);
        }
}

/* So do gathered ones, whose sums with others are kept in three places by turns; not where the first loop stores, or the first cache
 * does not hold what goes on at once. */
static void gathered_rows_go_through_three_loops_at_once(void **state) {
    (void)state;
    static const char *const length[] = {"600", "300", "64", "85", "13"};
    enum { KEPT = 1, STORED = 2, LONG = 4 };
    for (int how = 0; how < 8; how++)
        for (size_t k = 0; k < (how == KEPT || !how ? sizeof length / sizeof *length : 1); k++) {
            char table[16], batches[16], positions[16];
            snprintf(table, sizeof table, "50, %s", length[k]);
            snprintf(batches, sizeof batches, "B, T, %s", length[k]);
            snprintf(positions, sizeof positions, "T, %s", length[k]);
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *rows = param(c, SN_F32, table), *ids = param(c, SN_I64, "B, T");
            Value *x = apply(c, SN_OP_GATHER, &(AttrAxis){0}, rows, ids);
            if (how & KEPT) x = two(c, SN_OP_ADD, x, expand(c, param(c, SN_F32, positions), batches));
            if (how & STORED) result(c, x);
            result(c, centred(c, x));
            c->low = -50, c->high = 49;
            c->target.fetch_bytes = 2048;
            c->target.l1_bytes = how & LONG ? 4 * 4 * 600 : 32768;
            c->target.l2_bytes = how & LONG ? 4 * 6 * 600 : 1 << 20;
            const Kernel *kernel = generate(c);
            assert_true(mentions(kernel, "float lead") == (how < STORED));
            assert_true(mentions(kernel, "*next_r0") == (how == KEPT));
            check_kernel(c, kernel, SIZES, sizes);
        }
}

/* Rows of two loops are stored there while the next ones are read, and read again for it, where they would else be kept. */
static void rows_of_two_loops_are_read_again(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 300", "B, T, 64", "B, T, 68", "B, T, 85", "B, T, 13"};
    static const DType types[] = {SN_F32, SN_BF16, SN_F16};
    for (int i = 0; i < 4; i++)
        for (size_t k = 0; k < sizeof shape / sizeof *shape; k++) {
            const bool fetched = i % 2, far = i / 2;
            Case *c = begin_case(SN_CLUSTER_REDUCE);
            Value *x = param(c, types[k % 3], shape[k]);
            if (k % 3) x = cast(c, x, SN_F32);
            Value *squares = reduce(c, SN_OP_REDUCE_SUM, two(c, SN_OP_MUL, x, x), 2);
            Value *y = two(c, SN_OP_DIV, x, spread(c, squares, x));
            result(c, k % 3 ? cast(c, y, types[k % 3]) : y);
            c->target.fetch_bytes = fetched ? 2048 : 0;
            c->target.l1_bytes = far ? 13 * 4 : 32768;
            const Kernel *kernel = generate(c);
            assert_true(mentions(kernel, "done += SN_LANES;") == (fetched || far));
            assert_true(mentions(kernel, "float r0[") == (far && !fetched));
            if (k % 3)
                assert_true(mentions(kernel, k % 3 == 1 ? "sn_stream_bf16_w(" : "sn_stream_f16_w(") ==
                            (fetched || far));
            check_kernel(c, kernel, SIZES, sizes);
        }
}

static void gathered_rows_are_read_ahead(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *table = param(c, SN_F32, "50, 40"), *ids = param(c, SN_I64, "B, T"),
          *x = param(c, SN_F32, "T, 40");
    Value *row =
        two(c, SN_OP_ADD, apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, ids), expand(c, x, "B, T, 40"));
    result(c, softmax(c, row, 2));
    c->low = -50, c->high = 49;
    check_text(c, "far", true, SIZES, sizes);
    c = begin_case(SN_CLUSTER_MAP);
    table = param(c, SN_BF16, "50, 40"), ids = param(c, SN_I32, "B, T");
    result(c, apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, ids));
    check_text(c, "far", true, SIZES, sizes);
}

static void tiles(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_F16, SN_BF16, SN_I32};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *x = param(c, types[i], "B, T, 45"), *y = param(c, types[i], "45, B, T");
        result(c, transpose(c, x, (int[]){2, 0, 1}));
        result(c, two(c, SN_OP_ADD, transpose(c, x, (int[]){2, 0, 1}), y));
        result(c, transpose(c, x, (int[]){0, 2, 1}));
        check_text(c, "sn_square_", true, SIZES, sizes);
    }
    Case *c = begin_case(SN_CLUSTER_MAP);
    result(c, transpose(c, param(c, SN_I64, "B, T, 45"), (int[]){2, 0, 1}));
    check_text(c, "sn_square_", false, SIZES, sizes);
}

static Case *fetched(Case *c, int64_t l2_bytes) {
    c->target.fetch_bytes = 2048;
    c->target.l2_bytes = l2_bytes;
    return c;
}

/* What is fetched in another way, or stays in the second-level cache, is no stream. */
static void streams_are_fetched_once(void **state) {
    (void)state;
    for (int small = 0; small < 2; small++) {
        Case *c = fetched(begin_case(SN_CLUSTER_MAP), small ? 1 << 20 : 1024);
        Value *x = transpose(c, param(c, SN_F32, "B, 64, 6, 20"), (int[]){0, 2, 1, 3});
        result(c, two(c, SN_OP_ADD, x, expand(c, param(c, SN_F32, "64, 20"), "B, 6, 64, 20")));
        const Kernel *kernel = generate(c);
        assert_true(mentions(kernel, "enum { strip") && mentions(kernel, "SN_BRING(b"));
        assert_int_equal(count_of(kernel, "SN_FETCH(b"), small ? 0 : 1);
        check_kernel(c, kernel, SIZES, sizes);
    }
}

/* Where streams are fetched and the registers hold them, four rows of a transposed result of 32 bits are stored as they
 * are made: rows that begin where vectors do or anywhere, from line border to line border; some that are left; of two
 * loads, and of other types at other places; beside what goes through a tile. */
static void transposes_leave_registers(void **state) {
    (void)state;
    static const char *const shapes[] = {"B, T, 45", "B, T, 64", "B, T, 35", "B, T, 2"};
    for (int i = 0; i < 4 * 2 * 2; i++) {
        DType dtype = i & 1 ? SN_I32 : SN_F32;
        Case *c = fetched(begin_case(SN_CLUSTER_MAP), 1024);
        if (i & 2) c->target.stream_bytes = 1 << 30;
        Value *x = param(c, dtype, shapes[i / 4]), *y = param(c, dtype, shapes[i / 4]);
        x = transpose(c, two(c, SN_OP_ADD, x, y), (int[]){2, 0, 1});
        result(c, x);
        if (i / 4 == 1) result(c, cast(c, x, SN_F16));
        bool direct = c->target.vector_registers >= (i / 4 == 1 ? 40 : 24) && c->target.vector_bytes == 64;
        check_text(c, "sn_columns_ahead(&", direct, SIZES, sizes);
    }
    for (int i = 0; i < 2; i++) {
        Case *c = fetched(begin_case(SN_CLUSTER_MAP), 1024);
        Value *x = transpose(c, param(c, SN_F32, "B, T, 45"), (int[]){2, 0, 1}),
              *y = transpose(c, param(c, i ? SN_F16 : SN_F32, "T, B, 45"), (int[]){2, 1, 0});
        result(c, two(c, SN_OP_ADD, x, i ? cast(c, y, SN_F32) : y));
        result(c, cast(c, x, SN_F32));
        check_text(c, "SN_SQUARES_AHEAD(q", i || c->target.vector_bytes < 64, SIZES, sizes);
    }
}

/* Lines of rows that share places of the first-level cache, or may do so, are copied first, others are not. */
static void lines_that_share_places_are_copied(void **state) {
    (void)state;
    static const struct {
        const char *shape;
        bool copied;
    } cases[] = {{"B, 40, 512", true}, {"9, 40, T", true}, {"B, 40, 2064", false}};
    for (int i = 0; i < 3 * 2; i++) {
        Case *c = fetched(begin_case(SN_CLUSTER_MAP), 1024);
        if (i & 1) c->target.stream_bytes = 1 << 30;
        result(c, transpose(c, param(c, SN_F32, cases[i / 2].shape), (int[]){2, 0, 1}));
        bool direct = c->target.vector_registers >= 12 && c->target.vector_bytes == 64;
        check_text(c, ") sn_lines(", direct && cases[i / 2].copied, SIZES, sizes);
    }
}

/* Out of the second-level cache lines are brought where rows are far from each other, and in maps where much is to be done
 * between loads. */
static void fetched_lines_are_brought_near(void **state) {
    (void)state;
    for (int fetches = 0; fetches < 2; fetches++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        if (fetches) fetched(c, 1024);
        result(c, transpose(c, param(c, SN_F16, "B, T, 45"), (int[]){2, 0, 1}));
        check_text(c, "SN_SQUARES_AHEAD(q", fetches, SIZES, sizes);
    }
    for (int dear = 0; dear < 2; dear++) {
        Case *c = fetched(begin_case(SN_CLUSTER_MAP), 1024);
        Value *x = param(c, SN_F32, "B, T, 37");
        result(c, two(c, SN_OP_ADD, dear ? one(c, SN_OP_EXP, x) : x, x));
        c->tolerance = 2e-5;
        check_text(c, ", 512);", dear, SIZES, sizes);
    }
}

/* x (1 + erf(x)) from where it is nothing to where it is 2 x, whichever is added to the other. */
static void one_plus_erf(void **state) {
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *x = param(c, SN_F32, "B, T, 37"), *e = one(c, SN_OP_ERF, x), *n = number(c, 1, x);
        result(c, two(c, SN_OP_MUL, x, swap ? two(c, SN_OP_ADD, n, e) : two(c, SN_OP_ADD, e, n)));
        c->scale = 3;
        c->tolerance = 2e-7;
        check_text(c, "= sn_one_plus_erf_f32_v(", true, SIZES, sizes);
    }
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *x = param(c, SN_F32, "B, T, 37");
    result(c, two(c, SN_OP_ADD, one(c, SN_OP_ERF, x), number(c, 2, x)));
    check_text(c, "= sn_one_plus_erf_f32_v(", false, SIZES, sizes);
}

static Value *concat(Case *c, Value *const *piece, int count, int64_t axis) {
    Value *joined = sn_build(&c->b, SN_OP_CONCAT, &(AttrAxis){(int)axis}, count, (Value **)piece);
    assert_ok(c->b.status);
    return joined;
}

/* Pieces that are alike are a loop over tensors; others, and those out of order, are not part of it. */
static void many_pieces(void **state) {
    (void)state;
    enum { MANY = 15 };
    for (int axis = 0; axis < 3; axis++) {
        Case *c = begin_case(SN_CLUSTER_MAP);
        Value *piece[MANY + 3];
        for (int i = 0; i < MANY; i++) piece[i] = param(c, SN_F32, "B, T, 5");
        piece[MANY] = piece[3];
        piece[MANY + 1] = one(c, SN_OP_NEG, piece[2]);
        piece[MANY + 2] = param(c, SN_F32, axis == 0 ? "7, T, 5" : axis == 1 ? "B, 7, 5" : "B, T, 7");
        result(c, concat(c, piece, MANY + 3, axis));
        check_text(c, "*)buffers[0 + ", true, SIZES, sizes);
    }
    Case *c = begin_case(SN_CLUSTER_MAP);
    Value *number[20];
    for (int i = 0; i < 20; i++) number[i] = param(c, SN_I64, "1");
    result(c, concat(c, number, 20, 0));
    check_text(c, "*)buffers[0 + ", true, 1, sizes);
    c = begin_case(SN_CLUSTER_MAP);
    Value *few[3] = {param(c, SN_BF16, "B, 5"), param(c, SN_BF16, "B, 5"), param(c, SN_BF16, "B, 5")};
    result(c, concat(c, few, 3, 1));
    check_text(c, "*)buffers[0 + ", false, SIZES, sizes);
}

/* Pieces that begin at different places of vectors are stored in loops of their own, unless these would load the same. */
static void pieces_are_aligned_apart(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 37", "B, T, 32"};
    for (int i = 0; i < 2; i++)
        for (int same = 0; same < 2; same++) {
            Case *c = begin_case(SN_CLUSTER_MAP);
            Value *x = param(c, SN_F32, shape[i]),
                  *y = same ? one(c, SN_OP_NEG, x) : param(c, SN_F32, shape[i]);
            result(c, concat(c, (Value *[]){x, y}, 2, 2));
            check_text(c, i ? "INT64_C(32)), 4, past)" : "INT64_C(37)), 4, past)", !i && !same, SIZES, sizes);
        }
    Case *c = begin_case(SN_CLUSTER_MAP); /* rows that an index chooses */
    Value *table = param(c, SN_BF16, "50, 5"), *ids = param(c, SN_I32, "B, T"),
          *x = param(c, SN_BF16, "B, T, 5");
    result(c, concat(c, (Value *[]){apply(c, SN_OP_GATHER, &(AttrAxis){0}, table, ids), x}, 2, 2));
    check_text(c, "INT64_C(5)), 2, past)", true, SIZES, sizes);
}

/* Where streams are fetched, pieces of short rows in strips are stored one after the other though they load the same, of which
 * each then fetches its share; not where they have more in common, rows are long, or they are of two results. */
static void pieces_of_strips_are_stored_in_order(void **state) {
    (void)state;
    static const char *const half[] = {"16", "10", "300"};
    enum { SHORT = 2, FETCHED = 1, COMMON = 2, RESULTS = 4 };
    for (int i = 0; i < 3; i++)
        for (int how = 0; how < 8; how++) {
            char rows[24], part[24], row[24];
            snprintf(rows, sizeof rows, "B, 64, 6, %d", 2 * atoi(half[i]));
            snprintf(part, sizeof part, "B, 6, 64, %s", half[i]);
            snprintf(row, sizeof row, "64, %s", half[i]);
            Case *c = begin_case(SN_CLUSTER_MAP);
            if (how & FETCHED) fetched(c, 1 << 20);
            Value *x = transpose(c, param(c, SN_F32, rows), (int[]){0, 2, 1, 3}),
                  *a = slice(c, x, 3, 0, half[i], 1), *b = slice(c, x, 3, atoi(half[i]), half[i], 1),
                  *cosine = expand(c, param(c, SN_F32, row), part),
                  *sine = expand(c, param(c, SN_F32, row), part), *turned = two(c, SN_OP_MUL, a, cosine);
            Value *first = two(c, SN_OP_SUB, turned, two(c, SN_OP_MUL, b, sine)),
                  *second = two(c, SN_OP_ADD, how & COMMON ? turned : two(c, SN_OP_MUL, a, sine),
                                two(c, SN_OP_MUL, b, cosine));
            if (how & RESULTS)
                result(c, first), result(c, second);
            else
                result(c, concat(c, (Value *[]){first, second}, 2, 3));
            const Kernel *kernel = generate(c);
            assert_true(mentions(kernel, "enum { strip"));
            assert_int_equal(count_of(kernel, "sn_stream_head(b"), i < SHORT && how == FETCHED ? 2 : 1);
            assert_int_equal(count_of(kernel, "SN_BRING(b") + count_of(kernel, "SN_AHEAD(b"), 2);
            check_kernel(c, kernel, SIZES, sizes);
        }
}

/* Lines that two rows share, or two pieces of a row, or that a row shorter than a vector is in. */
static void shared_lines_are_put_together(void **state) {
    (void)state;
    static const char *const shape[] = {"B, T, 37", "B, T, 13", "B, T, 32"};
    static const DType types[] = {SN_F32, SN_BF16, SN_F64, SN_I8};
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            Case *c = begin_case(SN_CLUSTER_MAP);
            Value *x = param(c, types[k], shape[i]), *y = param(c, types[k], shape[i]);
            result(c, concat(c, (Value *[]){x, y}, 2, 2));
            check_text(c, "sn_edge_end(&", i < 2, SIZES, sizes);
        }
    for (int i = 0; i < 3; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        result(c, centred(c, param(c, SN_F32, shape[i])));
        check_text(c, "sn_edge_end(&", i < 2, SIZES, sizes);
    }
}

/* So long that they are cut, by one element more than two pieces and by many. */
static const int64_t long_sizes[] = {1, 131073, 3, 200003, 2, 900001, 5, 7};
enum { LONG_SIZES = 4 };

static void long_rows_in_pieces(void **state) {
    (void)state;
    static const DType types[] = {SN_F32, SN_BF16, SN_I32, SN_I8, SN_F64};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Case *c = begin_case(SN_CLUSTER_REDUCE);
        Value *x = param(c, types[i], "B, T");
        result(c, reduce(c, SN_OP_REDUCE_SUM, x, 1));
        result(c, reduce(c, SN_OP_REDUCE_MAX, x, 1));
        result(c, one(c, SN_OP_NEG, reduce(c, SN_OP_REDUCE_MIN, x, 1)));
        c->tolerance = 2e-5; /* of sums in float32 */
        check_text(c, "nest1(", true, LONG_SIZES, long_sizes);
    }
}

static void all_of_a_tensor_in_pieces(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    Value *x = param(c, SN_F32, "T, B");
    int64_t axes[] = {0, 1};
    c->tolerance = 2e-5;
    result(c, apply(c, SN_OP_REDUCE_SUM, &(AttrReduce){2, axes}, two(c, SN_OP_MUL, x, x), NULL));
    check_text(c, "nest1(", true, LONG_SIZES, long_sizes);
}

static void short_rows_are_whole(void **state) {
    (void)state;
    Case *c = begin_case(SN_CLUSTER_REDUCE);
    result(c, reduce(c, SN_OP_REDUCE_SUM, param(c, SN_F32, "B, T, 1000"), 2));
    check_text(c, "nest1(", false, SIZES, sizes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_past_the_caches),
        cmocka_unit_test(small_results_stay_in_the_caches),
        cmocka_unit_test(results_in_place_stay_in_the_caches),
        cmocka_unit_test(rows_are_read_ahead),
        cmocka_unit_test(streams_are_not_read_ahead),
        cmocka_unit_test(streams_are_fetched),
        cmocka_unit_test(lines_are_fetched_once),
        cmocka_unit_test(sums_of_rows_are_kept),
        cmocka_unit_test(rows_are_stored_while_the_next_is_computed),
        cmocka_unit_test(plain_rows_are_stored_while_the_next_is_read),
        cmocka_unit_test(rows_go_through_three_loops_at_once),
        cmocka_unit_test(gathered_rows_go_through_three_loops_at_once),
        cmocka_unit_test(rows_of_two_loops_are_read_again),
        cmocka_unit_test(gathered_rows_are_read_ahead),
        cmocka_unit_test(tiles),
        cmocka_unit_test(streams_are_fetched_once),
        cmocka_unit_test(transposes_leave_registers),
        cmocka_unit_test(lines_that_share_places_are_copied),
        cmocka_unit_test(fetched_lines_are_brought_near),
        cmocka_unit_test(many_pieces),
        cmocka_unit_test(pieces_are_aligned_apart),
        cmocka_unit_test(pieces_of_strips_are_stored_in_order),
        cmocka_unit_test(shared_lines_are_put_together),
        cmocka_unit_test(one_plus_erf),
        cmocka_unit_test(long_rows_in_pieces),
        cmocka_unit_test(all_of_a_tensor_in_pieces),
        cmocka_unit_test(short_rows_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
