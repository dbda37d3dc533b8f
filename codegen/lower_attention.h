/* What the lowerings of attention to the CPU's and to the GPU's templates share (attention_holes.c), and those lowerings. */
#ifndef SN_LOWER_ATTENTION_H
#define SN_LOWER_ATTENTION_H

#include "lower_template.h"

typedef struct Attention {
    Lower lower;
    TemplateUse *use;
    const Node *node;
    const AttrAttention *attr;
    const Value *bias;  /* NULL: none */
    bool adds;          /* the bias is added; otherwise it masks */
    double cap;         /* 0: none */
    const Value *state; /* of what is dropped; NULL: nothing is */
    Type q, k, v;       /* (batch, head, row, d) */
    int64_t D, DV;
    Dim extent[4]; /* of the scores */
} Attention;

/* An operand of attention and its holes' names. */
typedef struct AttentionOperand {
    int input;
    const char *read, *address, *head, *row;
} AttentionOperand;

/* The hole `name` of attention's four arguments; `lane` is the last of them. */
HoleSpec sn_attention_spec(const char *name, const char *head, const char *row, const char *column,
                           const Dim *extent, bool aligned);

/* The arguments stand for the axes as they are. */
void sn_attention_stand(void *user, const HoleAxes *axes, Dim *to);

/* The hole that reads the operand's elements. */
void sn_attention_read(Attention *attention, const AttentionOperand *operand);

typedef enum AttentionAddress {
    SN_ADDRESS_NONE,   /* no hole */
    SN_ADDRESS_PLAIN,  /* a hole that gives addresses */
    SN_ADDRESS_AFFINE, /* besides they are affine in all arguments, and lie one behind the other along d */
    SN_ADDRESS_PIECES, /* and all rows begin at a multiple of 16 bytes, as buffers do */
} AttentionAddress;

/* The hole that gives the addresses of the operand's elements, if it has as much as `least`. Returns what it has. */
AttentionAddress sn_attention_address(Attention *attention, const AttentionOperand *operand,
                                      AttentionAddress least);

/* The hole of the scores, which adds the bias, or masks; with `causal` after the causal mask too. */
void sn_attention_score(Attention *attention, const char *name, bool causal);

/* The initialisers of `scale` and `cap` of the CPU's SnAttention. */
const char *sn_attention_factors(const Attention *attention);

/* The hole sn_keep: what a weight is multiplied by, 0 where it is dropped. */
void sn_attention_keep(Attention *attention);

/* How the CPU's templates mask scores: SN_ATTENTION_SCORE of attention.h. */
int sn_attention_score_kind(const Attention *attention);

/* The hole `spec` that stores output `output` of the anchor, of rank 4 and as it is, if the cluster stores it. Returns
 * whether it does. */
bool sn_attention_store(Attention *attention, int output, const HoleSpec *spec);

/* The same for attention's statistic. */
bool sn_attention_statistic(Attention *attention, const char *name);

/* The holes `name` that store what the cluster has of the gradients of queries, keys and values: *stores is
 * SN_BACKWARD_STORES of attention_backward.h. */
Status sn_attention_slopes(Attention *attention, const char *const name[3], int *stores);

/* What a GPU's operands are and how they are multiplied: SnAttentionKind of attention.cuh. */
typedef enum AttentionKind {
    SN_ATTENTION_F32,
    SN_ATTENTION_TF32,
    SN_ATTENTION_BF16,
    SN_ATTENTION_F16
} AttentionKind;

AttentionKind sn_attention_kind(const Attention *attention);

/* The score hole of a GPU's templates: SCORE of attention.cuh. */
int sn_attention_hole_kind(const Attention *attention);

/* The lowerings of attention_backward to codegen/device/attention_backward.h and .cuh. */
Status sn_lower_attention_backward(Attention *attention);
Status sn_lower_attention_backward_cuda(Attention *attention);

/* The lowerings of attention to codegen/device/attention.h and .cuh. */
Status sn_lower_attention_cpu(Attention *attention);
Status sn_lower_attention_cuda(Attention *attention);

#endif
