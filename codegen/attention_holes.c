/* The holes that all templates of attention share: operands, scores, results, scratch. */
#include "lower_attention.h"

#include "cluster.h"
#include "view.h"

#include <math.h>

void sn_attention_stand(void *user, const HoleAxes *axes, Dim *to) {
    (void)user;
    for (int i = 0; i < 4; i++) to[i] = axes->argument[i];
}

HoleSpec sn_attention_spec(const char *name, const char *head, const char *row, const char *column,
                           const Dim *extent, bool aligned) {
    return (HoleSpec){.name = name,
                      .count = 4,
                      .argument = {"b", head, row, column},
                      .extent = {extent[0], extent[1], extent[2], extent[3]},
                      .lane = 3,
                      .aligned = aligned};
}

void sn_attention_read(Attention *attention, const AttentionOperand *operand) {
    Lower *lower = &attention->lower;
    const Value *value = attention->node->input[operand->input];
    HoleSpec spec = sn_attention_spec(operand->read, operand->head, operand->row, "d", value->type.dim, true);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim);
    sn_hole_read(lower, attention->use, &spec, value, axes, axes, 4, sn_attention_stand, NULL);
}

/* Affine: offset = d + a sum of products of one axis and a size each + a size. */
static AttentionAddress address_kind(Dims *dims, DType dtype, Dim offset, const Dim *axes) {
    AttentionAddress kind = SN_ADDRESS_PIECES;
    Dim piece = sn_dim(dims, 16 / sn_dtype_bytes(dtype)), quotient;
    for (int i = 0; i < 4; i++) {
        Dim step;
        if (axes[i]->kind != SN_DIM_AXIS) continue; /* of a single element */
        if (!sn_dim_affine(dims, offset, axes[i], &step, &offset) || sn_dim_has_axis(step))
            return SN_ADDRESS_PLAIN;
        if (i == 3 && !sn_dim_equals(step, 1)) return SN_ADDRESS_PLAIN;
        if (i < 3 && !sn_dim_divides(dims, piece, step, &quotient)) kind = SN_ADDRESS_AFFINE;
    }
    if (sn_dim_has_axis(offset)) return SN_ADDRESS_PLAIN;
    return sn_dim_divides(dims, piece, offset, &quotient) ? kind : SN_ADDRESS_AFFINE;
}

AttentionAddress sn_attention_address(Attention *attention, const AttentionOperand *operand,
                                      AttentionAddress least) {
    Lower *lower = &attention->lower;
    TemplateUse *use = attention->use;
    const Value *value = attention->node->input[operand->input];
    HoleSpec spec =
        sn_attention_spec(operand->address, operand->head, operand->row, "d", value->type.dim, true);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim), to[4];
    sn_lower_nest(lower);
    Instr *load = sn_lower_pull(lower, value, axes);
    AttentionAddress kind = SN_ADDRESS_NONE;
    if (load->kind == SN_INSTR_LOAD && !load->guard && !lower->status)
        kind = address_kind(lower->dims, value->type.dtype, load->dim, axes);
    if (kind == SN_ADDRESS_NONE || kind < least) {
        lower->kernel->nest.count--;
        return SN_ADDRESS_NONE;
    }
    HoleAxes stands = sn_hole_axes(lower->kernel, &spec, false);
    sn_attention_stand(NULL, &stands, to);
    sn_hole_add(lower, use, &spec, false, &stands, load, axes, to, 4);
    use->hole.at[use->hole.count - 1].address = true;
    return kind;
}

/* Index of a bias, aligned at the last axis, whose extents are 1 or the scores'. */
static Dim *bias_index(Lower *lower, Type bias, const Dim *axes, const Dim *extent) {
    Dim *at = SN_ARRAY(lower->arena, Dim, bias.rank);
    for (int i = 0; i < bias.rank; i++) {
        int k = 4 - bias.rank + i;
        at[i] = bias.dim[i] == extent[k]
                    ? axes[k]
                    : sn_dim_min(lower->dims, axes[k], sn_dim_addc(lower->dims, bias.dim[i], -1));
    }
    return at;
}

