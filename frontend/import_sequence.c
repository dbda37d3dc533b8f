/* Operators on sequences: what they give is known at once, and no node is made for it; but a sequence that a loop has made whose
 * turns only a run counts is a tensor with one axis more. */
#include "sequence.h"

#include "import_compose.h"

/* The value that stands for a sequence of `count` places to be filled, which go to *element. */
static Value *new_sequence(Call *c, int count, Value ***element) {
    *element = SN_ARRAY(c->import->scratch, Value *, count + 1);
    return sn_sequence_stand(c->import, (Sequence){.count = count, .element = *element});
}

static const Sequence *any_sequence(Call *c) {
    const Sequence *sequence = sn_sequence_of(c->import, c->input[0]);
    if (!sequence) sn_call_unsupported(c, "a sequence that is only known in a run");
    if (!sequence || !sequence->nothing) return sequence;
    sn_call_invalid(c, "an optional value without an element");
    return NULL;
}

/* Whose elements are all known. */
static const Sequence *sequence_input(Call *c) {
    const Sequence *sequence = any_sequence(c);
    if (!sequence || (!sequence->open && !sequence->whole)) return sequence;
    sn_call_unsupported(c, sequence->open ? "what the turns before have added to a sequence"
                                          : "a sequence of as many elements as a run has");
    return NULL;
}

/* All elements along a first axis, where a run says how many there are. */
static Value *whole_input(Call *c) {
    const Sequence *sequence = any_sequence(c);
    return sequence ? sequence->whole : NULL;
}

/* The place that input k names among `count`, from the end of `length` elements where it is negative; `missing` where it is
 * absent. */
static int place(Call *c, int k, int count, int length, int missing) {
    int given;
    if (!sn_call_input(c, k) || sn_call_failed(c)) return missing;
    const int64_t *at = sn_call_constants(c, c->input[k], "position", &given);
    if (sn_call_failed(c)) return 0;
    int64_t index = given == 1 ? at[0] < 0 ? at[0] + length : at[0] : -1;
    if (index < 0 || index >= count) sn_call_invalid(c, "a position outside of the sequence");
    return (int)index;
}

Value *sn_import_sequence_empty(Call *c) {
    Value **element;
    sn_call_ignore(c, "dtype");
    return new_sequence(c, 0, &element);
}

Value *sn_import_sequence_construct(Call *c) {
    Value **element, *made = new_sequence(c, c->input_count, &element);
    for (int k = 0; made && k < c->input_count; k++) element[k] = c->input[k];
    return made;
}

/* At the end of what the turns before have added. */
static Value *insert_open(Call *c, const Sequence *from) {
    Sequence to = *from;
    to.element = SN_ARRAY(c->import->scratch, Value *, from->count + 1);
    for (int k = 0; k < from->count; k++) to.element[k] = from->element[k];
    to.element[to.count++] = c->input[1];
    return sn_sequence_stand(c->import, to);
}

Value *sn_import_sequence_insert(Call *c) {
    const Sequence *from = any_sequence(c);
    if (from && from->open && !sn_call_input(c, 2)) return insert_open(c, from);
    from = sequence_input(c);
    if (!from) return NULL;
    Value **element, *made = new_sequence(c, from->count + 1, &element);
    int at = place(c, 2, from->count + 1, from->count, from->count);
    for (int k = 0; made && k <= from->count; k++)
        element[k] = k == at ? c->input[1] : from->element[k - (k > at)];
    return sn_call_failed(c) ? NULL : made;
}

Value *sn_import_sequence_erase(Call *c) {
    const Sequence *from = sequence_input(c);
    if (!from || from->count == 0) return from ? sn_call_invalid(c, "an empty sequence") : NULL;
    Value **element, *made = new_sequence(c, from->count - 1, &element);
    int at = place(c, 1, from->count, from->count, from->count - 1);
    for (int k = 0; made && k < from->count - 1; k++) element[k] = from->element[k + (k >= at)];
    return sn_call_failed(c) ? NULL : made;
}

