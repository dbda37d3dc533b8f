/* A list sifted in its order: out[i] is 1 where no element before i that stays hits it. After tile.h.
 *
 * Contract for the code generator: the holes
 *   int64_t sn_sift_at_s(context, int64_t j, int64_t i)   not 0 where element j hits element i; asked for j < i only
 *   int64_t sn_sift_end_s(context, int64_t j)             the first element that j is not asked about
 * What an element decides the next ones wait for, so one work item does it all. Rows of elements that do not stay are
 * never computed. */
#ifndef SN_DEVICE_SIFT_H
#define SN_DEVICE_SIFT_H

SN_INLINE int64_t sn_sift_at_s(const SnContext *context, int64_t j, int64_t i);
SN_INLINE int64_t sn_sift_end_s(const SnContext *context, int64_t j);

static void sn_sift_run(const SnContext *context, uint8_t *out, int64_t count) {
    for (int64_t i = 0; i < count; i++) out[i] = 1;
    for (int64_t j = 0; j < count; j++) {
        if (!out[j]) continue;
        const int64_t own = sn_sift_end_s(context, j), end = own < count ? own : count;
        for (int64_t i = j + 1; i < end; i++)
            if (out[i] && sn_sift_at_s(context, j, i)) out[i] = 0;
    }
}

#endif
