/* Dims as text, and back. */
#include "dim_internal.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

/* The word of each binary kind. */
static const char *const words[] = {
    [SN_DIM_FLOORDIV] = "floordiv", [SN_DIM_CEILDIV] = "ceildiv", [SN_DIM_TRUNCDIV] = "truncdiv",
    [SN_DIM_MOD] = "mod",           [SN_DIM_MIN] = "min",         [SN_DIM_MAX] = "max",
};

static bool starts_name(char c) {
    return isalpha((unsigned char)c) || c == '_';
}
static bool in_name(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* The kind whose word this is, or SN_DIM_CONST. */
static DimKind kind_of_word(const char *word, size_t length) {
    for (DimKind kind = SN_DIM_FLOORDIV; kind <= SN_DIM_MAX; kind++)
        if (strlen(words[kind]) == length && !memcmp(words[kind], word, length)) return kind;
    return SN_DIM_CONST;
}

static bool is_axis_name(const char *word, size_t length) {
    if (length < 2 || word[0] != 'i') return false;
    for (size_t i = 1; i < length; i++)
        if (!isdigit((unsigned char)word[i])) return false;
    return true;
}

static bool is_plain_name(const char *name) {
    size_t length = strlen(name);
    if (length == 0 || !starts_name(name[0]) || is_axis_name(name, length)) return false;
    for (size_t i = 0; i < length; i++)
        if (!in_name(name[i]) || (unsigned char)name[i] >= 0x80) return false;
    return kind_of_word(name, length) == SN_DIM_CONST;
}

/* ---- printing ---- */

static void print_operand(Text *text, const Dims *dims, Dim dim) {
    bool bare = dim->kind < SN_DIM_SUM || is_binary(dim);
    if (!bare) sn_text_add(text, "(");
    sn_dim_print(text, dims, dim);
    if (!bare) sn_text_add(text, ")");
}

static void print_sum(Text *text, const Dims *dims, Dim dim) {
    for (int i = 0; i < dim->count; i++) {
        int64_t c = dim->coefficient[i];
        uint64_t size = c < 0 ? 0 - (uint64_t)c : (uint64_t)c;
        if (i == 0)
            sn_text_add(text, "%s", c < 0 ? "-" : "");
        else
            sn_text_add(text, "%s", c < 0 ? " - " : " + ");
        if (size != 1) sn_text_add(text, "%" PRIu64 "*", size);
        sn_dim_print(text, dims, dim->operand[i]);
    }
    uint64_t size = dim->value < 0 ? 0 - (uint64_t)dim->value : (uint64_t)dim->value;
    if (size != 0) sn_text_add(text, " %c %" PRIu64, dim->value < 0 ? '-' : '+', size);
}

void sn_dim_print(Text *text, const Dims *dims, Dim dim) {
    const char *name;
    switch (dim->kind) {
    case SN_DIM_CONST:
        sn_text_add(text, "%" PRId64, dim->value);
        return;
    case SN_DIM_SYMBOL:
        name = symbol_of(dim)->name;
        if (is_plain_name(name))
            sn_text_put(text, name, strlen(name));
        else
            sn_text_quote(text, name, strlen(name));
        return;
    case SN_DIM_AXIS:
        sn_text_add(text, "i%" PRId64, dim->value);
        return;
    case SN_DIM_SUM:
        print_sum(text, dims, dim);
        return;
    case SN_DIM_PRODUCT:
        for (int i = 0; i < dim->count; i++) {
            if (i > 0) sn_text_add(text, "*");
            sn_dim_print(text, dims, dim->operand[i]);
        }
        return;
    case SN_DIM_MIN:
    case SN_DIM_MAX:
        sn_text_add(text, "%s(", words[dim->kind]);
        sn_dim_print(text, dims, dim->operand[0]);
        sn_text_add(text, ", ");
        sn_dim_print(text, dims, dim->operand[1]);
        sn_text_add(text, ")");
        return;
    default:
        sn_text_add(text, "(");
        print_operand(text, dims, dim->operand[0]);
        sn_text_add(text, " %s ", words[dim->kind]);
        print_operand(text, dims, dim->operand[1]);
        sn_text_add(text, ")");
    }
}

/* ---- parsing ----
 *
 *   sum    = ["-"] term {("+" | "-") term}
 *   term   = factor {("*" | "floordiv" | "ceildiv" | "truncdiv" | "mod") factor}
 *   factor = number | name | "quoted name" | axis | "(" sum ")" | ("min" | "max") "(" sum "," sum ")"
 */

typedef struct Parser {
    Dims *dims;
    const char *at;
    const Dim *axes;
    int axis_count;
    int depth;
} Parser;

static Status parse_sum(Parser *p, Dim *out);

static void skip_space(Parser *p) {
    while (*p->at == ' ' || *p->at == '\t') p->at++;
}

static bool accept(Parser *p, char c) {
    skip_space(p);
    if (*p->at != c) return false;
    p->at++;
    return true;
}

static Status expect(Parser *p, char c) {
    return accept(p, c) ? NULL : sn_fail(SN_INVALID, "'%c' expected in a size expression", c);
}

static size_t word_length(const char *at) {
    size_t length = 0;
    if (starts_name(at[0]))
        while (in_name(at[length])) length++;
    return length;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One character of a quoted name; false if the escape is none of those sn_text_quote writes. */
static bool unquote(const char **at, char *out) {
    const char *s = *at;
    if (*s != '\\') {
        *out = *s;
        *at = s + 1;
        return *s != 0;
    }
    static const char escapes[][2] = {{'"', '"'}, {'\\', '\\'}, {'n', '\n'}, {'t', '\t'}};
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        if (s[1] != escapes[i][0]) continue;
        *out = escapes[i][1];
        *at = s + 2;
        return true;
    }
    if (s[1] != 'x' || hex_digit(s[2]) < 0 || hex_digit(s[3]) < 0) return false;
    *out = (char)(hex_digit(s[2]) * 16 + hex_digit(s[3]));
    *at = s + 4;
    return *out != 0;
}

static Status parse_quoted(Parser *p, Dim *out) {
    Text name = sn_text(p->dims->arena);
    const char *at = p->at + 1;
    while (*at != '"') {
        char c;
        if (!unquote(&at, &c))
            return sn_fail(SN_INVALID, "a quoted size name is broken off or has a bad escape");
        sn_text_put(&name, &c, 1);
    }
    p->at = at + 1;
    *out = sn_dim_symbol(p->dims, sn_text_string(&name));
    return NULL;
}

/* `negative` is the sign before the number, so that the smallest int64 can be read. */
static Status parse_number(Parser *p, bool negative, Dim *out) {
    int64_t value = 0;
    for (; isdigit((unsigned char)*p->at); p->at++) {
        int digit = *p->at - '0';
        if (!sn_mul_i64(value, 10, &value) || !sn_add_i64(value, negative ? -digit : digit, &value))
            return sn_fail(SN_INVALID, "a number of a size expression does not fit 64 bits");
    }
    *out = sn_dim(p->dims, value);
    return NULL;
}

static Status parse_axis(Parser *p, size_t length, Dim *out) {
    long number = strtol(p->at + 1, NULL, 10);
    if (number >= p->axis_count)
        return sn_fail(SN_INVALID, "axis %.*s does not exist here", (int)length, p->at);
    *out = p->axes[number];
    p->at += length;
    return NULL;
}

static Status parse_pair(Parser *p, DimKind kind, Dim *out) {
    Dim a, b;
    TRY(expect(p, '('));
    TRY(parse_sum(p, &a));
    TRY(expect(p, ','));
    TRY(parse_sum(p, &b));
    TRY(expect(p, ')'));
    *out = kind == SN_DIM_MIN ? sn_dim_min(p->dims, a, b) : sn_dim_max(p->dims, a, b);
    return NULL;
}

/* *negative is cleared when the factor took the sign. */
static Status parse_factor(Parser *p, bool *negative, Dim *out) {
    skip_space(p);
    if (isdigit((unsigned char)*p->at)) {
        TRY(parse_number(p, *negative, out));
        *negative = false;
        return NULL;
    }
    if (*p->at == '"') return parse_quoted(p, out);
    if (accept(p, '(')) {
        TRY(parse_sum(p, out));
        return expect(p, ')');
    }
    size_t length = word_length(p->at);
    if (length == 0) return sn_fail(SN_INVALID, "a size expression is expected at \"%.20s\"", p->at);
    if (is_axis_name(p->at, length)) return parse_axis(p, length, out);
    DimKind kind = kind_of_word(p->at, length);
    if (kind == SN_DIM_MIN || kind == SN_DIM_MAX) {
        p->at += length;
        return parse_pair(p, kind, out);
    }
    if (kind != SN_DIM_CONST) return sn_fail(SN_INVALID, "%s has no left operand", words[kind]);
    *out = sn_dim_symbol(p->dims, sn_arena_printf(p->dims->arena, "%.*s", (int)length, p->at));
    p->at += length;
    return NULL;
}

/* Reads an infix operator other than + and -; SN_DIM_PRODUCT for '*', SN_DIM_CONST for none. */
static DimKind parse_operator(Parser *p) {
    if (accept(p, '*')) return SN_DIM_PRODUCT;
    size_t length = word_length(p->at);
    DimKind kind = kind_of_word(p->at, length);
    if (length == 0 || kind == SN_DIM_CONST || kind >= SN_DIM_MIN) return SN_DIM_CONST;
    p->at += length;
    return kind;
}

static Status parse_term(Parser *p, bool negative, Dim *out) {
    static Dim (*const make[])(Dims *, Dim, Dim) = {
        [SN_DIM_PRODUCT] = sn_dim_mul,     [SN_DIM_FLOORDIV] = sn_dim_floordiv,
        [SN_DIM_CEILDIV] = sn_dim_ceildiv, [SN_DIM_TRUNCDIV] = sn_dim_truncdiv,
        [SN_DIM_MOD] = sn_dim_mod,
    };
    TRY(parse_factor(p, &negative, out));
    if (negative) *out = sn_dim_sub(p->dims, sn_dim(p->dims, 0), *out);
    for (DimKind kind; (kind = parse_operator(p)) != SN_DIM_CONST;) {
        bool no = false;
        Dim right;
        TRY(parse_factor(p, &no, &right));
        *out = make[kind](p->dims, *out, right);
    }
    return NULL;
}

static Status parse_sum(Parser *p, Dim *out) {
    if (++p->depth > 2 * MAX_DEPTH) /* a sum as an operand has parentheses of its own */
        return sn_fail(SN_INVALID, "a size expression is nested too deeply");
    TRY(parse_term(p, accept(p, '-'), out));
    for (;;) {
        bool minus = accept(p, '-');
        Dim right;
        if (!minus && !accept(p, '+')) break;
        TRY(parse_term(p, minus, &right));
        *out = sn_dim_add(p->dims, *out, right);
    }
    p->depth--;
    return NULL;
}

Status sn_dim_parse(Dims *dims, const char **cursor, const Dim *axes, int axis_count, Dim *out) {
    Parser p = {.dims = dims, .at = *cursor, .axes = axes, .axis_count = axes ? axis_count : 0};
    bool before = dims->overflowed;
    TRY(parse_sum(&p, out));
    if (dims->overflowed && !before) return sn_fail(SN_INVALID, "overflow in a size expression");
    *cursor = p.at;
    return NULL;
}
