#include "cpu.h"
#include "clock.h"
#include "facts.h"
#include "features.h"
#include "guard.h"
#include "jit.h"
#include "matrix.h"
#include "number.h"
#include "rates.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LINE = 64,
    HUGE = 2 << 20,           /* a large page; from here on memory is mapped */
    WORK_OF_A_THREAD = 20000, /* less work than this is done sooner than another thread has noticed it */
};

typedef struct Cpu {
    Device device;
    Pool *pool;
    Toolchain tools; /* compiler NULL: there is none */
} Cpu;

static int64_t cache_bytes(int name, int64_t usual) {
    long bytes = sysconf(name);
    return bytes > 0 ? bytes : usual;
}

static Status fill_target(Arena *arena, const Toolchain *tools, Target *out) {
    *out = (Target){0};
    CpuFacts facts;
    TRY(sn_cpu_facts(arena, tools, &facts));
    int64_t l1 = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
    int64_t l2 = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
    sn_target_cpu(out, tools->vector_bytes, tools->vector_registers, l1, l2);
    char hex[33];
    sn_hash_hex(tools->key, hex);
    out->isa = sn_arena_string(arena, hex);
    out->dot_percent = facts.dot_percent;
    out->byte_percent = facts.byte_percent;
    out->matrix_percent = facts.matrix_percent;
    out->matrix_byte_percent = facts.matrix_byte_percent;
    if (!facts.stream_pays) out->stream_bytes = 0;
    if (facts.fetch_pays) out->fetch_bytes = SN_RATE_AHEAD;
    return NULL;
}

Status sn_cpu_target(Arena *arena, const char *cache_dir, Target *out) {
    Toolchain tools;
    TRY(sn_toolchain_open(arena, cache_dir, &tools));
    return fill_target(arena, &tools, out);
}

/* ---- memory ---- */

static size_t whole_pages(int64_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return ((size_t)bytes + page - 1) / page * page;
}

/* Maps more than is asked for and gives back what lies before a border of large pages, or behind the memory.
 * The end that fills no large page is not to take one. */
static void *map_pages(int64_t bytes) {
    size_t size = whole_pages(bytes);
    char *at = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return NULL;
    size_t before = -(uintptr_t)at & (HUGE - 1);
    if (before) munmap(at, before);
    if (HUGE - before) munmap(at + before + size, HUGE - before);
    madvise(at + before, size & ~(size_t)(HUGE - 1),
            MADV_HUGEPAGE); /* a wish: without it memory is only slower */
    return at + before;
}

static Status cpu_alloc(Device *device, int64_t bytes, void **out) {
    (void)device;
    *out = NULL;
    if (bytes <= INT64_MAX / 2) {
        size_t lines = ((size_t)bytes + LINE - 1) & ~(size_t)(LINE - 1);
        *out = bytes >= HUGE ? map_pages(bytes) : aligned_alloc(LINE, lines);
    }
    return *out ? NULL : sn_fail(SN_NO_MEMORY, "the system refuses %lld bytes", (long long)bytes);
}

static void cpu_free(Device *device, void *at, int64_t bytes) {
    (void)device;
    if (!at) return;
    if (bytes >= HUGE)
        munmap(at, whole_pages(bytes));
    else
        free(at);
}

static Status cpu_copy(Device *device, void *to, const void *from, int64_t bytes) {
    (void)device;
    memcpy(to, from, (size_t)bytes);
    return NULL;
}

static Status cpu_copy_rows(Device *device, const RowsCopy *copy) {
    (void)device;
    if (copy->width <= 0) return NULL; /* of nothing there may be no address */
    for (int64_t i = 0; i < copy->rows; i++)
        memcpy((char *)copy->to + i * copy->to_stride, (const char *)copy->from + i * copy->from_stride,
               (size_t)copy->width);
    return NULL;
}

static Status cpu_alloc_host(Device *device, int64_t bytes, void **out) {
    (void)device;
    *out = calloc(1, (size_t)bytes);
    return *out ? NULL : sn_fail(SN_NO_MEMORY, "the system refuses %lld bytes", (long long)bytes);
}

static void cpu_free_host(Device *device, void *at) {
    (void)device;
    free(at);
}

/* ---- kernels ---- */

typedef struct Build {
    const Toolchain *tools;
    Arena *arena;
    const Kernel *const *kernel;
    int count;
    CompileRecord *record;
    Library *library;
} Build;

static Status build(void *argument) {
    Build *request = argument;
    return sn_jit_build(request->arena, request->tools, request->kernel, request->count, request->record,
                        &request->library);
}

static Status cpu_compile(Device *device, const Kernel *const *kernel, int count, CompileRecord *record,
                          Module **out) {
    const Toolchain *tools = &((Cpu *)device)->tools;
    if (!tools->compiler) return sn_fail(SN_COMPILER, "a device that was opened without a compiler");
    Build request = {tools, sn_arena_new(), kernel, count, record, NULL};
    if (!request.arena) return sn_fail(SN_NO_MEMORY, "out of memory");
    Status status = sn_guarded(request.arena, build, &request);
    sn_arena_free(request.arena);
    *out = (Module *)request.library;
    return status;
}

static void cpu_unload(Device *device, Module *module) {
    (void)device;
    sn_jit_close((Library *)module);
}

static Status cpu_image(Device *device, Arena *arena, const Module *module, ModuleImage *out) {
    const Toolchain *tools = &((Cpu *)device)->tools;
    out->machine = sn_features_machine();
    if (!out->machine) return sn_fail(SN_UNSUPPORTED, "saving kernels of this processor is unsupported");
    out->requires = tools->features;
    return sn_jit_image(arena, tools, (const Library *)module, &out->bytes, &out->size);
}

