/* Proofs: intervals, and e >= 0 for polynomials by putting the worst value for one atom after another.
 *
 * A proof of e >= 0 picks an atom A and writes e = A·P + Q. With P >= 0, e is least where A is, so A is
 * replaced by a lower bound (an axis: 0); with P <= 0 by an upper bound (an axis: its extent less one). What
 * the atoms are known to lie between: q = x floordiv d: d·q <= x <= d·q + d - 1; m = x mod d: 0 <= m <= d - 1
 * and m <= x where x >= 0; min and max: their operands. Each step removes an atom, and the number of steps is
 * limited. */
#include "dim_internal.h"

enum { MAX_STEPS = 96, MAX_NESTING = 20, MAX_FACTS = 8, MAX_ATOMS = 16, MAX_WALK = 96 };

/* ---- intervals ---- */

static int sign_of(int64_t x) {
    return (x > 0) - (x < 0);
}

static int64_t saturated(int sign) {
    return sign < 0 ? MINUS_INFINITY : PLUS_INFINITY;
}

static bool infinite(int64_t x) {
    return x == MINUS_INFINITY || x == PLUS_INFINITY;
}

static int64_t times(int64_t a, int64_t b) {
    int64_t product;
    if (a == 0 || b == 0) return 0;
    if (infinite(a) || infinite(b) || !sn_mul_i64(a, b, &product)) return saturated(sign_of(a) * sign_of(b));
    return product;
}

/* Infinities stay; where both kinds would meet, `toward` (the safe side) wins. */
static int64_t plus(int64_t a, int64_t b, int64_t toward) {
    int64_t sum;
    if (a == toward || b == toward) return toward;
    if (infinite(a)) return a;
    if (infinite(b)) return b;
    return sn_add_i64(a, b, &sum) ? sum : saturated(sign_of(a));
}

static int64_t least_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t most_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static Interval interval_times(Interval a, Interval b) {
    int64_t w = times(a.lo, b.lo), x = times(a.lo, b.hi), y = times(a.hi, b.lo), z = times(a.hi, b.hi);
    return (Interval){least_of(least_of(w, x), least_of(y, z)), most_of(most_of(w, x), most_of(y, z))};
}

static Interval interval_plus(Interval a, Interval b) {
    return (Interval){plus(a.lo, b.lo, MINUS_INFINITY), plus(a.hi, b.hi, PLUS_INFINITY)};
}

static Interval interval_scaled(Interval a, int64_t c) {
    if (c == 1) return a;
    int64_t x = times(a.lo, c), y = times(a.hi, c);
    return c < 0 ? (Interval){y, x} : (Interval){x, y};
}

/* x / d rounded down (`floor`) or to zero, for a d > 0 that may be infinite. */
static int64_t quotient(int64_t x, int64_t d, bool floor) {
    if (infinite(d)) return x < 0 && floor ? -1 : 0;
    if (infinite(x)) return x;
    int64_t q = x / d;
    return floor && x % d < 0 ? q - 1 : q;
}

/* |x / d| <= |x| whatever the divisor. */
static Interval interval_within(Interval x) {
    if (infinite(x.lo) || infinite(x.hi)) return (Interval){MINUS_INFINITY, PLUS_INFINITY};
    int64_t most = most_of(x.lo < 0 ? -x.lo : x.lo, x.hi < 0 ? -x.hi : x.hi);
    return (Interval){-most, most};
}

static Interval interval_divided(Interval x, Interval d, bool floor) {
    if (d.lo < 0) return interval_within(x);
    int64_t small = most_of(1, d.lo), large = most_of(1, d.hi);
    return (Interval){quotient(x.lo, x.lo < 0 ? small : large, floor),
                      quotient(x.hi, x.hi < 0 ? large : small, floor)};
}

