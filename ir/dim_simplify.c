/* The constructors, which bring every Dim into its canonical form. */
#include "dim_internal.h"
#include <assert.h>

/* ---- sums and products ---- */

/* p contains every term of t with the very same coefficient. */
static bool contains(const Poly *p, const Poly *t) {
    for (int i = 0; i < t->count; i++)
        if (sn_poly_coefficient(p, t->term[i].monomial) != t->term[i].coefficient) return false;
    return t->constant == 0;
}

/* If p contains c·M·(d·quotient + remainder), where both come from x and d, that becomes c·M·x. */
static bool join(Poly *p, int64_t c, Dim monomial, Dim x, Dim d, Dim quotient, Dim remainder) {
    Dims *dims = p->dims;
    Dim of_quotient = monomial ? sn_monomial_multiply(dims, monomial, quotient) : quotient;
    if (!of_quotient) return false;
    Poly part, low, high, value;
    sn_poly_of(&part, dims, remainder);
    sn_poly_zero(&low, dims);
    sn_poly_add_scaled(&low, &part, c, monomial);
    if (low.failed || !contains(p, &low)) return false;
    sn_poly_of(&part, dims, d);
    sn_poly_zero(&high, dims);
    sn_poly_add_scaled(&high, &part, c, of_quotient);
    if (high.failed || !contains(p, &high)) return false;
    sn_poly_of(&value, dims, x);
    sn_poly_add(p, -1, &low);
    sn_poly_add(p, -1, &high);
    sn_poly_add_scaled(p, &value, c, monomial);
    return true;
}

/* A MOD in term `i`: is the quotient that completes it there? */
static bool join_from_mod(Poly *p, int i, Dim atom) {
    Dim x = atom->operand[0], d = atom->operand[1], rest;
    Dim quotient = sn_dim_floordiv(p->dims, x, d);
    if (!is_binary(quotient)) return false;
    sn_monomial_divide(p->dims, p->term[i].monomial, atom, &rest);
    return join(p, p->term[i].coefficient, rest, x, d, quotient, atom);
}

static Term leading_term(Dims *dims, Dim d) {
    Poly p;
    sn_poly_of(&p, dims, d);
    return p.count > 0 ? p.term[0] : (Term){p.constant, NULL};
}

/* A FLOORDIV in term `i`, as the product with the leading term of its divisor: is the remainder there? */
static bool join_from_floordiv(Poly *p, int i, Dim atom) {
    Dim x = atom->operand[0], d = atom->operand[1], rest, factor;
    Term lead = leading_term(p->dims, d);
    if (p->term[i].coefficient % lead.coefficient != 0) return false;
    sn_monomial_divide(p->dims, p->term[i].monomial, atom, &rest);
    if (!sn_monomial_divide(p->dims, rest, lead.monomial, &factor)) return false;
    Dim remainder = sn_dim_mod(p->dims, x, d);
    if (!node_of(remainder)->has_mod) return false;
    return join(p, p->term[i].coefficient / lead.coefficient, factor, x, d, atom, remainder);
}

/* A MOD of a FLOORDIV: c·M·(b·((x floordiv b) mod a) + x mod b) = c·M·(x mod (a·b)) for a > 0. */
static bool join_mods(Poly *p, int i, Dim atom) {
    Dims *dims = p->dims;
    Dim inner = atom->operand[0], a = atom->operand[1], rest, factor;
    if (inner->kind != SN_DIM_FLOORDIV || !sn_dim_divisor_positive(dims, a, inner)) return false;
    Dim x = inner->operand[0], b = inner->operand[1];
    sn_monomial_divide(dims, p->term[i].monomial, atom, &rest);
    Term lead = leading_term(dims, b);
    if (p->term[i].coefficient % lead.coefficient != 0) return false;
    if (!sn_monomial_divide(dims, rest, lead.monomial, &factor)) return false;
    Dim remainder = sn_dim_mod(dims, x, b);
    if (!node_of(remainder)->has_mod) return false;
    Dim whole = sn_dim_mod(dims, x, sn_dim_mul(dims, a, b));
    return join(p, p->term[i].coefficient / lead.coefficient, factor, whole, b, atom, remainder);
}