/* The score behind the soft cap, where the template has none of its own. */
static Instr *bend(Attention *attention, Instr *score) {
    Lower *lower = &attention->lower;
    if (attention->cap == 0 || lower->kernel->target->kind == SN_TARGET_CPU) return score;
    Instr *inverse = sn_lower_literal(lower, SN_F32, 1 / attention->cap, 0);
    Instr *cap = sn_lower_literal(lower, SN_F32, attention->cap, 0);
    score = sn_lower_call(lower, "mul", SN_F32, SN_F32, 2, (Instr *[]){score, inverse});
    score = sn_lower_call(lower, "tanh", SN_F32, SN_F32, 1, &score);
    return sn_lower_call(lower, "mul", SN_F32, SN_F32, 2, (Instr *[]){score, cap});
}

static Instr *score(Attention *attention, const Dim *axes, bool causal) {
    Lower *lower = &attention->lower;
    const Value *bias = attention->bias;
    Instr *now = sn_instr(lower->kernel, lower->nest, &(Instr){.kind = SN_INSTR_HOLE_ARG, .dtype = SN_F32});
    now = bend(attention, now);
    if (!bias) return now;
    Instr *minus = sn_lower_literal(lower, SN_F32, -__builtin_inf(), 0), *keep = NULL;
    if (causal) {
        Dim bound = sn_dim_addc(lower->dims, sn_dim_add(lower->dims, axes[2], attention->attr->offset), 1);
        keep = sn_lower_less(lower, axes[3], bound);
    }
    Instr *value = sn_lower_pull(lower, bias, bias_index(lower, bias->type, axes, attention->extent));
    if (attention->adds)
        now = sn_lower_call(lower, "add", SN_F32, SN_F32, 2,
                            (Instr *[]){now, sn_lower_cast(lower, value, SN_F32, false)});
    else
        keep = sn_lower_and(lower, keep, value);
    return keep ? sn_lower_call(lower, "where", SN_F32, SN_F32, 3, (Instr *[]){keep, now, minus}) : now;
}

void sn_attention_score(Attention *attention, const char *name, bool causal) {
    Lower *lower = &attention->lower;
    const Dim *extent = attention->extent;
    HoleSpec spec = sn_attention_spec(name, "h", "i", "j", extent, false);
    spec.takes_value = true;
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, extent), to[4];
    for (int vector = 0; vector <= (lower->kernel->target->kind == SN_TARGET_CPU); vector++) {
        sn_lower_nest(lower);
        Instr *value = score(attention, axes, causal);
        HoleAxes stands = sn_hole_axes(lower->kernel, &spec, vector);
        sn_attention_stand(NULL, &stands, to);
        sn_hole_add(lower, attention->use, &spec, vector, &stands, value, axes, to, 4);
    }
}

static Instr *keep(Attention *attention, const Dim *axes) {
    Lower *lower = &attention->lower;
    Dims *dims = lower->dims;
    const AttrAttention *attr = attention->attr;
    Instr *zero = sn_lower_literal(lower, SN_I64, 0, 0),
          *streams = sn_lower_literal(lower, SN_I64, 0, SN_DROPOUT_NODES);
    Instr *seed = sn_lower_pull(lower, attention->state, (Dim[]){sn_dim(dims, 0)});
    Instr *run = sn_lower_pull(lower, attention->state, (Dim[]){sn_dim(dims, 1)});
    Instr *number =
        sn_instr(lower->kernel, lower->nest,
                 &(Instr){.kind = SN_INSTR_GIVEN, .dtype = SN_I64, .dim = sn_dim(dims, attr->number)});
    Dim at = sn_lower_linear(lower, (Type){SN_F32, 4, attention->extent}, axes);
    Instr *index =
        sn_instr(lower->kernel, lower->nest, &(Instr){.kind = SN_INSTR_DIM, .dtype = SN_I64, .dim = at});
    Instr *off = sn_lower_call(lower, "less", SN_BOOL, SN_I64, 2, (Instr *[]){run, zero});
    Instr *stream = sn_lower_call(lower, "mul", SN_I64, SN_I64, 2, (Instr *[]){run, streams});
    stream = sn_lower_call(lower, "add", SN_I64, SN_I64, 2, (Instr *[]){stream, number});
    Instr *word = sn_lower_call(lower, "random", SN_U32, SN_I64, 3, (Instr *[]){seed, stream, index});
    int64_t limit = (int64_t)fmin(rint(ldexp(attr->dropout, 32)), UINT32_MAX);
    Instr *none = sn_lower_literal(lower, SN_U32, 0, 0), *some = sn_lower_literal(lower, SN_U32, 0, limit);
    Instr *below = sn_lower_call(lower, "where", SN_U32, SN_U32, 3, (Instr *[]){off, none, some});
    Instr *gone = sn_lower_call(lower, "less", SN_BOOL, SN_U32, 2, (Instr *[]){word, below});
    Instr *as_it_is = sn_lower_literal(lower, SN_F32, 1, 0);
    Instr *scaled = sn_lower_literal(lower, SN_F32, 1 / (1 - attr->dropout), 0);
    scaled = sn_lower_call(lower, "where", SN_F32, SN_F32, 3, (Instr *[]){off, as_it_is, scaled});
    Instr *nothing = sn_lower_literal(lower, SN_F32, 0, 0);
    return sn_lower_call(lower, "where", SN_F32, SN_F32, 3, (Instr *[]){gone, nothing, scaled});
}

