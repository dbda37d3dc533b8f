/* Lists in order, for rules: where elements are true, and which come first. NULL after a failure. */
#ifndef SN_ORDER_H
#define SN_ORDER_H

#include "import.h"

/* The places of the elements that are true, in order: flags [T] of bool -> i64 [N]; N is a size that data decide. */
Value *sn_call_places(Call *call, Value *flags);
/* The places where a running count i64 [T], which grows in steps of 0 and 1 from 0 up to `count` at its end, grows: i64 [count]. */
Value *sn_call_growths(Call *call, Value *running, Dim count);

/* x [..., n] -> i64 [..., columns]: the places along the last axis of the elements that come first, the least ones or with
 * `largest` the largest. Equal ones stand in the order of their places; NaN is the greatest. columns <= n. */
Value *sn_call_top(Call *call, Value *x, Dim columns, bool largest);

#endif
