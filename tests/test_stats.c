/* The harness: statistics, comparisons, and tables in their three forms. */
#include "compare.h"
#include "report.h"
#include "stats.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static Arena *arena;

static int setup(void **state) {
    (void)state;
    arena = sn_arena_new();
    return arena ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    sn_arena_free(arena);
    return 0;
}

/* ---- statistics ---- */

static void assert_near(double got, double want) {
    if (fabs(got - want) > 1e-12) fail_msg("%.17g is not %.17g", got, want);
}

static void test_stats_of_values_known_by_hand(void **state) {
    (void)state;
    double value[] = {4, 1, 3, 2, 10};
    Stats stats = sn_stats(value, 5);
    assert_near(stats.mean, 4);
    assert_near(stats.median, 3);
    assert_near(stats.min, 1);
    assert_near(stats.max, 10);
    assert_near(stats.std, sqrt(50.0 / 4)); /* squares 9 + 4 + 1 + 0 + 36 */
}

static void test_the_median_of_an_even_count_lies_between(void **state) {
    (void)state;
    double value[] = {8, 2, 4, 1};
    assert_near(sn_stats(value, 4).median, 3);
}

static void test_one_value_has_no_deviation(void **state) {
    (void)state;
    double value[] = {0.25};
    Stats stats = sn_stats(value, 1);
    assert_near(stats.std, 0);
    assert_near(stats.median, 0.25);
}

static void test_percentiles_are_values_of_the_sample(void **state) {
    (void)state;
    double value[200];
    for (int i = 0; i < 200; i++) value[i] = (i * 7) % 200 + 1; /* 1 .. 200 */
    assert_near(sn_stats(value, 200).p90, 180);
    assert_near(sn_stats(value, 200).p99, 198);
    assert_near(sn_stats(value, 10).p90, 9);
    assert_near(sn_stats(value, 10).p99, 10);
    assert_near(sn_stats(value, 1).p90, 1);
}

/* ---- comparisons ---- */

static Tensor floats(const float *value, const int64_t *extent) {
    return (Tensor){.dtype = SN_F32, .rank = 1, .extent = extent, .count = extent[0], .bytes = value};
}

static void test_compare_allows_what_the_tolerances_allow(void **state) {
    (void)state;
    const int64_t extent[] = {4};
    const float want[] = {0, 1000, NAN, -INFINITY}, got[] = {0.9e-4f, 1000.09f, NAN, -INFINITY};
    Tensor a = floats(got, extent), b = floats(want, extent);
    assert_null(sn_compare(arena, &a, &b, 1e-4, 1e-4));
    assert_non_null(sn_compare(arena, &a, &b, 1e-5, 1e-4)); /* 1000.09 */
    assert_non_null(sn_compare(arena, &a, &b, 1e-4, 1e-5)); /* 0.9e-4 */
}

static void test_compare_tells_nan_and_infinities_apart(void **state) {
    (void)state;
    const int64_t extent[] = {1};
    const float value[] = {1, NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++) {
            Tensor a = floats(&value[i], extent), b = floats(&value[k], extent);
            bool equal = !sn_compare(arena, &a, &b, 1e-4, 1e-4);
            assert_int_equal(equal, i == k);
        }
    }
}

static void test_compare_takes_no_other_shape_or_dtype(void **state) {
    (void)state;
    const float value[4] = {0};
    const int64_t four[] = {4}, square[] = {2, 2};
    Tensor a = floats(value, four), b = floats(value, four);
    b.rank = 2;
    b.extent = square;
    assert_non_null(sn_compare(arena, &a, &b, 1, 1));
    b = floats(value, four);
    b.dtype = SN_I32;
    assert_non_null(sn_compare(arena, &a, &b, 1, 1));
}

static void test_compare_wants_integers_exactly(void **state) {
    (void)state;
    const int64_t extent[] = {1}, big = INT64_MAX, next = INT64_MAX - 1;
    Tensor a = {.dtype = SN_I64, .rank = 1, .extent = extent, .count = 1, .bytes = &big}, b = a;
    assert_null(sn_compare(arena, &a, &b, 1, 1));
    b.bytes = &next; /* the same as doubles */
    assert_non_null(sn_compare(arena, &a, &b, 1, 1));
}

/* ---- tables ---- */

enum { NAME, TIME, UNUSED, COLUMNS };
static const Column columns[COLUMNS] = {
    {"name", "name", SN_CELL_TEXT}, {"mean_s", "mean", SN_CELL_SECONDS}, {"unused", "unused", SN_CELL_COUNT}};

