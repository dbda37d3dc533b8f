/* The interpreter's driver: arrays, single nodes, regions and whole graphs. */
#include "eval_rules.h"
#include "index.h"
#include "loop.h"

/* ---- arrays ---- */

/* `count` is the product of the extents. */
static Array *array_of(Arena *arena, DType dtype, int rank, const int64_t *extent, int64_t count) {
    Array *array = SN_NEW(arena, Array);
    int64_t *own = SN_ARRAY(arena, int64_t, rank);
    for (int k = 0; k < rank; k++) own[k] = extent[k];
    *array = (Array){.dtype = dtype, .rank = rank, .extent = own, .count = count};
    if (sn_dtype_is_float(dtype))
        array->f = SN_ARRAY(arena, double, count);
    else
        array->i = SN_ARRAY(arena, int64_t, count);
    return array;
}

Array *sn_array_new(Arena *arena, DType dtype, int rank, const int64_t *extent) {
    int64_t count;
    /* A shape that is no shape asks for more than there is: the arena's way of saying no. */
    if (!sn_index_count(rank, extent, &count)) count = INT64_MAX;
    return array_of(arena, dtype, rank, extent, count);
}

Array *sn_array_of_tensor(Arena *arena, const Tensor *tensor) {
    Array *array = array_of(arena, tensor->dtype, tensor->rank, tensor->extent, tensor->count);
    for (int64_t i = 0; i < tensor->count; i++) {
        if (array->f)
            array->f[i] = sn_tensor_get(tensor, i);
        else
            array->i[i] = sn_tensor_get_int(tensor, i);
    }
    return array;
}

Tensor *sn_tensor_of_array(Arena *arena, const Array *array) {
    void *bytes;
    Tensor *tensor = sn_tensor_new(arena, array->dtype, array->rank, array->extent, &bytes);
    for (int64_t i = 0; i < array->count; i++) {
        if (array->f)
            sn_element_set(array->dtype, bytes, i, array->f[i]);
        else
            sn_element_set_int(array->dtype, bytes, i, array->i[i]);
    }
    return tensor;
}

void sn_array_copy(Array *out, int64_t to, const Array *source, int64_t from) {
    if (out->f)
        out->f[to] = source->f[from];
    else
        out->i[to] = source->i[from];
}

/* ---- walks ---- */

Walk sn_walk_start(int rank, const int64_t *extent, int operands, const Array *const *operand) {
    Walk walk = {.rank = rank, .operands = operands};
    for (int k = 0; k < rank; k++) walk.extent[k] = extent[k];
    for (int o = 0; o < operands; o++) {
        int64_t stride = 1;
        for (int k = operand[o]->rank - 1; k >= 0; k--) {
            int axis = k + rank - operand[o]->rank;
            walk.stride[o][axis] = operand[o]->extent[k] == 1 ? 0 : stride;
            stride *= operand[o]->extent[k];
        }
    }
    return walk;
}

bool sn_walk_next(Walk *walk) {
    walk->at++;
    for (int k = walk->rank - 1; k >= 0; k--) {
        walk->index[k]++;
        for (int o = 0; o < walk->operands; o++) walk->in[o] += walk->stride[o][k];
        if (walk->index[k] < walk->extent[k]) return true;
        for (int o = 0; o < walk->operands; o++) walk->in[o] -= walk->stride[o][k] * walk->extent[k];
        walk->index[k] = 0;
    }
    return false;
}

/* ---- what rules see ---- */

Status sn_eval_bound(const Eval *eval, Dim dim) {
    if (eval->symbols || !sn_index_has_symbol(dim)) return NULL;
    return sn_fail(SN_INVALID, "a size is not a constant");
}

Status sn_eval_dim(const Eval *eval, Dim dim, int64_t *out) {
    TRY(sn_eval_bound(eval, dim));
    return sn_dim_eval(dim, eval->symbols, NULL, out);
}

static void keep(Eval *eval, const Value *value, const Array *array) {
    *sn_map_at(eval->value, &value->id, sizeof value->id) = (void *)array;
}

static Array *kept(const Eval *eval, const Value *value) {
    return sn_map_get(eval->value, &value->id, sizeof value->id);
}

const Array *sn_eval_input(Eval *eval, const Node *node, int k) {
    return k < node->input_count && node->input[k] ? kept(eval, node->input[k]) : NULL;
}

