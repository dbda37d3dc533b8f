/* Products of bytes by constant bytes, which processors with integer dot products sum up four at a time, and matrix tiles 64. */
#ifndef SN_BYTE_PRODUCTS_H
#define SN_BYTE_PRODUCTS_H

#include "pass.h"

/* Puts a product of u8 by packed i8 (AttrContract's group) in place of `node`, a contraction, where dot products or matrix tiles
 * make that quicker on the target and both operands are bytes: the left one with a zero point that is the same along K and,
 * where the product is of floats, such a scale; the right one made in setup, with zero points and scales of its columns. What
 * zero points add is taken off behind it, by sums of columns that setup makes, so that integers are exact modulo 2^32; floats are
 * scaled once, behind the sum. Wants sn_mark_setup. False: nothing was changed; a failure is in pass->status. */
bool sn_byte_product(Pass *pass, Graph *graph, Node *node);

#endif
