/* Products of small integers: of bytes where the processor has them (byte_products.c), otherwise by the kernels for
 * floats. A sum of whole numbers that stays below 2^24 is exact in f32, in any order; so K is cut into slices whose
 * sums cannot get there, and the slices' results are added as integers. */
#include "byte_products.h"
#include "narrow_weights.h"

#include <math.h>

/* How many products of the operands' elements are summed exactly; 0: too few to be of use. */
static int64_t exact_terms(const Node *node) {
    enum { LEAST = 64, MOST = 1 << 20 };
    double size[2];
    for (int k = 0; k < 2; k++) {
        double least, most;
        if (!sn_whole_range(node->input[k], &least, &most)) return 0;
        size[k] = fmax(fmax(fabs(least), fabs(most)), 1);
    }
    double terms = floor(0x1p24 / (size[0] * size[1]));
    return terms < LEAST ? 0 : terms > MOST ? MOST : (int64_t)terms;
}

/* Terms of a slice: as many slices as are needed, about equally long. */
static int64_t slice_length(int64_t K, int64_t most) {
    int64_t slices = (K + most - 1) / most, each = (K + slices - 1) / slices, even = (each + 31) / 32 * 32;
    return even <= most ? even : each;
}

static Value *rewritten(Builder *b, const Node *node, int64_t K, int64_t terms) {
    Dims *dims = b->graph->dims;
    int rank = node->output[0]->type.rank;
    Value *left = sn_build_cast(b, node->input[0], SN_F32), *right = sn_build_cast(b, node->input[1], SN_F32);
    Value *sum = NULL;
    int64_t each = slice_length(K, terms);
    for (int64_t at = 0; at < K && left && right; at += each) {
        Dim start = sn_dim(dims, at), count = sn_dim(dims, K - at < each ? K - at : each);
        Value *part = sn_build2(b, SN_OP_CONTRACT, NULL, sn_build_slice(b, left, rank - 1, start, count, 1),
                                sn_build_slice(b, right, rank - 2, start, count, 1));
        part = part ? sn_build_cast(b, part, node->output[0]->type.dtype) : NULL;
        sum = !sum ? part : part ? sn_build2(b, SN_OP_ADD, NULL, sum, part) : NULL;
        if (!sum) return NULL;
    }
    return sum;
}

bool sn_integers(Pass *pass, Graph *graph) {
    bool changed = false;
    sn_mark_setup(pass, graph);
    for (Node *node = graph->body->first, *next; node && !pass->status; node = next) {
        next = node->next;
        int64_t K, terms;
        if (sn_byte_product(pass, graph, node)) {
            changed = true;
            continue;
        }
        bool integers = node->op == SN_OP_CONTRACT && node->output[0]->type.dtype == SN_I32;
        if (!integers || pass->target->kind != SN_TARGET_CPU) continue;
        if (!sn_dim_is(node->input[0]->type.dim[node->input[0]->type.rank - 1], &K) || K < 1) continue;
        terms = exact_terms(node);
        if (!terms || !sn_pass_rewrite(pass)) continue;
        sn_pass_remark(pass, node->origin, true, "sums of up to %lld products of integers are exact in f32",
                       (long long)terms);
        Builder builder = sn_builder_before(graph, node);
        Value *sum = rewritten(&builder, node, K, terms);
        pass->status = builder.status;
        if (!sum) continue;
        sn_value_replace(node->output[0], sum);
        sn_node_remove(node);
        changed = true;
    }
    /* The passes that follow change what is in setup without a look at these marks. */
    for (Node *node = graph->body->first; node; node = node->next) node->setup = false;
    return changed;
}
