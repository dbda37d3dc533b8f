#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

Text sn_text(Arena *arena) {
    return (Text){.arena = arena};
}

/* Room for `more` bytes and the NUL behind them. */
static void reserve(Text *text, size_t more) {
    if (text->at && more < text->capacity - text->length) return;
    size_t least, larger;
    if (__builtin_add_overflow(text->length, more, &least) || __builtin_add_overflow(least, 64, &least) ||
        __builtin_mul_overflow(least, 2, &larger))
        larger = SIZE_MAX; /* which the arena refuses */
    char *copy = sn_arena_alloc(text->arena, larger);
    if (text->at) memcpy(copy, text->at, text->length);
    text->at = copy;
    text->capacity = larger;
}

void sn_text_put(Text *text, const char *bytes, size_t length) {
    reserve(text, length);
    if (length > 0) memcpy(text->at + text->length, bytes, length);
    text->length += length;
    text->at[text->length] = 0;
}

void sn_text_addv(Text *text, const char *format, va_list args) {
    reserve(text, 0);
    va_list again;
    va_copy(again, args);
    size_t room = text->capacity - text->length;
    int length = vsnprintf(text->at + text->length, room, format, args);
    if (length < 0 || (size_t)length >= room) {
        reserve(text, length < 0 ? SIZE_MAX : (size_t)length);
        vsnprintf(text->at + text->length, (size_t)length + 1, format, again);
    }
    va_end(again);
    text->length += (size_t)length;
}

void sn_text_add(Text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sn_text_addv(text, format, args);
    va_end(args);
}

const char *sn_text_string(Text *text) {
    reserve(text, 0);
    return text->at;
}

void sn_text_quote(Text *text, const char *bytes, size_t length) {
    static const char digits[] = "0123456789abcdef";
    sn_text_put(text, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\')
            sn_text_put(text, (char[]){'\\', bytes[i]}, 2);
        else if (byte == '\n')
            sn_text_put(text, "\\n", 2);
        else if (byte == '\t')
            sn_text_put(text, "\\t", 2);
        else if (byte >= 0x20 && byte < 0x7f)
            sn_text_put(text, &bytes[i], 1);
        else
            sn_text_put(text, (char[]){'\\', 'x', digits[byte >> 4], digits[byte & 15]}, 4);
    }
    sn_text_put(text, "\"", 1);
}

const char *sn_quoted(Arena *arena, const char *string) {
    Text text = sn_text(arena);
    sn_text_quote(&text, string, strlen(string));
    return sn_text_string(&text);
}