/* One way of joining two terms, and the kind of atom that it starts from. */
typedef struct Join {
    DimKind kind;
    bool (*try)(Poly *p, int i, Dim atom);
} Join;

static bool join_once(Poly *p) {
    static const Join joins[] = {
        {SN_DIM_MOD, join_from_mod}, {SN_DIM_FLOORDIV, join_from_floordiv}, {SN_DIM_MOD, join_mods}};
    for (size_t k = 0; k < sizeof joins / sizeof joins[0]; k++) {
        for (int i = 0; i < p->count; i++) {
            Dim monomial = p->term[i].monomial;
            const Dim *factor = factors_of(&monomial);
            for (int j = 0; j < factor_count(monomial); j++)
                if (factor[j]->kind == joins[k].kind && joins[k].try(p, i, factor[j])) return true;
        }
    }
    return false;
}

/* A join takes away a quotient and a remainder but may bring in what x contains, so the number is limited. */
enum { MAX_JOINS = 64 };

Dim sn_dim_of_poly(Poly *p) {
    int mods = 0, floordivs = 0;
    for (int i = 0; i < p->count; i++) {
        mods += node_of(p->term[i].monomial)->has_mod;
        floordivs += node_of(p->term[i].monomial)->has_floordiv;
    }
    bool pairs = mods > 1 || (mods > 0 && floordivs > 0);
    for (int joins = 0; pairs && joins < MAX_JOINS && !p->failed && join_once(p);) joins++;
    Dim made = sn_poly_intern(p);
    return made ? made : sn_dim_give_up(p->dims);
}

static Dim add_scaled(Dims *dims, Operation operation, Dim a, Dim b, int64_t factor) {
    Dim known = sn_dim_recall(dims, operation, a, b);
    if (known) return known;
    Poly p;
    sn_poly_of(&p, dims, a);
    sn_poly_add_dim(&p, factor, b);
    return sn_dim_remember(dims, operation, a, b, sn_dim_of_poly(&p));
}

Dim sn_dim_add(Dims *dims, Dim a, Dim b) {
    if (a == dims->zero) return b;
    if (b == dims->zero) return a;
    return add_scaled(dims, OP_ADD, a, b, 1);
}

Dim sn_dim_sub(Dims *dims, Dim a, Dim b) {
    if (b == dims->zero) return a;
    if (a == b) return dims->zero;
    return add_scaled(dims, OP_SUB, a, b, -1);
}

Dim sn_dim_mul(Dims *dims, Dim a, Dim b) {
    if (a == dims->one || b == dims->zero) return b;
    if (b == dims->one || a == dims->zero) return a;
    Dim known = sn_dim_recall(dims, OP_MUL, a, b);
    if (known) return known;
    Poly x, y, p;
    sn_poly_of(&x, dims, a);
    sn_poly_of(&y, dims, b);
    sn_poly_multiply(&p, &x, &y);
    return sn_dim_remember(dims, OP_MUL, a, b, sn_dim_of_poly(&p));
}

static Dim negated(Dims *dims, Dim a) {
    return sn_dim_sub(dims, dims->zero, a);
}

/* ---- floordiv and mod ---- */

/* One division being simplified: x floordiv d, or x mod d. */
typedef struct Division {
    Dims *dims;
    bool mod;
    Dim x, d;
    Poly px, pd, q, r; /* x = q·d + r */
    bool positive;     /* d > 0 is proven (given that it is not 0) */
} Division;

static Dim divided(const Division *v, Dim x, Dim d) {
    return v->mod ? sn_dim_mod(v->dims, x, d) : sn_dim_floordiv(v->dims, x, d);
}

