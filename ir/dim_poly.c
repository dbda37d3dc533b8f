/* Polynomials over atoms: arithmetic, division, and their way from and to Dims. No rule about atoms is here.
 */
#include "dim_internal.h"

void sn_poly_zero(Poly *p, Dims *dims) {
    p->dims = dims;
    p->constant = 0;
    p->count = 0;
    p->capacity = (int)(sizeof p->few / sizeof p->few[0]);
    p->failed = false;
    p->term = p->few;
}

/* Room for `count` terms; those present are kept. */
static bool reserve(Poly *p, int count) {
    if (count <= p->capacity) return true;
    if (count > MAX_TERMS) return !(p->failed = true);
    int capacity = p->capacity * 2 > count ? p->capacity * 2 : count;
    Term *term = SN_ARRAY(p->dims->arena, Term, capacity);
    memcpy(term, p->term, (size_t)p->count * sizeof *term);
    p->term = term;
    p->capacity = capacity;
    return true;
}

void sn_poly_copy(Poly *p, const Poly *from) {
    sn_poly_zero(p, from->dims);
    p->constant = from->constant;
    p->failed = from->failed;
    if (!reserve(p, from->count)) return;
    p->count = from->count;
    memcpy(p->term, from->term, (size_t)from->count * sizeof *p->term);
}

void sn_poly_of(Poly *p, Dims *dims, Dim dim) {
    sn_poly_zero(p, dims);
    if (dim->kind == SN_DIM_CONST) {
        p->constant = dim->value;
    } else if (dim->kind != SN_DIM_SUM) {
        p->count = 1;
        p->term[0] = (Term){1, dim};
    } else if (reserve(p, dim->count)) {
        p->constant = dim->value;
        p->count = dim->count;
        for (int i = 0; i < dim->count; i++) p->term[i] = (Term){dim->coefficient[i], dim->operand[i]};
    }
}

void sn_poly_constant(Poly *p, int64_t value) {
    if (!sn_add_i64(p->constant, value, &p->constant)) p->failed = true;
}

void sn_poly_term(Poly *p, int64_t coefficient, Dim monomial) {
    if (coefficient == 0) return;
    if (!monomial) {
        sn_poly_constant(p, coefficient);
        return;
    }
    int at = p->count;
    while (at > 0 && p->term[at - 1].monomial != monomial &&
           sn_dim_order(monomial, p->term[at - 1].monomial) < 0)
        at--;
    if (at > 0 && p->term[at - 1].monomial == monomial) {
        Term *term = &p->term[at - 1];
        if (!sn_add_i64(term->coefficient, coefficient, &term->coefficient)) p->failed = true;
        if (term->coefficient == 0) {
            memmove(term, term + 1, (size_t)(p->count - at) * sizeof *term);
            p->count--;
        }
        return;
    }
    if (!reserve(p, p->count + 1)) return;
    memmove(p->term + at + 1, p->term + at, (size_t)(p->count - at) * sizeof *p->term);
    p->term[at] = (Term){coefficient, monomial};
    p->count++;
}

/* One term of a merge: appended, unless its coefficient is 0. */
static void append(Poly *p, int64_t factor, Term term) {
    if (!sn_mul_i64(term.coefficient, factor, &term.coefficient)) p->failed = true;
    if (term.coefficient != 0) p->term[p->count++] = term;
}

static void merge(Poly *p, int64_t factor, const Poly *q) {
    Poly old;
    sn_poly_copy(&old, p);
    if (!reserve(p, old.count + q->count) || old.failed) {
        p->failed = true;
        return;
    }
    p->count = 0;
    int i = 0, j = 0;
    while (i < old.count && j < q->count) {
        Term a = old.term[i], b = q->term[j];
        int order = sn_dim_order(a.monomial, b.monomial);
        if (order < 0) {
            append(p, 1, a);
            i++;
        } else if (order > 0) {
            append(p, factor, b);
            j++;
        } else {
            int64_t scaled = 0;
            if (!sn_mul_i64(b.coefficient, factor, &scaled)) p->failed = true;
            if (!sn_add_i64(a.coefficient, scaled, &a.coefficient)) p->failed = true;
            append(p, 1, a);
            i++, j++;
        }
    }
    while (i < old.count) append(p, 1, old.term[i++]);
    while (j < q->count) append(p, factor, q->term[j++]);
}

