/* What onednn.h declares, for builds without the library. */
#include "onednn.h"
#include <stddef.h>

const char *sn_onednn_name(void) {
    return NULL;
}

Status sn_onednn_product_new(int threads, int64_t M, int64_t N, int64_t K, int copies, bool bf16,
                             void (*fill)(void *user, int copy, void *w), void *user, const void *x, void *y,
                             OnednnProduct **out) {
    (void)threads, (void)M, (void)N, (void)K, (void)copies, (void)bf16, (void)fill, (void)user, (void)x,
        (void)y;
    *out = NULL;
    return sn_fail(SN_UNSUPPORTED, "unsupported: built without oneDNN");
}

void sn_onednn_product_free(OnednnProduct *product) {
    (void)product;
}

Status sn_onednn_product_run(void *product, int count, double *seconds) {
    (void)product, (void)count;
    *seconds = 0;
    return sn_fail(SN_UNSUPPORTED, "unsupported: built without oneDNN");
}