/* r, r + d or r - d is in [0, d): the division is done. */
static Dim finish_in_range(Division *v) {
    static const int offsets[] = {0, 1, -1};
    bool constant = poly_is_constant(&v->pd);
    for (int i = 0; i < (constant ? 1 : 3); i++) {
        Poly r;
        sn_poly_copy(&r, &v->r);
        sn_poly_add(&r, offsets[i], &v->pd);
        if (!sn_poly_in_range(&r, &v->pd, v->x, v->d)) continue;
        if (v->mod) return sn_dim_of_poly(&r);
        sn_poly_constant(&v->q, -offsets[i]);
        return sn_dim_of_poly(&v->q);
    }
    return NULL;
}

/* For a constant d: all of [lo, hi] has the same quotient. */
static Dim finish_constant(Division *v) {
    Interval range = sn_poly_interval(&v->px);
    int64_t first, last, d = v->pd.constant;
    if (!poly_is_constant(&v->pd) || range.lo == MINUS_INFINITY || range.hi == PLUS_INFINITY) return NULL;
    if (!sn_floordiv_i64(range.lo, d, &first) || !sn_floordiv_i64(range.hi, d, &last) || first != last)
        return NULL;
    if (!v->mod) return sn_dim(v->dims, first);
    Poly r;
    sn_poly_copy(&r, &v->px);
    sn_poly_constant(&r, -first * d); /* |first·d| <= the larger bound, so it fits */
    return sn_dim_of_poly(&r);
}

static bool factors_not_negative(Dim monomial) {
    if (!monomial) return true;
    const Dim *factor = factors_of(&monomial);
    for (int i = 0; i < factor_count(monomial); i++)
        if (sn_dim_interval(factor[i]).lo < 0) return false;
    return true;
}

/* p / (c·monomial), which is known to divide it. */
static void divide_exactly(const Poly *p, Term by, Poly *out) {
    sn_poly_zero(out, p->dims);
    out->failed = p->failed;
    sn_poly_constant(out, p->constant / by.coefficient);
    for (int i = 0; i < p->count; i++) {
        Dim rest;
        sn_monomial_divide(p->dims, p->term[i].monomial, by.monomial, &rest);
        sn_poly_term(out, p->term[i].coefficient / by.coefficient, rest);
    }
}

/* With d = g·e, x = g·h + y and 0 <= y < g: x floordiv d = h floordiv e, x mod d = g·(h mod e) + y. */
static Dim cancel_factor(Division *v, Term g) {
    Dims *dims = v->dims;
    Poly multiple, low, factor, h, e;
    sn_poly_zero(&multiple, dims);
    sn_poly_zero(&low, dims);
    sn_poly_zero(&factor, dims);
    sn_poly_term(&factor, g.coefficient, g.monomial);
    for (int i = 0; i < v->px.count; i++) {
        Term term = v->px.term[i];
        Dim rest;
        bool has = term.coefficient % g.coefficient == 0 &&
                   sn_monomial_divide(dims, term.monomial, g.monomial, &rest);
        sn_poly_term(has ? &multiple : &low, term.coefficient, term.monomial);
    }
    int64_t constant = v->px.constant, kept = constant;
    if (!g.monomial && !sn_mod_i64(constant, g.coefficient, &kept)) return NULL;
    sn_poly_constant(&multiple, constant - kept);
    sn_poly_constant(&low, kept);
    if (!poly_is_zero(&low)) {
        if (!factors_not_negative(g.monomial)) return NULL;
        if (!sn_poly_in_range(&low, &factor, v->x, v->d)) return NULL;
    }
    divide_exactly(&multiple, g, &h);
    divide_exactly(&v->pd, g, &e);
    Dim high = divided(v, sn_dim_of_poly(&h), sn_dim_of_poly(&e));
    if (!v->mod) return high;
    Dim scaled = sn_dim_mul(dims, high, sn_poly_intern(&factor));
    return sn_dim_add(dims, scaled, sn_dim_of_poly(&low));
}

