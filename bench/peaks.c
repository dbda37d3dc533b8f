#include "peaks.h"
#include "clock.h"
#include "cpu/cpu.h"
#include "cpu/rates.h"
#include "guard.h"
#include <stdlib.h>
#include <time.h>

enum {
    FMA_ROUNDS = 10000,           /* of all chains, a work item: tens of microseconds */
    MATRIX_ROUNDS = 2000,         /* likewise */
    FMA_ITEMS_EACH = 32,          /* a thread, in a try */
    FMA_TRIES = 3,                /* in a burst */
    FMA_BURSTS_MOST = 8,          /* until every thread has done its share */
    MEASUREMENTS = 12,            /* of sn_peak_meter_all */
    PAUSE_NANOSECONDS = 10000000, /* between them, and before a burst is repeated */
    THREADS_MOST = 256,           /* that are told apart */
    PIECE = 1 << 18,              /* bytes that a work item copies or reads */
    MEMORY_BYTES = 96 << 20,      /* of one buffer */
    MIX_ROUNDS = 512,             /* of SN_PEAK_MIX lines, a work item */
};

/* A thread that did less than this, by an even share, was late or had to wait for its processor. */
static const double least_balance = 0.75;

struct PeakMeter {
    Arena *arena;
    const char *cache_dir;
    Pool *pool;
    Device *device;
    Module *module;
    void *buffer[2]; /* MEMORY_BYTES each */
    RateKernel multiply;
    bool past; /* what is read is put out of the caches before */
    Peaks best;
};

/* ---- one measurement ---- */

static Status launch_with(PeakMeter *m, RateKernel kernel, const int64_t *symbol, int symbols, int64_t items,
                          double *seconds) {
    LaunchArguments arguments = {.kernel = kernel,
                                 .buffer = m->buffer,
                                 .symbol = symbol,
                                 .items = items,
                                 .work = -1,
                                 .threads = 1,
                                 .buffer_count = 2,
                                 .symbol_count = symbols};
    int fault = 0;
    double start = m->device->ops->clock(m->device);
    TRY(m->device->ops->launch(m->device, m->module, &arguments, &fault));
    *seconds = m->device->ops->clock(m->device) - start;
    return NULL;
}

static Status launch(PeakMeter *m, RateKernel kernel, int64_t symbol, int64_t items, double *seconds) {
    return launch_with(m, kernel, &symbol, 1, items, seconds);
}

/* The quicker of two forms of a loop, whose last symbol is how far ahead it fetches what it reads. */
static Status launch_loop(PeakMeter *m, RateKernel kernel, int64_t *symbol, int symbols, int64_t items,
                          double *least) {
    for (int form = 0; form < 2; form++) {
        double seconds;
        symbol[symbols - 1] = form ? SN_RATE_AHEAD : 0;
        if (m->past) TRY(launch(m, SN_RATE_EVICT, PIECE, MEMORY_BYTES / PIECE, &seconds));
        TRY(launch_with(m, kernel, symbol, symbols, items, &seconds));
        if (!form || seconds < *least) *least = seconds;
    }
    return NULL;
}

/* Of the items of the last launch of multiply-adds: how many the least busy thread did, by an even share. */
static double balance(const PeakMeter *m, int64_t items) {
    uint64_t thread[THREADS_MOST];
    int64_t done[THREADS_MOST], least = items;
    int count = 0;
    for (int64_t i = 0; i < items; i++) {
        uint64_t mine;
        memcpy(&mine, (const float *)m->buffer[1] + SN_RATE_RESULT * i + 2, sizeof mine);
        int at = 0;
        while (at < count && thread[at] != mine) at++;
        if (at == count && count < THREADS_MOST) thread[count] = mine, done[count++] = 0;
        if (at < THREADS_MOST) done[at]++;
    }
    for (int i = 0; i < count; i++) least = done[i] < least ? done[i] : least;
    bool all = count == m->best.threads || count == THREADS_MOST;
    return all ? (double)least * m->best.threads / (double)items : 0;
}

static void rest(void) {
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NANOSECONDS}, NULL);
}

