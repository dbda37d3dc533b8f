/* The work items of attention, of both rounds: after attention_few.h and attention_many.h. */
#ifndef SN_DEVICE_ATTENTION_RUN_H
#define SN_DEVICE_ATTENTION_RUN_H

/* Adds what `count` keys from j on give; `last`: no others do, and the rows are finished. */
SN_OUTLINE void sn_attention_step(SnAttentionItem *t, int64_t j, int64_t count, int state, int last) {
    sn_attention_pack_keys(t, j, count);
    sn_attention_pack_values(t, j, count);
    for (int64_t u = 0; u < t->heights; u++) {
        SnAttentionSpan span = sn_attention_score(t, u, j, count, state);
        if (span.from >= 0) sn_attention_add(t, u, j, count, &span);
        if (last) sn_attention_end(t, u);
    }
}

SN_OUTLINE void sn_attention_many(const SnContext *context, const SnAttention *p, int64_t begin,
                                  int64_t end) {
    SnAttentionItem t;
    t.context = context, t.cap = p->cap, t.columns = p->columns;
    t.unit = 1;
    sn_attention_scale(&t, p->scale);
    /* Rows past those of a height are read by the tile; what comes of them is not used. */
    __builtin_memset(t.scores, 0, sizeof t.scores);
    __builtin_memset(t.front, 0, sizeof t.front);
#if SN_ATTENTION_MATRIX
    sn_matrix_begin();
#endif
    for (int64_t item = begin; item < end; item++) {
        t.rows = sn_attention_locate(p, item, &t.b, &t.h, &t.i0);
        t.g = t.h / (p->heads / p->kv_heads);
        t.heights = sn_attention_ceil(t.rows, SN_ATTENTION_HIGH);
        for (int64_t u = 0; u < t.heights; u++) t.started[u] = 0;
        for (int64_t r = 0; r < t.heights * SN_ATTENTION_SLOTS; r++)
            t.maximum[r] = -__builtin_inff(), t.sum[r] = 0;
        int ended = 0;
        for (int64_t j = 0; j < p->columns && !ended; j += SN_ATTENTION_BN) {
            int64_t count = p->columns - j < SN_ATTENTION_BN ? p->columns - j : SN_ATTENTION_BN;
            int state = sn_mask_tile(context, t.b, t.h, t.i0, t.i0 + t.rows, j, j + count);
            if (!state) continue;
            if (state == 1) count = sn_attention_seen(context, t.b, t.h, t.i0, t.rows, j, count);
            int last = sn_attention_look_ahead(&t, p, j, item + 1);
            if (count) sn_attention_step(&t, j, count, state, last);
            ended = count && last;
        }
        for (int64_t u = 0; u < t.heights && !ended; u++) sn_attention_end(&t, u);
    }
#if SN_ATTENTION_MATRIX
    sn_matrix_end();
#endif
}

SN_INLINE void sn_attention_run(const SnContext *context, const SnAttention *p, int64_t begin, int64_t end) {
    int64_t first = sn_attention_items(p), last = end < first ? end : first;
    if (begin < last && p->rows > SN_ATTENTION_FEW) sn_attention_many(context, p, begin, last);
    if (begin < last && p->rows <= SN_ATTENTION_FEW) sn_attention_few(context, p, begin, last);
    for (int64_t item = begin > first ? begin : first; item < end; item++)
        sn_attention_merge(context, p, item - first);
}

#endif
