/* Whether this process may use the processor's matrix tiles (codegen/device/matrix.h): the system lends their registers, which
 * every switch of threads may have to save, only to those that ask. */
#ifndef SN_MATRIX_H
#define SN_MATRIX_H

/* NULL when it may, and otherwise why not. Asks the system once, for all threads of the process; with SINTER_MATRIX=0 in the
 * environment the answer is no. */
const char *sn_matrix_refusal(void);

#endif