static Dim cancel(Division *v) {
    Term content = sn_poly_content(&v->pd);
    if (content.coefficient <= 1 && !content.monomial) return NULL;
    Term tried = {0, NULL};
    for (int i = 0; i < v->px.count; i++) {
        Term term = v->px.term[i];
        Term g = {sn_gcd_i64(term.coefficient, content.coefficient),
                  sn_monomial_gcd(v->dims, term.monomial, content.monomial)};
        bool seen = g.coefficient == tried.coefficient && g.monomial == tried.monomial;
        if (seen || (g.coefficient <= 1 && !g.monomial)) continue;
        Dim done = cancel_factor(v, g);
        if (done) return done;
        tried = g;
    }
    return NULL;
}

/* (y floordiv a + k) floordiv b = (y + a·k) floordiv (a·b);  (y mod (a·b)) floordiv b = (y floordiv b) mod a.
 */
static Dim floordiv_of_division(Division *v) {
    Dims *dims = v->dims;
    if (v->px.count != 1 || v->px.term[0].coefficient != 1) return NULL;
    Dim atom = v->px.term[0].monomial, a;
    if (atom->kind == SN_DIM_FLOORDIV) {
        a = atom->operand[1];
        if (!sn_dim_divisor_positive(dims, a, v->x)) return NULL;
        Dim y = sn_dim_add(dims, atom->operand[0], sn_dim_mulc(dims, a, v->px.constant));
        return sn_dim_floordiv(dims, y, sn_dim_mul(dims, a, v->d));
    }
    if (atom->kind != SN_DIM_MOD || v->px.constant != 0) return NULL;
    if (!sn_dim_divides(dims, v->d, atom->operand[1], &a) || !sn_dim_divisor_positive(dims, a, v->x))
        return NULL;
    return sn_dim_mod(dims, sn_dim_floordiv(dims, atom->operand[0], v->d), a);
}

/* (c·M·(y mod m) + z) mod d = (c·M·y + z) mod d where d divides c·M·m. */
static Dim mod_of_mod(Division *v) {
    Dims *dims = v->dims;
    for (int i = 0; i < v->px.count; i++) {
        Term term = v->px.term[i];
        const Dim *factor = factors_of(&term.monomial);
        for (int j = 0; j < factor_count(term.monomial); j++) {
            Dim atom = factor[j], rest;
            if (atom->kind != SN_DIM_MOD) continue;
            sn_monomial_divide(dims, term.monomial, atom, &rest);
            Poly modulus, scaled, q, r, y;
            sn_poly_of(&modulus, dims, atom->operand[1]);
            sn_poly_zero(&scaled, dims);
            sn_poly_add_scaled(&scaled, &modulus, term.coefficient, rest);
            if (!sn_poly_divide(&scaled, &v->pd, &q, &r) || !poly_is_zero(&r)) continue;
            sn_poly_of(&y, dims, atom->operand[0]);
            sn_poly_copy(&r, &v->px);
            sn_poly_term(&r, -term.coefficient, term.monomial);
            sn_poly_add_scaled(&r, &y, term.coefficient, rest);
            if (!r.failed) return sn_dim_mod(dims, sn_dim_of_poly(&r), v->d);
        }
    }
    return NULL;
}

/* Every rule ends in a smaller division, so this ends; what no rule changes is an atom. */
static Dim divide(Dims *dims, Dim x, Dim d, bool mod) {
    Division v = {.dims = dims, .mod = mod, .x = x, .d = d};
    DimKind kind = mod ? SN_DIM_MOD : SN_DIM_FLOORDIV;
    sn_poly_of(&v.px, dims, x);
    sn_poly_of(&v.pd, dims, d);
    v.positive = sn_dim_divisor_positive(dims, d, x);
    bool many = v.pd.count + (v.pd.constant != 0) > 1;
    if (v.positive && many && sn_poly_in_range(&v.px, &v.pd, x, d)) return mod ? x : dims->zero;
    if (!sn_poly_divide(&v.px, &v.pd, &v.q, &v.r)) return sn_dim_make(dims, kind, x, d);
    if (poly_is_zero(&v.r)) return mod ? dims->zero : sn_dim_of_poly(&v.q);
    Dim done = v.positive ? finish_in_range(&v) : NULL;
    if (done) return done;
    if (!poly_is_zero(&v.q)) {
        done = divided(&v, sn_dim_of_poly(&v.r), d);
        return mod ? done : sn_dim_add(dims, sn_dim_of_poly(&v.q), done);
    }
    if (v.positive) done = finish_constant(&v);
    if (!done && mod) done = mod_of_mod(&v);
    if (!done && v.positive) done = cancel(&v);
    if (!done && v.positive && !mod) done = floordiv_of_division(&v);
    return done ? done : sn_dim_make(dims, kind, x, d);
}

