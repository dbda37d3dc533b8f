#include "parser.h"

#include <errno.h>
#include <stdlib.h>

Status sn_parse_fail(const Parser *parser, const char *at, const char *format, ...) {
    int line = 1;
    const char *start = parser->source;
    for (const char *c = parser->source; c < at; c++) {
        if (*c != '\n') continue;
        line++;
        start = c + 1;
    }
    va_list args;
    va_start(args, format);
    Status status = sn_failv(SN_INVALID, format, args);
    va_end(args);
    return sn_status_prefix(status, "%d:%d", line, (int)(at - start) + 1);
}

const char *sn_parse_skip(Parser *p) {
    for (;;) {
        while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
            p->at++;
        /* The text is NUL-terminated, so there is a character behind the last one. */
        if (p->at == p->end || p->at[0] != '/' || p->at[1] != '/') return p->at;
        while (p->at < p->end && *p->at != '\n') p->at++;
    }
}

bool sn_parse_at_end(Parser *p) {
    return sn_parse_skip(p) == p->end;
}

bool sn_parse_peek(Parser *p, char punctuation) {
    return sn_parse_skip(p) < p->end && *p->at == punctuation;
}

bool sn_parse_accept(Parser *p, char punctuation) {
    if (!sn_parse_peek(p, punctuation)) return false;
    p->at++;
    return true;
}

Status sn_parse_expect(Parser *p, char punctuation) {
    if (sn_parse_accept(p, punctuation)) return NULL;
    return sn_parse_fail(p, p->at, "'%c' expected", punctuation);
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

const char *sn_parse_word(Parser *p, size_t *length) {
    const char *word = sn_parse_skip(p);
    if (is_letter(*p->at))
        while (is_letter(*p->at) || is_digit(*p->at)) p->at++;
    *length = (size_t)(p->at - word);
    return word;
}

static bool same(const char *word, size_t length, const char *other) {
    return strlen(other) == length && memcmp(word, other, length) == 0;
}

bool sn_parse_accept_word(Parser *p, const char *wanted) {
    size_t length;
    const char *word = sn_parse_word(p, &length);
    if (same(word, length, wanted)) return true;
    p->at = word;
    return false;
}

Status sn_parse_expect_word(Parser *p, const char *word) {
    if (sn_parse_accept_word(p, word)) return NULL;
    return sn_parse_fail(p, p->at, "'%s' expected", word);
}

Status sn_parse_choice(Parser *p, const char *what, const char *const *words, int count, int *index) {
    size_t length;
    const char *word = sn_parse_word(p, &length);
    for (int i = 0; i < count; i++) {
        if (!same(word, length, words[i])) continue;
        *index = i;
        return NULL;
    }
    return sn_parse_fail(p, word, "a %s expected", what);
}

static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a string, escaped or not; false when it is malformed or the string ends. */
static bool unescape(Parser *p, char *out) {
    char c = *p->at++;
    if (c == '\n') return false;
    if (c != '\\') {
        *out = c;
        return true;
    }
    if (p->at == p->end) return false;
    c = *p->at++;
    if (c == 'x') {
        if (p->end - p->at < 2) return false;
        int high = hex_digit(p->at[0]), low = hex_digit(p->at[1]);
        p->at += 2;
        *out = (char)(high * 16 + low);
        return high >= 0 && low >= 0;
    }
    *out = c == 'n' ? '\n' : c == 't' ? '\t' : c;
    return strchr("nt\"\\", c) && c;
}

Status sn_parse_string(Parser *p, const char **out) {
    const char *start = sn_parse_skip(p);
    TRY(sn_parse_expect(p, '"'));
    Text text = sn_text(p->arena);
    while (p->at < p->end && *p->at != '"') {
        const char *at = p->at;
        char c;
        if (!unescape(p, &c) || c == 0) return sn_parse_fail(p, at, "not a character of a string");
        sn_text_put(&text, &c, 1);
    }
    if (p->at == p->end) return sn_parse_fail(p, start, "the string is not closed");
    p->at++;
    *out = sn_text_string(&text);
    return NULL;
}

Status sn_parse_int(Parser *p, int64_t low, int64_t high, int64_t *out) {
    const char *start = sn_parse_skip(p);
    char *stop;
    errno = 0;
    long long value = 0;
    bool number = is_digit(*start) || (*start == '-' && is_digit(start[1]));
    if (number) value = strtoll(start, &stop, 10);
    if (!number || errno == ERANGE || value < low || value > high)
        return sn_parse_fail(p, start, "an integer from %lld to %lld expected", (long long)low,
                             (long long)high);
    p->at = stop;
    *out = value;
    return NULL;
}

Status sn_parse_u64(Parser *p, int base, uint64_t *out) {
    const char *start = sn_parse_skip(p);
    char *stop;
    errno = 0;
    bool number = is_digit(*start) || (base == 16 && hex_digit(*start) >= 0);
    unsigned long long value = number ? strtoull(start, &stop, base) : 0;
    if (!number || errno == ERANGE) return sn_parse_fail(p, start, "a 64-bit unsigned integer expected");
    p->at = stop;
    *out = value;
    return NULL;
}

Status sn_parse_float(Parser *p, double *out) {
    const char *start = sn_parse_skip(p), *c = start;
    char *stop;
    if (*c == '-') c++;
    bool number = is_digit(*c) || strncmp(c, "inf", 3) == 0 || strncmp(c, "nan", 3) == 0;
    if (!number) return sn_parse_fail(p, start, "a number expected");
    *out = strtod_l(start, &stop, p->c_locale);
    p->at = stop;
    return NULL;
}

Status sn_parse_dim(Parser *p, int axis_count, const Dim *axes, Dim *out) {
    const char *start = sn_parse_skip(p);
    Status status = sn_dim_parse(p->graph->dims, &p->at, axes, axis_count, out);
    if (!status && sn_dims_overflowed(p->graph->dims))
        return sn_parse_fail(p, start, "a size does not fit into 64 bits");
    if (!status) return NULL;
    Status located = sn_parse_fail(p, start, "%s", sn_error_message(status));
    sn_error_free(status);
    return located;
}

Status sn_parse_dims(Parser *p, int axis_count, const Dim *axes, int *count, const Dim **out) {
    SN_VEC(Dim) list = {0};
    TRY(sn_parse_expect(p, '['));
    while (!sn_parse_peek(p, ']')) {
        Dim dim;
        if (list.count > 0) TRY(sn_parse_expect(p, ','));
        if (list.count == SN_PARSE_MAX_LIST) return sn_parse_fail(p, p->at, "the list is too long");
        TRY(sn_parse_dim(p, axis_count, axes, &dim));
        sn_push(p->arena, &list, dim);
    }
    *count = list.count;
    *out = list.at;
    return sn_parse_expect(p, ']');
}

Status sn_parse_dtype(Parser *p, DType *out) {
    size_t length;
    const char *word = sn_parse_word(p, &length);
    if (sn_dtype_from_name(word, length, out)) return NULL;
    return sn_parse_fail(p, word, "an element type expected");
}

Status sn_parse_type(Parser *p, Type *out) {
    TRY(sn_parse_dtype(p, &out->dtype));
    const char *start = sn_parse_skip(p);
    TRY(sn_parse_dims(p, 0, NULL, &out->rank, &out->dim));
    if (out->rank > SN_MAX_RANK) return sn_parse_fail(p, start, "more than %d axes", SN_MAX_RANK);
    for (int i = 0; i < out->rank; i++)
        if (out->dim[i]->kind == SN_DIM_CONST && out->dim[i]->value < 0)
            return sn_parse_fail(p, start, "a negative extent");
    return NULL;
}
