/* Floats of 8 bits, whose codes lie in bytes (narrow.h). A failure is latched in the call, and gives NULL. */
#ifndef SN_IMPORT_FLOAT8_H
#define SN_IMPORT_FLOAT8_H

#include "import_compose.h"

static inline bool is_float8(const Narrow *narrow) {
    return narrow && narrow->mantissa > 0;
}

/* The numbers that codes (u8) stand for, as f32, which holds them. */
Value *sn_float8_open(Call *c, Value *codes, const Narrow *narrow);

/* Codes (u8) of x rounded half to even by way of f32. Beyond the largest number is that one where `saturate`, and otherwise
 * infinity, or NaN where there is none. */
Value *sn_float8_close(Call *c, Value *x, const Narrow *narrow, bool saturate);

/* Whether a rule makes of codes what it would of the numbers, or looks at what they are. */
bool sn_float8_taken(ImportRule rule);

#endif
