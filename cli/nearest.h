/* What somebody who misspelt a word may have meant. */
#ifndef SN_CLI_NEAREST_H
#define SN_CLI_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* The nearest of the words offered so far; `name` is NULL before the first that is near enough. */
typedef struct Nearest {
    const char *word;
    size_t length;
    const char *name;
    size_t distance;
} Nearest;

/* The first `length` bytes of `word` are what was typed. */
Nearest sn_nearest(const char *word, size_t length);

/* `name` is near when one mistake (a letter too many, missing, wrong, or two that changed places) for each three letters of
 * the word makes one of the other, or when the word is its beginning. */
void sn_nearest_offer(Nearest *nearest, const char *name);

#endif
