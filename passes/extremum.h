/* Comparisons with an extremum: where a row is at its greatest, as ArgMax and the gradient of ReduceMax ask.
 *
 * No element equals an extremum for certain but where both are of the same bits. Arithmetic that is written twice, in two
 * kernels or in two loops of one, may round differently: a product that only a sum uses becomes one instruction with it,
 * and a cast that autocast put in is left out where nothing is stored between. So what is compared is computed once. */
#ifndef SN_EXTREMUM_H
#define SN_EXTREMUM_H

#include "graph.h"

/* The float that `node` compares with an extremum, and in *extremum the node that makes this, views looked through;
 * NULL: it is no such comparison. */
Value *sn_compared_with_extremum(const Node *node, Node **extremum);

#endif
