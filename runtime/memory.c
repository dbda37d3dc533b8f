#include "memory.h"
#include "number.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

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

/* What takes over another's memory prolongs its life: `joined` is a copy of the lives in which the first of such a chain
 * has the end of the last, and order[] those that nobody takes over from. Returns how many these are. */
static int join(const Life *life, int count, Life *joined, Life **order) {
    int kept = 0;
    memcpy(joined, life, (size_t)count * sizeof *joined);
    for (int i = 0; i < count; i++) {
        if (!life[i].over) {
            order[kept++] = &joined[i];
            continue;
        }
        const Life *first = life[i].over;
        while (first->over) first = first->over;
        Life *root = &joined[first - life];
        if (life[i].last > root->last) root->last = life[i].last;
    }
    return kept;
}

static Status place(Life **order, int count, Life **placed, int64_t *total) {
    int placed_count = 0;
    qsort(order, (size_t)count, sizeof *order, by_size);
    for (int i = 0; i < count; i++) {
        Life *next = order[i];
        int64_t size, end;
        next->offset = 0;
        if (next->bytes == 0) continue;
        bool fits = rounded(next->bytes, &size);
        if (fits) {
            next->offset = find_gap(placed, placed_count, next, size);
            fits = sn_add_i64(next->offset, size, &end);
        }
        if (!fits) return sn_fail(SN_NO_MEMORY, "the buffers of the plan exceed every address space");
        if (end > *total) *total = end;
        insert(placed, placed_count++, next);
    }
    return NULL;
}

Status sn_memory_pack(Life *life, int count, int64_t *total) {
    *total = 0;
    if (count == 0) return NULL;
    Life **order = calloc(2 * (size_t)count, sizeof *order), *joined = calloc((size_t)count, sizeof *joined);
    if (!order || !joined) {
        free(order);
        free(joined);
        return sn_fail(SN_NO_MEMORY, "out of memory for %d buffers", count);
    }
    Status status = place(order, join(life, count, joined, order), order + count, total);
    for (int i = 0; i < count; i++) {
        const Life *first = &life[i];
        while (first->over) first = first->over;
        life[i].offset = joined[first - life].offset;
    }
    free(order);
    free(joined);
    return status;
}
