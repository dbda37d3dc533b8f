/* The emulator's engine: fibres, and the scheduler with its barriers.
 *
 * The scheduler lets every thread of the block that can run do so, in the chosen order, until each has ended
 * or waits at a barrier. Then it opens the barriers at which everybody has come together. When there is none,
 * threads wait for one another for ever, which on a device would be a hang or undefined: that is reported. */
#include "engine.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vector>

enum { MAX_THREADS = 1024, WARP = 32, STACK = 64 << 10, PAGE = 4096 };

/* ---- state: of the one launch that runs ---- */

enum State { READY, AT_BLOCK, AT_WARP, ENDED };

struct Thread {
    EmuPlace place;
    State state;
    int line;      /* of the barrier at which it waits */
    unsigned mask; /* AT_WARP: the lanes that meet */
    int exchanges; /* how many it has made: their parity says which of two tables is in use */
    void *stack;   /* pointer, while it does not run */
};

EmuPlace emu_place;

static Thread threads[MAX_THREADS];
static EmuGift gifts[MAX_THREADS / WARP][2][WARP];
static int thread_count, current, permutation[MAX_THREADS];
static void *scheduler_stack, *dynamic_shared;
static char *stacks;
static EmuLaunch *launch;
static bool failed;
static EmuFailure failure_next;
static uint64_t random_state;
static sigjmp_buf outside;
static pthread_t launching; /* the thread of the process that runs the kernel */

enum { SIGNALS = 4 };
static const int signals[SIGNALS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction actions_before[SIGNALS];

/* ---- modules ---- */

static std::vector<const EmuModule *> modules;
static const EmuModule *module_now; /* of the kernel that runs; NULL: it is not of one */

void emu_register(const EmuModule *module) {
    modules.push_back(module);
}

void emu_unregister(const EmuModule *module) {
    for (size_t i = 0; i < modules.size(); i++)
        if (modules[i] == module) modules.erase(modules.begin() + (long)i--);
}

const EmuModule *emu_module_at(const void *address) {
    for (const EmuModule *module : modules)
        if ((const char *)address >= module->start && (const char *)address < module->end) return module;
    return NULL;
}

/* ---- fibres ---- */

/* Saves the registers that calls preserve on the present stack and its pointer in *save, and goes on with
 * `to`. */
extern "C" void emu_switch(void **save, void *to);
asm(".text\n"
    ".type emu_switch, @function\n"
    "emu_switch:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n"
    "    ret\n");

static void to_scheduler() {
    emu_switch(&threads[current].stack, scheduler_stack);
}

static void run_thread(int number) {
    current = number;
    emu_place = threads[number].place;
    emu_switch(&scheduler_stack, threads[number].stack);
}

static void thread_body() {
    launch->kernel(launch->args);
    threads[current].state = ENDED;
    to_scheduler();
}

/* A stack on which emu_switch finds six registers and the entry, which sees it aligned as after a call. */
static void *fresh_stack(int number) {
    void **top = (void **)(stacks + (size_t)(number + 1) * STACK) - 8;
    memset(top, 0, 8 * sizeof *top);
    top[6] = (void *)thread_body;
    return top;
}

/* ---- failures ---- */

void emu_fail_as(EmuFailure failure) {
    failure_next = failure;
}

static void failv(const char *format, va_list args) {
    if (failed) return;
    failed = true;
    launch->failure = failure_next;
    vsnprintf(launch->message, sizeof launch->message, format, args);
}

void emu_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    failv(format, args);
    va_end(args);
}

void emu_fail_here(const char *format, ...) {
    va_list args;
    va_start(args, format);
    failv(format, args);
    va_end(args);
    size_t length = strlen(launch->message);
    snprintf(launch->message + length, sizeof launch->message - length, ", by thread %d of block %u", current,
             emu_place.block.x);
    to_scheduler();
}

/* What the check of accesses does not see first: far outside, or in text that is compiled without it. */
static void report_address(const void *address) {
    size_t bytes;
    long offset;
    unsigned block = emu_place.block.x;
    emu_fail_as(EMU_ILLEGAL_ADDRESS);
    if (emu_buffer_at(address, &bytes, &offset))
        emu_fail("an access out of bounds at %ld of a buffer of %zu, by thread %d of block %u", offset, bytes,
                 current, block);
    else
        emu_fail("an access out of bounds at %p, by thread %d of block %u", address, current, block);
}

/* A signal of another thread of the process is not the kernel's: it takes its course when it comes again. */
static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)context;
    if (!pthread_equal(pthread_self(), launching)) {
        for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &actions_before[i], NULL);
        return;
    }
    if (signal == SIGSEGV || signal == SIGBUS)
        report_address(info->si_addr);
    else
        emu_fail("%s, by thread %d of block %u",
                 signal == SIGFPE ? "a division of integers by zero" : "a trap", current, emu_place.block.x);
    siglongjmp(outside, 1);
}