/* A constant divisor that needs no rule; NULL when one does. */
static Dim divide_simply(Dims *dims, Dim a, Dim b, bool mod) {
    int64_t out, d = b->value;
    if (a == b && b != dims->zero) return mod ? dims->zero : dims->one;
    if (a == dims->zero && b != dims->zero) return a;
    if (b->kind != SN_DIM_CONST) return NULL;
    if (d == 0) return sn_dim_give_up(dims);
    if (d == 1) return mod ? dims->zero : a;
    if (a->kind == SN_DIM_CONST) {
        if (mod && d == -1) return dims->zero;
        bool fits = mod ? sn_mod_i64(a->value, d, &out) : sn_floordiv_i64(a->value, d, &out);
        return fits ? sn_dim(dims, out) : sn_dim_give_up(dims);
    }
    if (d > 0) return NULL;
    if (d == INT64_MIN) return sn_dim_make(dims, mod ? SN_DIM_MOD : SN_DIM_FLOORDIV, a, b);
    Dim x = negated(dims, a), by = sn_dim(dims, -d); /* both signs change: the remainder's too */
    return mod ? negated(dims, sn_dim_mod(dims, x, by)) : sn_dim_floordiv(dims, x, by);
}

Dim sn_dim_floordiv(Dims *dims, Dim a, Dim b) {
    Dim known = sn_dim_recall(dims, OP_FLOORDIV, a, b);
    if (known) return known;
    Dim made = divide_simply(dims, a, b, false);
    if (!made) made = divide(dims, a, b, false);
    return sn_dim_remember(dims, OP_FLOORDIV, a, b, made);
}

Dim sn_dim_mod(Dims *dims, Dim a, Dim b) {
    Dim known = sn_dim_recall(dims, OP_MOD, a, b);
    if (known) return known;
    Dim made = divide_simply(dims, a, b, true);
    if (!made) made = divide(dims, a, b, true);
    return sn_dim_remember(dims, OP_MOD, a, b, made);
}

/* (a + b - 1) floordiv b where b > 0 is proven; -((-a) floordiv b) is the same for any b. */
Dim sn_dim_ceildiv(Dims *dims, Dim a, Dim b) {
    if (b == dims->one) return a;
    if (b->kind == SN_DIM_CONST ? b->value > 0 : sn_dim_divisor_positive(dims, b, a)) {
        Dim last = sn_dim_addc(dims, b, -1);
        return sn_dim_floordiv(dims, sn_dim_add(dims, a, last), b);
    }
    return negated(dims, sn_dim_floordiv(dims, negated(dims, a), b));
}

static Dim truncate(Dims *dims, Dim a, Dim b) {
    Dim exact;
    if (b == dims->zero) return sn_dim_give_up(dims);
    if (sn_dim_divides(dims, b, a, &exact)) return exact;
    if (b->kind == SN_DIM_CONST && b->value < 0 && b->value != INT64_MIN)
        return negated(dims, sn_dim_truncdiv(dims, a, sn_dim(dims, -b->value)));
    if (a->kind == SN_DIM_CONST && b->kind == SN_DIM_CONST) return sn_dim(dims, a->value / b->value);
    if (sn_dim_divisor_positive(dims, b, a)) {
        if (sn_dim_le(dims, dims->zero, a)) return sn_dim_floordiv(dims, a, b);
        if (sn_dim_le(dims, a, dims->zero)) return negated(dims, sn_dim_floordiv(dims, negated(dims, a), b));
    }
    return sn_dim_make(dims, SN_DIM_TRUNCDIV, a, b);
}

