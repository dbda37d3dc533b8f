#include "environment.h"
#include "cpu/threads.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

typedef enum EnvironmentColumn {
    ENVIRONMENT_SINTER,
    ENVIRONMENT_PROCESSOR,
    ENVIRONMENT_PROCESSORS,
    ENVIRONMENT_SYSTEM,
    ENVIRONMENT_WARMUP,
    ENVIRONMENT_ITERS,
    ENVIRONMENT_LOAD,
    ENVIRONMENT_COLUMNS
} EnvironmentColumn;

static const Column environment_columns[ENVIRONMENT_COLUMNS] = {
    [ENVIRONMENT_SINTER] = {"sinter", "sinter", SN_CELL_TEXT},
    [ENVIRONMENT_PROCESSOR] = {"processor", "processor", SN_CELL_TEXT},
    [ENVIRONMENT_PROCESSORS] = {"logical_processors", "processors for this process", SN_CELL_COUNT},
    [ENVIRONMENT_SYSTEM] = {"system", "system", SN_CELL_TEXT},
    [ENVIRONMENT_WARMUP] = {"warmup", "warm-up runs", SN_CELL_COUNT},
    [ENVIRONMENT_ITERS] = {"iters", "timed runs", SN_CELL_COUNT},
    [ENVIRONMENT_LOAD] = {"load", "load average, 1 minute", SN_CELL_NUMBER},
};

typedef enum PeakColumn {
    PEAK_THREADS,
    PEAK_FMA,
    PEAK_COPY,
    PEAK_READ,
    PEAK_BALANCE,
    PEAK_COLUMNS
} PeakColumn;

static const Column peak_columns[PEAK_COLUMNS] = {
    [PEAK_THREADS] = {"threads", "threads", SN_CELL_COUNT},
    [PEAK_FMA] = {"fma_flops", "f32 multiply-add FLOP", SN_CELL_RATE},
    [PEAK_COPY] = {"copy_bytes", "copy (read + write) bytes", SN_CELL_RATE},
    [PEAK_READ] = {"read_bytes", "read bytes", SN_CELL_RATE},
    [PEAK_BALANCE] = {"least_share", "least busy thread's work, of an even share", SN_CELL_SHARE},
};

const char *sn_processor_name(Arena *arena) {
    char line[512];
    const char *name = "unknown";
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon[strcspn(colon, "\n")] = '\0';
        name = sn_arena_string(arena, colon + (colon[1] == ' ' ? 2 : 1));
        break;
    }
    if (file) fclose(file);
    return name;
}

Table sn_environment_table(void) {
    return (Table){.name = "environment",
                   .column = environment_columns,
                   .column_count = ENVIRONMENT_COLUMNS,
                   .single = true};
}

void sn_environment_fill(Arena *arena, Table *table, int warmup, int iters) {
    Cell *row = sn_table_row(arena, table);
    struct utsname system;
    double load;
    row[ENVIRONMENT_SINTER] = sn_cell_text(arena, sn_version());
    row[ENVIRONMENT_PROCESSOR] = sn_cell_text(arena, sn_processor_name(arena));
    row[ENVIRONMENT_PROCESSORS] = sn_cell_number(sn_cpu_count());
    if (uname(&system) == 0)
        row[ENVIRONMENT_SYSTEM] =
            sn_cell_text(arena, sn_arena_printf(arena, "%s %s", system.sysname, system.release));
    row[ENVIRONMENT_WARMUP] = sn_cell_number(warmup);
    row[ENVIRONMENT_ITERS] = sn_cell_number(iters);
    if (getloadavg(&load, 1) == 1) row[ENVIRONMENT_LOAD] = sn_cell_number(load);
}

Table sn_peaks_table(void) {
    return (Table){.name = "peaks", .column = peak_columns, .column_count = PEAK_COLUMNS};
}

void sn_peaks_fill(Arena *arena, Table *table, const Peaks *peaks) {
    Cell *row = sn_table_row(arena, table);
    row[PEAK_THREADS] = sn_cell_number(peaks->threads);
    if (peaks->fma > 0) row[PEAK_FMA] = sn_cell_number(peaks->fma);
    if (peaks->copy > 0) row[PEAK_COPY] = sn_cell_number(peaks->copy);
    if (peaks->read > 0) row[PEAK_READ] = sn_cell_number(peaks->read);
    if (peaks->threads > 1) row[PEAK_BALANCE] = sn_cell_number(peaks->balance);
}