static Value *whole_at(Call *c, Value *whole) {
    Value *at = as_type(c, reshaped(c, c->input[1], 0, NULL), SN_I64), *zero = sn_call_scalar(c, SN_I64, 0);
    Value *behind = op2(c, SN_OP_ADD, at, size_number(c, whole->type.dim[0], SN_I64));
    return gathered(c, whole, choose(c, op2(c, SN_OP_LESS, at, zero), behind, at), 0);
}

Value *sn_import_sequence_at(Call *c) {
    Value *whole = whole_input(c);
    if (whole) return whole_at(c, whole);
    const Sequence *from = sequence_input(c);
    int at = from ? place(c, 1, from->count, from->count, 0) : 0;
    return sn_call_failed(c) ? NULL : from->element[at];
}

Value *sn_import_sequence_length(Call *c) {
    Value *whole = whole_input(c);
    if (whole) return size_number(c, whole->type.dim[0], SN_I64);
    const Sequence *from = sequence_input(c);
    Dim count = sn_dim(c->dims, from ? from->count : 0);
    return sn_build_dims(c->builder, 1, &count, true);
}

/* The first axis becomes `axis`, and one with that which follows it unless it is new. */
static Value *join_whole(Call *c, Value *whole, bool stacks) {
    int order[SN_MAX_RANK], rank = whole->type.rank;
    int axis = sn_call_axis(c, sn_call_int(c, "axis", 0), stacks ? rank : rank - 1);
    if (sn_call_failed(c)) return NULL;
    for (int k = 0; k < rank; k++) order[k] = k == axis ? 0 : k < axis ? k + 1 : k;
    Value *all = transposed(c, whole, order);
    if (stacks || sn_call_failed(c)) return all;
    Dim extent[SN_MAX_RANK];
    for (int k = 0; k < rank - 1; k++) extent[k] = all->type.dim[k < axis ? k : k + 1];
    extent[axis] = sn_dim_mul(c->dims, all->type.dim[axis], all->type.dim[axis + 1]);
    return reshaped(c, all, rank - 1, extent);
}

Value *sn_import_concat_from_sequence(Call *c) {
    bool stacks = sn_call_int(c, "new_axis", 0) != 0;
    Value *whole = whole_input(c);
    if (whole) return join_whole(c, whole, stacks);
    const Sequence *from = sequence_input(c);
    if (!from) return NULL;
    if (from->count == 0) return sn_call_invalid(c, "an empty sequence");
    int axis = sn_call_axis(c, sn_call_int(c, "axis", 0), from->element[0]->type.rank + stacks);
    Value **part = SN_ARRAY(c->import->scratch, Value *, from->count);
    for (int k = 0; k < from->count; k++)
        part[k] = stacks ? sn_call_unsqueeze(c, from->element[k], axis, 1) : from->element[k];
    return joined(c, axis, from->count, part);
}

/* ---- splits ---- */

/* The extents of the parts: as given, or equal ones but for the last. */
static const int64_t *part_sizes(Call *c, int64_t extent, int *count) {
    const Value *split = sn_call_input(c, 1);
    int64_t each = 1, *size;
    if (split && split->type.rank > 0) return sn_call_constants(c, split, "split", count);
    if (split) {
        const int64_t *given = sn_call_constants(c, split, "split", count);
        if (!given) return NULL;
        each = given[0];
    }
    if (each < 1) sn_call_invalid(c, "parts of %lld", (long long)each);
    int64_t parts = sn_call_failed(c) ? 0 : (extent + each - 1) / each;
    if (parts > 4096) sn_call_unsupported(c, "%lld parts", (long long)parts);
    if (sn_call_failed(c)) return NULL;
    size = SN_ARRAY(c->import->scratch, int64_t, parts);
    for (int64_t k = 0; k < parts; k++) size[k] = k < parts - 1 ? each : extent - each * (parts - 1);
    *count = (int)parts;
    return size;
}

