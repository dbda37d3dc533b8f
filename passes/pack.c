/* Right operands of contractions are packed into the panels that the CPU kernel streams: constant ones once, in setup; in
 * a training step, large ones in each run, for one packing costs less than the many that a product without it does. */
#include "narrow_weights.h"

#include "tuning.h"

enum { LEAST = 256 }; /* columns, of what a run packs; more of them are multiplied with it */

/* A matrix that every row of a step meets. The sizes of the step are not known; a step has many rows. */
static bool is_large(const Value *b) {
    int64_t columns, depth;
    if (b->type.rank != 2 || !sn_dim_is(b->type.dim[1], &columns) || columns < LEAST) return false;
    return !sn_dim_is(b->type.dim[0], &depth) || depth >= LEAST;
}

/* Whether the kernel has panels of that element type for a matrix of so many rows. */
static bool has_panels(Dim rows, DType dtype) {
    int64_t K;
    if (dtype == SN_F32) return true;
    if (!sn_dim_is(rows, &K)) return false;
    return dtype == SN_I8 || K % 2 == 0; /* two rows share a word */
}

static bool wants_packing(const Pass *pass, const Graph *graph, const Node *node) {
    if (node->op != SN_OP_CONTRACT || node->setup || ((const AttrContract *)node->attr)->packed) return false;
    const Value *b = node->input[1];
    const Dim *end = b->type.dim + b->type.rank;
    if (sn_dim_equals(end[-1], 0) || sn_dim_equals(end[-2], 0)) return false; /* panels of nothing */
    if (pass->target->panel <= 0 || !sn_dtype_is_float(b->type.dtype) || b->type.dtype == SN_F64)
        return false;
    if (!has_panels(end[-2], b->type.dtype)) return false;
    if (b->producer && b->producer->setup) return true;
    bool pays = b->type.dtype == SN_F32 || b->type.dtype == SN_BF16;
    return graph->states.count > 0 && pays && is_large(b);
}

/* Whether two rows share a byte and eight a word: whole numbers of four bits, with factors for blocks of rows. */
static bool has_halves(const NarrowWeights *narrow, Dim rows) {
    int64_t K;
    return narrow->block && narrow->block % 8 == 0 && narrow->least >= -8 && narrow->most <= 7 &&
           sn_dim_is(rows, &K) && K % 8 == 0;
}

/* i8 [batch…, K, N] as [batch…, K / 2, N]: the first of two rows in the lower half of a byte, the second above. */
static Value *joined_rows(Builder *b, Value *elements) {
    Dims *dims = b->graph->dims;
    Type type = elements->type;
    int axis = type.rank - 2;
    Dim count = sn_dim_floordiv(dims, type.dim[axis], sn_dim(dims, 2));
    Value *row[2], *wide = sn_build_cast(b, elements, SN_I32), *sixteen = sn_build_scalar(b, SN_I32, 16);
    for (int k = 0; k < 2 && wide; k++) row[k] = sn_build_slice(b, wide, axis, sn_dim(dims, k), count, 2);
    if (!wide || !row[0] || !row[1]) return NULL;
    sixteen = sn_build_expand(b, sixteen, type.rank, row[0]->type.dim);
    Value *low = sn_build2(b, SN_OP_MOD, NULL, row[0], sixteen);
    Value *high = sn_build2(b, SN_OP_MUL, NULL, row[1], sixteen);
    Value *both = low && high ? sn_build2(b, SN_OP_ADD, NULL, low, high) : NULL;
    return both ? sn_build_cast(b, both, SN_I8) : NULL;
}

/* What is packed for b: b, or the narrow elements that it is made of. */
static Value *packed_elements(Pass *pass, Builder *builder, Value *b, NarrowWeights *narrow) {
    bool setup = b->producer && b->producer->setup;
    if (!setup || !sn_narrow_weights(pass, builder->graph, b, narrow) ||
        !has_panels(b->type.dim[b->type.rank - 2], narrow->dtype)) {
        *narrow = (NarrowWeights){.dtype = SN_F32};
        return b;
    }
    sn_pass_remark(pass, builder->origin, true, "weights stay %s", sn_dtype_name(narrow->dtype));
    return sn_narrow_elements(builder, b, narrow);
}

/* `b` packed so. What several products read (both branches of an If that only a run chooses) is packed once: then the products
 * before this one have. */
static Value *packed_once(Builder *builder, Value *b, const AttrPack *attr) {
    bool setup = b->producer && b->producer->setup;
    for (int k = 0; setup && k < b->users.count; k++) {
        const Node *user = b->users.at[k];
        if (!user || user->op != SN_OP_PACK) continue;
        const AttrPack *other = user->attr;
        if (other->panel == attr->panel && other->group == attr->group) return user->output[0];
    }
    return sn_build1(builder, SN_OP_PACK, attr, b);
}

static void pack_operand(Pass *pass, Graph *graph, Node *node) {
    Builder builder = sn_builder_before(graph, node);
    NarrowWeights narrow = {.dtype = SN_F32};
    Value *whole = node->input[1], *b = packed_elements(pass, &builder, whole, &narrow);
    pass->status = builder.status;
    const Dim *end = whole->type.dim + whole->type.rank;
    bool halves = has_halves(&narrow, end[-2]);
    if (b && halves) b = joined_rows(&builder, b);
    if (!b) return;
    AttrPack pack = {.panel = sn_tuning_panel(pass->target, b->type.dtype, end[-1], end[-2])};
    AttrContract contract = {.packed = true, .columns = end[-1], .block = narrow.block, .halves = halves};
    if (halves) pack.panel = pass->target->panel, contract.group = 4;
    AttrPack grouped = {.panel = pack.panel, .group = contract.group};
    Value *operand[3] = {node->input[0], packed_once(&builder, b, &grouped)};
    Value *factors = narrow.scaled || narrow.block ? sn_narrow_factors(&builder, whole, &narrow) : NULL;
    if (narrow.block && factors) operand[2] = sn_build1(&builder, SN_OP_PACK, &pack, factors);
    Value *product = sn_build(&builder, SN_OP_CONTRACT, &contract, narrow.block ? 3 : 2, operand);
    if (product && narrow.scaled) {
        factors = factors ? sn_build_expand(&builder, factors, product->type.rank, product->type.dim) : NULL;
        product = factors ? sn_build2(&builder, SN_OP_MUL, NULL, product, factors) : NULL;
    }
    pass->status = builder.status;
    if (!product) return;
    sn_value_replace(node->output[0], product);
    sn_node_remove(node);
}

bool sn_pack(Pass *pass, Graph *graph) {
    bool changed = false;
    sn_mark_setup(pass, graph);
    for (Node *node = graph->body->first, *next; node && !pass->status; node = next) {
        next = node->next;
        if (!wants_packing(pass, graph, node) || !sn_pass_rewrite(pass)) continue;
        bool once = node->input[1]->producer && node->input[1]->producer->setup;
        sn_pass_remark(pass, node->origin, true,
                       once ? "packs the weights once" : "packs the right operand in each run");
        pack_operand(pass, graph, node);
        changed = true;
    }
    return changed;
}
