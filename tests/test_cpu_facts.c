/* Rates and bandwidths: measured once, kept, read back; their classes; and the meter of the benchmarks. */
#include "cpu/cpu.h"
#include "cpu/facts.h"
#include "cpu/features.h"
#include "fixture.h"
#include "peaks.h"
#include "target.h"

#include <stdio.h>

typedef struct Fixture {
    char folder[64];
    Arena *arena;
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    if (make_test_folder(f->folder)) return -1;
    f->arena = sn_arena_new();
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    sn_arena_free(f->arena);
    int failed = remove_test_folder(f->folder);
    free(f);
    return failed;
}

static void classes_are_powers_of_two(void **state) {
    (void)state;
    assert_int_equal(sn_cpu_class(0), 0);
    assert_int_equal(sn_cpu_class(-1), 0);
    assert_int_equal(sn_cpu_class(0.3), 1);
    assert_int_equal(sn_cpu_class(1.5), 2);
    assert_int_equal(sn_cpu_class(181), 128);
    assert_int_equal(sn_cpu_class(182), 256);
    assert_int_equal(sn_cpu_class(1e30), 1 << 30);
}

static void facts_print_and_parse(void **state) {
    Fixture *f = *state;
    CpuFacts facts = {256, 200, 400, 1600, 3200, 32, 64, 1, 1}, again;
    Text text = sn_text(f->arena);
    sn_cpu_facts_print(&text, &facts);
    assert_true(sn_cpu_facts_parse(sn_text_string(&text), &again));
    assert_memory_equal(&facts, &again, sizeof facts);
    static const char *const broken[] = {
        "",
        "fma_gflops 256\n",
        "fma_gflops x\ndot_percent 0\nbyte_percent 0\nmatrix_percent 0\nmatrix_byte_percent 0\nread_gbytes "
        "1\ncopy_gbytes 1\nstream_pays 1\nfetch_pays 1\n",
        "fma_gflops -1\ndot_percent 0\nbyte_percent 0\nmatrix_percent 0\nmatrix_byte_percent 0\nread_gbytes "
        "1\ncopy_gbytes 1\nstream_pays 1\nfetch_pays 1\n",
        "fma_gflops 1\ndot_percent 0\nbyte_percent 0\nmatrix_percent 0\nmatrix_byte_percent 0\nread_gbytes "
        "1\ncopy_gbytes 1\nstream_pays 1\nfetch_pays 1\nmore 1\n",
        "fma_gflops 1\ndot_percent 0\nbyte_percent 0\nmatrix_percent 0\nmatrix_byte_percent 0\nread_gbytes "
        "1\ncopy_gbytes 1\nstream_pays 1\nfetch_pays 1",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_false(sn_cpu_facts_parse(broken[i], &again));
}

/* What is kept is believed: a second look measures nothing. */
static void facts_are_kept(void **state) {
    Fixture *f = *state;
    Toolchain tools;
    CpuFacts facts, again;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &tools));
    assert_ok(sn_cpu_facts(f->arena, &tools, &facts));
    assert_true(facts.fma_gflops >= 1 && facts.read_gbytes >= 1 && facts.copy_gbytes >= 1);
    int dot = facts.dot_percent;
    assert_true(dot == 0 || dot == 50 || dot == 100 || dot == 200);
    int bytes = facts.byte_percent;
    assert_true(bytes == 0 || bytes == 100 || bytes == 200 || bytes == 400);
    assert_true(facts.stream_pays == 0 || facts.stream_pays == 1);
    assert_true(facts.fetch_pays == 0 || facts.fetch_pays == 1);
    /* Another answer in the kept file, under the name that is there. */
    char command[256], name[128] = "";
    snprintf(command, sizeof command, "cd '%s' && find . -name 'facts-*' -printf '%%f'", tools.cache.path);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(name, sizeof name, list));
    pclose(list);
    CpuFacts other = {4096, 50, 0, 800, 0, 2, 4, 0, 1};
    Text text = sn_text(f->arena);
    sn_cpu_facts_print(&text, &other);
    assert_ok(sn_cache_write(f->arena, &tools.cache, name, sn_text_string(&text)));
    assert_ok(sn_cpu_facts(f->arena, &tools, &again));
    assert_memory_equal(&again, &other, sizeof other);
    Target target;
    assert_ok(sn_cpu_target(f->arena, f->folder, &target));
    assert_int_equal(target.dot_percent, 50);
    assert_int_equal(target.matrix_percent, 800);
    assert_int_equal(target.stream_bytes, 0);
    assert_true(target.fetch_bytes > 0);
    /* What cannot be read is measured anew. */
    assert_ok(sn_cache_write(f->arena, &tools.cache, name, "nonsense"));
    assert_ok(sn_cpu_facts(f->arena, &tools, &again));
    assert_true(again.fma_gflops >= 1 && again.fma_gflops < 4096);
}

