/* Shared by the files of dim: nodes, the table, and polynomials being worked on. Private to ir/dim*.c. */
#ifndef SN_DIM_INTERNAL_H
#define SN_DIM_INTERNAL_H

#include "dim.h"
#include "number.h"

/* Bounds that are not known. They are ordinary numbers to arithmetic that saturates. */
#define MINUS_INFINITY INT64_MIN
#define PLUS_INFINITY  INT64_MAX

enum {
    MAX_DEPTH = 128,      /* nesting of one Dim: walkers recurse */
    MAX_WEIGHT = 1 << 16, /* nodes of one Dim as a tree: printing and evaluating walk the tree */
    MAX_TERMS = 4096,     /* of one sum */
    MAX_DEGREE = 64,      /* atoms of one monomial */
};

typedef struct Interval {
    int64_t lo, hi; /* inclusive; MINUS_INFINITY and PLUS_INFINITY where unknown */
} Interval;

/* What a Dim points at. Nodes are never changed, but for the cached interval. */
typedef struct Node {
    struct DimNode dim;
    Dims *owner;
    uint64_t
        leaves;  /* a Bloom mask of the symbols (low half) and axes (high half), those of axis extents too */
    Dim instead; /* what a fact says that it equals, or NULL */
    Interval interval;
    int interval_at; /* the table's generation for which `interval` holds; 0: never computed */
    uint32_t hash;
    int depth, weight;
    bool has_axis;
    bool has_mod;      /* a factor (of a term) is a MOD */
    bool has_floordiv; /* likewise */
} Node;

static inline Node *node_of(Dim dim) {
    return (Node *)(uintptr_t)dim;
}

typedef struct Symbol {
    const char *name;
    Dim dim;
    int64_t least, most;
} Symbol;

/* The operations whose results are remembered. */
typedef enum Operation {
    OP_ADD = 1,
    OP_SUB,
    OP_MUL,
    OP_FLOORDIV,
    OP_TRUNCDIV,
    OP_MOD,
    OP_MIN,
    OP_MAX,
    OP_LE,
} Operation;

typedef struct Memo {
    Operation operation; /* 0: empty */
    Dim a, b, result;
} Memo;

struct Dims {
    Arena *arena;
    Node **table; /* open addressing, a power of two */
    int capacity, count;
    Memo *memo; /* direct-mapped and lossy: bounded, and never wrong */
    int memo_capacity;
    SN_VEC(Symbol *) symbols;
    Symbol unknown;      /* what sn_dim_unknown gives: SYMBOL of number -1; its dim is NULL until then */
    SN_VEC(Dim) facts;   /* the `from` of each */
    struct Map *by_name; /* name → Symbol */
    int generation;      /* counts changes of symbol bounds */
    bool overflowed;
    Dim zero, one;
};

static inline const Symbol *symbol_of(Dim symbol) {
    const Dims *dims = node_of(symbol)->owner;
    return symbol->value < 0 ? &dims->unknown : dims->symbols.at[symbol->value];
}

/* The node of these parts, found or made. NULL when it would pass a limit (nothing is marked overflowed). */
Dim sn_dim_intern(Dims *dims, DimKind kind, int64_t value, int count, const Dim *operand,
                  const int64_t *coefficient);
/* As sn_dim_intern; where that gives NULL, the table is marked overflowed and the result is 0. */
Dim sn_dim_make(Dims *dims, DimKind kind, Dim a, Dim b);
Dim sn_dim_give_up(Dims *dims); /* marks the table overflowed; 0 */

/* What sn_dim_remember stored for (operation, a, b), or NULL. */
Dim sn_dim_recall(const Dims *dims, Operation operation, Dim a, Dim b);
Dim sn_dim_remember(Dims *dims, Operation operation, Dim a, Dim b, Dim result);

/* A total order by structure alone, so that it is the same in every table: negative when a comes first.
 * Monomials come in graded lexicographic order, which multiplication keeps (polynomial division needs that).
 */
int sn_dim_order(Dim a, Dim b);

Interval sn_dim_interval(Dim dim);

