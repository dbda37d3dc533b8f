/* The table of Dims: nodes, symbols, order, remembered results, and the walkers that need no rule. */
#include "dim_internal.h"
#include "map.h"
#include <assert.h>

enum { FIRST_CAPACITY = 256, LAST_MEMO = 1 << 16 };

Dims *sn_dims_new(Arena *arena) {
    Dims *dims = SN_NEW(arena, Dims);
    dims->arena = arena;
    dims->capacity = FIRST_CAPACITY;
    dims->table = SN_ARRAY(arena, Node *, dims->capacity);
    dims->memo_capacity = FIRST_CAPACITY;
    dims->memo = SN_ARRAY(arena, Memo, dims->memo_capacity);
    dims->by_name = sn_map_new(arena);
    dims->generation = 1;
    dims->zero = sn_dim(dims, 0);
    dims->one = sn_dim(dims, 1);
    return dims;
}

bool sn_dims_overflowed(const Dims *dims) {
    return dims->overflowed;
}

Dim sn_dim_give_up(Dims *dims) {
    dims->overflowed = true;
    return dims->zero;
}

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash =
        (hash ^ value) * 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio, odd: multiplicative hashing (Knuth) */
    return hash ^ (hash >> 29);
}

static uint32_t hash_parts(DimKind kind, int64_t value, int count, const Dim *operand,
                           const int64_t *coefficient) {
    uint64_t hash = mix((uint64_t)kind, (uint64_t)value);
    for (int i = 0; i < count; i++) {
        hash = mix(hash, (uint64_t)operand[i]->id);
        if (coefficient) hash = mix(hash, (uint64_t)coefficient[i]);
    }
    return (uint32_t)(hash >> 32);
}

static bool same_parts(const Node *node, DimKind kind, int64_t value, int count, const Dim *operand,
                       const int64_t *coefficient) {
    const struct DimNode *dim = &node->dim;
    if (dim->kind != kind || dim->value != value || dim->count != count) return false;
    for (int i = 0; i < count; i++) {
        if (dim->operand[i] != operand[i]) return false;
        if (coefficient && dim->coefficient[i] != coefficient[i]) return false;
    }
    return true;
}

static void grow_table(Dims *dims) {
    int capacity = dims->capacity * 2;
    Node **table = SN_ARRAY(dims->arena, Node *, capacity);
    for (int i = 0; i < dims->capacity; i++) {
        Node *node = dims->table[i];
        if (!node) continue;
        uint32_t at = node->hash & (uint32_t)(capacity - 1);
        while (table[at]) at = (at + 1) & (uint32_t)(capacity - 1);
        table[at] = node;
    }
    dims->table = table;
    dims->capacity = capacity;
    if (capacity <= LAST_MEMO) {
        dims->memo = SN_ARRAY(dims->arena, Memo, capacity);
        dims->memo_capacity = capacity;
    }
}

/* Fills in what is derived from the operands. False past a limit. */
static bool derive(Node *node) {
    const struct DimNode *dim = &node->dim;
    node->weight = 1;
    for (int i = 0; i < dim->count; i++) {
        const Node *operand = node_of(dim->operand[i]);
        if (operand->depth + 1 > node->depth) node->depth = operand->depth + 1;
        node->weight += operand->weight;
        if (node->weight > MAX_WEIGHT || node->depth > MAX_DEPTH) return false;
        node->leaves |= operand->leaves;
        node->has_axis |= operand->has_axis;
        node->has_mod |= operand->has_mod;
        node->has_floordiv |= operand->has_floordiv;
    }
    if (dim->kind == SN_DIM_SYMBOL) node->leaves = UINT64_C(1) << (dim->value & 31);
    if (dim->kind == SN_DIM_AXIS) node->leaves |= UINT64_C(1) << (32 + (dim->value & 31));
    if (dim->kind == SN_DIM_AXIS) node->has_axis = true;
    if (dim->kind != SN_DIM_SUM && dim->kind != SN_DIM_PRODUCT) {
        node->has_mod = dim->kind == SN_DIM_MOD;
        node->has_floordiv = dim->kind == SN_DIM_FLOORDIV;
    }
    return true;
}

