/* cache: what the kernel cache holds, and making room in it. */
#include "cpu/cache.h"
#include "cli.h"
#include "report.h"
#include <time.h>

typedef enum CacheColumn {
    CACHE_WHAT,
    CACHE_FILES,
    CACHE_BYTES,
    CACHE_OLDEST,
    CACHE_NEWEST,
    CACHE_COLUMNS
} CacheColumn;

static const Column cache_columns[CACHE_COLUMNS] = {
    [CACHE_WHAT] = {"what", "what", SN_CELL_TEXT},
    [CACHE_FILES] = {"files", "files", SN_CELL_COUNT},
    [CACHE_BYTES] = {"bytes", "size", SN_CELL_BYTES},
    [CACHE_OLDEST] = {"least_recent_use", "least recent use", SN_CELL_TEXT},
    [CACHE_NEWEST] = {"last_use", "last use", SN_CELL_TEXT},
};

static Cell cell_time(Arena *arena, int64_t seconds) {
    struct tm parts;
    char text[32];
    time_t time = (time_t)seconds;
    if (!seconds || !gmtime_r(&time, &parts) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts))
        return (Cell){0};
    return sn_cell_text(arena, text);
}

static void add(Arena *arena, Table *table, const Cache *cache, const char *what, const char *ending) {
    CacheUsage usage = sn_cache_usage(arena, cache, ending);
    Cell *row = sn_table_row(arena, table);
    row[CACHE_WHAT] = sn_cell_text(arena, what);
    row[CACHE_FILES] = sn_cell_number(usage.files);
    row[CACHE_BYTES] = sn_cell_number((double)usage.bytes);
    row[CACHE_OLDEST] = cell_time(arena, usage.oldest);
    row[CACHE_NEWEST] = cell_time(arena, usage.newest);
}

Status sn_cli_cache(Cli *cli) {
    const Options *options = &cli->options;
    bool clear = sn_option_given(options, OPTION_CLEAR), limit = sn_option_given(options, OPTION_LIMIT);
    if (clear && limit) return sn_cli_usage(cli, "--clear and --limit exclude each other");
    Cache cache;
    TRY(sn_cache_open(cli->arena, NULL, &cache));
    sn_cli_note("%s", cache.path);
    if (clear || limit)
        sn_cli_note("%d files removed",
                    sn_cache_limit(cli->arena, &cache, sn_option_integer(options, OPTION_LIMIT, 0)));
    Table table = {.name = "cache", .column = cache_columns, .column_count = CACHE_COLUMNS};
    add(cli->arena, &table, &cache, "kernels", ".o");
    add(cli->arena, &table, &cache, "programs", ".so");
    add(cli->arena, &table, &cache, "all", "");
    ReportFormat format;
    sn_report_format(sn_option_text(options, OPTION_OUT_FORMAT, NULL), &format);
    Text text = sn_text(cli->arena);
    TRY(sn_report_print(&text, format, (const Table *const[]){&table}, 1));
    return sn_cli_write(cli, NULL, sn_text_string(&text), text.length);
}