void sn_poly_add(Poly *p, int64_t factor, const Poly *q) {
    if (q->failed) p->failed = true;
    if (p->failed || factor == 0) return;
    int64_t scaled;
    if (!sn_mul_i64(q->constant, factor, &scaled)) {
        p->failed = true;
        return;
    }
    sn_poly_constant(p, scaled);
    if (q->count > 2) {
        merge(p, factor, q);
        return;
    }
    for (int i = 0; i < q->count && !p->failed; i++) {
        if (!sn_mul_i64(q->term[i].coefficient, factor, &scaled)) p->failed = true;
        if (!p->failed) sn_poly_term(p, scaled, q->term[i].monomial);
    }
}

void sn_poly_add_dim(Poly *p, int64_t factor, Dim dim) {
    if (dim->kind != SN_DIM_SUM && dim->kind != SN_DIM_CONST) {
        sn_poly_term(p, factor, dim);
        return;
    }
    Poly q;
    sn_poly_of(&q, p->dims, dim);
    sn_poly_add(p, factor, &q);
}

void sn_poly_add_scaled(Poly *p, const Poly *q, int64_t c, Dim monomial) {
    if (q->failed) p->failed = true;
    if (c == 0 || p->failed) return;
    if (!monomial) {
        sn_poly_add(p, c, q);
        return;
    }
    Poly scaled; /* the order is kept by multiplication, so this is sorted */
    sn_poly_zero(&scaled, p->dims);
    if (!reserve(&scaled, q->count + 1)) p->failed = true;
    for (int i = 0; i < q->count && !p->failed; i++) {
        Dim product = sn_monomial_multiply(p->dims, q->term[i].monomial, monomial);
        if (!product)
            p->failed = true;
        else
            append(&scaled, c, (Term){q->term[i].coefficient, product});
    }
    if (q->constant && !p->failed) append(&scaled, c, (Term){q->constant, monomial});
    if (scaled.failed) p->failed = true;
    if (!p->failed) sn_poly_add(p, 1, &scaled);
}

void sn_poly_multiply(Poly *out, const Poly *a, const Poly *b) {
    sn_poly_zero(out, a->dims);
    if (b->count > a->count) {
        const Poly *swap = a;
        a = b;
        b = swap;
    }
    sn_poly_add_scaled(out, a, b->constant, NULL);
    for (int i = 0; i < b->count && !out->failed; i++)
        sn_poly_add_scaled(out, a, b->term[i].coefficient, b->term[i].monomial);
    if (a->failed || b->failed) out->failed = true;
}

void sn_poly_negate(Poly *p) {
    if (!sn_sub_i64(0, p->constant, &p->constant)) p->failed = true;
    for (int i = 0; i < p->count; i++)
        if (!sn_sub_i64(0, p->term[i].coefficient, &p->term[i].coefficient)) p->failed = true;
}

int64_t sn_poly_coefficient(const Poly *p, Dim monomial) {
    if (!monomial) return p->constant;
    for (int i = 0; i < p->count; i++)
        if (p->term[i].monomial == monomial) return p->term[i].coefficient;
    return 0;
}

Dim sn_poly_intern(const Poly *p) {
    if (p->failed) return NULL;
    if (p->count == 0) return sn_dim(p->dims, p->constant);
    if (p->count == 1 && p->constant == 0 && p->term[0].coefficient == 1) return p->term[0].monomial;
    Dim few[16], *operand = few;
    int64_t few_numbers[16], *coefficient = few_numbers;
    if (p->count > 16) {
        operand = SN_ARRAY(p->dims->arena, Dim, p->count);
        coefficient = SN_ARRAY(p->dims->arena, int64_t, p->count);
    }
    for (int i = 0; i < p->count; i++) {
        operand[i] = p->term[i].monomial;
        coefficient[i] = p->term[i].coefficient;
    }
    return sn_dim_intern(p->dims, SN_DIM_SUM, p->constant, p->count, operand, coefficient);
}

