/* A string that grows in an arena. */
#ifndef SN_TEXT_H
#define SN_TEXT_H

#include "arena.h"
#include <stdarg.h>

typedef struct Text {
    Arena *arena;
    char *at; /* always NUL-terminated once anything was asked of it */
    size_t length, capacity;
} Text;

Text sn_text(Arena *arena);
void sn_text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sn_text_addv(Text *text, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
void sn_text_put(Text *text, const char *bytes, size_t length);

/* The text as a C string; valid until the next addition. */
const char *sn_text_string(Text *text);

/* `bytes` in double quotes, with \" \\ \n \t and \xNN for what is not printable ASCII. Used for every name
 * that comes from a model, so that no file can forge a line of the text form or of a report. */
void sn_text_quote(Text *text, const char *bytes, size_t length);

/* A string so quoted, in the arena. */
const char *sn_quoted(Arena *arena, const char *string);

#endif
