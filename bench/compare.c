#include "compare.h"
#include <math.h>

static const char *shape_text(Arena *arena, const Tensor *tensor) {
    Text text = sn_text(arena);
    sn_text_add(&text, "%s[", sn_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->rank; i++)
        sn_text_add(&text, "%s%lld", i ? ", " : "", (long long)tensor->extent[i]);
    sn_text_add(&text, "]");
    return sn_text_string(&text);
}

static bool same_type(const Tensor *a, const Tensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->extent[i] != b->extent[i]) return false;
    return true;
}

static bool floats_agree(double got, double want, double rtol, double atol) {
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want);
    if (isinf(got) || isinf(want)) return got == want;
    return fabs(got - want) <= atol + rtol * fabs(want);
}

static bool elements_agree(const Tensor *got, const Tensor *want, int64_t i, double rtol, double atol) {
    if (sn_dtype_is_float(got->dtype))
        return floats_agree(sn_tensor_get(got, i), sn_tensor_get(want, i), rtol, atol);
    return sn_tensor_get_int(got, i) == sn_tensor_get_int(want, i);
}

const char *sn_compare(Arena *arena, const Tensor *got, const Tensor *want, double rtol, double atol) {
    if (!same_type(got, want))
        return sn_arena_printf(arena, "%s instead of %s", shape_text(arena, got), shape_text(arena, want));
    int64_t bad = 0, first = 0;
    double most = 0;
    for (int64_t i = 0; i < got->count; i++) {
        if (elements_agree(got, want, i, rtol, atol)) continue;
        if (!bad++) first = i;
        double error = fabs(sn_tensor_get(got, i) - sn_tensor_get(want, i));
        if (!(error <= most)) most = error; /* NaN stays */
    }
    if (!bad) return NULL;
    return sn_arena_printf(
        arena,
        "%lld of %lld elements; the first is number %lld, %.9g instead of %.9g; the largest error "
        "is %.3g",
        (long long)bad, (long long)got->count, (long long)first, sn_tensor_get(got, first),
        sn_tensor_get(want, first), most);
}
