/* Tables, and the three ways to write them: Markdown (aligned, so that a terminal shows it as well), CSV and
 * JSON.
 *
 * A column is declared once: its key in CSV and JSON, where values stand in base units (seconds, bytes), and
 * its heading and unit in Markdown. A cell that was never set is absent: empty in Markdown and CSV, no key in
 * JSON; a Markdown column without any value is left out. */
#ifndef SN_REPORT_H
#define SN_REPORT_H

#include "arena.h"
#include "status.h"
#include "text.h"
#include <stdint.h>

typedef enum CellKind {
    SN_CELL_TEXT,
    SN_CELL_COUNT,   /* an integer */
    SN_CELL_NUMBER,  /* four significant digits, and all before the point */
    SN_CELL_SECONDS, /* Markdown: milliseconds */
    SN_CELL_BYTES,   /* Markdown: MiB */
    SN_CELL_RATE,    /* a second; Markdown: 10^9 a second */
    SN_CELL_RATIO,
    SN_CELL_SHARE, /* 0 to 1; Markdown: per cent */
} CellKind;

typedef struct Column {
    const char *key, *heading;
    CellKind kind;
} Column;

typedef struct Cell {
    bool set;
    double number; /* every kind but TEXT; exact for integers up to 2^53 */
    const char *text;
} Cell;

typedef struct Table {
    const char *name;  /* key in JSON */
    const char *title; /* line above it in Markdown; NULL: none */
    const Column *column;
    int column_count;
    int labels; /* so many columns come first and say what a row is of: those that all rows have alike stand above the table
                    in Markdown */
    bool single; /* one row: an object in JSON, a list of "heading: value" in Markdown, not in CSV */
    SN_VEC(Cell *) row;
} Table;

/* A new row without any cell set: column_count cells. */
Cell *sn_table_row(Arena *arena, Table *table);

/* Text that may come from a model: shown as it is when every character is printable ASCII, quoted otherwise.
 */
Cell sn_cell_text(Arena *arena, const char *text);
static inline Cell sn_cell_number(double number) {
    return (Cell){.set = true, .number = number};
}

typedef enum ReportFormat { SN_REPORT_MD, SN_REPORT_CSV, SN_REPORT_JSON } ReportFormat;

/* "md", "csv" or "json"; NULL is Markdown. False when it is none of them. */
bool sn_report_format(const char *name, ReportFormat *out);

/* Adds the tables to `text`. In JSON they are the members of one object. */
Status sn_report_print(Text *text, ReportFormat format, const Table *const *table, int count);

#endif
