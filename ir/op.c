#include "op.h"

#include <string.h>

/* Most rules serve several rows, so they are declared more than once: that is allowed and harmless. */
/* clang-format off */
#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, eval, ...)       \
    Status infer(Infer *, struct Node *);                                                                    \
    Status eval(Eval *, const struct Node *);
#include "ops.def"
#undef OP

static const OpInfo table[SN_OP_COUNT] = {
#define OP(code, text, level, class, dtypes, autocast, fault, attr, in_min, in_max, out_min, out_max, infer, eval, ...)       \
    [code] = {text, SN_LEVEL_##level, SN_CLASS_##class, dtypes, &sn_attr_##attr,                             \
              in_min, in_max, out_min, out_max, infer, eval},
#include "ops.def"
#undef OP
};
/* clang-format on */

const OpInfo *sn_op(OpCode op) {
    return &table[op];
}

bool sn_op_from_text(const char *text, size_t length, OpCode *out) {
    for (int op = 0; op < SN_OP_COUNT; op++) {
        if (strlen(table[op].text) != length || memcmp(table[op].text, text, length) != 0) continue;
        *out = (OpCode)op;
        return true;
    }
    return false;
}
