#include "inputs.h"
#include "input_sizes.h"
#include "load.h"
#include "number.h"
#include "plan.h"
#include <errno.h>
#include <stdlib.h>

enum { USES_MOST = 10000 };

/* ---- what the user wrote ---- */

static const char *split_name(Arena *arena, const char *text, const char **rest) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) return NULL;
    char *name = sn_arena_string(arena, text);
    name[equals - text] = '\0';
    *rest = equals + 1;
    return name;
}

Status sn_shape_spec_parse(Arena *arena, const char *text, ShapeSpec *out) {
    *out = (ShapeSpec){0};
    const char *at;
    out->name = split_name(arena, text, &at);
    if (!out->name) return sn_fail(SN_INVALID, "shape '%s' is not NAME=4x256", text);
    while (*at) {
        char *end;
        errno = 0;
        long long extent = strtoll(at, &end, 10);
        bool more = *end == 'x' && end[1];
        if (*at < '0' || *at > '9' || errno || (*end && !more))
            return sn_fail(SN_INVALID, "shape '%s' is not NAME=4x256", text);
        if (out->rank == SN_MAX_RANK) return sn_fail(SN_INVALID, "shape '%s' has too many extents", text);
        out->extent[out->rank++] = extent;
        at = end + more;
    }
    return NULL;
}

Status sn_input_spec_parse(Arena *arena, const char *text, InputSpec *out) {
    *out = (InputSpec){0};
    const char *value = "";
    out->name = split_name(arena, text, &value);
    bool good = out->name != NULL;
    if (good && *value == '@') {
        out->file = value + 1;
        good = *out->file;
    } else if (good && strncmp(value, "random:", 7) == 0) {
        char *end;
        errno = 0;
        out->seed = strtoull(value + 7, &end, 10);
        good = value[7] >= '0' && value[7] <= '9' && !*end && !errno;
    } else {
        good = good && strcmp(value, "random") == 0;
    }
    return good ? NULL
                : sn_fail(SN_INVALID, "input '%s' is not NAME=@FILE.npy, NAME=@FILE.pb or NAME=random[:SEED]",
                          text);
}

/* ---- symbols ---- */

typedef struct Maker {
    Arena *arena;
    const Graph *graph;
    int count;
    const InputSpec **spec; /* per input; NULL: none */
    Tensor **file;          /* per input; NULL: none */
    bool *state;            /* per input */
    int64_t *symbol;        /* per symbol; SN_SIZE_UNBOUND */
    const Inputs *before;   /* of the run before, or NULL */
} Maker;

static const Value *param(const Maker *maker, int index) {
    return maker->graph->body->param.at[index];
}

static const char *name_of(const Maker *maker, int index) {
    return param(maker, index)->name ? param(maker, index)->name : "";
}

static int find_input(const Maker *maker, const char *name) {
    for (int i = 0; i < maker->count; i++)
        if (strcmp(name_of(maker, i), name) == 0) return i;
    return -1;
}

static int find_symbol(const Maker *maker, const char *name) {
    for (int s = 0; s < sn_dims_symbol_count(maker->graph->dims); s++)
        if (strcmp(sn_dims_symbol_name(maker->graph->dims, s), name) == 0) return s;
    return -1;
}

static Status no_such_input(const Maker *maker, const char *name) {
    Text names = sn_text(maker->arena);
    for (int i = 0; i < maker->count; i++) {
        sn_text_add(&names, i ? ", " : "");
        sn_text_quote(&names, name_of(maker, i), strlen(name_of(maker, i)));
    }
    return sn_fail(SN_INVALID, "the model has no input '%s'; it has %s", name, sn_text_string(&names));
}

static Status bind_symbol(Maker *maker, int symbol, int64_t value) {
    if (maker->symbol[symbol] != SN_SIZE_UNBOUND && maker->symbol[symbol] != value)
        return sn_fail(SN_INVALID, "the size '%s' is both %lld and %lld",
                       sn_dims_symbol_name(maker->graph->dims, symbol), (long long)maker->symbol[symbol],
                       (long long)value);
    maker->symbol[symbol] = value;
    return NULL;
}

