/* Symbolic integers: the extents of shapes and the index expressions of loads and stores.
 *
 * A Dim is an int64 expression over symbols (run-time sizes, >= 0) and axes (loop variables of an index map,
 * 0 <= axis < extent). Dims are hash-consed in a table and kept in a canonical form, so equality of pointers
 * is proof of equality:
 *
 *   Dim      = sum of terms:  constant + Σ coefficient · monomial
 *   monomial = product of atoms, sorted
 *   atom     = symbol | axis | floordiv(Dim, Dim) | mod(Dim, Dim) | ceildiv | truncdiv | min | max
 *
 * Products distribute over sums. Rules that matter (d > 0, all with proofs from ranges, never assumed):
 *   (d·x + r) floordiv d = x + r floordiv d          (d·x + r) mod d = r mod d
 *   r floordiv d = 0 and r mod d = r                 when 0 <= r < d is proven
 *   d·(x floordiv d) + x mod d = x                   (also inside a larger sum, times any common factor)
 *   (x floordiv a) floordiv b = x floordiv (a·b);    (x mod (a·b)) mod b = x mod b;
 *   (x mod (a·b)) floordiv b = (x floordiv b) mod a; min and max fold when an order is proven
 * where d, a, b may be symbolic products such as T·64. In index expressions an extent that occurs as a
 * divisor is taken to be >= 1: a loop over an empty axis does not run. Arithmetic on constants is
 * overflow-checked; an overflow makes the sticky `sn_dims_overflowed`, which callers turn into an error.
 */
#ifndef SN_DIM_H
#define SN_DIM_H

#include "arena.h"
#include "status.h"
#include "text.h"
#include <stdint.h>

typedef struct Dims Dims;          /* the table of one graph or one kernel */
typedef const struct DimNode *Dim; /* never NULL where a Dim is expected */

typedef enum DimKind {
    SN_DIM_CONST,
    SN_DIM_SYMBOL,
    SN_DIM_AXIS,
    SN_DIM_SUM,     /* constant + Σ coefficient·monomial */
    SN_DIM_PRODUCT, /* a monomial of at least two atoms */
    SN_DIM_FLOORDIV,
    SN_DIM_CEILDIV,
    SN_DIM_TRUNCDIV, /* as ONNX divides integers */
    SN_DIM_MOD,      /* sign of the divisor, so in [0, d) for d > 0 */
    SN_DIM_MIN,
    SN_DIM_MAX,
} DimKind;

/* Read-only view for walkers (emitters, printers). SUM: value + Σ coefficient[i]·operand[i];
 * PRODUCT: Π operand[i]; the binary kinds: operand[0], operand[1]; AXIS: operand[0] is its extent. */
struct DimNode {
    DimKind kind;
    int id;        /* order of creation in its table: a deterministic sort key */
    int64_t value; /* CONST: the value; SUM: the constant; SYMBOL, AXIS: its number */
    int count;
    const Dim *operand;
    const int64_t *coefficient; /* SUM only */
};

Dims *sn_dims_new(Arena *arena);
bool sn_dims_overflowed(const Dims *dims);

Dim sn_dim(Dims *dims, int64_t value);

/* The symbol called `name`, made on first use. Its value at run time is symbols[number]. Names are unique;
 * `sn_dim_fresh` makes one that did not exist ("stem", "stem.1", ...). */
Dim sn_dim_symbol(Dims *dims, const char *name);
Dim sn_dim_fresh(Dims *dims, const char *stem);
int sn_dims_symbol_count(const Dims *dims);
const char *sn_dims_symbol_name(const Dims *dims, int number);

/* A size, 1 at least, of which nothing more is known, so that nothing is decided by it: it stands for another one until
 * sn_dim_replace puts that in its place, and is none of the counted symbols. There is one a table. */
Dim sn_dim_unknown(Dims *dims);

/* An upper bound that holds at every run (a check at bind time keeps it true): used in proofs. */
void sn_dims_symbol_at_most(Dims *dims, Dim symbol, int64_t bound);
/* A lower bound, likewise (0 unless told). */
void sn_dims_symbol_at_least(Dims *dims, Dim symbol, int64_t bound);
/* Both bounds of a symbol by number, INT64_MAX when it has no upper one. Changes nothing, not even what
 * proofs remember: threads that bind the symbols of one graph call it side by side. */
void sn_dims_symbol_bounds(const Dims *dims, int number, int64_t *least, int64_t *most);