void sn_attention_keep(Attention *attention) {
    Lower *lower = &attention->lower;
    HoleSpec spec = sn_attention_spec("sn_keep", "h", "i", "j", attention->extent, false);
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, attention->extent), to[4];
    for (int vector = 0; vector < 2; vector++) {
        sn_lower_nest(lower);
        Instr *value = keep(attention, axes);
        HoleAxes stands = sn_hole_axes(lower->kernel, &spec, vector);
        sn_attention_stand(NULL, &stands, to);
        sn_hole_add(lower, attention->use, &spec, vector, &stands, value, axes, to, 4);
    }
}

/* The result of the cluster that is output `index` of its anchor; -1: it is not stored. */
static int find_output(const Lower *lower, int index) {
    const Region *body = lower->cluster->body;
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        if (sn_cluster_is_statistic(value) && value->index == index) return i;
    }
    return -1;
}

bool sn_attention_store(Attention *attention, int output, const HoleSpec *spec) {
    Lower *lower = &attention->lower;
    int result = find_output(lower, output);
    if (result < 0) return false;
    const Value *value = lower->cluster->body->result.at[result];
    Dim *axes = sn_view_axes(lower->dims, lower->arena, 4, value->type.dim), to[4];
    for (int vector = 0; vector <= (lower->kernel->target->kind == SN_TARGET_CPU); vector++) {
        sn_lower_nest(lower);
        HoleAxes stands = sn_hole_axes(lower->kernel, spec, vector);
        sn_attention_stand(NULL, &stands, to);
        Instr *number = sn_instr(lower->kernel, lower->nest,
                                 &(Instr){.kind = SN_INSTR_HOLE_ARG, .dtype = value->type.dtype});
        Store store = {.buffer = lower->kernel->input_count + result,
                       .dtype = value->type.dtype,
                       .offset = sn_lower_linear(lower, value->type, axes),
                       .value = number};
        Step *step = sn_nest_step(lower->kernel, lower->nest, false);
        sn_push(lower->arena, &step->store, store);
        sn_hole_add(lower, attention->use, spec, vector, &stands, NULL, axes, to, 4);
    }
    return true;
}

bool sn_attention_statistic(Attention *attention, const char *name) {
    const Dim *q = attention->q.dim;
    Dim shape[4] = {q[0], q[1], q[2], sn_dim(attention->lower.dims, 2)};
    HoleSpec spec = sn_attention_spec(name, "h", "i", "which", shape, false);
    spec.takes_value = true;
    return sn_attention_store(attention, 1, &spec);
}

const char *sn_attention_factors(const Attention *a) {
    double scale = a->cap == 0 ? a->attr->scale : a->attr->scale / a->cap;
    return sn_arena_printf(a->lower.arena, ".scale = %af, .cap = %af", (double)(float)scale,
                           (double)(float)a->cap);
}

int sn_attention_score_kind(const Attention *a) {
    return a->adds ? 2 : a->bias ? 1 : a->attr->causal ? 3 : 0;
}

Status sn_attention_slopes(Attention *a, const char *const name[3], int *stores) {
    const Region *body = a->lower.cluster->body;
    HoleSpec spec[3];
    for (int k = 0; k < 3; k++) {
        spec[k] =
            sn_attention_spec(name[k], k ? "g" : "h", k ? "j" : "i", "d", a->node->output[k]->type.dim, true);
        spec[k].takes_value = true;
    }
    *stores = 0;
    for (int k = 1; k < 3; k++)
        if (sn_attention_store(a, k, &spec[k])) *stores |= 1 << k;
    if (body->result.count > (*stores >> 1 & 1) + (*stores >> 2)) {
        *stores |= 1;
        TRY(sn_hole_store(&a->lower, a->use, &spec[0], sn_attention_stand, NULL));
    }
    return a->lower.status;
}
