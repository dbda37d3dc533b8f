#include "threads.h"
#include <errno.h>
#include <fenv.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Threads look for work this long before they sleep: longer than the pause between two launches of a plan,
 * shorter than anything a user would notice as load. */
enum { SPIN_NANOSECONDS = 60000, SPINS_PER_CLOCK = 64 };

enum { STACK_BYTES = 4 << 20 }; /* of a worker: no kernel takes more than 2.5 MB */

/* `state` of a pool: the region is open to be joined; its caller sleeps; how many workers are in it. */
#define OPEN    0x80000000u
#define WAITING 0x40000000u
#define ACTIVE  0x0000ffffu

struct Pool {
    int threads;
    int worker_count; /* started */
    pthread_t *worker;
    bool spin;

    atomic_bool taken; /* a region runs */
    atomic_bool stop;
    atomic_uint epoch;    /* counts regions; what idle workers wait for */
    atomic_uint sleepers; /* workers that wait for it in the kernel */
    atomic_uint state;

    /* The region: written by its caller before `state` is opened, read only by those who joined. */
    PoolFunction *function;
    void *argument;
    int64_t items, least, together;
    _Atomic int64_t next;
    atomic_int fault; /* the smallest so far, INT_MAX for none */
};

static void futex_wait(atomic_uint *word, unsigned value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The length of the range that begins at item `at`: at first one large one for each thread, since kernels
 * prepare something for each range, then smaller and smaller ones, so that threads finish together. What belongs together
 * is cut in quarters by the small ones, and by the large ones where threads would not have nearly the same. */
static int64_t range(const Pool *pool, int64_t at) {
    int64_t left = pool->items - at, threads = pool->threads, most = pool->items / 4 * 3;
    int64_t count = at < most ? (most + threads - 1) / threads : left / (2 * threads);
    int64_t groups = pool->items / pool->together;
    bool whole = at < most && (groups % threads == 0 || groups >= 4 * threads);
    int64_t unit = whole ? pool->together : (pool->together + 3) / 4;
    if (groups >= threads) count = (count + unit - 1) / unit * unit;
    if (count < pool->least) count = pool->least;
    return count < left ? count : left;
}

/* Takes the next range. */
static bool take(Pool *pool, int64_t *begin, int64_t *end) {
    int64_t at = atomic_load_explicit(&pool->next, memory_order_relaxed);
    for (;;) {
        if (at >= pool->items) return false;
        int64_t count = range(pool, at);
        if (atomic_compare_exchange_weak_explicit(&pool->next, &at, at + count, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            *begin = at;
            *end = at + count;
            return true;
        }
    }
}

static void work(Pool *pool) {
    int64_t begin, end;
    while (take(pool, &begin, &end)) {
        int fault = pool->function(pool->argument, begin, end);
        if (!fault) continue;
        int known = atomic_load_explicit(&pool->fault, memory_order_relaxed);
        while (fault < known &&
               !atomic_compare_exchange_weak_explicit(&pool->fault, &known, fault, memory_order_relaxed,
                                                      memory_order_relaxed)) {
        }
    }
}

/* Joins the open region, if there is one, and works in it. */
static void join_region(Pool *pool) {
    unsigned state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    do {
        if (!(state & OPEN)) return;
    } while (!atomic_compare_exchange_weak_explicit(&pool->state, &state, state + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    work(pool);
    unsigned before = atomic_fetch_sub_explicit(&pool->state, 1, memory_order_release);
    if ((before & WAITING) && (before & ACTIVE) == 1) futex_wake(&pool->state, 1);
}

/* Until the epoch is no longer `seen`: spins, then sleeps. */
static void wait_for_epoch(Pool *pool, unsigned seen) {
    int64_t deadline = pool->spin ? now() + SPIN_NANOSECONDS : 0;
    while (pool->spin && now() < deadline) {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (atomic_load_explicit(&pool->epoch, memory_order_acquire) != seen) return;
            relax();
        }
    }
    /* Announced before the kernel compares the epoch: a caller that bumps it either sees the sleeper or is
     * seen by it. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->epoch) == seen) futex_wait(&pool->epoch, seen);
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void *worker_main(void *argument) {
    Pool *pool = argument;
    unsigned seen = 0;
    fesetenv(FE_DFL_ENV); /* not what the thread had that made this one */
    while (!atomic_load(&pool->stop)) {
        join_region(pool);
        wait_for_epoch(pool, seen);
        seen = atomic_load_explicit(&pool->epoch, memory_order_acquire);
    }
    return NULL;
}

static void announce(Pool *pool) {
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->sleepers)) futex_wake(&pool->epoch, INT_MAX);
}

/* Closes the region to newcomers and waits for those inside. */
static void close_region(Pool *pool) {
    unsigned state = atomic_fetch_and_explicit(&pool->state, ~OPEN, memory_order_acquire) & ~OPEN;
    int64_t deadline = 0;
    while (state & ACTIVE) {
        if (!deadline) deadline = now() + SPIN_NANOSECONDS;
        if (pool->spin && now() < deadline) {
            for (int i = 0; i < SPINS_PER_CLOCK && (state & ACTIVE); i++) {
                relax();
                state = atomic_load_explicit(&pool->state, memory_order_acquire);
            }
            continue;
        }
        state = atomic_fetch_or_explicit(&pool->state, WAITING, memory_order_acquire) | WAITING;
        if (state & ACTIVE) futex_wait(&pool->state, state);
        state = atomic_load_explicit(&pool->state, memory_order_acquire);
    }
    atomic_store_explicit(&pool->state, 0, memory_order_relaxed);
}

int sn_pool_run(Pool *pool, PoolFunction *function, void *argument, int64_t items, int64_t least,
                int64_t together) {
    if (items <= 0) return 0;
    bool alone = pool->worker_count == 0 || items <= least;
    if (alone || atomic_exchange_explicit(&pool->taken, true, memory_order_acquire))
        return function(argument, 0, items);
    pool->function = function;
    pool->argument = argument;
    pool->items = items;
    pool->least = least;
    pool->together = together > 1 ? together : 1;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->fault, INT_MAX, memory_order_relaxed);
    atomic_store_explicit(&pool->state, OPEN, memory_order_release);
    announce(pool);
    work(pool);
    close_region(pool);
    int fault = atomic_load_explicit(&pool->fault, memory_order_relaxed);
    atomic_store_explicit(&pool->taken, false, memory_order_release);
    return fault == INT_MAX ? 0 : fault;
}

