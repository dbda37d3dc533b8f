/* Matrix tiles: the permission, on threads that were there before it was asked for; and what the primitives of device/matrix.h
 * compute, by the processor where it has them and in C. */
#include "codegen.h"
#include "compiler_fixture.h"
#include "cpu/features.h"
#include "cpu/matrix.h"
#include "number.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>

enum { ROWS = 16, WORDS = 16, COLUMNS = 16, GAP = 7 }; /* GAP: further columns of what is loaded and stored */

/* a (16, 16 + GAP) and b likewise in words, c (16, 16 + GAP): adds their product to c, by way of other tiles. */
typedef void Multiply(const uint32_t *a, const uint32_t *b, void *c);

static const char probe[] =
    "void multiply_pairs(const uint32_t *a, const uint32_t *b, void *c) {\n"
    "    sn_matrix_begin();\n"
    "    SN_MATRIX_LOAD(3, a, 92); SN_MATRIX_LOAD(5, b, 92); SN_MATRIX_LOAD(7, c, 92); SN_MATRIX_ZERO(0);\n"
    "    SN_MATRIX_PAIRS(7, 3, 5); SN_MATRIX_PAIRS(0, 3, 5);\n"
    "    SN_MATRIX_STORE(7, c, 92);\n"
    "    sn_matrix_end();\n"
    "}\n"
    "void multiply_bytes(const uint32_t *a, const uint32_t *b, void *c) {\n"
    "    sn_matrix_begin();\n"
    "    SN_MATRIX_LOAD(3, a, 92); SN_MATRIX_LOAD(5, b, 92); SN_MATRIX_LOAD(7, c, 92); SN_MATRIX_ZERO(0);\n"
    "    SN_MATRIX_BYTES(7, 3, 5); SN_MATRIX_BYTES(0, 3, 5);\n"
    "    SN_MATRIX_STORE(7, c, 92);\n"
    "    sn_matrix_end();\n"
    "}\n";

static void *build(bool hardware) {
    static const char *const command[] = {"gcc",     "-std=gnu11", "-O3",   "-march=native", "-Wall",
                                          "-Wextra", "-Werror",    "-fPIC", "-shared",       NULL},
                             *const link[] = {NULL}, *const reads[] = {NULL};
    Arena *arena = sn_arena_new();
    const char *text = sn_arena_printf(
        arena, "#include <stdint.h>\n#define SN_INLINE static inline\n#define SN_MATRIX %d\n%s%s", hardware,
        sn_device_text("matrix.h"), probe);
    void *handle = dlopen(compile_kept(arena, command, link, reads, ".c", text), RTLD_NOW);
    if (!handle) fail_msg("%s", dlerror());
    sn_arena_free(arena);
    return handle;
}

static Multiply *find(void *handle, const char *name) {
    void *symbol = dlsym(handle, name);
    assert_non_null(symbol);
    Multiply *function;
    memcpy(&function, &symbol, sizeof function);
    return function;
}

static double half(uint32_t word, int which) {
    return sn_bf16_to((uint16_t)(word >> 16 * which));
}

static void check_pairs(Multiply *multiply) {
    uint32_t a[ROWS][WORDS + GAP], b[WORDS][COLUMNS + GAP];
    float c[ROWS][COLUMNS + GAP], was[ROWS][COLUMNS + GAP];
    for (int i = 0; i < ROWS * (WORDS + GAP); i++) {
        uint64_t at = (uint64_t)i * 4;
        ((uint32_t *)a)[i] =
            sn_bf16_from(sn_random_normal(1, at)) | (uint32_t)sn_bf16_from(sn_random_normal(1, at + 1)) << 16;
        ((uint32_t *)b)[i] =
            sn_bf16_from(sn_random_normal(2, at)) | (uint32_t)sn_bf16_from(sn_random_normal(2, at + 1)) << 16;
        ((float *)c)[i] = ((float *)was)[i] = (float)sn_random_normal(3, at);
    }
    multiply(&a[0][0], &b[0][0], c);
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < COLUMNS + GAP; n++) {
            double sum = was[m][n], size = fabs(sum);
            for (int k = 0; k < 2 * WORDS && n < COLUMNS; k++) {
                double product = half(a[m][k / 2], k % 2) * half(b[k / 2][n], k % 2);
                sum += product, size += fabs(product);
            }
            if (!(fabs(c[m][n] - sum) <= 0x1p-22 * size))
                fail_msg("(%d, %d) is %g, not %g", m, n, c[m][n], sum);
        }
}

static void check_bytes(Multiply *multiply) {
    uint32_t a[ROWS][WORDS + GAP], b[WORDS][COLUMNS + GAP];
    int32_t c[ROWS][COLUMNS + GAP], was[ROWS][COLUMNS + GAP];
    for (int i = 0; i < ROWS * (WORDS + GAP); i++) {
        ((uint32_t *)a)[i] = (uint32_t)(sn_random_uniform(1, (uint64_t)i) * 0x1p32);
        ((uint32_t *)b)[i] = (uint32_t)(sn_random_uniform(2, (uint64_t)i) * 0x1p32);
        ((int32_t *)c)[i] = ((int32_t *)was)[i] =
            (int32_t)(sn_random_uniform(3, (uint64_t)i) * 0x1p20) - (1 << 19);
    }
    multiply(&a[0][0], &b[0][0], c);
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < COLUMNS + GAP; n++) {
            int32_t sum = was[m][n];
            for (int k = 0; k < 4 * WORDS && n < COLUMNS; k++)
                sum += (int32_t)(a[m][k / 4] >> k % 4 * 8 & 255) * (int8_t)(b[k / 4][n] >> k % 4 * 8);
            assert_int_equal(c[m][n], sum);
        }
}

typedef struct Late {
    sem_t there, asked;
    void *handle;
} Late;

static void *use_late(void *argument) {
    Late *late = argument;
    sem_post(&late->there);
    while (sem_wait(&late->asked) != 0) {
    }
    if (late->handle) check_pairs(find(late->handle, "multiply_pairs"));
    return NULL;
}

/* A thread that began before. */
static void permission_is_for_all_threads(void **state) {
    (void)state;
    Late late = {.handle = NULL};
    pthread_t thread;
    sem_init(&late.there, 0, 0), sem_init(&late.asked, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, use_late, &late), 0);
    while (sem_wait(&late.there) != 0) {
    }
    const char *refusal = sn_matrix_refusal();
    if (!refusal) late.handle = build(true);
    sem_post(&late.asked);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (late.handle) dlclose(late.handle);
    if (!sn_features_matrix()) assert_non_null(refusal);
    sem_destroy(&late.there), sem_destroy(&late.asked);
    setenv("SINTER_MATRIX", "0", 1);
    assert_non_null(strstr(sn_matrix_refusal(), "SINTER_MATRIX"));
    unsetenv("SINTER_MATRIX");
    assert_ptr_equal(sn_matrix_refusal(), refusal);
}

static void products(void **state) {
    (void)state;
    for (int hardware = 0; hardware <= !sn_matrix_refusal(); hardware++) {
        void *handle = build(hardware);
        check_pairs(find(handle, "multiply_pairs"));
        check_bytes(find(handle, "multiply_bytes"));
        dlclose(handle);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permission_is_for_all_threads),
        cmocka_unit_test(products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