static Interval interval_mod(Interval x, Interval d) {
    Interval m = {d.lo < 0 ? plus(d.lo, 1, MINUS_INFINITY) : 0, 0};
    if (d.hi > 0) m.hi = plus(d.hi, -1, PLUS_INFINITY);
    if (d.lo >= 0 && x.lo >= 0) m.hi = least_of(m.hi, x.hi);
    return m;
}

static Interval interval_binary(Dim dim) {
    Interval a = sn_dim_interval(dim->operand[0]), b = sn_dim_interval(dim->operand[1]);
    switch (dim->kind) {
    case SN_DIM_FLOORDIV:
        return interval_divided(a, b, true);
    case SN_DIM_TRUNCDIV:
        return interval_divided(a, b, false);
    case SN_DIM_MOD:
        return interval_mod(a, b);
    case SN_DIM_MIN:
        return (Interval){least_of(a.lo, b.lo), least_of(a.hi, b.hi)};
    case SN_DIM_MAX:
        return (Interval){most_of(a.lo, b.lo), most_of(a.hi, b.hi)};
    default:
        return (Interval){MINUS_INFINITY, PLUS_INFINITY};
    }
}

static Interval interval_made(Dim dim) {
    Interval made = {dim->value, dim->value};
    switch (dim->kind) {
    case SN_DIM_CONST:
        return made;
    case SN_DIM_SYMBOL: {
        const Symbol *symbol = symbol_of(dim);
        return (Interval){symbol->least, symbol->most};
    }
    case SN_DIM_AXIS: /* over an empty extent nothing is claimed */
        return (Interval){0, most_of(0, plus(sn_dim_interval(dim->operand[0]).hi, -1, PLUS_INFINITY))};
    case SN_DIM_SUM:
        for (int i = 0; i < dim->count; i++)
            made =
                interval_plus(made, interval_scaled(sn_dim_interval(dim->operand[i]), dim->coefficient[i]));
        return made;
    case SN_DIM_PRODUCT:
        made = (Interval){1, 1};
        for (int i = 0; i < dim->count; i++) made = interval_times(made, sn_dim_interval(dim->operand[i]));
        return made;
    default:
        return interval_binary(dim);
    }
}

Interval sn_dim_interval(Dim dim) {
    Node *node = node_of(dim);
    if (node->interval_at != node->owner->generation) {
        node->interval = interval_made(dim);
        node->interval_at = node->owner->generation;
    }
    return node->interval;
}

Interval sn_poly_interval(const Poly *p) {
    Interval sum = {p->constant, p->constant};
    for (int i = 0; i < p->count; i++)
        sum =
            interval_plus(sum, interval_scaled(sn_dim_interval(p->term[i].monomial), p->term[i].coefficient));
    return sum;
}

bool sn_dim_lower(Dims *dims, Dim dim, int64_t *bound) {
    (void)dims;
    *bound = sn_dim_interval(dim).lo;
    return *bound != MINUS_INFINITY;
}

bool sn_dim_upper(Dims *dims, Dim dim, int64_t *bound) {
    (void)dims;
    *bound = sn_dim_interval(dim).hi;
    return *bound != PLUS_INFINITY;
}

/* ---- proofs ---- */

/* Lower bounds of symbols that hold wherever the expression means anything. */
typedef struct Proof {
    Dims *dims;
    int steps;
    int count;
    struct {
        Dim symbol;
        int64_t least;
    } fact[MAX_FACTS];
} Proof;

static void add_fact(Proof *proof, Dim symbol, int64_t least) {
    if (sn_dim_interval(symbol).lo >= least) return;
    for (int i = 0; i < proof->count; i++) {
        if (proof->fact[i].symbol != symbol) continue;
        proof->fact[i].least = most_of(proof->fact[i].least, least);
        return;
    }
    if (proof->count == MAX_FACTS) return;
    proof->fact[proof->count].symbol = symbol;
    proof->fact[proof->count++].least = least;
}

/* size >= 1 holds. If it is c·s + k, then s >= (1 - k)/c; if a product of what is not negative, each factor
 * >= 1. */