bool emu_is_stack(const void *address) {
    return (const char *)address >= stacks && (const char *)address < stacks + (size_t)MAX_THREADS * STACK;
}

bool emu_is_shared(const void *address) {
    const char *at = (const char *)address, *dynamic = (const char *)dynamic_shared;
    bool is_static = module_now && at >= module_now->shared_start && at < module_now->shared_end;
    return is_static || (dynamic && at >= dynamic && at < dynamic + launch->shared);
}

/* ---- waiting ---- */

static void wait_at(State state, unsigned mask, int line) {
    threads[current].state = state;
    threads[current].mask = mask;
    threads[current].line = line;
    to_scheduler();
}

void emu_block_barrier(int line) {
    wait_at(AT_BLOCK, 0, line);
}

static void meet_warp(unsigned mask, int line) {
    if (!(mask >> emu_place.lane & 1)) emu_fail_here("a warp barrier without its own lane, at line %d", line);
    wait_at(AT_WARP, mask, line);
}

/* Unlike a shuffle, a warp barrier orders accesses to memory. */
void emu_warp_barrier(unsigned mask, int line) {
    meet_warp(mask, line);
    threads[current].place.warp_barriers++;
    emu_place = threads[current].place;
}

/* Tables alternate, so that a lane may begin the next exchange while another still reads this one. */
const EmuGift *emu_give(unsigned mask, int line, const void *value, size_t bytes) {
    Thread *self = &threads[current];
    EmuGift *table = gifts[current / WARP][self->exchanges++ % 2];
    if (bytes > sizeof table->bytes) emu_fail_here("a shuffle of too many bytes, at line %d", line);
    memcpy(table[emu_place.lane].bytes, value, bytes);
    meet_warp(mask, line);
    return table;
}

int emu_lanes() {
    int rest = thread_count - current / WARP * WARP;
    return rest < WARP ? rest : WARP;
}

static bool takes_part(unsigned mask, int lane) {
    return lane >= 0 && lane < WARP && (mask >> lane & 1) && lane < emu_lanes();
}

void emu_exchange(unsigned mask, int line, const void *value, size_t bytes, int source, void *result) {
    const EmuGift *table = emu_give(mask, line, value, bytes);
    if (!takes_part(mask, source))
        emu_fail_here("a shuffle that reads a lane which takes no part, at line %d", line);
    memcpy(result, table[source].bytes, bytes);
}

unsigned emu_ballot(unsigned mask, int line, bool vote) {
    const EmuGift *table = emu_give(mask, line, &vote, sizeof vote);
    unsigned result = 0;
    for (int lane = 0; lane < WARP; lane++)
        if (takes_part(mask, lane) && table[lane].bytes[0]) result |= 1u << lane;
    return result;
}

void *emu_dynamic_shared() {
    return dynamic_shared;
}

/* ---- the scheduler ---- */

