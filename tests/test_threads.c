/* The thread pool: every item once, whoever calls, however often, nested or side by side. */
#include "cpu/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Plain counters: a range done twice at once is a race that the thread sanitizer sees. */
typedef struct Marks {
    int *at;
    int64_t least;
    atomic_int short_ranges;
} Marks;

static int mark(void *argument, int64_t begin, int64_t end) {
    Marks *marks = argument;
    if (end - begin < marks->least) atomic_fetch_add(&marks->short_ranges, 1);
    for (int64_t i = begin; i < end; i++) marks->at[i]++;
    return 0;
}

static void every_item_is_done_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 5; threads += 2) {
        Pool *pool;
        assert_null(sn_pool_new(threads, &pool));
        assert_int_equal(sn_pool_threads(pool), threads);
        for (int items = 0; items < 400; items++) {
            int *at = calloc(400, sizeof *at);
            assert_non_null(at);
            Marks marks = {.at = at, .least = 1 + items % 7};
            assert_int_equal(sn_pool_run(pool, mark, &marks, items, marks.least, items % 5), 0);
            for (int i = 0; i < 400; i++) assert_int_equal(at[i], i < items);
            assert_true(atomic_load(&marks.short_ranges) <= 1);
            free(at);
        }
        sn_pool_free(pool);
    }
}

static int fault_at(void *argument, int64_t begin, int64_t end) {
    const int64_t *bad = argument;
    int fault = 0;
    for (int64_t i = begin; i < end; i++)
        for (int k = 0; k < 3; k++)
            if (i == bad[k] && (!fault || fault > k + 1)) fault = k + 1;
    return fault;
}

static void the_smallest_fault_is_reported(void **state) {
    (void)state;
    Pool *pool;
    assert_null(sn_pool_new(4, &pool));
    int64_t bad[3] = {990, 3, 500}, none[3] = {-1, -1, -1}, last[3] = {-1, -1, 999};
    for (int round = 0; round < 200; round++) {
        assert_int_equal(sn_pool_run(pool, fault_at, bad, 1000, 1, 1), 1);
        assert_int_equal(sn_pool_run(pool, fault_at, none, 1000, 1, 1), 0);
        assert_int_equal(sn_pool_run(pool, fault_at, last, 1000, 1, 1), 3);
    }
    sn_pool_free(pool);
}

typedef struct Nest {
    Pool *pool;
    atomic_int inner;
} Nest;

static int count_inner(void *argument, int64_t begin, int64_t end) {
    atomic_fetch_add(&((Nest *)argument)->inner, (int)(end - begin));
    return 0;
}

static int nested(void *argument, int64_t begin, int64_t end) {
    Nest *nest = argument;
    for (int64_t i = begin; i < end; i++) sn_pool_run(nest->pool, count_inner, nest, 10, 1, 1);
    return 0;
}

static void nested_regions_end(void **state) {
    (void)state;
    Nest nest = {0};
    assert_null(sn_pool_new(3, &nest.pool));
    for (int round = 0; round < 100; round++) {
        atomic_store(&nest.inner, 0);
        assert_int_equal(sn_pool_run(nest.pool, nested, &nest, 50, 1, 1), 0);
        assert_int_equal(atomic_load(&nest.inner), 500);
    }
    sn_pool_free(nest.pool);
}

/* Several threads share one pool; pauses let its workers fall asleep in between. */
static void *caller(void *argument) {
    Pool *pool = argument;
    enum { ITEMS = 257 };
    int at[ITEMS] = {0};
    for (int round = 1; round <= 300; round++) {
        Marks marks = {.at = at, .least = 1};
        if (sn_pool_run(pool, mark, &marks, ITEMS, 1, 1)) return "fault";
        for (int i = 0; i < ITEMS; i++)
            if (at[i] != round) return "an item was not done once";
        if (round % 50 == 0) usleep(300);
    }
    return NULL;
}

static void callers_share_a_pool(void **state) {
    (void)state;
    Pool *pool;
    assert_null(sn_pool_new(3, &pool));
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, caller, pool), 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        assert_int_equal(pthread_join(thread[i], &result), 0);
        if (result) fail_msg("%s", (const char *)result);
    }
    sn_pool_free(pool);
}

static void impossible_counts_are_refused(void **state) {
    (void)state;
    Pool *pool;
    Status status = sn_pool_new(0, &pool);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    assert_null(pool);
    sn_error_free(status);
    assert_true(sn_cpu_count() >= 1);
}

/* Uses a megabyte of stack once both items are being done. */
static int use_stack(void *argument, int64_t begin, int64_t end) {
    atomic_int *begun = argument;
    volatile char room[1 << 20];
    atomic_fetch_add(begun, (int)(end - begin));
    for (int i = 0; i < 5000 && atomic_load(begun) < 2; i++) usleep(1000);
    for (size_t i = 0; i < sizeof room; i += 1024) room[i] = 1;
    return room[1024] - 1;
}

static void stacks_do_not_depend_on_the_host(void **state) {
    (void)state;
    pthread_attr_t usual, small;
    Pool *pool;
    atomic_int begun = 0;
    assert_int_equal(pthread_getattr_default_np(&usual), 0);
    assert_int_equal(pthread_attr_init(&small), 0);
    assert_int_equal(pthread_attr_setstacksize(&small, 256 << 10), 0);
    assert_int_equal(pthread_setattr_default_np(&small), 0);
    assert_null(sn_pool_new(2, &pool));
    assert_int_equal(pthread_setattr_default_np(&usual), 0);
    assert_int_equal(sn_pool_run(pool, use_stack, &begun, 2, 1, 1), 0);
    sn_pool_free(pool);
    pthread_attr_destroy(&small);
    pthread_attr_destroy(&usual);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_done_once),
        cmocka_unit_test(the_smallest_fault_is_reported),
        cmocka_unit_test(nested_regions_end),
        cmocka_unit_test(callers_share_a_pool),
        cmocka_unit_test(stacks_do_not_depend_on_the_host),
        cmocka_unit_test(impossible_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
