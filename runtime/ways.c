/* Who computes a product: the library of a GPU, or the generated kernel. */
#include "plan.h"

static unsigned parts_of(const PlanProduct *product) {
    const LibraryProduct *form = product->full ? product->full->form : product->form;
    static const unsigned epilogue[] = {
        [SN_LIBRARY_NONE] = 0,
        [SN_LIBRARY_RELU] = SN_PRODUCT_RELU,
        [SN_LIBRARY_GELU_TANH] = SN_PRODUCT_GELU,
        [SN_LIBRARY_RELU_SLOPE] = SN_PRODUCT_DRELU,
        [SN_LIBRARY_GELU_SLOPE] = SN_PRODUCT_DGELU,
    };
    bool writes_aux = form->aux.buffer >= 0 && form->epilogue <= SN_LIBRARY_GELU_TANH;
    return epilogue[form->epilogue] | (form->c.buffer >= 0 ? SN_PRODUCT_ADDS : 0) |
           (form->bias.buffer >= 0 ? SN_PRODUCT_BIAS : 0) |
           (product->rest && !product->full ? SN_PRODUCT_REST : 0) | (writes_aux ? SN_PRODUCT_AUX : 0) |
           (form->sum.buffer >= 0 ? SN_PRODUCT_SUM : 0);
}

bool sn_plan_product_key(const PlanLaunch *launch, const int64_t *dim, const Target *target,
                         ProductKey *out) {
    const PlanProduct *product = launch->product;
    if (!product) return false;
    const LibraryProduct *form = product->form;
    *out = (ProductKey){.operands = form->a.dtype,
                        .result = form->d.dtype,
                        .tf32 = form->a.dtype == SN_F32 && target->precision != SN_PRECISION_HIGHEST,
                        .transposed = {form->a.transposed, form->b.transposed},
                        .batch = dim[product->batch],
                        .rows = dim[product->M],
                        .N = dim[product->N],
                        .K = dim[product->K],
                        .with = parts_of(product)};
    return out->batch > 0 && out->rows > 0 && out->N > 0 && out->K > 0;
}

int sn_plan_way(const PlanLaunch *launch, const int64_t *dim, const Target *target) {
    enum { LEAST_ROWS = 16 };
    ProductKey key;
    ProductWay way;
    if (!sn_plan_product_key(launch, dim, target, &key)) return 0;
    if (sn_tuning_product(target, &key, &way)) return way.library ? 1 + way.proposal : 0;
    return key.batch >= LEAST_ROWS || key.rows >= LEAST_ROWS || key.batch * key.rows >= LEAST_ROWS;
}