Dim sn_dim_truncdiv(Dims *dims, Dim a, Dim b) {
    Dim known = sn_dim_recall(dims, OP_TRUNCDIV, a, b);
    return known ? known : sn_dim_remember(dims, OP_TRUNCDIV, a, b, truncate(dims, a, b));
}

/* ---- min and max ---- */

enum { MAX_OPERANDS = 16 };

/* The operands of nested nodes of one kind, sorted and without repetition. False: too many. */
static bool flatten(Dim dim, DimKind kind, Dim *operand, int *count) {
    if (dim->kind == kind)
        return flatten(dim->operand[0], kind, operand, count) &&
               flatten(dim->operand[1], kind, operand, count);
    int at = *count;
    while (at > 0 && sn_dim_order(dim, operand[at - 1]) < 0) at--;
    if (at > 0 && operand[at - 1] == dim) return true;
    if (*count == MAX_OPERANDS) return false;
    memmove(operand + at + 1, operand + at, (size_t)(*count - at) * sizeof *operand);
    operand[at] = dim;
    ++*count;
    return true;
}

/* Does operand `j` never decide, because operand `i` is proven at least as small (MIN) or as large (MAX)? */
static bool dominates(Dims *dims, DimKind kind, Dim i, Dim j) {
    return kind == SN_DIM_MIN ? sn_dim_le(dims, i, j) : sn_dim_le(dims, j, i);
}

static Dim extreme(Dims *dims, DimKind kind, Dim a, Dim b) {
    Dim operand[MAX_OPERANDS];
    int count = 0, left = 0;
    if (dominates(dims, kind, a, b)) return a;
    if (dominates(dims, kind, b, a)) return b;
    if (!flatten(a, kind, operand, &count) || !flatten(b, kind, operand, &count))
        return sn_dim_order(a, b) < 0 ? sn_dim_make(dims, kind, a, b) : sn_dim_make(dims, kind, b, a);
    for (int j = 0; j < count; j++) {
        bool needed = true;
        for (int i = 0; i < count && needed; i++) {
            bool alive =
                i > j || (i < left); /* operands [0, left) were kept, those after j are not looked at yet */
            if (alive && i != j && dominates(dims, kind, operand[i], operand[j])) needed = false;
        }
        if (needed) operand[left++] = operand[j];
    }
    Dim made = operand[0];
    for (int i = 1; i < left;
         i++) { /* each beginning is canonical, so what is printed is read back as it is */
        if (dominates(dims, kind, made, operand[i])) continue;
        bool only = dominates(dims, kind, operand[i], made);
        made = only ? operand[i] : sn_dim_make(dims, kind, made, operand[i]);
    }
    return made;
}

static Dim extreme_known(Dims *dims, Operation operation, DimKind kind, Dim a, Dim b) {
    if (a == b) return a;
    Dim known = sn_dim_recall(dims, operation, a, b);
    return known ? known : sn_dim_remember(dims, operation, a, b, extreme(dims, kind, a, b));
}

Dim sn_dim_min(Dims *dims, Dim a, Dim b) {
    return extreme_known(dims, OP_MIN, SN_DIM_MIN, a, b);
}

Dim sn_dim_max(Dims *dims, Dim a, Dim b) {
    return extreme_known(dims, OP_MAX, SN_DIM_MAX, a, b);
}

Dim sn_dim_addc(Dims *dims, Dim a, int64_t c) {
    return sn_dim_add(dims, a, sn_dim(dims, c));
}

Dim sn_dim_mulc(Dims *dims, Dim a, int64_t c) {
    return sn_dim_mul(dims, a, sn_dim(dims, c));
}
