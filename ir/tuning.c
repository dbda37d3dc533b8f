#include "tuning.h"
#include <stdio.h>
#include <stdlib.h>

/* The kind of machine that an entry is for. */
typedef struct Machine {
    int vector_bytes, vector_registers;
    int64_t l2_kib;
} Machine;

typedef enum EntryKind { ENTRY_FACTS, ENTRY_GEMM } EntryKind;

typedef struct Entry {
    Machine machine;
    EntryKind kind;
    int line;            /* of the file; 0: none */
    const char *comment; /* behind it; "" */
    /* GEMM */
    GemmKey key;
    GemmChoice choice;
    /* FACTS */
    int dot_percent;
    int64_t stream_bytes;
} Entry;

struct Tuning {
    SN_VEC(Entry) entry;
};

enum {
    LEAST_PIECE = 32,
    MOST_PIECE = 4096,
    MOST_HEIGHTS = 64,
    MOST_EXTENT = 1 << 30,
    SUM_COLUMNS = 1024,    /* about what a block's sums are wide: they lie beside its rows of A */
    STACK_BYTES = 1 << 20, /* of a kernel */
};

Tuning *sn_tuning_new(Arena *arena) {
    return SN_NEW(arena, Tuning);
}

/* ---- order ---- */

static int by_number(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int by_entry(const void *left, const void *right) {
    const Entry *a = left, *b = right;
    int order = by_number(a->machine.vector_bytes, b->machine.vector_bytes);
    if (!order) order = by_number(a->machine.vector_registers, b->machine.vector_registers);
    if (!order) order = by_number(a->machine.l2_kib, b->machine.l2_kib);
    if (!order) order = by_number(a->kind, b->kind);
    if (!order) order = by_number(a->key.dtype, b->key.dtype);
    if (!order) order = by_number(a->key.N, b->key.N);
    return order ? order : by_number(a->key.K, b->key.K);
}

static void sort(Tuning *tuning) {
    if (tuning->entry.count) qsort(tuning->entry.at, (size_t)tuning->entry.count, sizeof(Entry), by_entry);
}

static Machine machine_of(const Target *target) {
    return (Machine){target->vector_bytes, target->vector_registers, target->l2_bytes >> 10};
}

const char *sn_tuning_machine(Arena *arena, const Target *target) {
    Machine machine = machine_of(target);
    return sn_arena_printf(arena, "cpu/%d/%d/%lld", machine.vector_bytes, machine.vector_registers,
                           (long long)machine.l2_kib);
}

static Entry *find(const Tuning *tuning, const Entry *like) {
    for (int i = 0; i < tuning->entry.count; i++)
        if (by_entry(&tuning->entry.at[i], like) == 0) return &tuning->entry.at[i];
    return NULL;
}

static Entry gemm_entry(const Target *target, GemmKey key) {
    return (Entry){.machine = machine_of(target), .kind = ENTRY_GEMM, .key = key, .comment = ""};
}

/* ---- text ---- */

const char *sn_tuning_gemm_problem(int vector_bytes, int vector_registers, const GemmChoice *choice) {
    int64_t rows = choice->tile.rows, vectors = choice->tile.vectors, height = rows * choice->heights;
    if (rows < 1 || rows > 16 || vectors < 1 || vectors > 4)
        return "a tile has 1 to 16 rows of 1 to 4 vectors";
    if (rows * vectors + vectors + 1 > vector_registers)
        return "the tile, a row of vectors and one element are more than the registers hold";
    if (choice->heights < 1 || choice->heights > MOST_HEIGHTS) return "heights are 1 to 64";
    if (choice->piece < LEAST_PIECE || choice->piece > MOST_PIECE || choice->piece % LEAST_PIECE)
        return "a piece is a multiple of 32, at most 4096";
    if (height * (choice->piece + SUM_COLUMNS) * (int64_t)sizeof(float) > STACK_BYTES)
        return "a block of so many rows and so long a piece takes more than a megabyte";
    return vector_bytes == 16 || vector_bytes == 32 || vector_bytes == 64 ? NULL
                                                                          : "vectors have 16, 32 or 64 bytes";
}

static const char *read_gemm(const char *text, Entry *entry) {
    char dtype[16];
    long long N, K;
    int end = 0;
    GemmChoice *choice = &entry->choice;
    int fields = sscanf(text, "gemm %15s n=%lld k=%lld tile=%dx%d heights=%d piece=%d%n", dtype, &N, &K,
                        &choice->tile.rows, &choice->tile.vectors, &choice->heights, &choice->piece, &end);
    if (fields != 7 || text[end]) return "not 'gemm DTYPE n=N k=K tile=RxV heights=H piece=P'";
    if (!sn_dtype_from_name(dtype, strlen(dtype), &entry->key.dtype)) return "no such element type";
    if (N < 1 || N > MOST_EXTENT || K < 1 || K > MOST_EXTENT) return "n and k are 1 to 2^30";
    entry->kind = ENTRY_GEMM;
    entry->key.N = N, entry->key.K = K;
    return sn_tuning_gemm_problem(entry->machine.vector_bytes, entry->machine.vector_registers, choice);
}

static const char *read_facts(const char *text, Entry *entry) {
    long long stream;
    int end = 0;
    int fields = sscanf(text, "facts dot_percent=%d stream_bytes=%lld%n", &entry->dot_percent, &stream, &end);
    if (fields != 2 || text[end]) return "not 'facts dot_percent=P stream_bytes=B'";
    if (entry->dot_percent < 0 || entry->dot_percent > 1000 || stream < 0) return "a fact out of range";
    entry->kind = ENTRY_FACTS;
    entry->stream_bytes = stream;
    return NULL;
}

/* NULL, or what is wrong with a line without its comment. */
static const char *read_entry(const char *text, Entry *entry) {
    long long kib;
    int end = 0;
    Machine *machine = &entry->machine;
    int fields =
        sscanf(text, "cpu/%d/%d/%lld %n", &machine->vector_bytes, &machine->vector_registers, &kib, &end);
    if (fields != 3 || !end || text[end - 1] != ' ')
        return "it does not begin with 'cpu/BYTES/REGISTERS/KIB '";
    machine->l2_kib = kib;
    if (strncmp(text + end, "gemm ", 5) == 0) return read_gemm(text + end, entry);
    if (strncmp(text + end, "facts ", 6) == 0) return read_facts(text + end, entry);
    return "neither 'gemm' nor 'facts'";
}

/* The line's first `length` characters without blanks at its end. */
static char *trimmed(Arena *arena, const char *line, size_t length) {
    while (length && strchr(" \t\r", line[length - 1])) length--;
    return sn_arena_printf(arena, "%.*s", (int)length, line);
}

static Status read_line(Arena *arena, const char *file, int number, const char *line, size_t length,
                        Tuning *tuning) {
    const char *hash = memchr(line, '#', length);
    size_t before = hash ? (size_t)(hash - line) : length;
    const char *text = trimmed(arena, line, before);
    if (!*text) return NULL;
    Entry entry = {.line = number, .comment = ""};
    if (hash) {
        const char *start = hash + 1 + strspn(hash + 1, " ");
        entry.comment = start < line + length ? trimmed(arena, start, length - (size_t)(start - line)) : "";
    }
    const char *problem = read_entry(text, &entry);
    if (problem) return sn_fail(SN_INVALID, "%s:%d: %s", file, number, problem);
    const Entry *there = find(tuning, &entry);
    if (there) return sn_fail(SN_INVALID, "%s:%d: the same as line %d", file, number, there->line);
    sn_push(arena, &tuning->entry, entry);
    return NULL;
}

Status sn_tuning_parse(Arena *arena, const char *file, const char *text, Tuning **out) {
    Tuning *tuning = sn_tuning_new(arena);
    for (int number = 1; *text; number++) {
        size_t length = strcspn(text, "\n");
        TRY(read_line(arena, file, number, text, length, tuning));
        text += length + (text[length] == '\n');
    }
    sort(tuning);
    *out = tuning;
    return NULL;
}

void sn_tuning_print(Text *text, const Tuning *tuning) {
    for (int i = 0; i < tuning->entry.count; i++) {
        const Entry *entry = &tuning->entry.at[i];
        const GemmChoice *choice = &entry->choice;
        sn_text_add(text, "cpu/%d/%d/%lld ", entry->machine.vector_bytes, entry->machine.vector_registers,
                    (long long)entry->machine.l2_kib);
        if (entry->kind == ENTRY_FACTS)
            sn_text_add(text, "facts dot_percent=%d stream_bytes=%lld", entry->dot_percent,
                        (long long)entry->stream_bytes);
        else
            sn_text_add(text, "gemm %s n=%lld k=%lld tile=%dx%d heights=%d piece=%d",
                        sn_dtype_name(entry->key.dtype), (long long)entry->key.N, (long long)entry->key.K,
                        choice->tile.rows, choice->tile.vectors, choice->heights, choice->piece);
        sn_text_add(text, *entry->comment ? " # %s\n" : "%s\n", entry->comment);
    }
}

/* ---- choices ---- */

void sn_tuning_apply(Target *target, const Tuning *tuning) {
    target->tuning = tuning;
    Entry like = {.machine = machine_of(target), .kind = ENTRY_FACTS};
    const Entry *entry = tuning ? find(tuning, &like) : NULL;
    if (!entry) return;
    target->dot_percent = entry->dot_percent;
    target->stream_bytes = entry->stream_bytes;
}

void sn_tuning_drop_gemm(Tuning *tuning, const Target *target, GemmKey key) {
    Entry like = gemm_entry(target, key);
    Entry *there = find(tuning, &like);
    if (!there) return;
    *there = tuning->entry.at[--tuning->entry.count];
    sort(tuning);
}

void sn_tuning_set_gemm(Arena *arena, Tuning *tuning, const Target *target, GemmKey key, GemmChoice choice,
                        const char *comment) {
    Entry entry = gemm_entry(target, key);
    entry.choice = choice;
    entry.comment = sn_arena_string(arena, comment);
    sn_tuning_drop_gemm(tuning, target, key);
    sn_push(arena, &tuning->entry, entry);
    sort(tuning);
}

bool sn_tuning_gemm(const Target *target, DType dtype, Dim N, Dim K, GemmChoice *choice) {
    GemmKey key = {.dtype = dtype};
    if (!target->tuning || !sn_dim_is(N, &key.N) || !sn_dim_is(K, &key.K)) return false;
    Entry like = gemm_entry(target, key);
    const Entry *entry = find(target->tuning, &like);
    if (entry) *choice = entry->choice;
    return entry != NULL;
}

int64_t sn_tuning_panel(const Target *target, DType dtype, Dim N, Dim K) {
    GemmChoice choice;
    if (!sn_tuning_gemm(target, dtype, N, K, &choice)) return target->panel;
    return (int64_t)choice.tile.vectors * (target->vector_bytes / 4);
}

bool sn_tuning_gemm_key(const Node *contract, GemmKey *out) {
    const AttrContract *attr = contract->attr;
    Type type = contract->input[1]->type;
    out->dtype = type.dtype;
    return attr->packed && sn_dim_is(attr->columns, &out->N) && sn_dim_is(type.dim[type.rank - 2], &out->K);
}
