/* Einsum as transposes, reshapes, sums and one matrix product for each pair of operands, from the left. */
#include "import.h"
#include "view.h"

#include <ctype.h>
#include <string.h>

enum { LETTERS = 52 };

/* A tensor and the letter of each of its axes, different ones but in an operand as it is written. */
typedef struct Term {
    Value *value;
    int rank;
    char label[LETTERS];
} Term;

static int find(const Term *term, char label) {
    for (int k = 0; k < term->rank; k++)
        if (term->label[k] == label) return k;
    return -1;
}

static bool ends(char at) {
    return !at || at == ',' || at == '-';
}

static int letters_of(const char *at) {
    int count = 0;
    for (; !ends(*at); at++) count += isalpha((unsigned char)*at) != 0;
    return count;
}

static void add_label(Call *c, Term *term, char label) {
    if (term->rank == SN_MAX_RANK)
        sn_call_unsupported(c, "more than %d labels", SN_MAX_RANK);
    else
        term->label[term->rank++] = label;
}

/* The axes of an ellipsis are labelled by digits from the last one on, as they meet when they broadcast. */
static void add_ellipsis(Call *c, Term *term, int count) {
    if (count > SN_MAX_RANK) sn_call_unsupported(c, "more than %d labels", SN_MAX_RANK);
    for (int k = count - 1; k >= 0 && !sn_call_failed(c); k--) add_label(c, term, (char)('0' + k));
}

/* Reads the labels up to a comma, an arrow or the end; what letters leave of `rank` axes belongs to an ellipsis. */
static const char *read_labels(Call *c, const char *at, int rank, Term *term) {
    int rest = rank - letters_of(at);
    term->rank = 0;
    for (; !ends(*at) && !sn_call_failed(c); at++) {
        if (strncmp(at, "...", 3) == 0) {
            add_ellipsis(c, term, rest);
            at += 2;
        } else if (isalpha((unsigned char)*at)) {
            add_label(c, term, *at);
        } else if (*at != ' ') {
            sn_call_invalid(c, "an equation with a stray character");
        }
    }
    return at;
}

/* Of axes with the same label only what has the same index on all of them counts: a view with that label once. */
static void take_diagonal(Call *c, Term *term) {
    if (sn_call_failed(c)) return;
    Type type = term->value->type;
    Arena *arena = c->import->graph->arena;
    Dim *extent = SN_ARRAY(arena, Dim, type.rank), *index = SN_ARRAY(arena, Dim, type.rank);
    Term once = {.value = term->value};
    for (int k = 0; k < type.rank; k++) {
        int known = find(&once, term->label[k]);
        if (known < 0)
            known = once.rank, extent[known] = type.dim[k], once.label[once.rank++] = term->label[k];
        Status status =
            sn_graph_check(c->import->graph, SN_CHECK_EQUAL, type.dim[k], extent[known], c->builder->origin);
        if (status) sn_call_latch(c, sn_status_prefix(status, "a diagonal"));
    }
    if (once.rank == type.rank || sn_call_failed(c)) return;
    Dim *axis = sn_view_axes(c->dims, arena, once.rank, extent);
    for (int k = 0; k < type.rank; k++) index[k] = axis[find(&once, term->label[k])];
    once.value =
        sn_build1(c->builder, SN_OP_VIEW, &(AttrView){once.rank, extent, type.rank, index}, term->value);
    *term = once;
}

/* How many axes the ellipsis of the operands has that has most. */
static int ellipsis_of(const Term *term, int count) {
    int most = 0;
    for (int k = 0; k < count; k++)
        while (find(&term[k], (char)('0' + most)) >= 0) most++;
    return most;
}

/* The term with its axes in the order of `label`, of which it has them all. */
static Value *arranged(Call *c, const Term *term, const char *label, int count) {
    int order[SN_MAX_RANK];
    for (int k = 0; k < count; k++) order[k] = find(term, label[k]);
    return sn_call_failed(c) ? NULL : sn_build_transpose(c->builder, term->value, order);
}

