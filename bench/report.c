#include "report.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUMBER_MOST = 48 }; /* bytes of a number as text */

Cell *sn_table_row(Arena *arena, Table *table) {
    Cell *row = SN_ARRAY(arena, Cell, table->column_count);
    sn_push(arena, &table->row, row);
    return row;
}

Cell sn_cell_text(Arena *arena, const char *string) {
    bool plain = true;
    for (const char *c = string; *c; c++) plain = plain && *c >= ' ' && *c < 127;
    return (Cell){.set = true, .text = plain ? sn_arena_string(arena, string) : sn_quoted(arena, string)};
}

bool sn_report_format(const char *name, ReportFormat *out) {
    static const char *const names[] = {
        [SN_REPORT_MD] = "md", [SN_REPORT_CSV] = "csv", [SN_REPORT_JSON] = "json"};
    *out = SN_REPORT_MD;
    if (!name) return true;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out = (ReportFormat)i;
        return true;
    }
    return false;
}

/* ---- Markdown ---- */

/* How Markdown shows numbers of each kind: times `scale`, with `format`. */
static const struct {
    double scale;
    const char *format, *unit;
} shown[] = {
    [SN_CELL_TEXT] = {1, "%.0f", ""},
    [SN_CELL_COUNT] = {1, "%.0f", ""},
    [SN_CELL_NUMBER] = {1, "%.4g", ""},
    [SN_CELL_SECONDS] = {1e3, "%.3f", ", ms"},
    [SN_CELL_BYTES] = {0x1p-20, "%.1f", ", MiB"},
    [SN_CELL_RATE] = {1e-9, "%.1f", ", G/s"},
    [SN_CELL_RATIO] = {1, "%.2f", ""},
    [SN_CELL_SHARE] = {100, "%.1f", ", %"},
};

/* From five digits on a number has all those before its point; an exponent is for the largest. */
static const double five_digits = 1e4, exponents_from = 1e9;

/* A bar would end the cell. */
static const char *escape_bars(Arena *arena, const char *string) {
    if (!strchr(string, '|')) return string;
    Text text = sn_text(arena);
    for (; *string; string++) sn_text_add(&text, *string == '|' ? "\\|" : "%c", *string);
    return sn_text_string(&text);
}

static const char *cell_shown(Arena *arena, const Column *column, const Cell *cell,
                              char buffer[NUMBER_MOST]) {
    if (!cell->set) return "";
    if (column->kind == SN_CELL_TEXT) return escape_bars(arena, cell->text);
    const bool whole = column->kind == SN_CELL_NUMBER && fabs(cell->number) >= five_digits &&
                       fabs(cell->number) < exponents_from;
    snprintf(buffer, NUMBER_MOST, whole ? "%.0f" : shown[column->kind].format,
             cell->number * shown[column->kind].scale);
    return buffer;
}

static bool is_used(const Table *table, int column) {
    for (int i = 0; i < table->row.count; i++)
        if (table->row.at[i][column].set) return true;
    return false;
}

static int width_of(Arena *arena, const Table *table, int column) {
    char buffer[NUMBER_MOST];
    const Column *at = &table->column[column];
    size_t width = strlen(at->heading) + strlen(shown[at->kind].unit);
    for (int i = 0; i < table->row.count; i++) {
        size_t length = strlen(cell_shown(arena, at, &table->row.at[i][column], buffer));
        if (length > width) width = length;
    }
    return (int)width;
}

static void print_cell(Text *text, const Column *column, const char *string, int width) {
    sn_text_add(text, column->kind == SN_CELL_TEXT ? " %-*s |" : " %*s |", width, string);
}

static void print_heading(Text *text, const Table *table, const int *width) {
    sn_text_add(text, "|");
    for (int c = 0; c < table->column_count; c++) {
        const Column *column = &table->column[c];
        char heading[160];
        snprintf(heading, sizeof heading, "%s%s", column->heading, shown[column->kind].unit);
        if (width[c]) print_cell(text, column, heading, width[c]);
    }
    sn_text_add(text, "\n|");
    for (int c = 0; c < table->column_count; c++) {
        if (!width[c]) continue;
        for (int i = 0; i < width[c] + 1; i++) sn_text_add(text, "-");
        sn_text_add(text, table->column[c].kind == SN_CELL_TEXT ? "-|" : ":|");
    }
    sn_text_add(text, "\n");
}

static void print_single(Text *text, const Table *table) {
    for (int c = 0; table->row.count && c < table->column_count; c++) {
        char buffer[NUMBER_MOST];
        const Column *column = &table->column[c];
        const Cell *cell = &table->row.at[0][c];
        if (cell->set)
            sn_text_add(text, "%s%s: %s\n", column->heading, shown[column->kind].unit,
                        cell_shown(text->arena, column, cell, buffer));
    }
}

/* `column`: one of the labels. */
static bool is_common(const Table *table, int column) {
    const Cell *first = &table->row.at[0][column];
    if (!first->set) return false;
    for (int i = 1; i < table->row.count; i++) {
        const Cell *cell = &table->row.at[i][column];
        if (!cell->set || cell->number != first->number) return false;
        if (first->text && strcmp(cell->text, first->text) != 0) return false;
    }
    return true;
}

