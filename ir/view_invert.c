/* The inverse of an index map that is a bijection.
 *
 * A digit is a piece of an output axis: (axis floordiv low) mod extent. If every source index is a sum of
 * digits in mixed radix (the coefficients 1, e0, e0·e1, ... of digits with extents e0, e1, ... up to the
 * source's extent), and the digits of every output axis tile it the same way (their `low` is 1, e0, e0·e1,
 * ... up to its extent), then each digit can be read back from its source axis, and each output axis is a sum
 * of digits. */
#include "view.h"

typedef struct Digit {
    int output;      /* the axis of the map's output */
    int source;      /* the axis of the source that contains it */
    Dim atom;        /* as it stands in the index */
    Dim low, extent; /* of the output's axis */
    Dim coefficient; /* in the source's index */
} Digit;

typedef SN_VEC(Digit) Digits;

/* The axis number of the output that `dim` is, or -1. */
static int output_axis(Dims *dims, const IndexMap *map, Dim dim) {
    if (dim->kind != SN_DIM_AXIS || dim->value >= map->rank) return -1;
    int number = (int)dim->value;
    return sn_dim_axis(dims, number, map->extent[number]) == dim ? number : -1;
}

/* Fills in output, low and extent of an atom: axis, axis floordiv a, axis mod b or (axis floordiv a) mod b.
 */
static bool read_digit(Dims *dims, const IndexMap *map, Dim atom, Digit *digit) {
    Dim inner = atom, modulus = NULL;
    if (inner->kind == SN_DIM_MOD) {
        modulus = inner->operand[1];
        inner = inner->operand[0];
    }
    digit->low = sn_dim(dims, 1);
    if (inner->kind == SN_DIM_FLOORDIV) {
        digit->low = inner->operand[1];
        inner = inner->operand[0];
    }
    digit->atom = atom;
    digit->output = output_axis(dims, map, inner);
    if (digit->output < 0) return false;
    digit->extent = modulus;
    return modulus || sn_dim_divides(dims, digit->low, map->extent[digit->output], &digit->extent);
}

static Digit *digit_of(Digits *digits, int source, Dim atom) {
    for (int i = 0; i < digits->count; i++)
        if (digits->at[i].source == source && digits->at[i].atom == atom) return &digits->at[i];
    return NULL;
}

/* One term c·monomial of the index of `source`: the one factor with an axis is the digit, the rest its
 * coefficient. */
static bool read_term(Dims *dims, Arena *arena, const IndexMap *map, int source, int64_t c, Dim monomial,
                      Digits *digits) {
    bool product = monomial->kind == SN_DIM_PRODUCT;
    Dim atom = NULL, coefficient = sn_dim(dims, c);
    for (int i = 0; i < (product ? monomial->count : 1); i++) {
        Dim factor = product ? monomial->operand[i] : monomial;
        if (!sn_dim_has_axis(factor))
            coefficient = sn_dim_mul(dims, coefficient, factor);
        else if (atom)
            return false;
        else
            atom = factor;
    }
    if (!atom) return false;
    Digit *known = digit_of(digits, source, atom);
    if (known) { /* an extent that is a sum spreads over several terms */
        known->coefficient = sn_dim_add(dims, known->coefficient, coefficient);
        return true;
    }
    Digit digit = {.source = source, .coefficient = coefficient};
    if (!read_digit(dims, map, atom, &digit)) return false;
    sn_push(arena, digits, digit);
    return true;
}

static bool read_index(Dims *dims, Arena *arena, const IndexMap *map, int source, Digits *digits) {
    Dim index = map->index[source];
    if (index->kind == SN_DIM_CONST) return index->value == 0;
    if (index->kind != SN_DIM_SUM) return read_term(dims, arena, map, source, 1, index, digits);
    for (int i = 0; i < index->count; i++)
        if (!read_term(dims, arena, map, source, index->coefficient[i], index->operand[i], digits))
            return false;
    return index->value == 0;
}

/* Do the digits of one axis (of the source, or of the output) follow each other from 1 to `extent`, all of
 * them? */
static bool tiles(Dims *dims, const Digits *digits, bool of_source, int axis, Dim extent) {
    Dim reached = sn_dim(dims, 1);
    int left = 0;
    for (int i = 0; i < digits->count; i++)
        left += (of_source ? digits->at[i].source : digits->at[i].output) == axis;
    while (left-- > 0) {
        const Digit *next = NULL;
        for (int i = 0; i < digits->count && !next; i++) {
            const Digit *digit = &digits->at[i];
            bool here = (of_source ? digit->source : digit->output) == axis;
            if (here && (of_source ? digit->coefficient : digit->low) == reached) next = digit;
        }
        if (!next) return false;
        reached = sn_dim_mul(dims, reached, next->extent);
    }
    return reached == extent;
}

static IndexMap inverse_of_digits(Dims *dims, Arena *arena, const IndexMap *map, const Dim *source,
                                  const Digits *digits) {
    Dim *index = SN_ARRAY(arena, Dim, map->rank), *extent = SN_ARRAY(arena, Dim, map->source_rank);
    for (int i = 0; i < map->source_rank; i++) extent[i] = source[i];
    for (int i = 0; i < map->rank; i++) index[i] = sn_dim(dims, 0);
    for (int i = 0; i < digits->count; i++) {
        const Digit *digit = &digits->at[i];
        Dim axis = sn_dim_axis(dims, digit->source, source[digit->source]);
        Dim piece = sn_dim_mod(dims, sn_dim_floordiv(dims, axis, digit->coefficient), digit->extent);
        Dim *sum = &index[digit->output];
        *sum = sn_dim_add(dims, *sum, sn_dim_mul(dims, piece, digit->low));
    }
    return (IndexMap){map->source_rank, extent, map->rank, index};
}

/* Holds no element whatever the symbols are: its digits could not be divided out. */
static bool is_empty(int rank, const Dim *extent) {
    for (int i = 0; i < rank; i++)
        if (sn_dim_equals(extent[i], 0)) return true;
    return false;
}

bool sn_view_invert(Dims *dims, Arena *arena, const IndexMap *map, const Dim *source, IndexMap *out) {
    Digits digits = {0};
    bool read = !is_empty(map->rank, map->extent) && !is_empty(map->source_rank, source);
    for (int i = 0; i < map->source_rank && read; i++)
        read = read_index(dims, arena, map, i, &digits) && tiles(dims, &digits, true, i, source[i]);
    for (int i = 0; i < map->rank && read; i++) read = tiles(dims, &digits, false, i, map->extent[i]);
    if (read) {
        *out = inverse_of_digits(dims, arena, map, source, &digits);
        return true;
    }
    if (!sn_view_is_reshape(dims, map, source)) return false;
    *out = sn_view_reshape(dims, arena, map->rank, map->extent, map->source_rank, source);
    return true;
}