Status sn_eval_output(Eval *eval, const Node *node, int k, Array **out) {
    Type type = node->output[k]->type;
    int64_t extent[SN_MAX_RANK], count;
    for (int a = 0; a < type.rank; a++) {
        TRY(sn_eval_dim(eval, type.dim[a], &extent[a]));
        if (extent[a] < 0) return sn_fail(SN_INVALID, "axis %d has the extent %lld", a, (long long)extent[a]);
    }
    if (!sn_index_count(type.rank, extent, &count) || count > SN_EVAL_MAX_COUNT)
        return sn_fail(SN_NO_MEMORY, "a result has more than %d elements", (int)SN_EVAL_MAX_COUNT);
    *out = array_of(eval->arena, type.dtype, type.rank, extent, count);
    keep(eval, node->output[k], *out);
    return NULL;
}

/* ---- running ---- */

/* Results as their dtype holds them; floats only if asked for. */
static void finish(const Eval *eval, Array *array) {
    for (int64_t i = 0; array->i && i < array->count; i++)
        array->i[i] = sn_scalar_wrap(array->dtype, array->i[i]);
    if (!eval->round) return;
    for (int64_t i = 0; array->f && i < array->count; i++)
        array->f[i] = sn_scalar_round(array->dtype, array->f[i]);
}

/* Prefixes the operator and the model's node: div ("Div" "/layer/Div"). */
static Status name_fault(const Eval *eval, const Node *node, Status status) {
    Text text = sn_text(eval->arena);
    sn_text_add(&text, "%s", sn_op(node->op)->text);
    const SourceNode *source = node->origin ? node->origin->primary : NULL;
    if (source) {
        sn_text_add(&text, " (");
        sn_text_quote(&text, source->op_type, strlen(source->op_type));
        sn_text_add(&text, " ");
        sn_text_quote(&text, source->name, strlen(source->name));
        sn_text_add(&text, ")");
    }
    return sn_status_prefix(status, "%s", sn_text_string(&text));
}

static Status eval_node(Eval *eval, const Node *node) {
    Status status = sn_op(node->op)->eval(eval, node);
    if (status) return name_fault(eval, node, status);
    /* A cluster's results are finished by the nodes in it, and may be its operands. */
    for (int k = 0; k < node->output_count && !node->body; k++) finish(eval, kept(eval, node->output[k]));
    return NULL;
}

static Status eval_region(Eval *eval, const Region *region) {
    for (const Node *node = region->first; node; node = node->next) TRY(eval_node(eval, node));
    return NULL;
}

Status sn_eval_cluster(Eval *eval, const Node *node) {
    const Region *body = node->body;
    for (int k = 0; k < node->input_count; k++) keep(eval, body->param.at[k], sn_eval_input(eval, node, k));
    TRY(eval_region(eval, body));
    for (int k = 0; k < node->output_count; k++) keep(eval, node->output[k], kept(eval, body->result.at[k]));
    return NULL;
}

/* The array is what the type, which has no symbols, says. */
static Status check_constant_shape(Type type, const Array *array) {
    bool same = array->dtype == type.dtype && array->rank == type.rank;
    for (int k = 0; same && k < type.rank; k++) same = sn_dim_equals(type.dim[k], array->extent[k]);
    return same ? NULL : sn_fail(SN_INVALID, "an input has not the shape and type of its value");
}

Status sn_eval_node(Arena *arena, const Graph *graph, const Node *node, const Array *const *input,
                    Array **output) {
    Eval eval = {.arena = arena, .graph = graph, .round = true, .value = sn_map_new(arena)};
    for (int k = 0; k < node->input_count; k++) {
        if (!node->input[k]) continue;
        TRY(check_constant_shape(node->input[k]->type, input[k]));
        keep(&eval, node->input[k], input[k]);
    }
    TRY(eval_node(&eval, node));
    for (int k = 0; k < node->output_count; k++) output[k] = kept(&eval, node->output[k]);
    return NULL;
}

static bool is_unbound(const Eval *eval, Dim dim) {
    for (int i = 0; i < eval->graph->sizes.count; i++) {
        Dim symbol = eval->graph->sizes.at[i].symbol;
        if (eval->symbols[symbol->value] < 0 && sn_dim_depends(dim, symbol)) return true;
    }
    return false;
}

/* The checks that a size which has just become known was missing to. */
static Status check_size(const Eval *eval, Dim symbol) {
    for (int i = 0; i < eval->graph->checks.count; i++) {
        const Check *check = &eval->graph->checks.at[i];
        bool about = sn_dim_depends(check->a, symbol) || sn_dim_depends(check->b, symbol);
        if (about && !is_unbound(eval, check->a) && !is_unbound(eval, check->b))
            TRY(sn_bind_check(eval->graph, check, eval->symbols));
    }
    return NULL;
}

