#include "memory.h"
#include "number.h"
#include <stdbool.h>
#include <stdlib.h>

static bool rounded(int64_t bytes, int64_t *out) {
    if (!sn_add_i64(bytes, SN_ALIGNMENT - 1, out)) return false;
    *out &= ~(int64_t)(SN_ALIGNMENT - 1);
    return true;
}

/* Position in the caller's array breaks ties, so that sorting is the same everywhere. */
static int by_size(const void *a, const void *b) {
    const Life *x = *(Life *const *)a, *y = *(Life *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static bool overlap(const Life *a, const Life *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* Finds the smallest gap of at least `size` bytes between the placed lives (in order of offset) that overlap
 * `life`; behind all of them if there is none. */
static int64_t find_gap(Life *const *placed, int count, const Life *life, int64_t size) {
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (int i = 0; i < count; i++) {
        if (!overlap(placed[i], life)) continue;
        int64_t gap = placed[i]->offset - end;
        if (gap >= size && gap < best_size) {
            best = end;
            best_size = gap;
        }
        int64_t over =
            placed[i]->offset + ((placed[i]->bytes + SN_ALIGNMENT - 1) & ~(int64_t)(SN_ALIGNMENT - 1));
        if (over > end) end = over;
    }
    return best >= 0 ? best : end;
}

/* `placed` stays sorted by offset. */
static void insert(Life **placed, int count, Life *life) {
    int at = count;
    while (at > 0 && placed[at - 1]->offset > life->offset) {
        placed[at] = placed[at - 1];
        at--;
    }
    placed[at] = life;
}

Status sn_memory_pack(Life *life, int count, int64_t *total) {
    *total = 0;
    if (count == 0) return NULL;
    Life **order = calloc(2 * (size_t)count, sizeof *order);
    if (!order) return sn_fail(SN_NO_MEMORY, "out of memory for %d buffers", count);
    Life **placed = order + count;
    for (int i = 0; i < count; i++) order[i] = &life[i];
    qsort(order, (size_t)count, sizeof *order, by_size);
    bool fits = true;
    int placed_count = 0;
    for (int i = 0; i < count && fits; i++) {
        Life *next = order[i];
        int64_t size, end;
        next->offset = 0;
        if (next->bytes == 0) break; /* the rest is empty too */
        fits = rounded(next->bytes, &size);
        if (!fits) break;
        next->offset = find_gap(placed, placed_count, next, size);
        fits = sn_add_i64(next->offset, size, &end);
        if (fits && end > *total) *total = end;
        insert(placed, placed_count++, next);
    }
    for (int i = placed_count; i < count; i++) order[i]->offset = 0;
    free(order);
    return fits ? NULL : sn_fail(SN_NO_MEMORY, "the buffers of the plan exceed every address space");
}

int64_t sn_memory_bound(const Life *life, int count) {
    int64_t most = 0;
    /* The need is greatest at the beginning of some life. */
    for (int i = 0; i < count; i++) {
        int64_t sum = 0, size;
        for (int j = 0; j < count; j++) {
            bool alive = life[j].first <= life[i].first && life[i].first <= life[j].last;
            if (alive && (!rounded(life[j].bytes, &size) || !sn_add_i64(sum, size, &sum))) return INT64_MAX;
        }
        if (sum > most) most = sum;
    }
    return most;
}