/* The binary kinds: operands in [0], [1]. */
static inline bool is_binary(Dim dim) {
    return dim->kind >= SN_DIM_FLOORDIV;
}
/* The factors of a monomial. */
static inline int factor_count(Dim monomial) {
    return monomial->kind == SN_DIM_PRODUCT ? monomial->count : 1;
}
static inline const Dim *factors_of(const Dim *monomial) {
    return (*monomial)->kind == SN_DIM_PRODUCT ? (*monomial)->operand : monomial;
}

/* ---- polynomials (dim_poly.c) ---- */

typedef struct Term {
    int64_t coefficient; /* not 0 */
    Dim monomial;        /* an atom or a PRODUCT; NULL where 1 is meant */
} Term;

/* constant + Σ terms, sorted by sn_dim_order. `failed` is sticky: a number or a limit overflowed and the
 * value is meaningless. Not to be copied by assignment (`term` may point into it). */
typedef struct Poly {
    Dims *dims;
    int64_t constant;
    int count, capacity;
    bool failed;
    Term *term;
    Term few[10];
} Poly;

void sn_poly_zero(Poly *p, Dims *dims);
void sn_poly_copy(Poly *p, const Poly *from);
void sn_poly_of(Poly *p, Dims *dims, Dim dim);
void sn_poly_constant(Poly *p, int64_t value);                 /* p += value */
void sn_poly_term(Poly *p, int64_t coefficient, Dim monomial); /* p += coefficient · monomial (NULL: 1) */
void sn_poly_add(Poly *p, int64_t factor, const Poly *q);      /* p += factor · q */
void sn_poly_add_dim(Poly *p, int64_t factor, Dim dim);        /* p += factor · dim */
void sn_poly_add_scaled(Poly *p, const Poly *q, int64_t c,
                        Dim monomial);                          /* p += q · c · monomial (NULL: 1) */
void sn_poly_multiply(Poly *out, const Poly *a, const Poly *b); /* out is neither a nor b */
void sn_poly_negate(Poly *p);
static inline bool poly_is_constant(const Poly *p) {
    return p->count == 0;
}
static inline bool poly_is_zero(const Poly *p) {
    return p->count == 0 && p->constant == 0;
}
int64_t sn_poly_coefficient(const Poly *p, Dim monomial); /* 0 if absent */

/* x = q·d + r. Terms of x lose what the leading term of d divides, coefficients rounded to zero; for a
 * constant d the constant of r is in [0, |d|). False when it overflows. Exact division leaves r = 0. */
bool sn_poly_divide(const Poly *x, const Poly *d, Poly *q, Poly *r);

/* The Dim of the polynomial as it stands: no rule is applied. NULL if it failed or passes a limit. */
Dim sn_poly_intern(const Poly *p);

/* *quotient = monomial / by (NULL is 1); false if `by` does not divide it. */
bool sn_monomial_divide(Dims *dims, Dim monomial, Dim by, Dim *quotient);
Dim sn_monomial_multiply(Dims *dims, Dim a, Dim b); /* NULL past a limit; a, b not NULL */
Dim sn_monomial_gcd(Dims *dims, Dim a, Dim b);      /* NULL is 1 */
int64_t sn_gcd_i64(int64_t a, int64_t b);           /* of the absolute values, >= 0 */

/* The largest coefficient·monomial (coefficient > 0) that divides every term and the constant. */
Term sn_poly_content(const Poly *p);

/* ---- proofs (dim_prove.c) ---- */

Interval sn_poly_interval(const Poly *p);

/* e >= 0 for all symbols and axes. What makes `context` (may be NULL) meaningful is assumed: its axes have
 * extents >= 1, its divisors are not 0; so is `divisor` (may be NULL), which is not 0. */
bool sn_poly_nonnegative(const Poly *e, Dim context, Dim divisor);

/* 0 <= x < d, where d divides or is divided in `context`; d is not 0. */
bool sn_poly_in_range(const Poly *x, const Poly *d, Dim context, Dim divisor);

/* d > 0, given that it is not 0. */
bool sn_dim_divisor_positive(Dims *dims, Dim d, Dim context);

/* ---- simplification (dim_simplify.c) ---- */

/* The canonical Dim of a polynomial; a failed one is sn_dim_give_up. */
Dim sn_dim_of_poly(Poly *p);

#endif
