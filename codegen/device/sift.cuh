/* A list sifted in its order: out[i] is 1 where no element before i that stays hits it. After prelude.cuh.
 *
 * Use, the kernel's struct, has the holes
 *   int64_t at_s(int64_t j, int64_t i)   not 0 where element j hits element i; asked for j < i only
 *   int64_t end_s(int64_t j)             the first element that j is not asked about
 * What an element decides the next ones wait for, so there is one block, whose threads share the elements behind it. */
#ifndef SN_DEVICE_SIFT_CUH
#define SN_DEVICE_SIFT_CUH

enum { SN_SIFT_THREADS = 256 };

template <class Use> SN_DEVICE void sn_sift_run(const Use &use, uint8_t *out, int64_t count) {
    for (int64_t i = threadIdx.x; i < count; i += SN_SIFT_THREADS) out[i] = 1;
    for (int64_t j = 0; j < count; j++) {
        __syncthreads();
        const bool stays = out[j] != 0;
        if (!stays) continue;
        const int64_t own = use.end_s(j), end = own < count ? own : count;
        #pragma unroll 1 /* pairs at once would cost registers, and mostly end at their first test */
        for (int64_t i = j + 1 + threadIdx.x; i < end; i += SN_SIFT_THREADS)
            if (out[i] && use.at_s(j, i)) out[i] = 0;
    }
}

#endif
