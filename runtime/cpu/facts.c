#include "facts.h"
#include "clock.h"
#include "jit.h"
#include "matrix.h"
#include "rates.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    ROUNDS = 20000, /* a work item: about a tenth of a millisecond */
    ITEMS = 4,      /* of a chain, in a turn */
    LEAST_TURNS = 8,
    QUIET_TURNS = 4, /* so many, in which no chain was quicker than before, are the last ones */
    MOST_TURNS = 64,
    MEMORY_TRIES = 5,
    MEMORY_BYTES = 64 << 20,  /* of one buffer: larger than caches usually are */
    FETCHED_BYTES = 32 << 20, /* of it, where what is read was put out of the caches */
};

static const double quicker_again = 1.05;    /* by the best rate so far: clearly quicker */
static const double streams_slower = 0.8;    /* by the rate of ordinary stores: clearly slower */
static const double fetching_quicker = 0.88; /* by the time without fetching: clearly quicker */

/* ---- the file ---- */

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    {"fma_gflops", offsetof(CpuFacts, fma_gflops)},
    {"dot_percent", offsetof(CpuFacts, dot_percent)},
    {"byte_percent", offsetof(CpuFacts, byte_percent)},
    {"matrix_percent", offsetof(CpuFacts, matrix_percent)},
    {"matrix_byte_percent", offsetof(CpuFacts, matrix_byte_percent)},
    {"read_gbytes", offsetof(CpuFacts, read_gbytes)},
    {"copy_gbytes", offsetof(CpuFacts, copy_gbytes)},
    {"stream_pays", offsetof(CpuFacts, stream_pays)},
    {"fetch_pays", offsetof(CpuFacts, fetch_pays)},
};
enum { FIELDS = sizeof fields / sizeof *fields };

void sn_cpu_facts_print(Text *text, const CpuFacts *facts) {
    for (int i = 0; i < FIELDS; i++)
        sn_text_add(text, "%s %d\n", fields[i].name, *(const int *)((const char *)facts + fields[i].offset));
}

bool sn_cpu_facts_parse(const char *text, CpuFacts *out) {
    *out = (CpuFacts){0};
    for (int i = 0; i < FIELDS; i++) {
        size_t length = strlen(fields[i].name);
        if (strncmp(text, fields[i].name, length) != 0 || text[length] != ' ') return false;
        char *end;
        long value = strtol(text + length + 1, &end, 10);
        if (*end != '\n' || value < 0 || value > 1 << 30) return false;
        *(int *)((char *)out + fields[i].offset) = (int)value;
        text = end + 1;
    }
    return !*text;
}

/* ---- measuring ---- */

int sn_cpu_class(double value) {
    if (!(value > 0)) return 0;
    double power = round(log2(value));
    return power < 0 ? 1 : power > 30 ? 1 << 30 : 1 << (int)power;
}

typedef struct Measure {
    const Library *library;
    void *buffer[2]; /* MEMORY_BYTES each */
} Measure;

static double least_seconds(const Measure *m, RateKernel kernel, int64_t size, int64_t items, int tries) {
    const int64_t symbol[] = {size, 0};
    double least = INFINITY;
    for (int i = 0; i < tries; i++) {
        double start = sn_clock();
        m->library->function[kernel](m->buffer, symbol, 0, items);
        least = fmin(least, sn_clock() - start);
    }
    return least;
}

/* What a second has of a chain's steps. */
typedef struct Chain {
    RateKernel kernel;
    double rate; /* 0 without the instruction or the permission */
} Chain;

/* Whether that turn was the quickest so far. */
static bool chain_turn(const Measure *m, Chain *chain) {
    bool matrix = chain->kernel == SN_RATE_MATRIX || chain->kernel == SN_RATE_MATRIX_BYTES;
    if (matrix && sn_matrix_refusal()) return false;
    double seconds = least_seconds(m, chain->kernel, ROUNDS, ITEMS, 1);
    double rate = (double)((const float *)m->buffer[1])[1] * ROUNDS * ITEMS / seconds;
    bool quicker = rate > quicker_again * chain->rate;
    chain->rate = fmax(chain->rate, rate);
    return quicker;
}

/* The best of turns, since it is the rates' proportions that count: other programs slow all chains alike then, and what they
 * have of the processor for some milliseconds is none's alone. */
static void measure_chains(const Measure *m, Chain *chain, int count) {
    float *in = m->buffer[0];
    in[0] = 0.999F;
    in[1] = 0.001F;
    for (int k = 0; k < SN_RATE_CHAINS; k++) in[2 + k] = 0.25F * (float)k;
    for (int turn = 0, quiet = 0; turn < MOST_TURNS && (turn < LEAST_TURNS || quiet < QUIET_TURNS); turn++) {
        bool quicker = false;
        for (int i = 0; i < count; i++) quicker |= chain_turn(m, &chain[i]);
        quiet = quicker ? 0 : quiet + 1;
    }
}

/* Of that rate by another one, 100 times a power of two; 0 for 0. */
static int matrix_class(double rate, double fma) {
    return rate > 0 ? 100 * sn_cpu_class(rate / fma) : 0;
}

/* The best seconds of a copy past the caches; true when it was clearly slower than an ordinary one in every turn of the two:
 * a moment in which another program runs says nothing about them. */