/* The sizes that results of the node decide; NULL: inputs, and what loops have made. */
static Status bind_sizes(Eval *eval, const Node *node) {
    const Graph *graph = eval->graph;
    for (int i = 0; i < graph->sizes.count; i++) {
        const GraphSize *size = &graph->sizes.at[i];
        const Value *value = graph->body->result.at[size->result];
        if (value->producer != node || !kept(eval, value)) continue;
        TRY(sn_bind_size(graph, i, kept(eval, value)->i[0], eval->symbols));
        TRY(check_size(eval, size->symbol));
    }
    return NULL;
}

/* ---- loops, turn by turn ---- */

typedef struct Turns {
    Eval *eval;
    const GraphLoop *loop;
    int64_t count;
    const Array **in; /* of the turn at hand */
    Array **out;
    struct {
        SN_VEC(const Array *) turn;
    } * kept;
} Turns;

static Array *whole(Arena *arena, DType dtype, int64_t value) {
    Array *array = sn_array_new(arena, dtype, 0, NULL);
    array->i[0] = value;
    return array;
}

/* Tensors of no elements, whose extents are the sizes. */
static Status add_carriers(Turns *t) {
    const GraphLoop *loop = t->loop;
    for (int k = 0; k < sn_loop_carriers(loop); k++) {
        int count = sn_loop_carrier_sizes(loop, k);
        int64_t extent[SN_MAX_RANK] = {0};
        for (int i = 0; i < count; i++)
            TRY(sn_eval_dim(t->eval, loop->size[k * SN_CARRIER_SIZES + i], &extent[1 + i]));
        t->in[sn_loop_taken(loop) + k] = sn_array_new(t->eval->arena, SN_U8, count + 1, extent);
    }
    return NULL;
}

static bool same_shape(const Array *a, const Array *b) {
    bool same = a->rank == b->rank;
    for (int k = 0; same && k < a->rank; k++) same = a->extent[k] == b->extent[k];
    return same;
}

static Status keep_turn(Turns *t) {
    for (int k = 0; k < t->loop->kept; k++) {
        const Array *array = t->out[1 + t->loop->carried + k];
        if (t->count && !same_shape(t->kept[k].turn.at[0], array))
            return sn_fail(SN_INVALID, "result %d of turn %lld has another shape than that of the first turn",
                           t->loop->carried + k, (long long)t->count);
        sn_push(t->eval->arena, &t->kept[k].turn, array);
    }
    return NULL;
}

static Status run_turns(Turns *t, const Array *const *taken) {
    int64_t most = taken[0]->i[0];
    const Array *more = taken[1];
    for (; t->count < most && more->i[0]; t->count++) {
        t->in[0] = whole(t->eval->arena, SN_I64, t->count);
        t->in[1] = more;
        TRY(sn_eval_graph(t->eval->arena, t->loop->turn, t->eval->round, t->in, t->out));
        TRY(keep_turn(t));
        more = t->out[0];
        for (int k = 0; k < t->loop->carried; k++) t->in[2 + k] = t->out[1 + k];
    }
    return NULL;
}

/* What was kept of result k, one turn after another. Of no turns, extents that the loop decides are 0. */
static Status join(const Turns *t, int k, Array **out) {
    const Value *made = t->eval->graph->body->param.at[t->loop->made + t->loop->carried + k];
    int64_t extent[SN_MAX_RANK] = {t->count};
    for (int a = 1; a < made->type.rank; a++) {
        if (t->count)
            extent[a] = t->kept[k].turn.at[0]->extent[a - 1];
        else if (!sn_loop_decides(t->loop, t->loop->carried + k, a))
            TRY(sn_eval_dim(t->eval, made->type.dim[a], &extent[a]));
    }
    *out = sn_array_new(t->eval->arena, made->type.dtype, made->type.rank, extent);
    for (int64_t turn = 0, at = 0; turn < t->count; turn++)
        for (int64_t i = 0; i < t->kept[k].turn.at[turn]->count; i++)
            sn_array_copy(*out, at++, t->kept[k].turn.at[turn], i);
    return NULL;
}