static const char *print(ReportFormat format) {
    Table table = {.name = "rows", .column = columns, .column_count = COLUMNS};
    Cell *row = sn_table_row(arena, &table);
    row[NAME] = sn_cell_text(arena, "a, \"b\"");
    row[TIME] = sn_cell_number(0.0125);
    row = sn_table_row(arena, &table);
    row[NAME] = sn_cell_text(arena, "forged\n| line |");
    Text text = sn_text(arena);
    assert_null(sn_report_print(&text, format, (const Table *const[]){&table}, 1));
    return sn_text_string(&text);
}

static void test_markdown_is_aligned_and_leaves_empty_columns_out(void **state) {
    (void)state;
    assert_string_equal(print(SN_REPORT_MD), "| name                 | mean, ms |\n"
                                             "|----------------------|---------:|\n"
                                             "| a, \"b\"               |   12.500 |\n"
                                             "| \"forged\\n\\| line \\|\" |          |\n");
}

/* Labels that all rows have alike are said once; others, and columns that are no labels, stay. */
static void test_markdown_says_common_labels_once(void **state) {
    (void)state;
    static const Column labelled[] = {{"model", "model", SN_CELL_TEXT},
                                      {"threads", "threads", SN_CELL_COUNT},
                                      {"mode", "mode", SN_CELL_TEXT},
                                      {"launches", "launches", SN_CELL_COUNT}};
    Table table = {.name = "rows", .column = labelled, .column_count = 4, .labels = 3};
    for (int i = 0; i < 2; i++) {
        Cell *row = sn_table_row(arena, &table);
        row[0] = sn_cell_text(arena, "m.onnx");
        row[1] = sn_cell_number(2);
        row[2] = sn_cell_text(arena, i ? "compiled" : "eager");
        row[3] = sn_cell_number(7);
    }
    Text text = sn_text(arena);
    assert_null(sn_report_print(&text, SN_REPORT_MD, (const Table *const[]){&table}, 1));
    assert_string_equal(sn_text_string(&text), "model: m.onnx, threads: 2\n\n"
                                               "| mode     | launches |\n"
                                               "|----------|---------:|\n"
                                               "| eager    |        7 |\n"
                                               "| compiled |        7 |\n");
    table.row.at[1][1] = sn_cell_number(1);
    table.row.at[1][0].set = false;
    text = sn_text(arena);
    assert_null(sn_report_print(&text, SN_REPORT_MD, (const Table *const[]){&table}, 1));
    assert_non_null(strstr(sn_text_string(&text), "| m.onnx |       2 | eager    |"));
    table.row.count = 1;
    table.column_count = 3;
    text = sn_text(arena);
    assert_null(sn_report_print(&text, SN_REPORT_MD, (const Table *const[]){&table}, 1));
    assert_string_equal(sn_text_string(&text), "model: m.onnx, threads: 2, mode: eager\n\n");
}

static void test_csv_quotes(void **state) {
    (void)state;
    assert_string_equal(print(SN_REPORT_CSV), "name,mean_s,unused\n"
                                              "\"a, \"\"b\"\"\",0.0125,\n"
                                              "\"\"\"forged\\n| line |\"\"\",,\n");
}

static void test_json_has_no_key_for_what_is_absent(void **state) {
    (void)state;
    assert_string_equal(print(SN_REPORT_JSON),
                        "{\n \"rows\": [\n  {\n   \"name\": \"a, \\\"b\\\"\",\n   \"mean_s\": "
                        "0.0125\n  },\n  {\n   \"name\": \"\\\"forged\\\\n| line |\\\"\"\n  }\n ]\n}\n");
}

static void test_text_that_is_no_utf8_reaches_json_quoted(void **state) {
    (void)state;
    Table table = {.name = "one", .column = columns, .column_count = COLUMNS, .single = true};
    sn_table_row(arena, &table)[NAME] = sn_cell_text(arena, "\xff");
    Text text = sn_text(arena);
    assert_null(sn_report_print(&text, SN_REPORT_JSON, (const Table *const[]){&table}, 1));
    assert_non_null(strstr(sn_text_string(&text), "\\\\xff"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats_of_values_known_by_hand),
        cmocka_unit_test(test_percentiles_are_values_of_the_sample),
        cmocka_unit_test(test_markdown_says_common_labels_once),
        cmocka_unit_test(test_the_median_of_an_even_count_lies_between),
        cmocka_unit_test(test_one_value_has_no_deviation),
        cmocka_unit_test(test_compare_allows_what_the_tolerances_allow),
        cmocka_unit_test(test_compare_tells_nan_and_infinities_apart),
        cmocka_unit_test(test_compare_takes_no_other_shape_or_dtype),
        cmocka_unit_test(test_compare_wants_integers_exactly),
        cmocka_unit_test(test_markdown_is_aligned_and_leaves_empty_columns_out),
        cmocka_unit_test(test_csv_quotes),
        cmocka_unit_test(test_json_has_no_key_for_what_is_absent),
        cmocka_unit_test(test_text_that_is_no_utf8_reaches_json_quoted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
