/* Kernels made of a tile template (contraction, packing, attention) and holes. */
#ifndef SN_EMIT_TEMPLATE_H
#define SN_EMIT_TEMPLATE_H

#include "emit.h"

/* A hole: a function of the template that is written from a nest. */
typedef struct Hole {
    const char *name;      /* "sn_gemm_a" */
    const char *arguments; /* after the context (and the value x0): ", int64_t batch, int64_t m, int64_t k" */
    const char *prepare;   /* statements that set the axes' variables from them */
    bool vector;           /* its v form; otherwise its s form */
    Nest *nest;            /* one step with the stores, or none and `value` */
    Instr *value;          /* what it returns; NULL: it stores */
    bool argument;         /* takes the value x0 */
    bool address;          /* returns the address that `value` loads from */
    Dim ahead; /* only fetches what the nest loads and stores, as far as it depends on this; or NULL */
} Hole;

struct TemplateUse {
    const char *file[3]; /* the template, of as many files */
    const char *defines; /* before it */
    SN_VEC(Hole) hole;
    bool maths;                 /* calls vector_math.h */
    bool masks;                 /* has sn_mask_tile: */
    Dim causal;                 /* column j counts for row i when j <= i + causal; NULL: no such bound */
    bool unmasked;              /* nothing else masks */
    const char *driver;         /* the statement of the entry that runs it, over n0, n1 … */
    Axes number;                /* what n0, n1 … are */
    Dim items, after, together; /* of Kernel; the last two may be NULL */
};

/* The C prelude: vector width, vectors, index arithmetic, and what else the instructions (`maths`: or the
 * template) call. */
void sn_emit_prelude_c(const KernelIr *kernel, bool maths, Text *out);

Status sn_emit_template(Emit *emit, Text *text, Kernel *out);

#endif