/* Sums the axes that nothing else needs. */
static void sum_private(Call *c, Term *term, const Term *other, const Term *out) {
    int64_t axes[SN_MAX_RANK];
    int count = 0, kept = 0;
    for (int k = 0; k < term->rank; k++) {
        bool needed = find(out, term->label[k]) >= 0 || (other && find(other, term->label[k]) >= 0);
        if (!needed) axes[count++] = k;
    }
    if (count == 0) return;
    term->value = sn_call_reduce(c, SN_OP_REDUCE_SUM, term->value, count, axes, false);
    for (int k = 0; k < term->rank; k++)
        if (find(out, term->label[k]) >= 0 || (other && find(other, term->label[k]) >= 0))
            term->label[kept++] = term->label[k];
    term->rank = kept;
}

/* What the labels of two operands are to their product: batch, own rows or columns, contracted. */
typedef struct Roles {
    char batch[SN_MAX_RANK * 2], a[SN_MAX_RANK * 2], b[SN_MAX_RANK * 2], sum[SN_MAX_RANK * 2];
    int batches, as, bs, sums;
} Roles;

static Roles roles_of(const Term *a, const Term *b, const Term *out) {
    Roles roles = {0};
    for (int k = 0; k < a->rank; k++) {
        char label = a->label[k];
        if (find(b, label) < 0)
            roles.a[roles.as++] = label;
        else if (find(out, label) >= 0)
            roles.batch[roles.batches++] = label;
        else
            roles.sum[roles.sums++] = label;
    }
    for (int k = 0; k < b->rank; k++)
        if (find(a, b->label[k]) < 0) roles.b[roles.bs++] = b->label[k];
    return roles;
}

static Dim extent_of(Call *c, const Term *term, const char *label, int count) {
    Dim product = sn_dim(c->dims, 1);
    for (int k = 0; k < count; k++)
        product = sn_dim_mul(c->dims, product, term->value->type.dim[find(term, label[k])]);
    return product;
}

/* The operand as [batch…, rows, columns]. */
static Value *as_matrix(Call *c, const Term *term, const Roles *roles, const char *rows, int row_count,
                        const char *columns, int column_count) {
    if (sn_call_failed(c)) return NULL;
    char order[SN_MAX_RANK * 4];
    Dim extent[SN_MAX_RANK + 2];
    int count = 0;
    for (int k = 0; k < roles->batches; k++) {
        extent[k] = extent_of(c, term, &roles->batch[k], 1);
        order[count++] = roles->batch[k];
    }
    for (int k = 0; k < row_count; k++) order[count++] = rows[k];
    for (int k = 0; k < column_count; k++) order[count++] = columns[k];
    extent[roles->batches] = extent_of(c, term, rows, row_count);
    extent[roles->batches + 1] = extent_of(c, term, columns, column_count);
    return sn_build_reshape(c->builder, arranged(c, term, order, count), roles->batches + 2, extent);
}

static Term product(Call *c, Term a, Term b, const Term *out) {
    sum_private(c, &a, &b, out);
    sum_private(c, &b, &a, out);
    Term result = {0};
    if (sn_call_failed(c)) return result;
    Roles roles = roles_of(&a, &b, out);
    result.rank = roles.batches + roles.as + roles.bs;
    if (result.rank > SN_MAX_RANK || roles.batches + 2 > SN_MAX_RANK) {
        sn_call_unsupported(c, "a product of rank %d", result.rank);
        return result;
    }
    Value *left = as_matrix(c, &a, &roles, roles.a, roles.as, roles.sum, roles.sums);
    Value *right = as_matrix(c, &b, &roles, roles.sum, roles.sums, roles.b, roles.bs);
    Value *matrix = sn_build2(c->builder, SN_OP_MATMUL, NULL, left, right);
    if (sn_call_failed(c)) return result;
    Dim extent[SN_MAX_RANK];
    int rank = 0;
    for (int k = 0; k < roles.batches; k++, rank++) {
        result.label[rank] = roles.batch[k];
        extent[rank] = matrix->type.dim[k];
    }
    for (int k = 0; k < roles.as; k++, rank++) {
        result.label[rank] = roles.a[k];
        extent[rank] = extent_of(c, &a, &roles.a[k], 1);
    }
    for (int k = 0; k < roles.bs; k++, rank++) {
        result.label[rank] = roles.b[k];
        extent[rank] = extent_of(c, &b, &roles.b[k], 1);
    }
    result.value = sn_build_reshape(c->builder, matrix, rank, extent);
    return result;
}