/* Extents that are expressions are left alone: make_tensor and the run check them. */
static Status bind_shape(Maker *maker, int index, int rank, const int64_t *extent) {
    Type type = param(maker, index)->type;
    if (rank != type.rank)
        return sn_fail(SN_INVALID, "input '%s' has rank %d, not %d", name_of(maker, index), type.rank, rank);
    for (int i = 0; i < rank; i++) {
        int64_t fixed;
        if (type.dim[i]->kind == SN_DIM_SYMBOL)
            TRY(sn_status_prefix(bind_symbol(maker, (int)type.dim[i]->value, extent[i]),
                                 "input '%s', axis %d", name_of(maker, index), i));
        else if (sn_dim_is(type.dim[i], &fixed) && fixed != extent[i])
            return sn_fail(SN_INVALID, "input '%s', axis %d: the model fixes it to %lld, not %lld",
                           name_of(maker, index), i, (long long)fixed, (long long)extent[i]);
    }
    return NULL;
}

/* Whether the run before has what the input's file says: it is not read again. */
static bool is_read(const Maker *maker, int index) {
    const char *file = maker->before ? maker->before->file[index] : NULL;
    return file && maker->spec[index] && maker->spec[index]->file &&
           strcmp(file, maker->spec[index]->file) == 0;
}

static Status bind_files(Maker *maker) {
    for (int i = 0; i < maker->count; i++) {
        if (maker->file[i])
            TRY(bind_shape(maker, i, maker->file[i]->rank, maker->file[i]->extent));
        else if (!maker->state[i] && is_read(maker, i))
            TRY(bind_shape(maker, i, maker->before->tensor[i].rank, maker->before->tensor[i].extent));
    }
    return NULL;
}

static Status bind_shapes(Maker *maker, const InputRequest *request) {
    for (int i = 0; i < request->shape_count; i++) {
        const ShapeSpec *shape = &request->shape[i];
        int input = find_input(maker, shape->name), symbol = find_symbol(maker, shape->name);
        if (input >= 0)
            TRY(bind_shape(maker, input, shape->rank, shape->extent));
        else if (symbol >= 0 && shape->rank == 1)
            TRY(bind_symbol(maker, symbol, shape->extent[0]));
        else
            return no_such_input(maker, shape->name);
    }
    return NULL;
}

/* ---- values ---- */

/* What an integer input is used for. */
typedef struct Uses {
    const int64_t *symbol; /* NULL: only fixed extents are known */
    int budget;            /* uses still looked at: a hostile graph has more paths than can be walked */
    int64_t rows;          /* of the smallest table that it indexes; 0: none */
} Uses;

static void add_table(Uses *uses, Type table, int begin, int end) {
    for (int axis = begin; axis < end; axis++) {
        int64_t extent;
        bool known = sn_dim_is(table.dim[axis], &extent);
        if (!known && uses->symbol) {
            Status status = sn_dim_eval(table.dim[axis], uses->symbol, NULL, &extent);
            if (status) extent = 1;
            sn_error_free(status);
            known = true;
        }
        if (known && (!uses->rows || extent < uses->rows)) uses->rows = extent > 0 ? extent : 1;
    }
}

static void find_tables(Uses *uses, const Value *value);

/* Out of a cluster that hands the value on. */
static void leave_region(Uses *uses, const Value *value) {
    const Region *region = value->region;
    for (int i = 0; region->owner && i < region->result.count; i++)
        if (region->result.at[i] == value) find_tables(uses, region->owner->output[i]);
}

static void enter_cluster(Uses *uses, const Node *cluster, const Value *value) {
    for (int i = 0; i < cluster->input_count; i++)
        if (cluster->input[i] == value) find_tables(uses, cluster->body->param.at[i]);
}

/* Through what moves, casts or chooses the value, to every gather. */
static void find_tables(Uses *uses, const Value *value) {
    for (int i = 0; i < value->users.count && uses->budget > 0; i++) {
        const Node *node = value->users.at[i];
        uses->budget--;
        if (!node) leave_region(uses, value);
        if (node && node->body) enter_cluster(uses, node, value);
        if (!node) continue;
        bool second = node->input_count > 1 && node->input[1] == value;
        if (second && (node->op == SN_OP_GATHER || node->op == SN_OP_GATHER_ELEMENTS)) {
            int axis = ((const AttrAxis *)node->attr)->axis;
            add_table(uses, node->input[0]->type, axis, axis + 1);
        } else if (second && node->op == SN_OP_GATHER_ND) {
            add_table(uses, node->input[0]->type, 0, node->input[0]->type.rank);
        } else if (second && node->op == SN_OP_CROSS_ENTROPY) {
            Type scores = node->input[0]->type; /* labels are among their classes */
            add_table(uses, scores, scores.rank - 1, scores.rank);
        } else if (sn_op(node->op)->class == SN_CLASS_MOVE || node->op == SN_OP_CAST ||
                   (node->op == SN_OP_WHERE && value->type.dtype != SN_BOOL)) {
            find_tables(uses, node->output[0]);
        }
    }
}

