#include "input_sizes.h"
#include "sizes.h"

enum { USUAL_EXTENT = 16 };

static Type type_of(const InputSizes *sizes, int input) {
    return sizes->graph->body->param.at[input]->type;
}

/* ---- what checks say ---- */

static bool is_free(const InputSizes *sizes, Dim dim) {
    return dim->kind == SN_DIM_SYMBOL && sizes->symbol[dim->value] == SN_SIZE_UNBOUND;
}

static bool is_bound(const InputSizes *sizes, Dim dim) {
    if (is_free(sizes, dim)) return false;
    for (int k = 0; k < dim->count; k++)
        if (!is_bound(sizes, dim->operand[k])) return false;
    return true;
}

/* Whether a symbol that only states have is in the dim. */
static bool has_own(const bool *own, Dim dim) {
    if (dim->kind == SN_DIM_SYMBOL) return own[dim->value];
    for (int k = 0; k < dim->count; k++)
        if (has_own(own, dim->operand[k])) return true;
    return false;
}

/* Symbols that are extents of states and of no other input. */
static const bool *own_symbols(const InputSizes *sizes) {
    bool *own = SN_ARRAY(sizes->arena, bool, sn_dims_symbol_count(sizes->graph->dims));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < sizes->count; i++) {
            Type type = type_of(sizes, i);
            for (int k = 0; k < type.rank && sizes->state[i] == (round == 0); k++)
                if (type.dim[k]->kind == SN_DIM_SYMBOL) own[type.dim[k]->value] = round == 0;
        }
    return own;
}

/* What a check holds one symbol against: the sides of an equation, or what a size is at most where that is a state with what
 * comes behind it. A limit that is a number says nothing of the usual size. */
static Dim other_side(const Check *check, const bool *own, Dim symbol) {
    Dim a = check->a, b = check->b;
    if (check->kind == SN_CHECK_AT_MOST) return a == symbol && has_own(own, b) ? b : NULL;
    if (a == symbol) return b;
    return b == symbol ? a : NULL;
}

static bool value_of(Dim dim, const int64_t *symbol, int64_t *value) {
    Status status = sn_dim_eval(dim, symbol, NULL, value);
    bool good = !status && *value >= 0;
    sn_error_free(status);
    return good;
}

/* One symbol by one check; true where it was bound. */
static bool solve_one(const InputSizes *sizes, const bool *own, const Check *check) {
    for (int side = 0; side < 2; side++) {
        Dim symbol = side ? check->b : check->a;
        Dim other = is_free(sizes, symbol) ? other_side(check, own, symbol) : NULL;
        int64_t value;
        if (!other || !is_bound(sizes, other) || !value_of(other, sizes->symbol, &value)) continue;
        sizes->symbol[symbol->value] = value;
        return true;
    }
    return false;
}

static void solve(const InputSizes *sizes, const bool *own) {
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < sizes->graph->checks.count; i++)
            again = solve_one(sizes, own, &sizes->graph->checks.at[i]) || again;
    }
}

/* A size that is to follow from a state's waits for it. */
static bool waits(const InputSizes *sizes, const bool *own, Dim symbol) {
    for (int i = 0; i < sizes->graph->checks.count; i++) {
        Dim other = other_side(&sizes->graph->checks.at[i], own, symbol);
        if (other && has_own(own, other)) return true;
    }
    return false;
}

/* `value` within the symbol's bounds, those that checks have in numbers among them. */
static int64_t within(const InputSizes *sizes, Dim symbol, int64_t value) {
    Dims *dims = sizes->graph->dims;
    int64_t bound;
    if (sn_dim_upper(dims, symbol, &bound) && value > bound) value = bound;
    if (sn_dim_lower(dims, symbol, &bound) && value < bound) value = bound;
    for (int i = 0; i < sizes->graph->checks.count; i++) {
        const Check *check = &sizes->graph->checks.at[i];
        if (check->kind != SN_CHECK_AT_MOST) continue;
        if (check->a == symbol && sn_dim_is(check->b, &bound) && value > bound) value = bound;
        if (check->b == symbol && sn_dim_is(check->a, &bound) && value < bound) value = bound;
    }
    return value;
}