Dim sn_dim_intern(Dims *dims, DimKind kind, int64_t value, int count, const Dim *operand,
                  const int64_t *coefficient) {
    uint32_t hash = hash_parts(kind, value, count, operand, coefficient);
    uint32_t mask = (uint32_t)(dims->capacity - 1), at = hash & mask;
    for (; dims->table[at]; at = (at + 1) & mask) {
        const Node *node = dims->table[at];
        if (node->hash == hash && same_parts(node, kind, value, count, operand, coefficient))
            return &node->dim;
    }
    Node made = {.dim = {.kind = kind, .id = dims->count, .value = value, .count = count, .operand = operand},
                 .owner = dims,
                 .hash = hash};
    if (!derive(&made)) return NULL;
    Node *node = SN_NEW(dims->arena, Node);
    *node = made;
    if (count > 0) {
        Dim *copy = SN_ARRAY(dims->arena, Dim, count);
        for (int i = 0; i < count; i++) {
            assert(node_of(operand[i])->owner == dims && "a Dim of another table");
            copy[i] = operand[i];
        }
        node->dim.operand = copy;
    }
    if (coefficient && count > 0) {
        int64_t *copy = SN_ARRAY(dims->arena, int64_t, count);
        memcpy(copy, coefficient, (size_t)count * sizeof *copy);
        node->dim.coefficient = copy;
    }
    dims->table[at] = node;
    if (++dims->count * 2 > dims->capacity) grow_table(dims);
    return &node->dim;
}

Dim sn_dim_make(Dims *dims, DimKind kind, Dim a, Dim b) {
    Dim made = sn_dim_intern(dims, kind, 0, 2, (Dim[]){a, b}, NULL);
    if (!made) return sn_dim_give_up(dims);
    Dim instead = node_of(made)->instead;
    return instead ? instead : made;
}

static Memo *memo_slot(const Dims *dims, Operation operation, Dim a, Dim b) {
    uint64_t hash = mix(mix((uint64_t)operation, (uint64_t)a->id), (uint64_t)b->id);
    return &dims->memo[(hash >> 32) & (uint64_t)(dims->memo_capacity - 1)];
}

Dim sn_dim_recall(const Dims *dims, Operation operation, Dim a, Dim b) {
    const Memo *memo = memo_slot(dims, operation, a, b);
    return memo->operation == operation && memo->a == a && memo->b == b ? memo->result : NULL;
}

void sn_dims_equate(Dims *dims, Dim from, Dim to) {
    if (!is_binary(from) || from == to || node_of(from)->instead) return;
    node_of(from)->instead = to;
    sn_push(dims->arena, &dims->facts, from);
    /* What is remembered was made without the fact. */
    memset(dims->memo, 0, (size_t)dims->memo_capacity * sizeof *dims->memo);
}

int sn_dims_fact_count(const Dims *dims) {
    return dims->facts.count;
}

void sn_dims_fact(const Dims *dims, int index, Dim *from, Dim *to) {
    *from = dims->facts.at[index];
    *to = node_of(*from)->instead;
}

Dim sn_dim_remember(Dims *dims, Operation operation, Dim a, Dim b, Dim result) {
    *memo_slot(dims, operation, a, b) = (Memo){operation, a, b, result};
    return result;
}

Dim sn_dim(Dims *dims, int64_t value) {
    return sn_dim_intern(dims, SN_DIM_CONST, value, 0, NULL, NULL);
}

Dim sn_dim_symbol(Dims *dims, const char *name) {
    void **slot = sn_map_at_string(dims->by_name, name);
    if (*slot) return ((Symbol *)*slot)->dim;
    Symbol *symbol = SN_NEW(dims->arena, Symbol);
    *slot = symbol;
    symbol->name = sn_arena_string(dims->arena, name);
    symbol->most = PLUS_INFINITY;
    int number = dims->symbols.count;
    sn_push(dims->arena, &dims->symbols, symbol);
    symbol->dim = sn_dim_intern(dims, SN_DIM_SYMBOL, number, 0, NULL, NULL);
    return symbol->dim;
}