static void add_positive(Proof *proof, Dim size) {
    if (size->kind == SN_DIM_SUM && size->count != 1) return;
    Dim monomial = size->kind == SN_DIM_SUM ? size->operand[0] : size;
    int64_t coefficient = size->kind == SN_DIM_SUM ? size->coefficient[0] : 1;
    int64_t constant = size->kind == SN_DIM_SUM ? size->value : 0, needed, least;
    if (coefficient <= 0 || monomial->kind == SN_DIM_CONST || !sn_sub_i64(coefficient, constant, &needed))
        return;
    if (!sn_floordiv_i64(needed, coefficient, &least)) return; /* (1 - k + c - 1) / c */
    if (monomial->kind == SN_DIM_SYMBOL) {
        add_fact(proof, monomial, least);
        return;
    }
    if (least < 1) return;
    const Dim *factor = factors_of(&monomial);
    for (int i = 0; i < factor_count(monomial); i++)
        if (sn_dim_interval(factor[i]).lo < 0) return;
    for (int i = 0; i < factor_count(monomial); i++)
        if (factor[i]->kind == SN_DIM_SYMBOL) add_fact(proof, factor[i], 1);
}

static void gather_facts(Proof *proof, Dim dim, int *walk) {
    if (!(uint32_t)node_of(dim)->leaves || (*walk)-- <= 0) return; /* no symbol in it */
    if (dim->kind == SN_DIM_AXIS) add_positive(proof, dim->operand[0]);
    bool divides = dim->kind == SN_DIM_FLOORDIV || dim->kind == SN_DIM_MOD || dim->kind == SN_DIM_TRUNCDIV;
    if (divides && sn_dim_interval(dim->operand[1]).lo >= 0) add_positive(proof, dim->operand[1]);
    for (int i = 0; i < dim->count; i++) gather_facts(proof, dim->operand[i], walk);
}

/* The interval of an atom, with the facts. */
static Interval atom_interval(const Proof *proof, Dim atom) {
    Interval interval = sn_dim_interval(atom);
    for (int i = 0; i < proof->count; i++)
        if (proof->fact[i].symbol == atom) interval.lo = most_of(interval.lo, proof->fact[i].least);
    return interval;
}

static Interval poly_interval(const Proof *proof, const Poly *p) {
    Interval sum = {p->constant, p->constant};
    for (int i = 0; i < p->count; i++) {
        Interval product = {1, 1};
        const Dim *factor = factors_of(&p->term[i].monomial);
        for (int j = 0; j < factor_count(p->term[i].monomial); j++)
            product = interval_times(product, atom_interval(proof, factor[j]));
        sum = interval_plus(sum, interval_scaled(product, p->term[i].coefficient));
    }
    return sum;
}

/* Takes out a positive common factor. Where the constant is not a multiple of it, c·x + k >= 0 is x + k
 * floordiv c
 * >= 0 for integers. A common monomial is taken out where none of its factors is negative. */
static void reduce(const Proof *proof, Poly *e) {
    int64_t c = 0;
    for (int i = 0; i < e->count; i++) c = sn_gcd_i64(c, e->term[i].coefficient);
    if (c > 1) {
        for (int i = 0; i < e->count; i++) e->term[i].coefficient /= c;
        if (!sn_floordiv_i64(e->constant, c, &e->constant)) e->failed = true;
    }
    if (e->constant != 0 || e->count == 0) return;
    Dim common = sn_poly_content(e).monomial;
    if (!common) return;
    const Dim *factor = factors_of(&common);
    for (int i = 0; i < factor_count(common); i++)
        if (atom_interval(proof, factor[i]).lo < 0) return;
    Poly from;
    sn_poly_copy(&from, e);
    e->count = 0;
    for (int i = 0; i < from.count; i++) {
        Dim rest;
        sn_monomial_divide(e->dims, from.term[i].monomial, common, &rest);
        sn_poly_term(e, from.term[i].coefficient, rest);
    }
}

