/* Substitution, also from one table into another. */
#include "dim_internal.h"

enum { CACHE = 64 };

typedef struct Replace {
    Dims *dims; /* of the result */
    const Dim *from, *to;
    int count;
    uint64_t leaves; /* of all `from` */
    struct {
        Dim dim, image;
    } cache[CACHE]; /* direct-mapped, so that what is shared inside a Dim is done once */
} Replace;

static Dim replace(Replace *r, Dim dim);

static Dim carry_symbol(Dims *dims, Dim dim) {
    const Symbol *symbol = symbol_of(dim);
    int before = sn_dims_symbol_count(dims);
    Dim image = sn_dim_symbol(dims, symbol->name);
    if (sn_dims_symbol_count(dims) > before) { /* new here: its bounds come along */
        sn_dims_symbol_at_least(dims, image, symbol->least);
        sn_dims_symbol_at_most(dims, image, symbol->most);
    }
    return image;
}

static Dim replace_sum(Replace *r, Dim dim) {
    Poly sum;
    sn_poly_zero(&sum, r->dims);
    sn_poly_constant(&sum, dim->value);
    for (int i = 0; i < dim->count; i++)
        sn_poly_add_dim(&sum, dim->coefficient[i], replace(r, dim->operand[i]));
    return sn_dim_of_poly(&sum);
}

static Dim replace_product(Replace *r, Dim dim) {
    Dim product = replace(r, dim->operand[0]);
    for (int i = 1; i < dim->count; i++) product = sn_dim_mul(r->dims, product, replace(r, dim->operand[i]));
    return product;
}

static Dim replace_binary(Replace *r, Dim dim) {
    static Dim (*const make[])(Dims *, Dim, Dim) = {
        [SN_DIM_FLOORDIV] = sn_dim_floordiv, [SN_DIM_CEILDIV] = sn_dim_ceildiv,
        [SN_DIM_TRUNCDIV] = sn_dim_truncdiv, [SN_DIM_MOD] = sn_dim_mod,
        [SN_DIM_MIN] = sn_dim_min,           [SN_DIM_MAX] = sn_dim_max,
    };
    Dim a = replace(r, dim->operand[0]), b = replace(r, dim->operand[1]);
    return make[dim->kind](r->dims, a, b);
}

static Dim replace_compound(Replace *r, Dim dim) {
    unsigned at = ((unsigned)dim->id * 2654435761u) >> 26; /* the top 6 bits: CACHE entries */
    if (r->cache[at].dim == dim) return r->cache[at].image;
    Dim image = dim->kind == SN_DIM_SUM       ? replace_sum(r, dim)
                : dim->kind == SN_DIM_PRODUCT ? replace_product(r, dim)
                                              : replace_binary(r, dim);
    r->cache[at].dim = dim;
    r->cache[at].image = image;
    return image;
}

static Dim replace(Replace *r, Dim dim) {
    if (node_of(dim)->owner == r->dims && !(node_of(dim)->leaves & r->leaves)) return dim;
    if (dim->kind == SN_DIM_CONST) return sn_dim(r->dims, dim->value);
    if (dim->kind == SN_DIM_SYMBOL || dim->kind == SN_DIM_AXIS) {
        for (int i = 0; i < r->count; i++)
            if (r->from[i] == dim) return r->to[i];
        if (dim->kind == SN_DIM_SYMBOL) return carry_symbol(r->dims, dim);
        return sn_dim_axis(r->dims, (int)dim->value, replace(r, dim->operand[0]));
    }
    return replace_compound(r, dim);
}

/* The bit of a leaf without those of its extent. */
static uint64_t own_leaf(Dim leaf) {
    if (leaf->kind == SN_DIM_AXIS) return UINT64_C(1) << (32 + (leaf->value & 31));
    return node_of(leaf)->leaves;
}

Dim sn_dim_replace(Dims *dims, Dim dim, const Dim *from, const Dim *to, int count) {
    if (dim->kind == SN_DIM_CONST) return sn_dim(dims, dim->value);
    Replace r;
    r.dims = dims;
    r.from = from;
    r.to = to;
    r.count = count;
    r.leaves = 0;
    for (int i = 0; i < count; i++) r.leaves |= own_leaf(from[i]);
    if (dim->kind >= SN_DIM_AXIS) memset(r.cache, 0, sizeof r.cache);
    return replace(&r, dim);
}

void sn_dims_copy_symbols(Dims *to, Dims *from) {
    for (int i = 0; i < sn_dims_symbol_count(from); i++) {
        const char *name = sn_dims_symbol_name(from, i);
        Dim old = sn_dim_symbol(from, name), new = sn_dim_symbol(to, name);
        int64_t bound;
        if (sn_dim_lower(from, old, &bound)) sn_dims_symbol_at_least(to, new, bound);
        if (sn_dim_upper(from, old, &bound)) sn_dims_symbol_at_most(to, new, bound);
    }
}

int64_t sn_dim_divisors(Dim dim, Dim axis, int64_t run) {
    int64_t divisor;
    bool divides = dim->kind == SN_DIM_FLOORDIV || dim->kind == SN_DIM_MOD;
    if (divides && dim->operand[0] == axis && sn_dim_is(dim->operand[1], &divisor))
        run = sn_gcd_i64(run, divisor);
    if (dim->kind == SN_DIM_AXIS) return run;
    for (int i = 0; i < dim->count; i++) run = sn_dim_divisors(dim->operand[i], axis, run);
    return run;
}