Value *sn_import_split_to_sequence(Call *c) {
    Value *x = c->input[0], **element;
    int axis = sn_call_axis(c, sn_call_int(c, "axis", 0), x->type.rank), count = 0;
    bool keep = sn_call_int(c, "keepdims", 1) != 0 || sn_call_input(c, 1);
    int64_t extent, total = 0;
    if (sn_call_failed(c)) return NULL;
    if (!sn_dim_is(x->type.dim[axis], &extent))
        return sn_call_unsupported(c, "a number of parts that is not known");
    const int64_t *size = part_sizes(c, extent, &count);
    Value *made = sn_call_failed(c) ? NULL : new_sequence(c, count, &element);
    for (int k = 0; made && k < count; k++) {
        Value *part = sliced(c, x, axis, sn_dim(c->dims, total), sn_dim(c->dims, size[k]));
        Dim left[SN_MAX_RANK];
        for (int d = 0; d < x->type.rank; d++)
            if (d != axis) left[d - (d > axis)] = x->type.dim[d];
        element[k] = keep ? part : reshaped(c, part, x->type.rank - 1, left);
        total += size[k];
    }
    if (made && total != extent) return sn_call_invalid(c, "parts of %lld in all", (long long)total);
    return sn_call_failed(c) ? NULL : made;
}

/* ---- SequenceMap: the body for each element ---- */

static bool map_element(Call *c, const Onnx__GraphProto *body, int at, Value **out) {
    Value **in = SN_ARRAY(c->import->scratch, Value *, c->input_count);
    for (int k = 0; k < c->input_count; k++) {
        const Sequence *sequence = sn_sequence_of(c->import, c->input[k]);
        in[k] = sequence ? sequence->element[at] : c->input[k];
    }
    Builder builder = *c->builder;
    int refused = c->import->refused;
    Status status = sn_import_subgraph(c->import, body, NULL, c->input_count, in, out);
    *c->builder = builder;
    if (status) sn_call_latch(c, status);
    return !status && c->import->refused == refused;
}

/* All sequences among the inputs are as long as the first one. */
static const Sequence *mapped_sequence(Call *c) {
    const Sequence *first = sequence_input(c);
    for (int k = 1; first && k < c->input_count; k++) {
        const Sequence *other = sn_sequence_of(c->import, c->input[k]);
        if (!other) continue;
        if (other->open || other->whole)
            sn_call_unsupported(c, "a sequence of as many elements as a run has");
        if (other->nothing || other->count != first->count)
            sn_call_invalid(c, "sequences of %d and %d elements", first->count, other->count);
    }
    return sn_call_failed(c) ? NULL : first;
}

Value *sn_import_sequence_map(Call *c) {
    const Onnx__GraphProto *body = sn_call_graph(c, "body");
    const Sequence *from = mapped_sequence(c);
    if (!from) return NULL;
    if ((int)body->n_output != c->output_count)
        return sn_call_invalid(c, "a body of %zu outputs", body->n_output);
    Value ***element = SN_ARRAY(c->import->scratch, Value **, c->output_count),
          **out = SN_ARRAY(c->import->scratch, Value *, c->output_count);
    for (int k = 0; k < c->output_count; k++) c->output[k] = new_sequence(c, from->count, &element[k]);
    for (int at = 0; at < from->count; at++) {
        if (!map_element(c, body, at, out)) return NULL;
        for (int k = 0; k < c->output_count; k++) element[k][at] = out[k];
    }
    return c->output[0];
}

/* ---- optional values ---- */

static bool is_nothing(Call *c) {
    const Sequence *stand = sn_sequence_of(c->import, sn_call_input(c, 0));
    return !sn_call_input(c, 0) || (stand && stand->nothing);
}

Value *sn_import_optional(Call *c) {
    sn_call_ignore(c, "type");
    if (sn_call_input(c, 0)) return c->input[0];
    return sn_sequence_stand(c->import, (Sequence){.nothing = true});
}

Value *sn_import_optional_has(Call *c) {
    return sn_call_scalar(c, SN_BOOL, !is_nothing(c));
}

Value *sn_import_optional_get(Call *c) {
    return is_nothing(c) ? sn_call_invalid(c, "an optional value without an element") : c->input[0];
}
