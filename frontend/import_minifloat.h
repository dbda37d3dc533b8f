/* Floats of 4 and 8 bits, whose codes lie in bytes (narrow.h). A failure is latched in the call, and gives NULL. */
#ifndef SN_IMPORT_MINIFLOAT_H
#define SN_IMPORT_MINIFLOAT_H

#include "import_compose.h"

static inline bool is_minifloat(const Narrow *narrow) {
    return narrow && narrow->largest > 0;
}

/* The numbers that codes (u8) stand for, as f32, which holds them. */
Value *sn_minifloat_open(Call *c, Value *codes, const Narrow *narrow);

/* Codes (u8) of x rounded half to even by way of f32. Beyond the largest number is that one where `saturate`, and otherwise
 * infinity, or NaN where there is none; of 4 bits there is neither. Powers of two are unsupported. */
Value *sn_minifloat_close(Call *c, Value *x, const Narrow *narrow, bool saturate);

/* Codes (u8) of the powers of two (FLOAT8E8M0) that |x| is rounded to by way of f32: "up", "down" or "nearest". Beyond the largest
 * one is that one where `saturate`, and otherwise NaN, as which infinity counts. */
Value *sn_minifloat_power(Call *c, Value *x, const char *how, bool saturate);

/* Whether a rule makes of codes what it would of the numbers, or looks at what they are. */
bool sn_minifloat_taken(ImportRule rule);

#endif
