/* What operators share that sample a tensor at computed places. Private to import_*.c. */
#ifndef SN_IMPORT_SAMPLE_H
#define SN_IMPORT_SAMPLE_H

#include "import.h"

/* Between 0 and `top`; of what is no number, 0: such a point has no neighbours that count, and is no failure. */
Value *sn_sample_at_most(Call *call, Value *x, Value *top);

#endif