static Status cpu_load(Device *device, const Kernel *const *kernel, int count, const ModuleImage *image,
                       CompileRecord *record, Module **out) {
    (void)device;
    double start = sn_clock();
    record->kernels += count;
    Library *library = NULL;
    Status status = sn_jit_load(image->bytes, image->size, kernel, count, &library);
    *out = (Module *)library;
    record->load += sn_clock() - start;
    return status;
}

typedef struct Job {
    KernelFunction *function;
    const LaunchArguments *arguments;
} Job;

static int run_items(void *argument, int64_t begin, int64_t end) {
    const Job *job = argument;
    return job->function(job->arguments->buffer, job->arguments->symbol, begin, end);
}

/* The items behind all others, which run when these have ended. */
static int run_after(void *argument, int64_t begin, int64_t end) {
    const Job *job = argument;
    return run_items(argument, job->arguments->items + begin, job->arguments->items + end);
}

/* Ranges so long that each is worth the attention of a thread. */
static int64_t least_items(int64_t work, int64_t items) {
    if (work < 0) return 1;
    int64_t each = work / items, least = WORK_OF_A_THREAD / (each > 0 ? each : 1);
    return least > 0 ? least : 1;
}

enum { AFTER_LEAST = 2 }; /* items that are worth a thread: they add what several of the first ones left */

static Status cpu_launch(Device *device, Module *module, const LaunchArguments *arguments, int *fault) {
    const Library *library = (const Library *)module;
    Job job = {library->function[arguments->kernel], arguments};
    int64_t items = arguments->items;
    *fault = sn_pool_run(((Cpu *)device)->pool, run_items, &job, items, least_items(arguments->work, items),
                         arguments->together);
    if (!*fault && arguments->after > 0)
        *fault = sn_pool_run(((Cpu *)device)->pool, run_after, &job, arguments->after, AFTER_LEAST, 1);
    return NULL;
}

/* The launches of a group: their items are one list. */
typedef struct GroupJob {
    const Library *library;
    const LaunchArguments *member;
    int count;
    _Atomic int64_t fault; /* the least of all so far: a member's number · 2^32 + what its kernel returned */
} GroupJob;

static void note_fault(GroupJob *job, int member, int code) {
    int64_t fault = (int64_t)member << 32 | code;
    int64_t known = atomic_load_explicit(&job->fault, memory_order_relaxed);
    while (fault < known && !atomic_compare_exchange_weak_explicit(
                                &job->fault, &known, fault, memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* The last member that begins at `item` or before it. */
static int find_member(const GroupJob *job, int64_t item) {
    int low = 0, high = job->count;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (job->member[middle].first <= item)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int run_members(void *argument, int64_t begin, int64_t end) {
    GroupJob *job = argument;
    for (int i = find_member(job, begin); begin < end; i++) {
        const LaunchArguments *member = &job->member[i];
        int64_t stop = member->first + member->items < end ? member->first + member->items : end;
        if (stop <= begin) continue;
        KernelFunction *function = job->library->function[member->kernel];
        int fault = function(member->buffer, member->symbol, begin - member->first, stop - member->first);
        if (fault) note_fault(job, i, fault);
        begin = stop;
    }
    return 0;
}

static Status cpu_launch_group(Device *device, Module *module, const LaunchArguments *member, int count,
                               int *fault) {
    GroupJob job = {(const Library *)module, member, count, INT64_MAX};
    int64_t work = 0, items = member[count - 1].first + member[count - 1].items;
    for (int i = 0; i < count && work >= 0; i++)
        if (member[i].work < 0 || !sn_add_i64(work, member[i].work, &work)) work = -1;
    sn_pool_run(((Cpu *)device)->pool, run_members, &job, items, least_items(work, items), 1);
    if (job.fault < INT64_MAX) fault[job.fault >> 32] = (int)(job.fault & INT32_MAX);
    return NULL;
}

static Status cpu_sync(Device *device) {
    (void)device;
    return NULL;
}

static double cpu_clock(Device *device) {
    (void)device;
    return sn_clock();
}

static void cpu_close(Device *device) {
    (void)device;
}

static const DeviceOps cpu_ops = {
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy_rows = cpu_copy_rows,
    .alloc_host = cpu_alloc_host,
    .free_host = cpu_free_host,
    .compile = cpu_compile,
    .unload = cpu_unload,
    .image = cpu_image,
    .load = cpu_load,
    .launch = cpu_launch,
    .launch_group = cpu_launch_group,
    .sync = cpu_sync,
    .clock = cpu_clock,
    .close = cpu_close,
};

static Cpu *new_cpu(Arena *arena, Pool *pool) {
    Cpu *cpu = SN_NEW(arena, Cpu);
    cpu->device.ops = &cpu_ops;
    cpu->device.host_memory = true;
    cpu->pool = pool;
    return cpu;
}

Status sn_cpu_open(Arena *arena, const char *cache_dir, Pool *pool, Device **out) {
    Cpu *cpu = new_cpu(arena, pool);
    TRY(sn_toolchain_open(arena, cache_dir, &cpu->tools));
    TRY(fill_target(arena, &cpu->tools, &cpu->device.target));
    *out = &cpu->device;
    return NULL;
}

Status sn_cpu_open_compiled(Arena *arena, const Target *target, Pool *pool, Device **out) {
    Cpu *cpu = new_cpu(arena, pool);
    cpu->device.target = *target;
    *out = &cpu->device;
    return NULL;
}