/* e = atom·p + q, where q is free of the atom as a factor. */
static void split(const Poly *e, Dim atom, Poly *p, Poly *q) {
    sn_poly_zero(p, e->dims);
    sn_poly_zero(q, e->dims);
    q->constant = e->constant;
    for (int i = 0; i < e->count; i++) {
        Dim rest;
        bool has = sn_monomial_divide(e->dims, e->term[i].monomial, atom, &rest);
        sn_poly_term(has ? p : q, e->term[i].coefficient, has ? rest : e->term[i].monomial);
    }
}

static bool prove(Proof *proof, const Poly *given, int nesting);

/* p·value + scale·q + p·shift >= 0, where `scale` may be NULL for 1. */
static bool prove_with(Proof *proof, const Poly *p, Dim value, int64_t shift, const Poly *q, Dim scale,
                       int nesting) {
    Poly e, bound, factor;
    sn_poly_of(&bound, proof->dims, value);
    sn_poly_constant(&bound, shift);
    sn_poly_multiply(&e, p, &bound);
    if (scale) {
        Poly scaled;
        sn_poly_of(&factor, proof->dims, scale);
        sn_poly_multiply(&scaled, q, &factor);
        sn_poly_add(&e, 1, &scaled);
    } else {
        sn_poly_add(&e, 1, q);
    }
    return prove(proof, &e, nesting);
}

/* 1, -1 or 0 (not known). */
static int sign(Proof *proof, const Poly *p, int nesting) {
    Interval range = poly_interval(proof, p);
    if (range.lo >= 0) return 1;
    if (range.hi <= 0) return -1;
    if (p->count < 2 && p->constant == 0) return 0;
    if (prove(proof, p, nesting)) return 1;
    Poly negative;
    sn_poly_copy(&negative, p);
    sn_poly_negate(&negative);
    return prove(proof, &negative, nesting) ? -1 : 0;
}

static bool positive_divisor(Proof *proof, Dim d, int nesting) {
    if (sn_dim_interval(d).lo >= 0) return true;
    Poly p;
    sn_poly_of(&p, proof->dims, d);
    return prove(proof, &p, nesting);
}

/* With q = x floordiv d, d > 0. For P = ±1 the step loses nothing: q >= -Q iff x + d·Q >= 0, and q <= Q iff
 * x <= d·Q + d - 1. Otherwise from d·q <= x <= d·q + d - 1, multiplied by d. */
static bool prove_floordiv(Proof *proof, Dim atom, const Poly *p, const Poly *q, int s, int nesting) {
    Dim x = atom->operand[0], d = atom->operand[1];
    if (!positive_divisor(proof, d, nesting)) return false;
    Poly shifted;
    if (poly_is_constant(p) && p->constant == 1) return prove_with(proof, p, x, 0, q, d, nesting);
    if (poly_is_constant(p) && p->constant == -1) {
        sn_poly_copy(&shifted, q); /* d·(Q + 1) - 1 - x */
        sn_poly_constant(&shifted, 1);
        return prove_with(proof, p, x, 1, &shifted, d, nesting);
    }
    if (s < 0) return prove_with(proof, p, x, 0, q, d, nesting);
    sn_poly_copy(&shifted, q); /* P·(x - d + 1) + d·Q = P·(x + 1) + d·(Q - P) */
    sn_poly_add(&shifted, -1, p);
    return prove_with(proof, p, x, 1, &shifted, d, nesting);
}

static bool prove_mod(Proof *proof, Dim atom, const Poly *p, const Poly *q, int s, int nesting) {
    if (!positive_divisor(proof, atom->operand[1], nesting)) return false;
    if (s > 0) return prove(proof, q, nesting);
    if (prove_with(proof, p, atom->operand[1], -1, q, NULL, nesting)) return true;
    Poly x;
    sn_poly_of(&x, proof->dims, atom->operand[0]);
    return prove(proof, &x, nesting) && prove_with(proof, p, atom->operand[0], 0, q, NULL, nesting);
}

