/* The work items of attention, of both rounds: after attention_few.h and attention_many.h. */
#ifndef SN_DEVICE_ATTENTION_RUN_H
#define SN_DEVICE_ATTENTION_RUN_H

SN_INLINE void sn_attention_run(const SnContext *context, const SnAttention *p, int64_t begin, int64_t end) {
    int64_t first = sn_attention_items(p), last = end < first ? end : first;
    if (begin < last && p->rows > SN_ATTENTION_FEW) sn_attention_many(context, p, begin, last);
    if (begin < last && p->rows <= SN_ATTENTION_FEW) sn_attention_few(context, p, begin, last);
    for (int64_t item = begin > first ? begin : first; item < end; item++)
        sn_attention_merge(context, p, item - first);
}

#endif
