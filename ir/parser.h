/* Shared by the files of the parser: the cursor, tokens, and the parts of a node. Private to ir/parse*.c. */
#ifndef SN_PARSER_H
#define SN_PARSER_H

#include "graph.h"

#include <locale.h>

enum {
    SN_PARSE_MAX_ID = 1 << 24,      /* value ids and groups: tables are indexed by them */
    SN_PARSE_MAX_LIST = 1 << 16,    /* elements of one list */
    SN_PARSE_MAX_SOURCES = 1 << 12, /* nodes of one origin */
    SN_PARSE_MAX_INLINE = 1024,     /* elements of a tensor that is written out */
    SN_PARSE_MAX_NESTING = 4,       /* regions in regions */
};

typedef struct Parser {
    const char *source; /* NUL-terminated at `end` */
    const char *end;
    const char *at;
    locale_t c_locale; /* numbers read the same wherever the program runs */
    Arena *arena;      /* the graph's */
    Arena *scratch;
    Graph *graph;
    Map *values;         /* id -> Value */
    const Map *payloads; /* hash -> Payload; NULL: none */
    int nesting;
} Parser;

/* SN_INVALID with the line and column of `at`. */
Status sn_parse_fail(const Parser *parser, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4), warn_unused_result));

/* Each skips white space and comments (// to the end of the line) first. */
const char *sn_parse_skip(Parser *parser);
bool sn_parse_at_end(Parser *parser);
bool sn_parse_peek(Parser *parser, char punctuation);
bool sn_parse_accept(Parser *parser, char punctuation);
Status sn_parse_expect(Parser *parser, char punctuation);
/* [A-Za-z_][A-Za-z0-9_]*; *length is 0 when there is none. The parser is moved past it. */
const char *sn_parse_word(Parser *parser, size_t *length);
bool sn_parse_accept_word(Parser *parser, const char *word);
Status sn_parse_expect_word(Parser *parser, const char *word);
/* One of `count` words; *index is which. */
Status sn_parse_choice(Parser *parser, const char *what, const char *const *words, int count, int *index);
/* A quoted string, unescaped, in the graph's arena. Strings hold no NUL. */
Status sn_parse_string(Parser *parser, const char **out);
/* A decimal integer within [low, high]. */
Status sn_parse_int(Parser *parser, int64_t low, int64_t high, int64_t *out);
Status sn_parse_u64(Parser *parser, int base, uint64_t *out);
Status sn_parse_float(Parser *parser, double *out);

/* A Dim; `axes` (may be NULL) are what i0, i1 … mean. */
Status sn_parse_dim(Parser *parser, int axis_count, const Dim *axes, Dim *out);
/* "[T, 3]", in the graph's arena. */
Status sn_parse_dims(Parser *parser, int axis_count, const Dim *axes, int *count, const Dim **out);
Status sn_parse_dtype(Parser *parser, DType *out);
Status sn_parse_type(Parser *parser, Type *out);

/* "{axis = 0}" or nothing, as the struct of `info` in the graph's arena. */
Status sn_parse_attr(Parser *parser, const AttrInfo *info, void **out);
Status sn_parse_tensor(Parser *parser, const Tensor **out);

#endif
