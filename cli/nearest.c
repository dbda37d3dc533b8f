#include "nearest.h"
#include <string.h>

enum { LONGEST = 32 }; /* letters of a word that is looked at */

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. Row i of the table is of the first
 * i letters of `a`; three rows are kept. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++) before[j] = above[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *free = before;
        before = above, above = row, row = free;
    }
    return above[b_length];
}

Nearest sn_nearest(const char *word, size_t length) {
    return (Nearest){.word = word, .length = length, .distance = length / 3 + 1};
}

void sn_nearest_offer(Nearest *nearest, const char *name) {
    size_t length = strlen(name);
    if (!nearest->length || nearest->length > LONGEST || length > LONGEST) return;
    bool begins = nearest->length > 3 && strncmp(name, nearest->word, nearest->length) == 0;
    size_t far = begins ? 0 : distance(nearest->word, nearest->length, name, length);
    if (far >= nearest->distance) return;
    nearest->distance = far;
    nearest->name = name;
}
