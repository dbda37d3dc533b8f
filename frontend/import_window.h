/* Windows that slide over the spatial axes of an [N, C, D...] tensor, for operators that read them in another way than a
 * convolution. Private to import_*.c. */
#ifndef SN_IMPORT_WINDOW_H
#define SN_IMPORT_WINDOW_H

#include "import.h"

enum { SN_WINDOW_AXES = (SN_MAX_RANK - 3) / 2 }; /* as many positions, elements, batch, group and channel */

/* One spatial axis. */
typedef struct Slide {
    int64_t kernel, stride, dilation;
    Dim before, after; /* padding */
    Dim count;         /* positions */
    Dim beyond; /* elements past the padding that the last position reaches when counts are rounded up */
} Slide;

typedef struct Windows {
    int spatial;
    Slide axis[SN_WINDOW_AXES];
} Windows;

/* [N, C, position..., element...] of x as it is. */
typedef Value *(*WindowRule)(Call *call, Value *x, const Windows *windows);

/* The convolution that the node's attributes say, of windows that `rule` makes; bias [M] or NULL. */
Value *sn_call_conv_of(Call *call, Value *x, Value *weight, Value *bias, WindowRule rule);

#endif