int64_t sn_inputs_table_rows(const Graph *graph, int input, const int64_t *symbol) {
    Uses uses = {.symbol = symbol, .budget = USES_MOST};
    const Value *value = graph->body->param.at[input];
    if (sn_dtype_is_int(value->type.dtype)) find_tables(&uses, value);
    return uses.rows;
}

static void fill(const Maker *maker, int index, uint64_t seed, int64_t count, void *data) {
    const Value *value = param(maker, index);
    DType dtype = value->type.dtype;
    /* Inputs of one seed differ. */
    uint64_t stream = sn_hash_u64(sn_hash_u64((Hash){0}, seed), (uint64_t)index).lo;
    int64_t rows = sn_inputs_table_rows(maker->graph, index, maker->symbol);
    for (int64_t i = 0; i < count; i++) {
        if (sn_dtype_is_float(dtype))
            sn_element_set(dtype, data, i, sn_random_normal(stream, (uint64_t)i));
        else
            sn_element_set_int(dtype, data, i,
                               rows ? (int64_t)(sn_random_uniform(stream, (uint64_t)i) * (double)rows) : 1);
    }
}

static Status make_tensor(const Maker *maker, int index, sn_Tensor *out) {
    Type type = param(maker, index)->type;
    int64_t *extent = SN_ARRAY(maker->arena, int64_t, type.rank);
    int64_t count = 1, bytes;
    const Tensor *file = maker->file[index];
    for (int i = 0; i < type.rank; i++) {
        TRY(sn_dim_eval(type.dim[i], maker->symbol, NULL, &extent[i]));
        if (file && file->extent[i] != extent[i])
            return sn_fail(
                SN_INVALID,
                "input '%s', axis %d: the file has %lld elements, and the other sizes ask for %lld",
                name_of(maker, index), i, (long long)file->extent[i], (long long)extent[i]);
        if (extent[i] < 0 || !sn_mul_i64(count, extent[i], &count))
            return sn_fail(SN_INVALID, "input '%s': axis %d cannot have %lld elements", name_of(maker, index),
                           i, (long long)extent[i]);
    }
    if (!sn_mul_i64(count, sn_dtype_bytes(type.dtype), &bytes))
        return sn_fail(SN_INVALID, "input '%s' is too large", name_of(maker, index));
    void *data = malloc((size_t)bytes + 1);
    if (!data)
        return sn_fail(SN_NO_MEMORY, "out of memory for %lld bytes of input '%s'", (long long)bytes,
                       name_of(maker, index));
    sn_arena_defer(maker->arena, free, data);
    *out = (sn_Tensor){sn_dtype_onnx(type.dtype), type.rank, extent, data};
    if (file)
        sn_tensor_copy(file, 0, file->count, data);
    else if (maker->state[index] && !maker->spec[index])
        memset(data, 0, (size_t)bytes);
    else
        fill(maker, index, maker->spec[index] ? maker->spec[index]->seed : 0, count, data);
    return NULL;
}

static Status read_file(Maker *maker, int index) {
    const InputSpec *spec = maker->spec[index];
    if (!spec || !spec->file) return NULL;
    TRY(sn_load_tensor(maker->arena, spec->file, &maker->file[index], NULL));
    DType dtype = param(maker, index)->type.dtype;
    if (maker->file[index]->dtype == dtype) return NULL;
    return sn_fail(SN_INVALID, "%s: its elements are %s, and input '%s' is %s", spec->file,
                   sn_dtype_name(maker->file[index]->dtype), spec->name, sn_dtype_name(dtype));
}

static Status read_specs(Maker *maker, const InputRequest *request) {
    for (int i = 0; i < request->input_count; i++) {
        const InputSpec *spec = &request->input[i];
        int at = find_input(maker, spec->name);
        if (at < 0) return no_such_input(maker, spec->name);
        if (maker->spec[at]) return sn_fail(SN_INVALID, "input '%s' is given twice", spec->name);
        maker->spec[at] = spec;
        /* What a state was given is the first run's. */
        if (!(maker->before && maker->state[at]) && !is_read(maker, at)) TRY(read_file(maker, at));
    }
    return NULL;
}