/* No more than the best is kept, and every thread takes part sooner or later. */
static void meters_keep_the_best(void **state) {
    Fixture *f = *state;
    PeakMeter *meter;
    assert_ok(sn_peak_meter_new(2, f->folder, &meter));
    const Peaks *best = sn_peak_meter_best(meter);
    assert_int_equal(best->threads, 2);
    assert_true(best->fma == 0 && best->read == 0);
    double rate, last = 0;
    for (int i = 0; i < 3; i++) {
        assert_ok(sn_peak_meter_fma(meter, &rate));
        assert_true(rate > 1e8 && best->fma >= rate && best->fma >= last);
        last = best->fma;
    }
    assert_true(best->balance >= 0 && best->balance <= 1);
    assert_ok(sn_peak_meter_memory(meter, false, &rate));
    assert_true(rate > 1e7 && best->read == rate && best->copy == 0);
    assert_ok(sn_peak_meter_memory(meter, true, NULL));
    assert_true(best->copy > 1e7 && best->read >= rate);
    for (int written = 0; written <= SN_PEAK_MIX; written += SN_PEAK_MIX / 3) {
        assert_ok(sn_peak_meter_mix(meter, written, &rate));
        assert_true(rate > 1e7 && rate < 1e13);
    }
    for (int64_t row = 128; row <= 1 << 20;
         row *= 2) { /* rows of a table that is larger than the meter's buffer, or is not */
        for (int64_t beside = 0; beside <= 256; beside += 256) {
            assert_ok(sn_peak_meter_rows(meter, row, row << 14, beside, &rate));
            assert_true(rate > 1e7 && rate < 1e13);
        }
    }
    for (int kept = 0; kept < 2; kept++) {
        assert_ok(sn_peak_meter_again(meter, 200960, kept, &rate));
        assert_true(rate > 1e7 && rate < 1e13);
    }
    sn_peak_meter_free(meter);
    sn_peak_meter_free(NULL);
}

static void features_are_those_of_the_macros(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    assert_string_equal(sn_features_missing(arena, ""), "");
    assert_string_equal(sn_features_missing(arena, "teleport"), "teleport");
    assert_string_equal(sn_features_required(arena, "#define __unix__ 1\n"), "");
#if defined __x86_64__
    const char *macros =
        "#define __AVX__ 1\n#define __AVX512F__ 1\n#define MY__AVX2__ 1\n#define __AVX2__X 1\n";
    assert_string_equal(sn_features_required(arena, macros), "avx avx512f");
    /* Against the compiler's own test of the processor. */
    assert_int_equal(*sn_features_missing(arena, "avx2") == '\0', __builtin_cpu_supports("avx2") != 0);
    assert_int_equal(*sn_features_missing(arena, "avx512f") == '\0', __builtin_cpu_supports("avx512f") != 0);
    assert_int_equal(*sn_features_missing(arena, "fma bmi2") == '\0',
                     __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"));
    assert_int_equal(*sn_features_missing(arena, "avx512vnni") == '\0',
                     __builtin_cpu_supports("avx512vnni") != 0);
    assert_int_equal(*sn_features_missing(arena, "avx512bf16") == '\0',
                     __builtin_cpu_supports("avx512bf16") != 0);
    assert_int_equal(*sn_features_missing(arena, "fma4") == '\0', __builtin_cpu_supports("fma4") != 0);
#endif
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_those_of_the_macros),
        cmocka_unit_test(classes_are_powers_of_two),
        cmocka_unit_test_setup_teardown(facts_print_and_parse, setup, teardown),
        cmocka_unit_test_setup_teardown(facts_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(meters_keep_the_best, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