/* Bounded by either operand on one side; on the other side, or with no sign, it is one of the two. */
static bool prove_order(Proof *proof, Dim atom, const Poly *p, const Poly *q, int s, int nesting) {
    bool either = s != 0 && (s > 0) == (atom->kind == SN_DIM_MAX);
    bool first = prove_with(proof, p, atom->operand[0], 0, q, NULL, nesting);
    if (first == either) return first;
    return prove_with(proof, p, atom->operand[1], 0, q, NULL, nesting);
}

/* *end: the sign was known, so one end of the atom's range gives the least e. */
static bool prove_atom(Proof *proof, const Poly *e, Dim atom, int nesting, bool *end) {
    Poly p, q;
    split(e, atom, &p, &q);
    int s = sign(proof, &p, nesting);
    *end = s != 0;
    bool order = atom->kind == SN_DIM_MIN || atom->kind == SN_DIM_MAX;
    if (order && prove_order(proof, atom, &p, &q, s, nesting)) return true;
    if (s == 0) return false;
    if (atom->kind == SN_DIM_FLOORDIV && prove_floordiv(proof, atom, &p, &q, s, nesting)) return true;
    if (atom->kind == SN_DIM_MOD && prove_mod(proof, atom, &p, &q, s, nesting)) return true;
    if (atom->kind == SN_DIM_AXIS && s < 0)
        return prove_with(proof, &p, atom->operand[0], -1, &q, NULL, nesting);
    Interval range = atom_interval(proof, atom);
    int64_t worst = s > 0 ? range.lo : range.hi;
    return !infinite(worst) && prove_with(proof, &p, proof->dims->zero, worst, &q, NULL, nesting);
}

/* The distinct atoms of e (none if they are too many), and whether another may contain them. */
static int collect(const Poly *e, Dim atom[MAX_ATOMS], bool inside[MAX_ATOMS]) {
    int count = 0;
    for (int i = 0; i < e->count; i++) {
        const Dim *factor = factors_of(&e->term[i].monomial);
        for (int j = 0; j < factor_count(e->term[i].monomial); j++) {
            int k = 0;
            while (k < count && atom[k] != factor[j]) k++;
            if (k < count) continue;
            if (count == MAX_ATOMS) return 0;
            atom[count++] = factor[j];
        }
    }
    for (int i = 0; i < count; i++) {
        inside[i] = false;
        for (int j = 0; j < count; j++) {
            const Node *outer = node_of(atom[j]), *inner = node_of(atom[i]);
            if (outer->depth > inner->depth && !(inner->leaves & ~outer->leaves)) inside[i] = true;
        }
    }
    return count;
}

/* When is atom `i` tried: 0 free axes, 1 what contains others, 2 what is contained, 3 symbols. */
static int turn_of(Dim atom, bool inside) {
    if (atom->kind == SN_DIM_SYMBOL) return 3;
    if (inside) return 2;
    return is_binary(atom) ? 1 : 0;
}

/* Goes through the atoms by turns. With a leaf that occurs nowhere else nothing is lost by taking the worst
 * end, so where that fails all else would. */
static bool prove(Proof *proof, const Poly *given, int nesting) {
    if (given->failed || --proof->steps < 0 || nesting > MAX_NESTING) return false;
    Poly e;
    sn_poly_copy(&e, given);
    reduce(proof, &e);
    if (e.failed) return false;
    Interval range = poly_interval(proof, &e);
    if (range.lo >= 0) return true;
    if (range.hi < 0) return false;
    Dim atom[MAX_ATOMS];
    bool inside[MAX_ATOMS];
    int count = collect(&e, atom, inside);
    for (int turn = 0; turn < 4; turn++) {
        for (int i = count - 1; i >= 0; i--) {
            bool end;
            if (turn_of(atom[i], inside[i]) != turn) continue;
            if (prove_atom(proof, &e, atom[i], nesting + 1, &end)) return true;
            if (end && !inside[i] && !is_binary(atom[i])) return false;
        }
    }
    return false;
}

