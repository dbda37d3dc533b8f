/* oneDNN as a peer inside the benchmark, where it is installed: the product of matrices with weights in the
 * layout that it chooses, rearranged beforehand. */
#ifndef SN_ONEDNN_H
#define SN_ONEDNN_H

#include "status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct OnednnProduct OnednnProduct;

/* "oneDNN"; NULL: this program was built without it. */
const char *sn_onednn_name(void);

/* y (copies, M, N) = x (M, K) * w (copies, K, N), all of float32 or all of bf16, on that many threads. fill(user, copy, w)
 * writes the weights of a copy; x and y stay the caller's. SN_UNSUPPORTED where there is no oneDNN. */
Status sn_onednn_product_new(int threads, int64_t M, int64_t N, int64_t K, int copies, bool bf16,
                             void (*fill)(void *user, int copy, void *w), void *user, const void *x, void *y,
                             OnednnProduct **out);
void sn_onednn_product_free(OnednnProduct *product); /* NULL is allowed */

/* A Runner's run: each goes through all copies. */
Status sn_onednn_product_run(void *product, int count, double *seconds);

#endif
