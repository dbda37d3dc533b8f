/* Rows added up by target: out[r] = Σ of the rows i with at(i) = r, in the order of i. After prelude.cuh.
 *
 * Use, the kernel's struct, has the holes
 *   int64_t at_s(int64_t i)              the target of row i, checked: 0 <= target < rows
 *   float x_s(int64_t i, int64_t c)
 * A block of SN_SCATTER_THREADS owns `chunk` rows of the result. It looks at that many targets at a time, lists those
 * that are its own in their order, and adds them: every element has one thread, which adds in the order of i, so
 * no atomics are needed and the sum is always the same. */
#ifndef SN_DEVICE_SCATTER_CUH
#define SN_DEVICE_SCATTER_CUH

enum { SN_SCATTER_THREADS = 256, SN_SCATTER_WARPS = SN_SCATTER_THREADS / 32 };

typedef struct SnScatterList {
    int64_t row[SN_SCATTER_THREADS];     /* i of each match */
    int64_t element[SN_SCATTER_THREADS]; /* where its target's row begins in the block's part of the result */
    int count[SN_SCATTER_WARPS];         /* matches of each warp */
} SnScatterList;

/* Lists the matches among the rows i0 …, one a thread; gives how many there are. */
template <class Use>
SN_DEVICE int sn_scatter_list(const Use &use, SnScatterList *list, int64_t i0, int64_t count, int64_t columns,
                              int64_t first, int64_t last) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t i = i0 + threadIdx.x, target = i < count ? use.at_s(i) : -1;
    const bool own = target >= first && target < last;
    const unsigned matches = __ballot_sync(0xffffffffu, own);
    if (lane == 0) list->count[warp] = __popc(matches);
    __syncthreads();
    int before = __popc(matches & ((1u << lane) - 1)), total = 0;
    for (int w = 0; w < SN_SCATTER_WARPS; w++) {
        before += w < warp ? list->count[w] : 0;
        total += list->count[w];
    }
    if (own) {
        list->row[before] = i;
        list->element[before] = (target - first) * columns;
    }
    __syncthreads();
    return total;
}

template <class Use>
SN_DEVICE void sn_scatter_run(const Use &use, float *out, int64_t count, int64_t rows, int64_t columns,
                              int64_t chunk, int64_t block) {
    SnScatterList *list = (SnScatterList *)sn_shared_memory();
    const int64_t first = block * chunk, last = first + chunk < rows ? first + chunk : rows;
    float *mine = out + first * columns;
    /* Thread t has the elements t, t + 256 … of the block's part. */
    for (int64_t e = threadIdx.x; e < (last - first) * columns; e += SN_SCATTER_THREADS) mine[e] = 0;
    for (int64_t i0 = 0; i0 < count; i0 += SN_SCATTER_THREADS) {
        const int matches = sn_scatter_list(use, list, i0, count, columns, first, last);
        for (int k = 0; k < matches; k++) {
            const int64_t element = list->element[k], i = list->row[k];
            int64_t c = (threadIdx.x - element) & (SN_SCATTER_THREADS - 1);
            for (; c < columns; c += SN_SCATTER_THREADS) mine[element + c] += use.x_s(i, c);
        }
        __syncthreads();
    }
}

#endif