/* One line of what all rows have alike; its columns have no width in the table. */
static void print_common(Text *text, const Table *table, int *width) {
    bool any = false;
    for (int c = 0; c < table->labels; c++) {
        char buffer[NUMBER_MOST];
        const Column *column = &table->column[c];
        if (!is_common(table, c)) continue;
        sn_text_add(text, "%s%s%s: %s", any ? ", " : "", column->heading, shown[column->kind].unit,
                    cell_shown(text->arena, column, &table->row.at[0][c], buffer));
        any = true;
        width[c] = 0;
    }
    if (any) sn_text_add(text, "\n\n");
}

static void print_md(Text *text, const Table *table) {
    if (table->title && table->row.count) sn_text_add(text, "%s\n\n", table->title);
    if (table->single) {
        print_single(text, table);
        return;
    }
    if (!table->row.count) return;
    int *width = SN_ARRAY(text->arena, int, table->column_count), left = 0;
    for (int c = 0; c < table->column_count; c++)
        width[c] = is_used(table, c) ? width_of(text->arena, table, c) : 0;
    print_common(text, table, width);
    for (int c = 0; c < table->column_count; c++) left += width[c];
    if (!left) return;
    print_heading(text, table, width);
    for (int i = 0; i < table->row.count; i++) {
        char buffer[NUMBER_MOST];
        sn_text_add(text, "|");
        for (int c = 0; c < table->column_count; c++)
            if (width[c])
                print_cell(text, &table->column[c],
                           cell_shown(text->arena, &table->column[c], &table->row.at[i][c], buffer),
                           width[c]);
        sn_text_add(text, "\n");
    }
}

/* ---- CSV (RFC 4180) ---- */

static void print_field(Text *text, const char *string) {
    if (!strpbrk(string, ",\"\r\n")) {
        sn_text_add(text, "%s", string);
        return;
    }
    sn_text_add(text, "\"");
    for (; *string; string++) sn_text_add(text, *string == '"' ? "\"\"" : "%c", *string);
    sn_text_add(text, "\"");
}

static void print_csv(Text *text, const Table *table) {
    for (int c = 0; c < table->column_count; c++)
        sn_text_add(text, "%s%s", c ? "," : "", table->column[c].key);
    sn_text_add(text, "\n");
    for (int i = 0; i < table->row.count; i++) {
        for (int c = 0; c < table->column_count; c++) {
            const Cell *cell = &table->row.at[i][c];
            if (c) sn_text_add(text, ",");
            if (!cell->set) continue;
            if (table->column[c].kind == SN_CELL_TEXT)
                print_field(text, cell->text);
            else
                sn_text_add(text, table->column[c].kind == SN_CELL_COUNT ? "%.0f" : "%.9g", cell->number);
        }
        sn_text_add(text, "\n");
    }
}

/* ---- JSON ---- */

static json_t *json_cell(CellKind kind, const Cell *cell) {
    if (kind == SN_CELL_TEXT) return json_string(cell->text);
    if (!isfinite(cell->number)) return json_null(); /* JSON has no other word for it */
    bool whole = kind == SN_CELL_COUNT || kind == SN_CELL_BYTES;
    return whole ? json_integer((json_int_t)cell->number) : json_real(cell->number);
}

/* NULL when there is not enough memory, as for everything here. */
static json_t *json_row(const Table *table, const Cell *row) {
    json_t *object = json_object();
    for (int c = 0; object && c < table->column_count; c++) {
        if (!row[c].set) continue;
        json_t *value = json_cell(table->column[c].kind, &row[c]);
        if (json_object_set_new(object, table->column[c].key, value) == 0) continue;
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *json_table(const Table *table) {
    if (table->single) return table->row.count ? json_row(table, table->row.at[0]) : json_object();
    json_t *array = json_array();
    for (int i = 0; array && i < table->row.count; i++) {
        if (json_array_append_new(array, json_row(table, table->row.at[i])) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static Status print_json(Text *text, const Table *const *table, int count) {
    json_t *root = json_object();
    bool good = root != NULL;
    for (int i = 0; good && i < count; i++)
        good = json_object_set_new(root, table[i]->name, json_table(table[i])) == 0;
    char *string = good ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!string) return sn_fail(SN_NO_MEMORY, "out of memory for a report");
    sn_text_add(text, "%s\n", string);
    free(string);
    return NULL;
}

Status sn_report_print(Text *text, ReportFormat format, const Table *const *table, int count) {
    if (format == SN_REPORT_JSON) return print_json(text, table, count);
    size_t start = text->length;
    for (int i = 0; i < count; i++) {
        if (!table[i]->row.count || (format == SN_REPORT_CSV && table[i]->single)) continue;
        if (text->length > start) sn_text_add(text, "\n");
        if (format == SN_REPORT_CSV)
            print_csv(text, table[i]);
        else
            print_md(text, table[i]);
    }
    return NULL;
}