/* Without an arrow the result has the ellipsis and the labels that occur once, in alphabetical order. */
static void implicit_output(Call *c, const Term *term, int count, Term *out) {
    out->rank = 0;
    add_ellipsis(c, out, ellipsis_of(term, count));
    for (int label = 'A'; label <= 'z'; label++) {
        int uses = 0;
        for (int k = 0; k < count; k++)
            for (int i = 0; i < term[k].rank; i++) uses += term[k].label[i] == label;
        if (uses == 1 && !sn_call_failed(c)) add_label(c, out, (char)label);
    }
}

/* A label of the result is needed until the end; one that a later operand has, until then. */
static Term needed_after(const Term *term, int from, int count, const Term *out) {
    Term needed = *out;
    for (int k = from; k < count; k++)
        for (int i = 0; i < term[k].rank; i++)
            if (find(&needed, term[k].label[i]) < 0) needed.label[needed.rank++] = term[k].label[i];
    return needed;
}

static void check_output(Call *c, const Term *term, int count, const Term *out) {
    for (int i = 0; i < out->rank; i++) {
        bool found = false;
        for (int k = 0; k < count; k++) found = found || find(&term[k], out->label[i]) >= 0;
        if (!found) sn_call_invalid(c, "a label of the result that no operand has");
        if (find(out, out->label[i]) != i) sn_call_invalid(c, "a label that the result has twice");
    }
}

Value *sn_import_einsum(Call *c) {
    const char *at = sn_call_string(c, "equation", NULL);
    if (!at) return sn_call_invalid(c, "attribute \"equation\" is missing");
    int count = c->input_count;
    Term *term = SN_ARRAY(c->import->scratch, Term, count), out = {0};
    for (int k = 0; k < count && !sn_call_failed(c); k++) {
        at = read_labels(c, at, c->input[k]->type.rank, &term[k]);
        term[k].value = c->input[k];
        if (term[k].rank != c->input[k]->type.rank)
            sn_call_invalid(c, "operand %d has rank %d", k, c->input[k]->type.rank);
        if (k + 1 < count && *at++ != ',') return sn_call_invalid(c, "an equation of fewer operands");
    }
    Term *given = SN_ARRAY(c->import->scratch, Term, count);
    for (int k = 0; k < count; k++) given[k] = term[k], take_diagonal(c, &term[k]);
    if (sn_call_failed(c)) return NULL;
    if (at[0] == '-' && at[1] == '>')
        at = read_labels(c, at + 2, letters_of(at + 2) + ellipsis_of(term, count), &out);
    else
        implicit_output(c, given, count, &out);
    if (*at) return sn_call_invalid(c, "an equation of more operands");
    check_output(c, term, count, &out);
    Term result = term[0];
    for (int k = 1; k < count && !sn_call_failed(c); k++) {
        Term needed = needed_after(term, k + 1, count, &out);
        result = product(c, result, term[k], &needed);
    }
    if (count == 1) sum_private(c, &result, NULL, &out);
    return sn_call_failed(c) ? NULL : arranged(c, &result, out.label, out.rank);
}
