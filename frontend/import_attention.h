/* What importers of attention and of rotary embeddings share. Private to import_*.c. */
#ifndef SN_IMPORT_ATTENTION_H
#define SN_IMPORT_ATTENTION_H

#include "import.h"

/* [B, S, heads·D] -> [B, S, heads, D] */
Value *sn_attention_split(Call *c, Value *x, int64_t heads);

/* [B, heads, S, D] of that, or of [B, S, heads·D]; what has four axes already stays. */
Value *sn_attention_heads(Call *c, Value *x, int64_t heads);

/* [B, H, S, E] -> [B, S, H·E] */
Value *sn_attention_join(Call *c, Value *y);

/* past [B, G, P, D] with what is new behind it; `past` may be NULL. */
Value *sn_attention_extend(Call *c, Value *past, Value *now);

/* Keys of each query head: [B, G, T, D] -> [B, heads, T, D]. */
Value *sn_attention_spread(Call *c, Value *k, Dim heads);

/* com.microsoft's Attention, of q, k and v side by side [B, S, widths], its mask, past and what is added to the scores, each
 * of the last three or NULL. */
Value *sn_attention_packed(Call *c, Value *product, Value *mask, Value *past, Value *bias);

/* 1/√D, the factor of the scores where none is given; where D is not known, q is multiplied and the factor is 1. */
double sn_attention_scale(Call *c, Value **q);

#endif
