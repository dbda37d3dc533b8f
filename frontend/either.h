/* What is computed whether it is wanted or not, by a condition that only a run knows: a scalar of bool. */
#ifndef SN_EITHER_H
#define SN_EITHER_H

#include "import.h"

/* What the nodes from `first` on compute must not fail where `taken` is false: there an operand is one that is always right. */
bool sn_either_guard(Call *call, Node *first, Value *taken);

/* `yes` or `no`, which have one shape and are no sequences; otherwise unsupported. NULL where one of them is NULL. */
Value *sn_either_choose(Call *call, Value *condition, Value *yes, Value *no);

#endif