/* A few tries close together; the best of them, and how evenly it was shared. */
static Status fma_burst(PeakMeter *m, double *rate, double *even) {
    float *in = m->buffer[0];
    in[0] = 0.999F;
    in[1] = 0.001F;
    for (int k = 0; k < SN_RATE_CHAINS; k++) in[2 + k] = 0.25F * (float)k;
    int64_t items = (int64_t)FMA_ITEMS_EACH * m->best.threads;
    double lanes = m->device->target.vector_bytes / (double)sizeof(float);
    *rate = *even = 0;
    for (int i = 0; i < FMA_TRIES; i++) {
        double seconds;
        int64_t rounds = m->multiply == SN_RATE_MATRIX ? MATRIX_ROUNDS : FMA_ROUNDS;
        TRY(launch(m, m->multiply, rounds, items, &seconds));
        double chains = ((const float *)m->buffer[1])[1];
        double each = m->multiply == SN_RATE_MATRIX ? SN_RATE_MATRIX_FLOP
                      : m->multiply == SN_RATE_DOT  ? 4 * lanes
                                                    : 2 * lanes;
        double now = each * chains * (double)rounds * (double)items / seconds;
        if (now <= *rate) continue;
        *rate = now;
        *even = balance(m, items);
    }
    return NULL;
}

Status sn_peak_meter_fma(PeakMeter *m, double *rate) {
    double most = 0;
    for (int i = 0; i < FMA_BURSTS_MOST; i++) {
        double now, even;
        if (i > 0) rest();
        TRY(fma_burst(m, &now, &even));
        if (now > most) most = now;
        if (now > m->best.fma) m->best.fma = now, m->best.balance = even;
        if (even >= least_balance) break;
    }
    if (rate) *rate = most;
    return NULL;
}

Status sn_peak_meter_dots(PeakMeter *m) {
    m->multiply =
        m->device->target.matrix_percent > m->device->target.dot_percent ? SN_RATE_MATRIX : SN_RATE_DOT;
    m->best.fma = m->best.balance = 0;
    double rate;
    TRY(sn_peak_meter_fma(m, &rate));
    return rate > 0 ? NULL : sn_fail(SN_UNSUPPORTED, "unsupported: dot products of bf16 on this processor");
}

void sn_peak_meter_past_caches(PeakMeter *m) {
    m->past = true;
}

Status sn_peak_meter_copy(PeakMeter *m, double *rate) {
    int64_t symbol[] = {PIECE, 0};
    double seconds;
    TRY(launch_loop(m, SN_RATE_STREAM, symbol, 2, MEMORY_BYTES / PIECE, &seconds));
    *rate = 2.0 * MEMORY_BYTES / seconds;
    if (*rate > m->best.copy) m->best.copy = *rate;
    return NULL;
}

Status sn_peak_meter_memory(PeakMeter *m, bool copies, double *rate) {
    int64_t symbol[] = {PIECE, 0};
    double seconds;
    if (copies) TRY(sn_peak_meter_copy(m, &seconds));
    TRY(launch_loop(m, SN_RATE_READ, symbol, 2, MEMORY_BYTES / PIECE, &seconds));
    double read = MEMORY_BYTES / seconds;
    if (read > m->best.read) m->best.read = read;
    if (rate) *rate = read;
    return NULL;
}

Status sn_peak_meter_mix(PeakMeter *m, int written, double *rate) {
    int read = SN_PEAK_MIX - written, most = read > written ? read : written, by = SN_PEAK_MIX;
    while (read % by || written % by) by--;
    int64_t items = MEMORY_BYTES / SN_RATE_LINE / MIX_ROUNDS / most;
    int64_t symbol[] = {(int64_t)MIX_ROUNDS * by, read / by, written / by, 0}; /* as finely mixed as can be */
    double seconds;
    TRY(launch_loop(m, SN_RATE_MIX, symbol, 4, items, &seconds));
    *rate = (double)SN_PEAK_MIX * SN_RATE_LINE * MIX_ROUNDS * (double)items / seconds;
    return NULL;
}

Status sn_peak_meter_rows(PeakMeter *m, int64_t row_bytes, int64_t table_bytes, int64_t beside,
                          double *rate) {
    int64_t together = PIECE / row_bytes > 0 ? PIECE / row_bytes : 1;
    int64_t items = MEMORY_BYTES / row_bytes / together;
    int64_t most = table_bytes < MEMORY_BYTES ? table_bytes : MEMORY_BYTES;
    int64_t rows = most / row_bytes;
    int64_t symbol[] = {together, row_bytes / SN_RATE_LINE, rows, beside < rows ? beside : rows, 0};
    double seconds;
    TRY(launch_loop(m, SN_RATE_ROWS, symbol, 5, items, &seconds));
    *rate = 2.0 * (double)(items * together * row_bytes) / seconds;
    return NULL;
}

