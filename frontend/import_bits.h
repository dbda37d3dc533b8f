/* The bits of elements. A failure is latched in the call, and gives NULL. */
#ifndef SN_IMPORT_BITS_H
#define SN_IMPORT_BITS_H

#include "import_compose.h"

/* The unsigned integers whose bits are x's. */
Value *sn_bits_of(Call *c, Value *x);

#endif
