/* The operator table as data (ir's columns). passes/ and codegen/ take their own columns from ops.def. */
#ifndef SN_OP_H
#define SN_OP_H

#include "attr.h"

typedef enum OpCode {
#define OP(code, ...) code,
#include "ops.def"
#undef OP
    SN_OP_COUNT
} OpCode;

typedef enum OpLevel { SN_LEVEL_STRUCTURE, SN_LEVEL_COMPOSITE, SN_LEVEL_DIRECT, SN_LEVEL_PRIMITIVE } OpLevel;

typedef enum OpClass {
    SN_CLASS_NONE,
    SN_CLASS_SOURCE,
    SN_CLASS_POINTWISE,
    SN_CLASS_MOVE,
    SN_CLASS_REDUCE,
    SN_CLASS_CONTRACT,
    SN_CLASS_ATTENTION,
    SN_CLASS_SCAN,
    SN_CLASS_PACK,
    SN_CLASS_SCATTER,
    SN_CLASS_RECURRENT,
} OpClass;

struct Node;
typedef struct Infer Infer; /* infer.h */
typedef struct Eval Eval;   /* eval.h */

typedef struct OpInfo {
    const char *text;
    OpLevel level;
    OpClass class;
    const char *dtypes;
    const AttrInfo *attr;
    int in_min, in_max, out_min, out_max;
    Status (*infer)(Infer *, struct Node *);
    Status (*eval)(Eval *, const struct Node *);
} OpInfo;

const OpInfo *sn_op(OpCode op);
bool sn_op_from_text(const char *text, size_t length, OpCode *out);

#endif
