/* Kernels made of a tile template (contraction, packing, attention) and holes.
 *
 * In C the template is text with macros for its numbers, and a hole is a function of a context. In CUDA C++ the
 * template is written over a type: the kernel's own struct KERNEL_NAMEUse, whose members are the numbers
 * (`static constexpr int`), the holes and `args`. So the kernels of one program share the template's text. A hole
 * has the name that the lowering gave it with _v or _s behind it, as in C; one that gives an address, or that only
 * fetches, has the bare name. */
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
    bool integer;          /* what it returns is an int64_t; otherwise an f32 or an i32 */
    bool address;          /* returns the address that `value` loads from */
    Dim ahead; /* only fetches what the nest loads and stores, as far as it depends on this; or NULL */
} Hole;

struct TemplateUse {
    const char *file[8];   /* the template, of as many files */
    const char *common[8]; /* C: a part before it that calls holes by their addresses: Kernel.common_bytes */
    const char *defines;   /* its numbers: #define lines before it; CUDA: members of the kernel's struct */
    SN_VEC(Hole) hole;
    bool maths;         /* calls vector_math.h */
    const char *needs;  /* of Kernel */
    bool masks;         /* has sn_mask_tile, and sn_mask_end where that is causal and unmasked: */
    Dim causal;         /* column j counts for row i when j <= i + causal; NULL: no such bound */
    bool unmasked;      /* nothing else masks */
    const char *driver; /* the statement of the entry that runs it, over n0, n1 … */
    Axes number;        /* what n0, n1 … are */
    Axes size;          /* what context->symbols[0], [1] … are, also where it is known: sn_template_size */
    Dim items, after, together; /* of Kernel; the last two may be NULL */
    int threads, blocks;        /* CUDA: of a block, and how many of these a processor should hold at least */
    Dim shared;                 /* CUDA: of Kernel; NULL: none */
};

/* The C prelude: vector width and vectors; then, where nothing is in common with other kernels directly behind these, index
 * arithmetic and what else the instructions (`maths`: or the template) call. */
void sn_emit_vectors_c(const KernelIr *kernel, Text *out);
void sn_emit_functions_c(const KernelIr *kernel, bool maths, Text *out);

/* Adds template, holes and entry to the text that holds the prelude (C: of it the vectors), and ends the kernel. On CUDA
 * emit->dialect is the caller's, and the holes' text is added before the rest of the kernel is known; `args` writes the struct of
 * its arguments. */
Status sn_emit_template(Emit *emit, Text *text, Kernel *out);
Status sn_emit_template_cuda(Emit *emit, Text *text, void (*args)(const Emit *emit, Text *out), Kernel *out);

#endif