/* xorshift64*, a generator of Marsaglia and Vigna; the seed is never zero. */
static unsigned next_random(unsigned below) {
    random_state ^= random_state >> 12, random_state ^= random_state << 25,
        random_state ^= random_state >> 27;
    return (unsigned)((random_state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static void order_threads() {
    for (int i = 0; i < thread_count; i++)
        permutation[i] = launch->order == EMU_REVERSE ? thread_count - 1 - i : i;
    for (int i = thread_count - 1; i > 0 && launch->order == EMU_SHUFFLED; i--) {
        int k = (int)next_random((unsigned)i + 1), swap = permutation[i];
        permutation[i] = permutation[k], permutation[k] = swap;
    }
}

/* The lanes of a waiting thread's mask go on when all of them wait at the same place. */
static bool open_warp(const Thread *first) {
    Thread *warp = &threads[(first - threads) / WARP * WARP];
    int lanes_here = thread_count - (int)(warp - threads);
    unsigned mask = lanes_here < WARP ? first->mask & ((1u << lanes_here) - 1) : first->mask;
    int line = first->line;
    unsigned named = first->mask;
    for (int lane = 0; lane < WARP; lane++) {
        if (!(mask >> lane & 1)) continue;
        const Thread *thread = &warp[lane];
        if (thread->state != AT_WARP || thread->line != line || thread->mask != named) return false;
    }
    for (int lane = 0; lane < WARP; lane++)
        if (mask >> lane & 1) warp[lane].state = READY;
    return true;
}

static bool open_warps() {
    bool opened = false;
    for (int i = 0; i < thread_count; i++)
        if (threads[i].state == AT_WARP) opened |= open_warp(&threads[i]);
    return opened;
}

static bool open_block() {
    for (int i = 0; i < thread_count; i++)
        if (threads[i].state != AT_BLOCK || threads[i].line != threads[0].line) return false;
    for (int i = 0; i < thread_count; i++) {
        threads[i].state = READY;
        threads[i].place.block_barriers++;
    }
    return true;
}

static void describe(char *out, size_t size, int number) {
    const Thread *thread = &threads[number];
    if (thread->state == ENDED)
        snprintf(out, size, "thread %d has ended", number);
    else
        snprintf(out, size, "thread %d waits for its %s at line %d", number,
                 thread->state == AT_BLOCK ? "block" : "warp", thread->line);
}

/* Threads wait, and no barrier can open: names two of them that disagree. */
static void report_divergence() {
    char first[64], second[64];
    int a = 0, b = 0;
    while (threads[a].state == ENDED) a++;
    for (int i = 0; i < thread_count && b == 0; i++)
        if (threads[i].state != threads[a].state || threads[i].line != threads[a].line) b = i;
    describe(first, sizeof first, a);
    describe(second, sizeof second, b);
    emu_fail("divergent barrier in block %u: %s, %s", threads[a].place.block.x, first, second);
}

static bool all_ended() {
    for (int i = 0; i < thread_count; i++)
        if (threads[i].state != ENDED) return false;
    return true;
}

static void run_block() {
    while (!failed && !all_ended()) {
        order_threads();
        for (int i = 0; i < thread_count && !failed; i++)
            if (threads[permutation[i]].state == READY) run_thread(permutation[i]);
        if (failed || all_ended()) return;
        if (!open_warps() && !open_block()) report_divergence();
    }
}

static void clear_shared() {
    char *start = module_now ? module_now->shared_start : NULL;
    size_t bytes = module_now ? (size_t)(module_now->shared_end - start) : 0;
    if (bytes) memset(start, EMU_FILL, bytes);
    if (launch->shared) memset(dynamic_shared, EMU_FILL, launch->shared);
    emu_access_shared(0, start, bytes);
    emu_access_shared(1, dynamic_shared, launch->shared);
}

static void start_block(uint3 block) {
    uint3 size = {launch->block[0], launch->block[1], launch->block[2]};
    uint3 grid = {launch->grid[0], launch->grid[1], launch->grid[2]};
    for (int i = 0; i < thread_count; i++) {
        unsigned n = (unsigned)i;
        uint3 index = {n % size.x, n / size.x % size.y, n / (size.x * size.y)};
        threads[i] = Thread();
        threads[i].place = (EmuPlace){index, block, size, grid, i % WARP, i, 0, 0};
        threads[i].stack = fresh_stack(i);
    }
    clear_shared();
    emu_copies_start(thread_count);
}

static void run_grid() {
    int number = 0;
    emu_access_start();
    for (unsigned z = 0; z < launch->grid[2]; z++)
        for (unsigned y = 0; y < launch->grid[1]; y++)
            for (unsigned x = 0; x < launch->grid[0] && !failed; x++) {
                emu_access_block(number++);
                start_block((uint3){x, y, z});
                run_block();
            }
}

/* ---- a launch ---- */

static bool prepare() {
    size_t count = (size_t)launch->block[0] * launch->block[1] * launch->block[2];
    if (count == 0 || count > MAX_THREADS) {
        emu_fail("a block of %zu threads", count);
        return false;
    }
    thread_count = (int)count;
    random_state = launch->seed * 2 + 1;
    if (stacks) return true;
    void *at = mmap(NULL, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        emu_fail("no memory for stacks");
        return false;
    }
    stacks = (char *)at;
    for (int i = 0; i < MAX_THREADS; i++)
        mprotect(stacks + (size_t)i * STACK, PAGE, PROT_NONE); /* overflow traps */
    return true;
}

static void run_guarded() {
    static char signal_stack[64 << 10];
    stack_t other = {}, before;
    struct sigaction action = {};
    other.ss_sp = signal_stack, other.ss_size = sizeof signal_stack;
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    launching = pthread_self();
    sigaltstack(&other, &before);
    for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &action, &actions_before[i]);
    if (sigsetjmp(outside, 1) == 0) run_grid();
    for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &actions_before[i], NULL);
    sigaltstack(&before, NULL);
}

int emu_launch(EmuLaunch *what) {
    launch = what;
    failed = false;
    launch->message[0] = 0;
    launch->failure = EMU_FINE;
    failure_next = EMU_ILLEGAL;
    module_now = emu_module_at((void *)launch->kernel);
    emu_checked = module_now && module_now->checked;
    if (!prepare()) return 1;
    dynamic_shared = launch->shared ? emu_alloc(launch->shared) : NULL;
    if (launch->shared && !dynamic_shared) emu_fail("no memory for %zu shared bytes", launch->shared);
    if (!failed) run_guarded();
    emu_fail_as(EMU_ILLEGAL_ADDRESS);
    if (!failed) emu_check_guards();
    emu_free(dynamic_shared);
    return failed;
}
