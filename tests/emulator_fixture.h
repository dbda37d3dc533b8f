/* For tests of CUDA kernels made by codegen_fixture.h's cases: compiled together by one call of g++, run on the
 * emulator (tests/emulator) and compared with the interpreter. */
#ifndef SN_EMULATOR_FIXTURE_H
#define SN_EMULATOR_FIXTURE_H

#include "codegen_fixture.h"
#include "emulator/launch.h"

/* Kernels that were compiled, and the emulator that runs them. */
typedef struct Emulated {
    void *library;
    EmuLaunchFunction *launch;
    EmuAllocFunction *alloc;
    EmuFreeFunction *release;
} Emulated;

static inline void *emulated_symbol(const Emulated *e, const char *name) {
    void *symbol = dlsym(e->library, name);
    if (!symbol) fail_msg("%s: %s", name, dlerror());
    return symbol;
}

/* The text of a translation unit: kernels with different names, of which `more` (may be NULL) comes last. */
static inline const char *emulated_text(Arena *arena, const Kernel *const *kernel, int count,
                                        const char *more) {
    Text unit = sn_text(arena);
    Map *seen = sn_map_new(arena);
    sn_text_add(&unit, "#include \"emulator.h\"\n");
    for (int i = 0; i < count; i++) {
        void **slot = sn_map_at_string(seen, kernel[i]->name);
        if (*slot) continue;
        *slot = (void *)kernel[i];
        sn_text_add(&unit, "%s\nEMU_KERNEL(%s)\n", kernel[i]->source, kernel[i]->name);
    }
    if (more) sn_text_add(&unit, "%s\n", more);
    return sn_text_string(&unit);
}

/* Kernels behind the emulator's headers. */
static inline void emulate(Emulated *e, const char *text) {
    Arena *arena = sn_arena_new();
    const char *path = emulated_object(arena, text);
    /* Global: kernels find it there. */
    void *emulator = dlopen(SN_EMULATED "/libemulated_cuda.so", RTLD_NOW | RTLD_GLOBAL);
    e->library = emulator ? dlopen(path, RTLD_NOW) : NULL;
    if (!e->library) fail_msg("%s", dlerror());
    sn_arena_free(arena);
    *(void **)&e->launch = dlsym(emulator, "emu_launch");
    *(void **)&e->alloc = dlsym(emulator, "emu_alloc");
    *(void **)&e->release = dlsym(emulator, "emu_free");
    assert_true(e->launch && e->alloc && e->release);
}

static inline int64_t emulated_number(Dim dim, const int64_t *symbols) {
    int64_t value;
    assert_ok(sn_dim_eval(dim, symbols, NULL, &value));
    return value;
}

/* One run of a case's kernel. */
typedef struct EmulatedRun {
    void *buffer[32];
    int buffer_count, fault;
    char message[256]; /* what the emulator said, or "" */
} EmulatedRun;

static inline void *emulated_buffer(const Emulated *e, EmulatedRun *run, int64_t bytes) {
    assert_true(run->buffer_count < 32);
    void *buffer = e->alloc((size_t)bytes);
    assert_non_null(buffer);
    return run->buffer[run->buffer_count++] = buffer;
}

/* The launches of a kernel on `run->buffer`: its blocks, then those of the second round. */
static inline bool emulated_launch(const Emulated *e, const Kernel *kernel, const char *name,
                                   const int64_t *symbols, EmuOrder order, EmulatedRun *run) {
    uint64_t words[128];
    int count = 0;
    int64_t items = emulated_number(kernel->items, symbols);
    int64_t after = kernel->after ? emulated_number(kernel->after, symbols) : 0;
    for (int i = 0; i < run->buffer_count; i++) words[count++] = (uint64_t)(uintptr_t)run->buffer[i];
    for (int i = 0; i < kernel->param_count; i++)
        words[count++] = (uint64_t)emulated_number(kernel->param[i], symbols);
    int *fault = e->alloc(sizeof *fault);
    assert_non_null(fault);
    *fault = 0;
    words[count++] = (uint64_t)(uintptr_t)fault;
    EmuLaunch launch = {.args = words,
                        .block = {(unsigned)kernel->threads, 1, 1},
                        .shared = (size_t)emulated_number(kernel->shared, symbols),
                        .order = order,
                        .seed = 11};
    *(void **)&launch.kernel = emulated_symbol(e, name);
    bool ran = true;
    for (int round = 0; round < 2 && ran; round++) {
        launch.grid[0] = (unsigned)(round ? after : items), launch.grid[1] = launch.grid[2] = 1;
        words[count] = (uint64_t)(round ? items : 0); /* the grid's first block */
        if (launch.grid[0]) ran = e->launch(&launch) == 0;
    }
    strcpy(run->message, launch.message);
    run->fault = *fault;
    e->release(fault);
    return ran;
}

/* What runs a case on the buffers of its kernel. False when it failed. */
typedef bool EmulatedWay(const Emulated *e, const Kernel *kernel, const int64_t *symbols, EmuOrder order,
                         EmulatedRun *run);

static inline bool emulated_kernel(const Emulated *e, const Kernel *kernel, const int64_t *symbols,
                                   EmuOrder order, EmulatedRun *run) {
    char symbol[64];
    snprintf(symbol, sizeof symbol, "%s_call", kernel->name);
    return emulated_launch(e, kernel, symbol, symbols, order, run);
}

/* Runs the case for a binding and compares all outputs with the interpreter's; false when the run failed, with the
 * emulator's words in *run. */
static inline bool emulated_run(const Emulated *e, Case *c, const Kernel *kernel, EmulatedWay *way,
                                const int64_t *symbols, EmuOrder order, EmulatedRun *run) {
    const Region *body = c->graph->body;
    Array **inputs = SN_ARRAY(c->arena, Array *, body->param.count),
          **outputs = SN_ARRAY(c->arena, Array *, body->result.count);
    *run = (EmulatedRun){0};
    for (int i = 0; i < body->param.count; i++) {
        inputs[i] = random_input(c, body->param.at[i], symbols, (uint64_t)i + 1);
        void *bytes = bytes_of(inputs[i]);
        int64_t size = inputs[i]->count * sn_dtype_bytes(inputs[i]->dtype);
        memcpy(emulated_buffer(e, run, size), bytes, (size_t)size);
        free(bytes);
    }
    assert_ok(sn_eval_graph(c->arena, c->graph, false, (const Array *const *)inputs, outputs));
    for (int i = 0; i < body->result.count; i++)
        emulated_buffer(e, run, outputs[i]->count * sn_dtype_bytes(outputs[i]->dtype));
    for (int i = 0; i < kernel->scratch_count; i++)
        emulated_buffer(e, run, emulated_number(kernel->scratch_bytes[i], symbols));
    bool ran = way(e, kernel, symbols, order, run) && !run->fault;
    for (int i = 0; ran && i < body->result.count; i++) {
        char what[64];
        snprintf(what, sizeof what, "output %d, order %d", i, (int)order);
        compare(c, outputs[i], run->buffer[kernel->input_count + i], what);
    }
    for (int i = 0; i < run->buffer_count; i++) e->release(run->buffer[i]);
    return ran;
}

static inline void emulated_check(const Emulated *e, Case *c, const Kernel *kernel, EmulatedWay *way,
                                  const int64_t *symbols, EmuOrder order) {
    EmulatedRun run;
    if (!emulated_run(e, c, kernel, way, symbols, order, &run))
        fail_msg("fault %d %s", run.fault, run.message);
}

#endif
