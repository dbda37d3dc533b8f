#include "tuning.h"
#include <stdio.h>
#include <stdlib.h>

/* The kind of machine that an entry is for. */
typedef struct Machine {
    TargetKind kind;
    int64_t
        number[3]; /* CPU: bytes of a vector, vector registers, KiB of L2; CUDA: capability, processors, 0 */
} Machine;

typedef enum EntryKind { ENTRY_FACTS, ENTRY_GEMM, ENTRY_PRODUCT } EntryKind;

typedef struct Entry {
    Machine machine;
    EntryKind kind;
    int line;            /* of the file; 0: none */
    const char *comment; /* behind it; "" */
    /* GEMM */
    GemmKey key;
    GemmChoice choice;
    /* PRODUCT */
    ProductKey product; /* its rows are a power of two */
    ProductWay way;
    /* FACTS */
    int dot_percent, walk_waves;
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

static int by_product(const ProductKey *a, const ProductKey *b) {
    const int64_t left[] = {a->operands, a->tf32, a->result, a->transposed[0], a->transposed[1],
                            a->N,        a->K,    a->batch,  a->rows,          a->with};
    const int64_t right[] = {b->operands, b->tf32, b->result, b->transposed[0], b->transposed[1],
                             b->N,        b->K,    b->batch,  b->rows,          b->with};
    int order = 0;
    for (size_t i = 0; i < sizeof left / sizeof *left && !order; i++) order = by_number(left[i], right[i]);
    return order;
}

static int by_machine(const Machine *a, const Machine *b) {
    int order = by_number(a->kind, b->kind);
    for (int i = 0; i < 3 && !order; i++) order = by_number(a->number[i], b->number[i]);
    return order;
}

static int by_entry(const void *left, const void *right) {
    const Entry *a = left, *b = right;
    int order = by_machine(&a->machine, &b->machine);
    if (!order) order = by_number(a->kind, b->kind);
    if (!order) order = by_product(&a->product, &b->product);
    if (!order) order = by_number(a->key.dtype, b->key.dtype);
    if (!order) order = by_number(a->key.N, b->key.N);
    return order ? order : by_number(a->key.K, b->key.K);
}

static void sort(Tuning *tuning) {
    if (tuning->entry.count) qsort(tuning->entry.at, (size_t)tuning->entry.count, sizeof(Entry), by_entry);
}

static Machine machine_of(const Target *target) {
    if (target->kind == SN_TARGET_CUDA) return (Machine){SN_TARGET_CUDA, {target->sm, target->processors, 0}};
    return (Machine){SN_TARGET_CPU, {target->vector_bytes, target->vector_registers, target->l2_bytes >> 10}};
}

static void print_machine(Text *text, const Machine *machine) {
    const int64_t *number = machine->number;
    if (machine->kind == SN_TARGET_CUDA)
        sn_text_add(text, "cuda/%lld/%lld", (long long)number[0], (long long)number[1]);
    else
        sn_text_add(text, "cpu/%lld/%lld/%lld", (long long)number[0], (long long)number[1],
                    (long long)number[2]);
}

const char *sn_tuning_machine(Arena *arena, const Target *target) {
    Text text = sn_text(arena);
    Machine machine = machine_of(target);
    print_machine(&text, &machine);
    return sn_text_string(&text);
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
    return sn_tuning_gemm_problem((int)entry->machine.number[0], (int)entry->machine.number[1], choice);
}

/* What may go with a product, by its bit. */
static const char *const with_names[] = {"add", "bias",  "relu",  "gelu", "rest",
                                         "aux", "drelu", "dgelu", "sum"};
enum { WITHS = sizeof with_names / sizeof *with_names };

static const char *read_with(const char *text, unsigned *out) {
    *out = 0;
    for (int i = 0; strcmp(text, "none") != 0; i++) {
        size_t length = strcspn(text, "+");
        while (i < WITHS && (strlen(with_names[i]) != length || strncmp(text, with_names[i], length) != 0))
            i++;
        if (i == WITHS)
            return "with= is none, or of add+bias+relu+gelu+rest+aux+drelu+dgelu+sum in this order";
        *out |= 1u << i;
        if (!text[length]) break;
        text += length + 1;
    }
    return NULL;
}

static const char *read_way(const char *text, ProductWay *out) {
    int end = 0;
    *out = (ProductWay){0};
    if (strcmp(text, "kernel") == 0) return NULL;
    out->library = true;
    if (sscanf(text, "library algo=%d%n", &out->proposal, &end) != 1 || text[end])
        return "way= is kernel, or library with algo=N";
    return out->proposal < 0 || out->proposal >= SN_PROPOSALS_MOST ? "algo is 0 to 7" : NULL;
}

static bool in_range(long long extent) {
    return extent >= 1 && extent <= MOST_EXTENT;
}

static const char *read_product(const char *text, Entry *entry) {
    char operands[8], result[8], transposed[3], with[64];
    long long rows, N, K, batch;
    int end = 0;
    ProductKey *key = &entry->product;
    int fields = sscanf(text, "product %7s %7s %2[nt] rows=%lld n=%lld k=%lld batch=%lld with=%63s way=%n",
                        operands, result, transposed, &rows, &N, &K, &batch, with, &end);
    if (fields != 8 || !end || strlen(transposed) != 2)
        return "not 'product TYPE TYPE nn rows=M n=N k=K batch=B with=... way=...'";
    key->tf32 = strcmp(operands, "tf32") == 0;
    const char *type = key->tf32 ? "f32" : operands;
    if (!sn_dtype_from_name(type, strlen(type), &key->operands) ||
        !sn_dtype_from_name(result, strlen(result), &key->result))
        return "no such element type";
    if (!in_range(rows) || !in_range(N) || !in_range(K) || !in_range(batch))
        return "rows, n, k and batch are 1 to 2^30";
    if (rows & (rows - 1)) return "rows are a power of two";
    for (int i = 0; i < 2; i++) key->transposed[i] = transposed[i] == 't';
    key->rows = rows, key->N = N, key->K = K, key->batch = batch;
    entry->kind = ENTRY_PRODUCT;
    const char *problem = read_with(with, &key->with);
    return problem ? problem : read_way(text + end, &entry->way);
}

static const char *read_gpu_facts(const char *text, Entry *entry) {
    int end = 0;
    if (sscanf(text, "facts walk_waves=%d%n", &entry->walk_waves, &end) != 1 || text[end])
        return "not 'facts walk_waves=W'";
    if (entry->walk_waves < 0 || entry->walk_waves > 1000) return "a fact out of range";
    entry->kind = ENTRY_FACTS;
    return NULL;
}

static const char *read_facts(const char *text, Entry *entry) {
    long long stream;
    int end = 0;
    if (entry->machine.kind == SN_TARGET_CUDA) return read_gpu_facts(text, entry);
    int fields = sscanf(text, "facts dot_percent=%d stream_bytes=%lld%n", &entry->dot_percent, &stream, &end);
    if (fields != 2 || text[end]) return "not 'facts dot_percent=P stream_bytes=B'";
    if (entry->dot_percent < 0 || entry->dot_percent > 1000 || stream < 0) return "a fact out of range";
    entry->kind = ENTRY_FACTS;
    entry->stream_bytes = stream;
    return NULL;
}

/* The kind of machine and a blank: where the rest begins, or NULL. */
static const char *read_machine(const char *text, Machine *out) {
    int first, second, end = 0;
    long long third = 0;
    *out = (Machine){.kind = strncmp(text, "cuda/", 5) == 0 ? SN_TARGET_CUDA : SN_TARGET_CPU};
    int fields = out->kind == SN_TARGET_CUDA
                     ? 1 + sscanf(text, "cuda/%d/%d %n", &first, &second, &end)
                     : sscanf(text, "cpu/%d/%d/%lld %n", &first, &second, &third, &end);
    if (fields != 3 || !end || text[end - 1] != ' ') return NULL;
    out->number[0] = first, out->number[1] = second, out->number[2] = third;
    return text + end;
}

/* NULL, or what is wrong with a line without its comment. */
static const char *read_entry(const char *text, Entry *entry) {
    text = read_machine(text, &entry->machine);
    if (!text) return "it does not begin with 'cpu/BYTES/REGISTERS/KIB ' or 'cuda/CAPABILITY/PROCESSORS '";
    bool gpu = entry->machine.kind == SN_TARGET_CUDA;
    if (strncmp(text, "facts ", 6) == 0) return read_facts(text, entry);
    if (gpu)
        return strncmp(text, "product ", 8) == 0 ? read_product(text, entry)
                                                 : "neither 'product' nor 'facts'";
    if (strncmp(text, "gemm ", 5) == 0) return read_gemm(text, entry);
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

void sn_tuning_product_print(Text *text, const ProductKey *key) {
    const char *separator = "";
    sn_text_add(text, "%s %s %c%c rows=%lld n=%lld k=%lld batch=%lld with=",
                key->tf32 ? "tf32" : sn_dtype_name(key->operands), sn_dtype_name(key->result),
                key->transposed[0] ? 't' : 'n', key->transposed[1] ? 't' : 'n', (long long)key->rows,
                (long long)key->N, (long long)key->K, (long long)key->batch);
    for (int i = 0; i < WITHS; i++) {
        if (!(key->with >> i & 1)) continue;
        sn_text_add(text, "%s%s", separator, with_names[i]);
        separator = "+";
    }
    if (!key->with) sn_text_add(text, "none");
}

static void print_choice(Text *text, const Entry *entry) {
    const GemmChoice *choice = &entry->choice;
    if (entry->kind == ENTRY_FACTS && entry->machine.kind == SN_TARGET_CUDA) {
        sn_text_add(text, "facts walk_waves=%d", entry->walk_waves);
    } else if (entry->kind == ENTRY_FACTS) {
        sn_text_add(text, "facts dot_percent=%d stream_bytes=%lld", entry->dot_percent,
                    (long long)entry->stream_bytes);
    } else if (entry->kind == ENTRY_GEMM) {
        sn_text_add(text, "gemm %s n=%lld k=%lld tile=%dx%d heights=%d piece=%d",
                    sn_dtype_name(entry->key.dtype), (long long)entry->key.N, (long long)entry->key.K,
                    choice->tile.rows, choice->tile.vectors, choice->heights, choice->piece);
    } else {
        sn_text_add(text, "product ");
        sn_tuning_product_print(text, &entry->product);
        sn_text_add(text, entry->way.library ? " way=library algo=%d" : " way=kernel", entry->way.proposal);
    }
}

void sn_tuning_print(Text *text, const Tuning *tuning) {
    for (int i = 0; i < tuning->entry.count; i++) {
        const Entry *entry = &tuning->entry.at[i];
        print_machine(text, &entry->machine);
        sn_text_add(text, " ");
        print_choice(text, entry);
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
    target->walk_waves = entry->walk_waves;
}

static void drop(Tuning *tuning, const Entry *like) {
    Entry *there = find(tuning, like);
    if (!there) return;
    *there = tuning->entry.at[--tuning->entry.count];
    sort(tuning);
}

static void put(Arena *arena, Tuning *tuning, Entry *entry, const char *comment) {
    entry->comment = sn_arena_string(arena, comment);
    drop(tuning, entry);
    sn_push(arena, &tuning->entry, *entry);
    sort(tuning);
}

void sn_tuning_drop_gemm(Tuning *tuning, const Target *target, GemmKey key) {
    Entry like = gemm_entry(target, key);
    drop(tuning, &like);
}

void sn_tuning_set_gemm(Arena *arena, Tuning *tuning, const Target *target, GemmKey key, GemmChoice choice,
                        const char *comment) {
    Entry entry = gemm_entry(target, key);
    entry.choice = choice;
    put(arena, tuning, &entry, comment);
}

static Entry product_entry(const Target *target, const ProductKey *key) {
    Entry entry = {.machine = machine_of(target), .kind = ENTRY_PRODUCT, .product = *key};
    int64_t rows = 1;
    while (rows < key->rows && rows < MOST_EXTENT) rows *= 2;
    entry.product.rows = rows;
    return entry;
}

void sn_tuning_drop_product(Tuning *tuning, const Target *target, const ProductKey *key) {
    Entry like = product_entry(target, key);
    drop(tuning, &like);
}

void sn_tuning_set_product(Arena *arena, Tuning *tuning, const Target *target, const ProductKey *key,
                           ProductWay way, const char *comment) {
    Entry entry = product_entry(target, key);
    entry.way = way;
    put(arena, tuning, &entry, comment);
}

bool sn_tuning_product(const Target *target, const ProductKey *key, ProductWay *way) {
    if (!target->tuning) return false;
    Entry like = product_entry(target, key);
    const Entry *entry = find(target->tuning, &like);
    if (entry) *way = entry->way;
    return entry != NULL;
}

bool sn_tuning_gemm(const Target *target, DType dtype, Dim N, Dim K, GemmChoice *choice) {
    GemmKey key = {.dtype = dtype};
    if (!target->tuning || !sn_dim_is(N, &key.N) || !sn_dim_is(K, &key.K)) return false;
    Entry like = gemm_entry(target, key);
    const Entry *entry = find(target->tuning, &like);
    if (entry) *choice = entry->choice;
    return entry != NULL;
}

static bool may_be(Dim dim, int64_t extent) {
    int64_t known;
    return !sn_dim_is(dim, &known) || known == extent;
}

bool sn_tuning_wants_kernel(const Target *target, Dim N, Dim K) {
    const Machine machine = machine_of(target);
    for (int i = 0; target->tuning && i < target->tuning->entry.count; i++) {
        const Entry *entry = &target->tuning->entry.at[i];
        if (entry->kind == ENTRY_PRODUCT && !entry->way.library &&
            by_machine(&entry->machine, &machine) == 0 && may_be(N, entry->product.N) &&
            may_be(K, entry->product.K))
            return true;
    }
    return false;
}

int64_t sn_tuning_panel(const Target *target, DType dtype, Dim N, Dim K) {
    GemmChoice choice;
    if (!sn_tuning_gemm(target, dtype, N, K, &choice)) {
        int64_t columns = 0, depth = 0;
        (void)sn_dim_is(N, &columns);
        (void)sn_dim_is(K, &depth);
        return dtype == SN_F32 ? sn_target_panel(target, columns, depth) : target->panel;
    }
    return (int64_t)choice.tile.vectors * (target->vector_bytes / 4);
}

bool sn_tuning_gemm_key(const Node *contract, GemmKey *out) {
    const AttrContract *attr = contract->attr;
    Type type = contract->input[1]->type;
    out->dtype = type.dtype;
    return attr->packed && !attr->group && !attr->halves && sn_dim_is(attr->columns, &out->N) &&
           sn_dim_is(type.dim[type.rank - 2], &out->K);
}
