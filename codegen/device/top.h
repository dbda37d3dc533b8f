/* The places of the elements of each row that come first in order: out[r, 0 … columns). After tile.h.
 *
 * Contract for the code generator: SN_TOP_KEY, the type that elements are compared in; SN_TOP_LARGEST, 1 where the order
 * goes down; and the hole
 *   SN_TOP_KEY sn_top_at_s(context, int64_t r, int64_t i)
 * Equal elements stand in the order of their places, and NaN is greater than all else, so the order is one of all
 * elements and the result does not depend on the method: a heap of the best ones so far, in the result itself, whose root
 * is the last of them in order. A work item has one row. */
#ifndef SN_DEVICE_TOP_H
#define SN_DEVICE_TOP_H

SN_INLINE SN_TOP_KEY sn_top_at_s(const SnContext *context, int64_t r, int64_t i);

/* Whether element i, which is a, comes before element j, which is b. */
SN_INLINE int sn_top_before(SN_TOP_KEY a, int64_t i, SN_TOP_KEY b, int64_t j) {
    if (a < b) return !SN_TOP_LARGEST;
    if (a > b) return SN_TOP_LARGEST;
    const int odd_a = a != a, odd_b = b != b;
    if (odd_a != odd_b) return SN_TOP_LARGEST ? odd_a : odd_b;
    return i < j;
}

/* Puts element i into the heap of `count`, whose root is free, where it belongs. */
SN_INLINE void sn_top_sink(const SnContext *context, int64_t r, int64_t *heap, int64_t count, int64_t hole,
                           int64_t i) {
    const SN_TOP_KEY key = sn_top_at_s(context, r, i);
    for (int64_t child; (child = 2 * hole + 1) < count; hole = child) {
        SN_TOP_KEY last = sn_top_at_s(context, r, heap[child]);
        if (child + 1 < count) {
            const SN_TOP_KEY other = sn_top_at_s(context, r, heap[child + 1]);
            if (sn_top_before(last, heap[child], other, heap[child + 1])) child++, last = other;
        }
        if (!sn_top_before(key, i, last, heap[child])) break;
        heap[hole] = heap[child];
    }
    heap[hole] = i;
}

static void sn_top_row(const SnContext *context, int64_t *heap, int64_t r, int64_t count, int64_t columns) {
    for (int64_t i = 0; i < columns; i++) heap[i] = i;
    for (int64_t i = columns / 2 - 1; i >= 0; i--) sn_top_sink(context, r, heap, columns, i, heap[i]);
    SN_TOP_KEY last = sn_top_at_s(context, r, heap[0]);
    for (int64_t i = columns; i < count; i++) {
        if (!sn_top_before(sn_top_at_s(context, r, i), i, last, heap[0])) continue;
        sn_top_sink(context, r, heap, columns, 0, i);
        last = sn_top_at_s(context, r, heap[0]);
    }
    for (int64_t left = columns - 1; left > 0; left--) {
        const int64_t moved = heap[left];
        heap[left] = heap[0];
        sn_top_sink(context, r, heap, left, 0, moved);
    }
}

static void sn_top_run(const SnContext *context, int64_t *out, int64_t count, int64_t columns, int64_t begin,
                       int64_t end) {
    if (columns <= 0) return;
    for (int64_t r = begin; r < end; r++) sn_top_row(context, out + r * columns, r, count, columns);
}

#endif
