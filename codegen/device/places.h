/* The places where a running count grows: out[n] = the first i with at(i) = n + 1. After tile.h.
 *
 * Contract for the code generator: the hole
 *   int64_t sn_places_at_s(context, int64_t i)   the count up to and with i, which grows in steps of 0 and 1 from 0
 * Each place writes its own element, so work items have nothing to do with one another. */
#ifndef SN_DEVICE_PLACES_H
#define SN_DEVICE_PLACES_H

enum { SN_PLACES_CHUNK = 16384 }; /* of the list, a work item */

SN_INLINE int64_t sn_places_at_s(const SnContext *context, int64_t i);

static void sn_places_run(const SnContext *context, int64_t *out, int64_t count, int64_t rows, int64_t begin,
                          int64_t end) {
    const int64_t first = begin * SN_PLACES_CHUNK;
    const int64_t last = end * SN_PLACES_CHUNK < count ? end * SN_PLACES_CHUNK : count;
    int64_t before = first > 0 ? sn_places_at_s(context, first - 1) : 0;
    for (int64_t i = first; i < last; i++) {
        const int64_t now = sn_places_at_s(context, i);
        if (now != before && now > 0 && now <= rows) out[now - 1] = i;
        before = now;
    }
}

#endif
