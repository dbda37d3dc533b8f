#include "saved_facts.h"
#include "tuning.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

/* The numbers of a target, by name. The table has all that a processor's code may depend on. */
static const struct {
    const char *name;
    size_t offset, size;
} numbers[] = {
#define NUMBER(field)                                                                                        \
    { #field, offsetof(Target, field), sizeof(((Target *)0)->field) }
    NUMBER(vector_bytes),   NUMBER(vector_registers),
    NUMBER(l1_bytes),       NUMBER(l2_bytes),
    NUMBER(stream_bytes),   NUMBER(fetch_bytes),
    NUMBER(dot_percent),    NUMBER(byte_percent),
    NUMBER(matrix_percent), NUMBER(matrix_byte_percent),
    NUMBER(tile_rows),      NUMBER(tile_vectors),
    NUMBER(panel),          NUMBER(sm),
    NUMBER(warp),           NUMBER(max_threads),
    NUMBER(processors),     NUMBER(shared_bytes),
    NUMBER(library),        NUMBER(precision),
    NUMBER(walk_waves),
#undef NUMBER
};
enum { NUMBER_COUNT = sizeof numbers / sizeof *numbers };

static int64_t get_number(const Target *target, int index) {
    const char *at = (const char *)target + numbers[index].offset;
    int narrow;
    int64_t wide;
    if (numbers[index].size == sizeof(bool)) return *(const bool *)at;
    memcpy(&narrow, at, sizeof narrow);
    if (numbers[index].size == sizeof narrow) return narrow;
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static bool set_number(Target *target, int index, int64_t value) {
    char *at = (char *)target + numbers[index].offset;
    int narrow = (int)value;
    if (numbers[index].size == sizeof(bool))
        *(bool *)at = value != 0;
    else if (numbers[index].size == sizeof narrow)
        memcpy(at, &narrow, sizeof narrow);
    else
        memcpy(at, &value, sizeof value);
    return get_number(target, index) == value;
}

/* The choices that the kernels were generated with: the text is generated again when the program is opened. */
static void print_tuning(Text *text, const Tuning *tuning) {
    Text lines = sn_text(text->arena);
    sn_tuning_print(&lines, tuning);
    for (const char *at = sn_text_string(&lines); *at;) {
        size_t length = strcspn(at, "\n");
        sn_text_add(text, "tuning %.*s\n", (int)length, at);
        at += length + (at[length] == '\n');
    }
}

void sn_saved_facts_print(Text *text, const SavedFacts *facts) {
    sn_text_add(text, "sinter %s\nmode %s\nautocast %s\nmachine %s\nrequires %s\ntarget %s\nisa %s\n",
                facts->version, facts->eager ? "eager" : "compiled", sn_autocast_name(facts->autocast),
                facts->machine, facts->requires, facts->target.name, facts->target.isa);
    for (int i = 0; i < NUMBER_COUNT; i++)
        sn_text_add(text, "%s %" PRId64 "\n", numbers[i].name, get_number(&facts->target, i));
    if (facts->target.tuning) print_tuning(text, facts->target.tuning);
    for (int i = 0; i < facts->state_count; i++)
        sn_text_add(text, "state %d %d\n", facts->state[i].input, facts->state[i].output);
    for (int i = 0; i < facts->kernel_count; i++) {
        char hex[33];
        sn_hash_hex(facts->kernel[i], hex);
        sn_text_add(text, "kernel %s\n", hex);
    }
}

/* ---- reading ---- */

typedef struct Reader {
    Arena *arena;
    char *line; /* the first that was not read */
    SavedFacts *facts;
    SN_VEC(sn_State) state;
    SN_VEC(Hash) kernel;
    Text tuning;
} Reader;

static Status malformed(const char *what) {
    return sn_fail(SN_INVALID, "a malformed saved program: %s", what);
}

/* Cuts the next line off; its name, and what stands behind it. "" at the end. */
static const char *next_line(Reader *reader, const char **value) {
    char *line = reader->line;
    reader->line += strcspn(line, "\n");
    if (*reader->line) *reader->line++ = '\0';
    char *space = strchr(line, ' ');
    *value = "";
    if (!space) return line;
    *space = '\0';
    *value = space + 1;
    return line;
}

/* The line that must come next. */
static Status expect(Reader *reader, const char *name, const char **value) {
    return strcmp(next_line(reader, value), name) == 0 ? NULL : malformed(name);
}

static bool read_number(const char *text, int64_t least, int64_t *out) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *out = value;
    return *text && !*end && !errno && value >= least;
}

static bool read_hash(const char *hex, Hash *out) {
    char high[17];
    if (strlen(hex) != 32 || strspn(hex, "0123456789abcdef") != 32) return false;
    memcpy(high, hex, 16);
    high[16] = '\0';
    *out = (Hash){.lo = strtoull(hex + 16, NULL, 16), .hi = strtoull(high, NULL, 16)};
    return true;
}

static Status read_list_line(Reader *reader, const char *name, const char *value) {
    if (strcmp(name, "kernel") == 0) {
        Hash hash;
        if (!read_hash(value, &hash)) return malformed(name);
        sn_push(reader->arena, &reader->kernel, hash);
        return NULL;
    }
    if (strcmp(name, "tuning") == 0) {
        sn_text_add(&reader->tuning, "%s\n", value);
        return NULL;
    }
    char *space = strchr(value, ' ');
    int64_t input, output;
    if (strcmp(name, "state") != 0 || !space) return malformed("a line of an unknown name");
    *space = '\0';
    if (!read_number(value, 0, &input) || !read_number(space + 1, 0, &output) || input > INT32_MAX ||
        output > INT32_MAX)
        return malformed(name);
    sn_push(reader->arena, &reader->state, ((sn_State){(int)input, (int)output}));
    return NULL;
}

static Status read_head(Reader *reader) {
    SavedFacts *facts = reader->facts;
    const char *mode, *autocast;
    TRY(expect(reader, "sinter", &facts->version));
    if (strcmp(facts->version, sn_version()) != 0)
        return sn_fail(SN_INVALID, "saved by Sinter %s, and this is %s: compile it again", facts->version,
                       sn_version());
    TRY(expect(reader, "mode", &mode));
    facts->eager = strcmp(mode, "eager") == 0;
    if (!facts->eager && strcmp(mode, "compiled") != 0) return malformed("mode");
    TRY(expect(reader, "autocast", &autocast));
    if (!sn_autocast_from_name(autocast, &facts->autocast)) return malformed("autocast");
    TRY(expect(reader, "machine", &facts->machine));
    TRY(expect(reader, "requires", &facts->requires));
    TRY(expect(reader, "target", &facts->target.name));
    return expect(reader, "isa", &facts->target.isa);
}

/* What the kernels of a GPU were compiled for stands behind the kind of device in the target's name. */
static Status read_kind(Target *target) {
    bool cuda = strncmp(target->name, "cuda:", 5) == 0;
    target->kind = cuda ? SN_TARGET_CUDA : SN_TARGET_CPU;
    target->architecture = cuda ? target->name + 5 : NULL;
    if (cuda || strcmp(target->name, "cpu") == 0) return NULL;
    return sn_fail(SN_UNSUPPORTED,
                   "a program saved for target \"%s\" is unsupported: this build has cpu and cuda",
                   target->name);
}

static Status read_facts(Reader *reader) {
    SavedFacts *facts = reader->facts;
    TRY(read_head(reader));
    TRY(read_kind(&facts->target));
    for (int i = 0; i < NUMBER_COUNT; i++) {
        const char *value;
        int64_t number;
        TRY(expect(reader, numbers[i].name, &value));
        if (!read_number(value, 0, &number) || !set_number(&facts->target, i, number))
            return malformed(numbers[i].name);
    }
    while (*reader->line) {
        const char *value, *name = next_line(reader, &value);
        TRY(read_list_line(reader, name, value));
    }
    if (reader->tuning.length) {
        Tuning *tuning;
        TRY(sn_tuning_parse(reader->arena, "tuning", sn_text_string(&reader->tuning), &tuning));
        facts->target.tuning = tuning;
    }
    facts->state = reader->state.at;
    facts->state_count = reader->state.count;
    facts->kernel = reader->kernel.at;
    facts->kernel_count = reader->kernel.count;
    return NULL;
}

Status sn_saved_facts_parse(Arena *arena, const void *bytes, size_t size, SavedFacts *out) {
    char *text = sn_arena_alloc(arena, size + 1);
    if (size) memcpy(text, bytes, size);
    if (strlen(text) != size) return malformed("a NUL in its facts");
    *out = (SavedFacts){0};
    Reader reader = {.arena = arena, .line = text, .facts = out, .tuning = sn_text(arena)};
    return read_facts(&reader);
}