/* All turns of a loop: what it takes in the order of its places, what it makes in `made`. */
static Status eval_loop(Eval *eval, const GraphLoop *loop, const Array *const *taken, Array **made) {
    Arena *arena = eval->arena;
    Turns t = {.eval = eval, .loop = loop};
    t.in = SN_ARRAY(arena, const Array *, sn_loop_taken(loop) + sn_loop_carriers(loop));
    t.out = SN_ARRAY(arena, Array *, loop->turn->body->result.count);
    t.kept = sn_arena_alloc(arena, sizeof *t.kept * (size_t)(loop->kept + 1));
    memset(t.kept, 0, sizeof *t.kept * (size_t)(loop->kept + 1));
    for (int k = 2; k < sn_loop_taken(loop); k++) t.in[k] = taken[k];
    TRY(add_carriers(&t));
    TRY(run_turns(&t, taken));
    for (int k = 0; k < loop->carried; k++) made[k] = (Array *)t.in[2 + k];
    for (int k = 0; k < loop->kept; k++) TRY(join(&t, k, &made[loop->carried + k]));
    int results = loop->carried + loop->kept;
    for (int i = 0; i < loop->extent_count; i++) {
        const LoopExtent *extent = &loop->extent[i];
        int64_t value = extent->result < 0 ? t.count : made[extent->result]->extent[extent->axis];
        made[results + i] = whole(arena, SN_I64, value);
    }
    return NULL;
}

/* Everything that the loop takes, or NULL where it is not all there. */
static const Array *const *find_taken(const Eval *eval, const GraphLoop *loop) {
    const Array **taken = SN_ARRAY(eval->arena, const Array *, sn_loop_taken(loop));
    for (int k = 0; k < sn_loop_taken(loop); k++)
        if (!(taken[k] = kept(eval, eval->graph->body->result.at[loop->taken + k]))) return NULL;
    for (int k = 0; k < loop->size_count; k++)
        if (is_unbound(eval, loop->size[k])) return NULL;
    return taken;
}

/* Runs the loops that have not run and whose operands are there. */
static Status run_loops(Eval *eval) {
    const Graph *graph = eval->graph;
    for (int i = 0; i < graph->loops.count; i++) {
        const GraphLoop *loop = &graph->loops.at[i];
        Value *const *made = graph->body->param.at + loop->made;
        const Array *const *taken = kept(eval, made[0]) ? NULL : find_taken(eval, loop);
        if (!taken) continue;
        Array **array = SN_ARRAY(eval->arena, Array *, sn_loop_made(loop));
        TRY(eval_loop(eval, loop, taken, array));
        for (int k = 0; k < sn_loop_made(loop); k++) keep(eval, made[k], array[k]);
        TRY(bind_sizes(eval, NULL));
        i = -1; /* one may take what another one has made */
    }
    return NULL;
}

/* ---- whole graphs ---- */

/* The inputs by their params, of which loops make those that are NULL. */
static const Array **place_inputs(Arena *arena, const Graph *graph, const Array *const *inputs) {
    const Array **placed = SN_ARRAY(arena, const Array *, graph->body->param.count);
    for (int k = 0; k < graph->body->param.count; k++)
        if (!sn_loop_of_param(graph, k)) placed[k] = *inputs++;
    return placed;
}

static Status check_dtypes(const Region *body, const Array *const *inputs) {
    for (int k = 0; k < body->param.count; k++) {
        DType dtype = body->param.at[k]->type.dtype;
        if (inputs[k] && inputs[k]->dtype != dtype)
            return sn_fail(SN_INVALID, "input %d: its type is %s, not %s", k, sn_dtype_name(dtype),
                           sn_dtype_name(inputs[k]->dtype));
    }
    return NULL;
}

Status sn_eval_graph(Arena *arena, const Graph *graph, bool round, const Array *const *given,
                     Array **outputs) {
    const Region *body = graph->body;
    int count = body->param.count;
    int *rank = SN_ARRAY(arena, int, count);
    const int64_t **extent = SN_ARRAY(arena, const int64_t *, count);
    int64_t *symbols = SN_ARRAY(arena, int64_t, sn_dims_symbol_count(graph->dims));
    const Array **inputs = place_inputs(arena, graph, given);
    for (int k = 0; k < count; k++) {
        rank[k] = inputs[k] ? inputs[k]->rank : 0;
        extent[k] = inputs[k] ? inputs[k]->extent : NULL;
    }
    TRY(check_dtypes(body, inputs));
    TRY(sn_bind_symbols(graph, count, rank, extent, symbols));

    Eval eval = {.arena = arena, .graph = graph, .symbols = symbols, .round = round};
    eval.value = sn_map_new(arena);
    for (int k = 0; k < count; k++)
        if (inputs[k]) keep(&eval, body->param.at[k], inputs[k]);
    TRY(bind_sizes(&eval, NULL));
    TRY(run_loops(&eval));
    for (const Node *node = body->first; node; node = node->next) {
        TRY(eval_node(&eval, node));
        TRY(bind_sizes(&eval, node));
        TRY(run_loops(&eval));
    }
    for (int k = 0; k < body->result.count; k++) outputs[k] = kept(&eval, body->result.at[k]);
    return NULL;
}