/* ---- monomials ---- */

Dim sn_monomial_multiply(Dims *dims, Dim a, Dim b) {
    int count_a = factor_count(a), count_b = factor_count(b), count = 0;
    if (count_a + count_b > MAX_DEGREE) return NULL;
    const Dim *x = factors_of(&a), *y = factors_of(&b);
    Dim factor[MAX_DEGREE];
    for (int i = 0, j = 0; i < count_a || j < count_b;) {
        bool from_a = j == count_b || (i < count_a && sn_dim_order(x[i], y[j]) <= 0);
        factor[count++] = from_a ? x[i++] : y[j++];
    }
    return sn_dim_intern(dims, SN_DIM_PRODUCT, 0, count, factor, NULL);
}

/* The monomial of sorted factors; NULL (1) for none. */
static Dim monomial_of(Dims *dims, int count, const Dim *factor) {
    if (count == 0) return NULL;
    return count == 1 ? factor[0] : sn_dim_intern(dims, SN_DIM_PRODUCT, 0, count, factor, NULL);
}

bool sn_monomial_divide(Dims *dims, Dim monomial, Dim by, Dim *quotient) {
    *quotient = monomial;
    if (!by) return true;
    *quotient = NULL;
    if (monomial == by) return true;
    if (!monomial) return false;
    int count = factor_count(monomial), needed = factor_count(by), left = 0, j = 0;
    if (needed >= count) return false;
    const Dim *x = factors_of(&monomial), *y = factors_of(&by);
    Dim rest[MAX_DEGREE];
    for (int i = 0; i < count; i++) {
        if (j < needed && x[i] == y[j])
            j++;
        else
            rest[left++] = x[i];
    }
    if (j < needed) return false;
    *quotient = monomial_of(dims, left, rest);
    return true;
}

Dim sn_monomial_gcd(Dims *dims, Dim a, Dim b) {
    if (!a || !b || a == b) return a == b ? a : NULL;
    const Dim *x = factors_of(&a), *y = factors_of(&b);
    int count_a = factor_count(a), count_b = factor_count(b), count = 0;
    Dim common[MAX_DEGREE];
    for (int i = 0, j = 0; i < count_a && j < count_b;) {
        int order = sn_dim_order(x[i], y[j]);
        if (order == 0) common[count++] = x[i];
        i += order <= 0;
        j += order >= 0;
    }
    return monomial_of(dims, count, common);
}

/* As an unsigned number, so that INT64_MIN has one; a gcd that does not fit counts as 1, a divisor all the
 * same. */
int64_t sn_gcd_i64(int64_t a, int64_t b) {
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    while (y) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    return x > (uint64_t)INT64_MAX ? 1 : (int64_t)x;
}

Term sn_poly_content(const Poly *p) {
    Term content = {p->constant, NULL};
    if (p->count > 0 && p->constant == 0) content.monomial = p->term[0].monomial;
    for (int i = 0; i < p->count; i++) {
        content.coefficient = sn_gcd_i64(content.coefficient, p->term[i].coefficient);
        if (content.monomial)
            content.monomial = sn_monomial_gcd(p->dims, content.monomial, p->term[i].monomial);
    }
    if (p->count == 0) content.coefficient = sn_gcd_i64(p->constant, 0);
    return content;
}

/* ---- division ---- */

static bool divide_by_constant(const Poly *x, int64_t d, Poly *q, Poly *r) {
    if (!sn_floordiv_i64(x->constant, d, &q->constant)) return false;
    if (!sn_mod_i64(x->constant, d, &r->constant)) return false; /* q·d itself may not fit */
    if (r->constant < 0) {                                       /* d < 0: the remainder has its sign */
        if (!sn_add_i64(q->constant, 1, &q->constant)) return false;
        r->constant -= d;
    }
    if (!reserve(q, x->count) || !reserve(r, x->count)) return false;
    for (int i = 0; i < x->count; i++) {
        int64_t c = x->term[i].coefficient;
        if (c == INT64_MIN && d == -1) return false;
        append(q, 1, (Term){c / d, x->term[i].monomial});
        append(r, 1, (Term){c % d, x->term[i].monomial});
    }
    return true;
}