Dim sn_dim_fresh(Dims *dims, const char *stem) {
    const char *name = stem;
    for (int i = 1; sn_map_get_string(dims->by_name, name); i++)
        name = sn_arena_printf(dims->arena, "%s.%d", stem, i);
    return sn_dim_symbol(dims, name);
}

Dim sn_dim_unknown(Dims *dims) {
    if (!dims->unknown.dim) {
        dims->unknown = (Symbol){.name = "any count", .least = 1, .most = PLUS_INFINITY};
        dims->unknown.dim = sn_dim_intern(dims, SN_DIM_SYMBOL, -1, 0, NULL, NULL);
    }
    return dims->unknown.dim;
}

int sn_dims_symbol_count(const Dims *dims) {
    return dims->symbols.count;
}

const char *sn_dims_symbol_name(const Dims *dims, int number) {
    return dims->symbols.at[number]->name;
}

/* Intervals and remembered results may get better now. */
static void bounds_changed(Dims *dims) {
    dims->generation++;
    memset(dims->memo, 0, (size_t)dims->memo_capacity * sizeof *dims->memo);
}

void sn_dims_symbol_at_most(Dims *dims, Dim symbol, int64_t bound) {
    assert(symbol->kind == SN_DIM_SYMBOL);
    Symbol *s = dims->symbols.at[symbol->value];
    if (bound >= s->most) return;
    s->most = bound;
    bounds_changed(dims);
}

void sn_dims_symbol_at_least(Dims *dims, Dim symbol, int64_t bound) {
    assert(symbol->kind == SN_DIM_SYMBOL);
    Symbol *s = dims->symbols.at[symbol->value];
    if (bound <= s->least) return;
    s->least = bound;
    bounds_changed(dims);
}

void sn_dims_symbol_bounds(const Dims *dims, int number, int64_t *least, int64_t *most) {
    *least = dims->symbols.at[number]->least;
    *most = dims->symbols.at[number]->most;
}

Dim sn_dim_axis(Dims *dims, int number, Dim extent) {
    if (extent == dims->one) return dims->zero;
    Dim axis = sn_dim_intern(dims, SN_DIM_AXIS, number, 1, &extent, NULL);
    return axis ? axis : sn_dim_give_up(dims);
}

static int order_factors(Dim a, Dim b) {
    int count_a = factor_count(a), count_b = factor_count(b);
    if (count_a != count_b) return count_a > count_b ? -1 : 1;
    const Dim *x = factors_of(&a), *y = factors_of(&b);
    for (int i = 0; i < count_a; i++)
        if (x[i] != y[i]) return sn_dim_order(x[i], y[i]);
    return 0;
}

static int order_sums(Dim a, Dim b) {
    for (int i = 0; i < a->count && i < b->count; i++) {
        if (a->operand[i] != b->operand[i]) return order_factors(a->operand[i], b->operand[i]);
        if (a->coefficient[i] != b->coefficient[i]) return a->coefficient[i] > b->coefficient[i] ? -1 : 1;
    }
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    return a->value < b->value ? -1 : 1;
}

/* Equal structure is one node, so two nodes differ somewhere and the recursion takes one path down to it. */
int sn_dim_order(Dim a, Dim b) {
    if (a == b) return 0;
    if (a->kind == SN_DIM_SUM && b->kind == SN_DIM_SUM) return order_sums(a, b);
    if (a->kind == SN_DIM_SUM || b->kind == SN_DIM_SUM) return a->kind == SN_DIM_SUM ? -1 : 1;
    if (a->kind == SN_DIM_PRODUCT || b->kind == SN_DIM_PRODUCT) return order_factors(a, b);
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    switch (a->kind) {
    case SN_DIM_CONST:
        return a->value < b->value ? -1 : 1;
    case SN_DIM_SYMBOL:
        return strcmp(symbol_of(a)->name, symbol_of(b)->name);
    case SN_DIM_AXIS:
        if (a->value != b->value) return a->value < b->value ? -1 : 1;
        return sn_dim_order(a->operand[0], b->operand[0]);
    default:
        if (a->operand[0] != b->operand[0]) return sn_dim_order(a->operand[0], b->operand[0]);
        return sn_dim_order(a->operand[1], b->operand[1]);
    }
}

