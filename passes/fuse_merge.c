/* Kernels that become one when all nodes have their places: those that work on the same rows, those that only feed one
 * other, and those that read the same. */
#include "fuse_internal.h"

enum { NEAR = 16, SIBLINGS = 8 }; /* parts that stand no further apart */

/* ---- reading the same ---- */

typedef struct Shared {
    Fusion *fusion;
    SN_VEC(Value *) value;
} Shared;

static void collect_source(void *user, Value *source) {
    Shared *shared = user;
    if (source->producer && source->producer->op != SN_OP_CONSTANT)
        sn_push(shared->fusion->pass->arena, &shared->value, source);
}

static void collect_part(Shared *shared, const Part *part) {
    for (int i = 0; i < part->node.count; i++)
        sn_fusion_sources(shared->fusion, part->node.at[i], collect_source, shared);
}

/* A single number is not worth a launch together. */
static bool share_a_source(Fusion *fusion, const Part *a, const Part *b) {
    Dims *dims = fusion->graph->dims;
    Shared x = {.fusion = fusion}, y = {.fusion = fusion};
    collect_part(&x, a);
    collect_part(&y, b);
    for (int i = 0; i < x.value.count; i++)
        for (int j = 0; j < y.value.count; j++)
            if (x.value.at[i] == y.value.at[j] && !sn_dim_equals(sn_type_count(dims, x.value.at[i]->type), 1))
                return true;
    return false;
}

/* Two map kernels that read one value and do not wait for each other are one launch. */
static void merge_siblings(Fusion *fusion) {
    for (int j = 1; j < fusion->part.count && !fusion->pass->eager; j++) {
        Part *later = fusion->part.at[j];
        if (later->into || later->kind != SN_CLUSTER_MAP) continue;
        for (int i = j - 1; i >= 0 && i >= j - SIBLINGS; i--) {
            Part *earlier = fusion->part.at[i];
            if (earlier->into || earlier->kind != SN_CLUSTER_MAP ||
                !sn_fusion_may_join(fusion, earlier, later))
                continue;
            if (!share_a_source(fusion, earlier, later) || sn_fusion_depends(fusion, later, earlier) ||
                sn_fusion_depends(fusion, earlier, later) || !sn_pass_rewrite(fusion->pass))
                continue;
            sn_fusion_join(fusion, earlier, later);
            break;
        }
    }
}

/* ---- the same rows ---- */

/* Every value of `part` that `reader` uses is one of the row that it is at. */
static bool reads_own_row(Fusion *fusion, const Part *reader, const Part *part) {
    for (int i = 0; i < reader->node.count; i++) {
        const Node *node = reader->node.at[i];
        for (int k = 0; k < node->input_count; k++) {
            IndexMap map;
            Value *source = node->input[k] ? sn_fusion_look_through(fusion, node->input[k], &map) : NULL;
            if (!source || !source->producer || sn_fusion_part(fusion, source->producer) != part) continue;
            if (sn_fusion_row_accepts(fusion, part, node, source, &map)) return false;
        }
    }
    return true;
}

static bool reads(Fusion *fusion, const Part *reader, const Part *part) {
    Shared sources = {.fusion = fusion};
    collect_part(&sources, reader);
    for (int i = 0; i < sources.value.count; i++)
        if (sn_fusion_part(fusion, sources.value.at[i]->producer) == part) return true;
    return false;
}

static bool are_rows_alike(Fusion *fusion, Part *a, Part *b) {
    if (a->into || a->kind != SN_CLUSTER_REDUCE || !sn_fusion_may_join(fusion, a, b)) return false;
    if (!sn_attr_equal(&sn_attr_reduce, a->reduce, b->reduce) || !sn_type_same_shape(a->domain, b->domain))
        return false;
    return (reads(fusion, a, b) || reads(fusion, b, a) || share_a_source(fusion, a, b)) &&
           reads_own_row(fusion, a, b) && reads_own_row(fusion, b, a) && !sn_fusion_cycle(fusion, a, b) &&
           !sn_fusion_cycle(fusion, b, a);
}

/* Reductions that met only behind themselves. */
static void merge_rows(Fusion *fusion) {
    for (int j = 1; j < fusion->part.count; j++) {
        Part *later = fusion->part.at[j];
        if (later->into || later->kind != SN_CLUSTER_REDUCE) continue;
        for (int i = j - 1; i >= 0 && i >= j - NEAR; i--) {
            Part *earlier = fusion->part.at[i];
            if (!are_rows_alike(fusion, earlier, later) || !sn_pass_rewrite(fusion->pass)) continue;
            sn_fusion_join(fusion, earlier, later);
            break;
        }
    }
}

/* ---- feeding one other ---- */

typedef struct Feeding {
    Fusion *fusion;
    const Part *from;
    Part *reader; /* the only one; NULL: none yet */
} Feeding;

/* All that uses `source`, which shows as `value` there, is in the part itself or in one that computes operands. */
static bool feeds_one(Feeding *feeding, const Value *source, const Value *value) {
    Fusion *fusion = feeding->fusion;
    Dims *dims = fusion->graph->dims;
    for (int i = 0; i < value->users.count; i++) {
        const Node *user = value->users.at[i];
        if (!user) return false;
        if (sn_fusion_is_free(fusion, user)) {
            if (!feeds_one(feeding, source, user->output[0])) return false;
            continue;
        }
        Part *part = sn_fusion_part(fusion, user);
        if (part == feeding->from) continue;
        if (feeding->reader && part != feeding->reader) return false;
        feeding->reader = part;
        bool repeats = !sn_dim_le(dims, sn_type_count(dims, value->type), sn_type_count(dims, source->type));
        if (!sn_fusion_takes_prologue(part, user) || (repeats && !sn_fusion_is_cheap(feeding->from)))
            return false;
    }
    return true;
}

/* The part that alone reads what `from` makes, and can make it for itself; or NULL. */
static Part *only_reader(Fusion *fusion, const Part *from) {
    Feeding feeding = {fusion, from, NULL};
    for (int i = 0; i < from->node.count; i++) {
        const Node *node = from->node.at[i];
        for (int k = 0; k < node->output_count; k++)
            if (!feeds_one(&feeding, node->output[k], node->output[k])) return NULL;
    }
    return feeding.reader;
}

/* Map kernels with several uses, all of them in one kernel. */
static void merge_feeders(Fusion *fusion) {
    for (int j = fusion->part.count - 1; j >= 0; j--) {
        Part *from = fusion->part.at[j];
        if (from->into || from->kind != SN_CLUSTER_MAP) continue;
        Part *reader = only_reader(fusion, from);
        if (!reader || !sn_fusion_may_join(fusion, reader, from)) continue;
        int copies = reader->copies *
                     sn_fusion_copies(fusion, (const Node *const *)reader->node.at, reader->node.count, from);
        if (copies > SN_FUSION_COPIES || sn_fusion_cycle(fusion, reader, from) ||
            !sn_pass_rewrite(fusion->pass))
            continue;
        sn_fusion_join(fusion, reader, from);
        if (copies > reader->copies) reader->copies = copies;
    }
}

void sn_fusion_merge(Fusion *fusion) {
    merge_rows(fusion);
    merge_feeders(fusion);
    merge_siblings(fusion);
}