static bool divide_by_monomial(const Poly *x, Term d, Poly *q, Poly *r) {
    r->constant = x->constant;
    if (!reserve(q, x->count) || !reserve(r, x->count)) return false;
    for (int i = 0; i < x->count; i++) {
        int64_t c = x->term[i].coefficient;
        Dim rest;
        if (c == INT64_MIN && d.coefficient == -1) return false;
        if (c / d.coefficient != 0 && sn_monomial_divide(x->dims, x->term[i].monomial, d.monomial, &rest)) {
            if (rest)
                append(q, 1, (Term){c / d.coefficient, rest});
            else
                q->constant = c / d.coefficient;
            c %= d.coefficient;
        }
        append(r, 1, (Term){c, x->term[i].monomial});
    }
    return true;
}

/* Each step lowers the coefficient of one monomial and adds only smaller ones, so it ends; the count of steps
 * is limited all the same because a hostile divisor can make it long. */
static bool divide_by_sum(const Poly *x, const Poly *d, Poly *q, Poly *r) {
    enum { MAX_STEPS = 256 };
    Term lead = d->term[0];
    sn_poly_copy(r, x);
    int steps = 0;
    for (int i = 0; i < r->count && !r->failed && !q->failed;) {
        Term term = r->term[i];
        Dim rest;
        if (term.coefficient == INT64_MIN && lead.coefficient == -1) return false;
        int64_t c = term.coefficient / lead.coefficient;
        if (c == 0 || c == INT64_MIN || !sn_monomial_divide(x->dims, term.monomial, lead.monomial, &rest)) {
            i++;
            continue;
        }
        if (++steps > MAX_STEPS) return false;
        sn_poly_term(q, c, rest);
        sn_poly_add_scaled(r, d, -c, rest);
    }
    return true;
}

bool sn_poly_divide(const Poly *x, const Poly *d, Poly *q, Poly *r) {
    sn_poly_zero(q, x->dims);
    sn_poly_zero(r, x->dims);
    if (x->failed || d->failed || poly_is_zero(d)) return false;
    bool done;
    if (d->count == 0)
        done = divide_by_constant(x, d->constant, q, r);
    else if (d->count == 1 && d->constant == 0)
        done = divide_by_monomial(x, d->term[0], q, r);
    else
        done = divide_by_sum(x, d, q, r);
    return done && !q->failed && !r->failed;
}

bool sn_dim_divides(Dims *dims, Dim divisor, Dim dim, Dim *quotient) {
    Poly x, d, q, r;
    sn_poly_of(&x, dims, dim);
    sn_poly_of(&d, dims, divisor);
    if (!sn_poly_divide(&x, &d, &q, &r) || !poly_is_zero(&r)) return false;
    Dim exact = sn_poly_intern(&q);
    if (exact) *quotient = exact;
    return exact != NULL;
}

bool sn_dim_affine(Dims *dims, Dim dim, Dim axis, Dim *coefficient, Dim *rest) {
    Poly p, slope, offset;
    sn_poly_of(&p, dims, dim);
    sn_poly_zero(&slope, dims);
    sn_poly_zero(&offset, dims);
    for (int i = 0; i < p.count; i++) {
        Dim monomial = p.term[i].monomial, others;
        if (!sn_dim_depends(monomial, axis)) {
            sn_poly_term(&offset, p.term[i].coefficient, monomial);
            continue;
        }
        if (!sn_monomial_divide(dims, monomial, axis, &others)) return false;
        if (others && sn_dim_depends(others, axis)) return false;
        sn_poly_term(&slope, p.term[i].coefficient, others);
    }
    sn_poly_constant(&offset, p.constant);
    *coefficient = sn_poly_intern(&slope);
    *rest = sn_poly_intern(&offset);
    return *coefficient && *rest;
}