bool sn_poly_nonnegative(const Poly *e, Dim context, Dim divisor) {
    if (e->failed) return false;
    Interval range = sn_poly_interval(e);
    if (range.lo >= 0) return true;
    if (range.hi < 0 || e->count == 0) return false;
    Proof proof = {.dims = e->dims, .steps = MAX_STEPS};
    int walk = MAX_WALK;
    if (context) gather_facts(&proof, context, &walk);
    for (int i = 0; i < e->count; i++) gather_facts(&proof, e->term[i].monomial, &walk);
    if (divisor && sn_dim_interval(divisor).lo >= 0) add_positive(&proof, divisor);
    return prove(&proof, e, 0);
}

bool sn_dim_divisor_positive(Dims *dims, Dim d, Dim context) {
    if (sn_dim_interval(d).lo >= 0) return true;
    if (sn_dim_interval(d).hi <= 0) return false;
    Poly p;
    sn_poly_of(&p, dims, d);
    return sn_poly_nonnegative(&p, context, NULL);
}

/* Where every term is an axis of its own with a constant extent, the interval is the whole truth. */
static bool interval_is_exact(const Poly *p) {
    for (int i = 0; i < p->count; i++) {
        Dim monomial = p->term[i].monomial;
        if (monomial->kind != SN_DIM_AXIS || monomial->operand[0]->kind != SN_DIM_CONST) return false;
    }
    return true;
}

bool sn_poly_in_range(const Poly *x, const Poly *d, Dim context, Dim divisor) {
    Interval range = sn_poly_interval(x), limit = sn_poly_interval(d);
    if (range.lo >= 0 && range.hi < most_of(1, limit.lo)) return true;
    if (poly_is_constant(d) && interval_is_exact(x)) return false;
    Poly above;
    sn_poly_copy(&above, d);
    sn_poly_add(&above, -1, x);
    sn_poly_constant(&above, -1);
    return sn_poly_nonnegative(&above, context, divisor) && sn_poly_nonnegative(x, context, divisor);
}

bool sn_dim_le(Dims *dims, Dim a, Dim b) {
    if (a == b || sn_dim_equals(b, INT64_MAX) || sn_dim_equals(a, INT64_MIN)) return true;
    if (a->kind == SN_DIM_CONST && b->kind == SN_DIM_CONST) return a->value <= b->value;
    Dim known = sn_dim_recall(dims, OP_LE, a, b);
    if (known) return known == dims->one;
    Poly e;
    sn_poly_of(&e, dims, b);
    sn_poly_add_dim(&e, -1, a);
    bool proven = sn_poly_nonnegative(&e, NULL, NULL);
    sn_dim_remember(dims, OP_LE, a, b, proven ? dims->one : dims->zero);
    return proven;
}

bool sn_dim_lt(Dims *dims, Dim a, Dim b) {
    Poly e;
    sn_poly_of(&e, dims, b);
    sn_poly_add_dim(&e, -1, a);
    sn_poly_constant(&e, -1);
    return sn_poly_nonnegative(&e, NULL, NULL);
}

bool sn_dim_ne(Dims *dims, Dim a, Dim b) {
    if (a == b) return false;
    if (sn_dim_lt(dims, a, b) || sn_dim_lt(dims, b, a)) return true;
    Poly e; /* Σ c·m = k has no solution where the gcd of the c does not divide k */
    sn_poly_of(&e, dims, b);
    sn_poly_add_dim(&e, -1, a);
    int64_t gcd = 0;
    for (int i = 0; i < e.count; i++) gcd = sn_gcd_i64(gcd, e.term[i].coefficient);
    return !e.failed && gcd > 1 && e.constant % gcd != 0;
}