/* ---- sizes that nobody gave ---- */

typedef struct Choice {
    const InputSizes *sizes;
    const bool *own;
    Text text;
} Choice;

static void choose(Choice *choice, Dim dim, int64_t value) {
    const InputSizes *sizes = choice->sizes;
    for (int k = 0; k < dim->count; k++) choose(choice, dim->operand[k], value);
    if (!is_free(sizes, dim)) return;
    sizes->symbol[dim->value] = within(sizes, dim, value);
    sn_text_add(&choice->text, "%s", choice->text.length ? ", " : "");
    sn_dim_print(&choice->text, sizes->graph->dims, dim);
    sn_text_add(&choice->text, " = %lld", (long long)sizes->symbol[dim->value]);
    solve(sizes, choice->own);
}

/* Sizes that an input of its own has are chosen first, then those of states, then what is left: others' expressions (a mask over a
 * cache and what comes behind it), and what checks hold against a state. */
const char *sn_input_sizes_choose(const InputSizes *sizes) {
    Choice choice = {sizes, own_symbols(sizes), sn_text(sizes->arena)};
    solve(sizes, choice.own);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < sizes->count; i++) {
            Type type = type_of(sizes, i);
            if (sizes->state[i] != (round == 1)) continue;
            for (int k = 0; k < type.rank; k++) {
                bool late = type.dim[k]->kind != SN_DIM_SYMBOL || waits(sizes, choice.own, type.dim[k]);
                if (round > 0 || !late)
                    choose(&choice, type.dim[k], k == 0 ? 1 : round == 1 ? 0 : USUAL_EXTENT);
            }
        }
    }
    return sn_text_string(&choice.text);
}

/* ---- from one run to the next ---- */

/* What a limit comes to without the states: the rows that are new. */
static bool new_rows(const InputSizes *sizes, const bool *own, Dim limit, int64_t *rows) {
    int count = sn_dims_symbol_count(sizes->graph->dims);
    int64_t *symbol = SN_ARRAY(sizes->arena, int64_t, count);
    for (int i = 0; i < count; i++) symbol[i] = own[i] ? 0 : sizes->symbol[i];
    return value_of(limit, symbol, rows);
}

static void grow(const InputSizes *sizes, const bool *own, const Check *check, const int64_t *before) {
    for (int side = 0; side < 2; side++) {
        Dim symbol = side ? check->b : check->a;
        Dim other = is_free(sizes, symbol) ? other_side(check, own, symbol) : NULL;
        int64_t limit, rows;
        if (!other || !has_own(own, other) || !is_bound(sizes, other)) continue;
        if (!value_of(other, sizes->symbol, &limit) || !new_rows(sizes, own, other, &rows)) continue;
        /* What broadcasts stays as it is; one that began below the limit (in a cache with room to spare) stays below. */
        bool broadcasts = check->kind == SN_CHECK_BROADCAST && before[symbol->value] == 1;
        int64_t grown = broadcasts ? 1 : before[symbol->value] + rows;
        sizes->symbol[symbol->value] = grown < limit ? grown : limit;
    }
}

void sn_input_sizes_follow(const InputSizes *sizes, const int64_t *before) {
    Dims *dims = sizes->graph->dims;
    const bool *own = own_symbols(sizes);
    int count = sn_dims_symbol_count(dims);
    for (int i = 0; i < count; i++) {
        Dim symbol = sn_dim_symbol(dims, sn_dims_symbol_name(dims, i));
        if (is_free(sizes, symbol) && !waits(sizes, own, symbol)) sizes->symbol[i] = before[i];
    }
    for (int i = 0; i < sizes->graph->checks.count; i++)
        grow(sizes, own, &sizes->graph->checks.at[i], before);
    for (int i = 0; i < count; i++)
        if (sizes->symbol[i] == SN_SIZE_UNBOUND) sizes->symbol[i] = before[i];
}