/* A fact that holds at every run (a check at bind time keeps it true): where `from`, a quotient, remainder,
 * minimum or maximum, would be made from now on, `to` is instead. Dims that hold `from` already stay as they
 * are. */
void sn_dims_equate(Dims *dims, Dim from, Dim to);
int sn_dims_fact_count(const Dims *dims);
void sn_dims_fact(const Dims *dims, int index, Dim *from, Dim *to); /* in the order they were told */

/* Loop variable `number` over [0, extent). The same (number, extent) gives the same Dim. Over an extent of 1
 * it is the constant 0; as a `from` of sn_dim_replace or an axis of sn_dim_affine that constant matches
 * nothing. */
Dim sn_dim_axis(Dims *dims, int number, Dim extent);

Dim sn_dim_add(Dims *dims, Dim a, Dim b);
Dim sn_dim_sub(Dims *dims, Dim a, Dim b);
Dim sn_dim_mul(Dims *dims, Dim a, Dim b);
Dim sn_dim_floordiv(Dims *dims, Dim a, Dim b); /* a constant divisor 0 makes the table overflowed */
Dim sn_dim_ceildiv(Dims *dims, Dim a, Dim b);
Dim sn_dim_truncdiv(Dims *dims, Dim a, Dim b);
Dim sn_dim_mod(Dims *dims, Dim a, Dim b);
Dim sn_dim_min(Dims *dims, Dim a, Dim b);
Dim sn_dim_max(Dims *dims, Dim a, Dim b);
Dim sn_dim_addc(Dims *dims, Dim a, int64_t c);
Dim sn_dim_mulc(Dims *dims, Dim a, int64_t c);

/* True and *value when the Dim is that constant. */
bool sn_dim_is(Dim dim, int64_t *value);
static inline bool sn_dim_equals(Dim dim, int64_t value) {
    return dim->kind == SN_DIM_CONST && dim->value == value;
}

/* Proofs: true only when it holds for all symbol values (>= their bounds) and axis values. */
bool sn_dim_le(Dims *dims, Dim a, Dim b);
bool sn_dim_lt(Dims *dims, Dim a, Dim b);
bool sn_dim_ne(Dims *dims, Dim a, Dim b);                             /* proven different */
bool sn_dim_divides(Dims *dims, Dim divisor, Dim dim, Dim *quotient); /* exactly, as polynomials */

/* Constant bounds that are proven; false when there is none. */
bool sn_dim_lower(Dims *dims, Dim dim, int64_t *bound);
bool sn_dim_upper(Dims *dims, Dim dim, int64_t *bound);

/* `dim` with each from[i] (a SYMBOL or an AXIS) replaced by to[i], simplified again; the result is in `dims`,
 * which may be another table than `dim`'s (symbols are carried over by name, axes by number and extent). */
Dim sn_dim_replace(Dims *dims, Dim dim, const Dim *from, const Dim *to, int count);

/* The symbols of `from` with their bounds, which get the same numbers in `to` where that has none yet. */
void sn_dims_copy_symbols(Dims *to, Dims *from);

/* dim = coefficient·axis + rest with neither depending on `axis`; false when it is not of that form. */
bool sn_dim_affine(Dims *dims, Dim dim, Dim axis, Dim *coefficient, Dim *rest);
bool sn_dim_depends(Dim dim, Dim leaf); /* leaf: a SYMBOL or an AXIS */

/* The greatest common divisor of `run` (0: of nothing yet) and all constants that `axis` itself is divided by in `dim`. */
int64_t sn_dim_divisors(Dim dim, Dim axis, int64_t run);
bool sn_dim_has_axis(Dim dim);

/* The value, given symbols by number and axes by number (either may be NULL if none occurs). Overflow and
 * division by zero are SN_INVALID. */
Status sn_dim_eval(Dim dim, const int64_t *symbols, const int64_t *axes, int64_t *out);

/* "4*T + 1", "(T floordiv 64)", "min(T, 128)"; axes print as i0, i1 …, whatever their extent. Symbol names
 * that are not [A-Za-z_][A-Za-z0-9_.]* or look like an axis or keyword are quoted. Parsing gives back the
 * same Dim; `axes` (may be NULL) are the axes that i0.. mean. *cursor is moved past what was read. */
void sn_dim_print(Text *text, const Dims *dims, Dim dim);
Status sn_dim_parse(Dims *dims, const char **cursor, const Dim *axes, int axis_count, Dim *out);

#endif