Status sn_peak_meter_bands(PeakMeter *m, int64_t columns, int64_t positions, double *rate) {
    int64_t rows = MEMORY_BYTES / (int64_t)sizeof(float) / columns;
    int64_t together = positions < rows ? positions : rows;
    together = together < SN_RATE_BAND ? SN_RATE_BAND : together - together % SN_RATE_BAND;
    int64_t items = rows / together * together / SN_RATE_BAND, lanes = SN_RATE_LINE / sizeof(float);
    int64_t symbol[] = {columns, together, 0};
    double seconds;
    TRY(launch_loop(m, SN_RATE_BANDS, symbol, 3, items, &seconds));
    *rate = 2.0 * SN_RATE_LINE * (double)(items * SN_RATE_BAND * (columns / lanes)) / seconds;
    return NULL;
}

Status sn_peak_meter_again(PeakMeter *m, int64_t row_bytes, bool kept, double *rate) {
    int64_t items = MEMORY_BYTES / row_bytes, symbol[] = {row_bytes / SN_RATE_LINE, kept, 0};
    double seconds;
    TRY(launch_loop(m, SN_RATE_AGAIN, symbol, 3, items, &seconds));
    *rate = 2.0 * (double)(items * row_bytes) / seconds;
    return NULL;
}

Status sn_peak_meter_all(PeakMeter *m) {
    for (int i = 0; i < MEASUREMENTS; i++) {
        if (i > 0) rest();
        TRY(sn_peak_meter_fma(m, NULL));
        TRY(sn_peak_meter_memory(m, true, NULL));
    }
    return NULL;
}

const Peaks *sn_peak_meter_best(const PeakMeter *m) {
    return &m->best;
}

/* ---- opening ---- */

static Status open_meter(void *argument) {
    PeakMeter *m = argument;
    TRY(sn_cpu_open(m->arena, m->cache_dir, m->pool, &m->device));
    const Kernel *list[SN_RATE_COUNT];
    sn_rate_kernels(m->arena, list);
    CompileRecord record = {0};
    TRY(m->device->ops->compile(m->device, list, SN_RATE_COUNT, &record, &m->module));
    for (int i = 0; i < 2; i++) {
        TRY(m->device->ops->alloc(m->device, MEMORY_BYTES, &m->buffer[i]));
        sn_rate_fill(m->buffer[i], MEMORY_BYTES); /* the first touch is the system's time, not the memory's */
    }
    return NULL;
}

Status sn_peak_meter_new(int threads, const char *cache_dir, PeakMeter **out) {
    *out = NULL;
    PeakMeter *m = calloc(1, sizeof *m);
    if (!m) return sn_fail(SN_NO_MEMORY, "out of memory");
    m->best.threads = threads ? threads : sn_cpu_count();
    m->cache_dir = cache_dir;
    m->arena = sn_arena_new();
    Status status =
        m->arena ? sn_pool_new(m->best.threads, &m->pool) : sn_fail(SN_NO_MEMORY, "out of memory");
    if (!status) status = sn_guarded(m->arena, open_meter, m);
    if (status)
        sn_peak_meter_free(m);
    else
        *out = m;
    return status;
}

void sn_peak_meter_free(PeakMeter *m) {
    if (!m) return;
    for (int i = 0; m->device && i < 2; i++) m->device->ops->free(m->device, m->buffer[i], MEMORY_BYTES);
    if (m->device) m->device->ops->unload(m->device, m->module);
    if (m->device) m->device->ops->close(m->device);
    sn_pool_free(m->pool);
    sn_arena_free(m->arena);
    free(m);
}

Status sn_peaks_measure(int threads, const char *cache_dir, Peaks *out) {
    *out = (Peaks){.threads = threads ? threads : sn_cpu_count()};
    PeakMeter *meter;
    TRY(sn_peak_meter_new(threads, cache_dir, &meter));
    Status status = sn_peak_meter_all(meter);
    *out = *sn_peak_meter_best(meter);
    sn_peak_meter_free(meter);
    return status;
}