/* With no symbol bound. */
static Status start(Arena *arena, const Graph *graph, const InputRequest *request, const Inputs *before,
                    Maker *maker) {
    int count = graph->body->param.count - sn_graph_hidden_inputs(graph),
        symbols = sn_dims_symbol_count(graph->dims);
    *maker = (Maker){.arena = arena,
                     .graph = graph,
                     .count = count,
                     .spec = SN_ARRAY(arena, const InputSpec *, count),
                     .file = SN_ARRAY(arena, Tensor *, count),
                     .state = SN_ARRAY(arena, bool, count),
                     .symbol = SN_ARRAY(arena, int64_t, symbols),
                     .before = before};
    for (int s = 0; s < symbols; s++) maker->symbol[s] = SN_SIZE_UNBOUND;
    for (int i = 0; i < request->state_count; i++) maker->state[request->state[i].input] = true;
    return read_specs(maker, request);
}

static const char **files_of(const Maker *maker) {
    const char **file = SN_ARRAY(maker->arena, const char *, maker->count);
    for (int i = 0; i < maker->count; i++) file[i] = maker->spec[i] ? maker->spec[i]->file : NULL;
    return file;
}

static InputSizes sizes_of(const Maker *maker) {
    return (InputSizes){maker->arena, maker->graph, maker->count, maker->state, maker->symbol};
}

Status sn_inputs_make(Arena *arena, const Graph *graph, const InputRequest *request, Inputs *out) {
    Maker maker;
    TRY(start(arena, graph, request, NULL, &maker));
    TRY(bind_files(&maker));
    TRY(bind_shapes(&maker, request));
    InputSizes sizes = sizes_of(&maker);
    *out = (Inputs){.count = maker.count,
                    .tensor = SN_ARRAY(arena, sn_Tensor, maker.count),
                    .file = files_of(&maker),
                    .symbol = maker.symbol,
                    .chosen = sn_input_sizes_choose(&sizes)};
    for (int i = 0; i < maker.count; i++) TRY(make_tensor(&maker, i, &out->tensor[i]));
    return NULL;
}

/* Whether an input that no file gives, or one that is read, is as it was. */
static bool stays(const Maker *maker, int index, const sn_Tensor *before) {
    Type type = param(maker, index)->type;
    bool same = !maker->file[index];
    for (int i = 0; i < type.rank && same; i++) {
        int64_t extent;
        Status status = sn_dim_eval(type.dim[i], maker->symbol, NULL, &extent);
        same = !status && extent == before->extent[i];
        sn_error_free(status);
    }
    return same;
}

Status sn_inputs_follow(Arena *arena, const Graph *graph, const InputRequest *request, const Inputs *before,
                        const int64_t *const *extent, Inputs *out) {
    Maker maker;
    TRY(start(arena, graph, request, before, &maker));
    for (int i = 0; i < request->state_count; i++) {
        int input = request->state[i].input;
        TRY(bind_shape(&maker, input, param(&maker, input)->type.rank, extent[i]));
    }
    TRY(bind_files(&maker));
    InputSizes sizes = sizes_of(&maker);
    sn_input_sizes_follow(&sizes, before->symbol);
    *out = (Inputs){.count = maker.count,
                    .tensor = SN_ARRAY(arena, sn_Tensor, maker.count),
                    .file = files_of(&maker),
                    .symbol = maker.symbol,
                    .chosen = ""};
    for (int i = 0; i < maker.count; i++) {
        out->tensor[i] = before->tensor[i];
        if (maker.state[i] || stays(&maker, i, &before->tensor[i])) continue;
        if (is_read(&maker, i)) TRY(read_file(&maker, i));
        TRY(make_tensor(&maker, i, &out->tensor[i]));
    }
    return NULL;
}

const sn_Extent *sn_inputs_extents(Arena *arena, const Graph *graph, const Inputs *inputs, int *count) {
    int symbols = sn_dims_symbol_count(graph->dims);
    sn_Extent *extent = SN_ARRAY(arena, sn_Extent, symbols);
    *count = 0;
    for (int i = 0; i < symbols; i++)
        if (inputs->symbol[i] != SN_SIZE_UNBOUND)
            extent[(*count)++] = (sn_Extent){sn_dims_symbol_name(graph->dims, i), inputs->symbol[i]};
    return extent;
}