int sn_pool_threads(const Pool *pool) {
    return pool->threads;
}

/* Workers take no signals: a handler of the host program runs on the host's own threads. Their stacks do not
 * depend on the host's limit: kernels keep their tiles there. */
static Status start_workers(Pool *pool) {
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = pthread_attr_init(&attributes);
    if (error) return sn_fail(SN_NO_MEMORY, "out of memory for threads");
    error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (!error && pool->worker_count < pool->threads - 1) {
        error = pthread_create(&pool->worker[pool->worker_count], &attributes, worker_main, pool);
        if (!error) pool->worker_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!error) return NULL;
    return sn_fail(SN_NO_MEMORY, "thread %d of %d cannot be started: %s", pool->worker_count + 1,
                   pool->threads, strerror(error));
}

Status sn_pool_new(int threads, Pool **out) {
    *out = NULL;
    if (threads < 1 || threads > (int)ACTIVE)
        return sn_fail(SN_INVALID, "%d threads: 1 to %d are possible", threads, (int)ACTIVE);
    Pool *pool = calloc(1, sizeof *pool);
    if (!pool) return sn_fail(SN_NO_MEMORY, "out of memory for a thread pool");
    pool->threads = threads;
    /* Spinning while another of the pool's own threads waits for the processor would only delay it. */
    pool->spin = threads <= sn_cpu_count();
    pool->worker = calloc((size_t)threads, sizeof *pool->worker);
    Status status = pool->worker ? start_workers(pool) : sn_fail(SN_NO_MEMORY, "out of memory for threads");
    if (status) {
        sn_pool_free(pool);
        return status;
    }
    *out = pool;
    return NULL;
}

void sn_pool_free(Pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    announce(pool);
    for (int i = 0; i < pool->worker_count; i++) pthread_join(pool->worker[i], NULL);
    free(pool->worker);
    free(pool);
}

/* The quota of a version 2 control group in whole processors, rounded up; INT_MAX where there is none. */
static int quota(void) {
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!file) return INT_MAX;
    long long limit, period;
    int fields = fscanf(file, "%lld %lld", &limit, &period);
    fclose(file);
    if (fields != 2 || limit <= 0 || period <= 0) return INT_MAX;
    long long count = (limit + period - 1) / period;
    return count > INT_MAX ? INT_MAX : (int)count;
}

int sn_cpu_count(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    /* More processors than a cpu_set_t holds: the call fails, and sysconf knows. */
    if (count < 1) count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int most = quota();
    if (count > most) count = most;
    return count < 1 ? 1 : count;
}
