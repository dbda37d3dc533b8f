/* What compiled kernels require of a processor, told apart by what the compiler may use and never by a
 * processor's name. */
#ifndef SN_FEATURES_H
#define SN_FEATURES_H

#include "arena.h"
#include <stdbool.h>

/* "x86_64" or "aarch64": the machine language of this process; NULL for one that kernels cannot be saved for.
 */
const char *sn_features_machine(void);

/* The extensions that a compiler with these predefined macros (a text of `#define NAME VALUE` lines) may use
 * for plain C, as words separated by spaces. */
const char *sn_features_required(Arena *arena, const char *macros);

/* Those of the `words` that this processor, or its operating system, does not have; unknown words count as
 * such. "" when it has all. */
const char *sn_features_missing(Arena *arena, const char *words);

/* Whether processor and operating system have matrix tiles, of bf16 and of bytes. */
bool sn_features_matrix(void);

#endif
