/* Loops whose turns only a run counts, turn by turn. */
#include "eval_rules.h"
#include "loop.h"

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

Status sn_eval_loop(Eval *eval, const GraphLoop *loop, const Array *const *taken, Array **made) {
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