static bool streams_lose(const Measure *m, double *stream) {
    bool lose = true;
    *stream = INFINITY;
    for (int i = 0; i < MEMORY_TRIES; i++) {
        double past = least_seconds(m, SN_RATE_STREAM, MEMORY_BYTES, 1, 1),
               usual = least_seconds(m, SN_RATE_COPY, MEMORY_BYTES, 1, 1);
        lose &= past * streams_slower > usual;
        *stream = fmin(*stream, past);
    }
    return lose;
}

/* The least seconds of a copy past the caches, of what was put out of them, with that much fetched ahead. */
static void copy_ahead(const Measure *m, int64_t ahead, double *least) {
    const int64_t symbol[] = {FETCHED_BYTES, ahead};
    m->library->function[SN_RATE_EVICT](m->buffer, symbol, 0, 1);
    double start = sn_clock();
    m->library->function[SN_RATE_STREAM](m->buffer, symbol, 0, 1);
    *least = fmin(*least, sn_clock() - start);
}

/* Whether a copy is clearly quicker that fetches into the second-level cache what the processor reads: there are processors whose
 * first cache has too few places for lines that are awaited, beside those that are stored. */
static bool fetching_wins(const Measure *m) {
    double usual = INFINITY, ahead = INFINITY;
    for (int i = 0; i < MEMORY_TRIES; i++) {
        copy_ahead(m, 0, &usual);
        copy_ahead(m, SN_RATE_AHEAD, &ahead);
    }
    return ahead < fetching_quicker * usual;
}

static void measure(const Measure *m, int vector_bytes, CpuFacts *out) {
    double bytes = MEMORY_BYTES, lanes = vector_bytes / (double)sizeof(float);
    double stream;
    bool lose = streams_lose(m, &stream);
    double read = bytes / least_seconds(m, SN_RATE_READ, MEMORY_BYTES, 1, MEMORY_TRIES);
    Chain chain[] = {{SN_RATE_FMA, 0},
                     {SN_RATE_DOT, 0},
                     {SN_RATE_BYTES, 0},
                     {SN_RATE_MATRIX, 0},
                     {SN_RATE_MATRIX_BYTES, 0}};
    measure_chains(m, chain, sizeof chain / sizeof *chain);
    double fma = chain[0].rate, dot = 2 * chain[1].rate, words = 4 * chain[2].rate;
    int share = sn_cpu_class(100 * dot / fma / 12.5); /* 25 % is 2, 50 % is 4, ... 400 % is 32 */
    int of_words = sn_cpu_class(100 * words / fma / 12.5);
    *out = (CpuFacts){
        .fma_gflops = sn_cpu_class(2e-9 * lanes * fma),
        .dot_percent = dot > 0 ? share <= 4    ? 50
                                 : share >= 16 ? 200
                                               : 100
                               : 0,
        .byte_percent = words > 0 ? of_words <= 8    ? 100
                                    : of_words >= 32 ? 400
                                                     : 200
                                  : 0,
        .matrix_percent = matrix_class(SN_RATE_MATRIX_FLOP * chain[3].rate, 2 * lanes * fma),
        .matrix_byte_percent = matrix_class(2.0 * SN_RATE_MATRIX_FLOP * chain[4].rate, 2 * lanes * fma),
        .read_gbytes = sn_cpu_class(1e-9 * read),
        .copy_gbytes = sn_cpu_class(2e-9 * bytes / stream),
        .stream_pays = !lose,
        .fetch_pays = fetching_wins(m),
    };
}

static Status measure_facts(Arena *arena, const Toolchain *tools, CpuFacts *out) {
    const Kernel *list[SN_RATE_COUNT];
    sn_rate_kernels(arena, list);
    CompileRecord record = {0};
    Library *library = NULL;
    TRY(sn_jit_build(arena, tools, list, SN_RATE_FACTS, &record, &library));
    char *memory =
        mmap(NULL, 2 * (size_t)MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Status status =
        memory == MAP_FAILED ? sn_fail(SN_NO_MEMORY, "out of memory to measure bandwidths") : NULL;
    if (!status) {
        madvise(memory, 2 * (size_t)MEMORY_BYTES, MADV_HUGEPAGE); /* a wish */
        sn_rate_fill(memory, 2 * (int64_t)MEMORY_BYTES);
        Measure m = {library, {memory, memory + MEMORY_BYTES}};
        measure(&m, tools->vector_bytes, out);
        munmap(memory, 2 * (size_t)MEMORY_BYTES);
    }
    sn_jit_close(library);
    return status;
}

Status sn_cpu_facts(Arena *arena, const Toolchain *tools, CpuFacts *out) {
    Arena *scratch = sn_arena_child(arena);
    char hex[33];
    sn_hash_hex(sn_hash_string(tools->key, sn_matrix_refusal() ? "facts 6 without tiles" : "facts 6"), hex);
    const char *name = sn_arena_printf(scratch, "facts-%s", hex),
               *kept = sn_cache_read(scratch, &tools->cache, name);
    Status status = NULL;
    if (!kept || !sn_cpu_facts_parse(kept, out)) {
        status = measure_facts(scratch, tools, out);
        Text text = sn_text(scratch);
        sn_cpu_facts_print(&text, out);
        if (!status) status = sn_cache_write(scratch, &tools->cache, name, sn_text_string(&text));
    }
    sn_arena_free(scratch);
    return status;
}