bool sn_dim_is(Dim dim, int64_t *value) {
    if (dim->kind != SN_DIM_CONST) return false;
    *value = dim->value;
    return true;
}

bool sn_dim_has_axis(Dim dim) {
    return node_of(dim)->has_axis;
}

bool sn_dim_depends(Dim dim, Dim leaf) {
    if (dim == leaf) return dim->kind != SN_DIM_CONST;
    if (!(node_of(dim)->leaves & node_of(leaf)->leaves) || dim->kind == SN_DIM_AXIS) return false;
    for (int i = 0; i < dim->count; i++)
        if (sn_dim_depends(dim->operand[i], leaf)) return true;
    return false;
}

static Status eval_binary(Dim dim, int64_t a, int64_t b, int64_t *out) {
    bool fits = true;
    int64_t quotient;
    switch (dim->kind) {
    case SN_DIM_MIN:
        *out = a < b ? a : b;
        return NULL;
    case SN_DIM_MAX:
        *out = a > b ? a : b;
        return NULL;
    default:
        break;
    }
    if (b == 0) return sn_fail(SN_INVALID, "division by zero in a size or index expression");
    if (dim->kind == SN_DIM_MOD && b == -1) {
        *out = 0;
        return NULL;
    }
    fits = sn_floordiv_i64(a, b, &quotient);
    if (fits && dim->kind == SN_DIM_FLOORDIV) *out = quotient;
    if (fits && dim->kind == SN_DIM_MOD) fits = sn_mod_i64(a, b, out);
    if (fits && dim->kind == SN_DIM_CEILDIV) *out = quotient + (a % b != 0);
    if (fits && dim->kind == SN_DIM_TRUNCDIV) *out = a / b;
    return fits ? NULL : sn_fail(SN_INVALID, "overflow in a size or index expression");
}

static Status eval_polynomial(Dim dim, const int64_t *symbols, const int64_t *axes, int64_t *out) {
    bool fits = true;
    int64_t total = dim->kind == SN_DIM_SUM ? dim->value : 1;
    for (int i = 0; i < dim->count; i++) {
        int64_t value;
        TRY(sn_dim_eval(dim->operand[i], symbols, axes, &value));
        if (dim->kind == SN_DIM_PRODUCT) {
            fits &= sn_mul_i64(total, value, &total);
        } else {
            fits &= sn_mul_i64(value, dim->coefficient[i], &value);
            fits &= sn_add_i64(total, value, &total);
        }
    }
    *out = total;
    return fits ? NULL : sn_fail(SN_INVALID, "overflow in a size or index expression");
}

Status sn_dim_eval(Dim dim, const int64_t *symbols, const int64_t *axes, int64_t *out) {
    int64_t a, b;
    switch (dim->kind) {
    case SN_DIM_CONST:
        *out = dim->value;
        return NULL;
    case SN_DIM_SYMBOL:
        *out = symbols[dim->value];
        return NULL;
    case SN_DIM_AXIS:
        *out = axes[dim->value];
        return NULL;
    case SN_DIM_SUM:
    case SN_DIM_PRODUCT:
        return eval_polynomial(dim, symbols, axes, out);
    default:
        TRY(sn_dim_eval(dim->operand[0], symbols, axes, &a));
        TRY(sn_dim_eval(dim->operand[1], symbols, axes, &b));
        return eval_binary(dim, a, b, out);
    }
}
