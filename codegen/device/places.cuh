/* The places where a running count grows: out[n] = the first i with at(i) = n + 1. After prelude.cuh.
 *
 * Use, the kernel's struct, has the hole
 *   int64_t at_s(int64_t i)   the count up to and with i, which grows in steps of 0 and 1 from 0
 * A thread has one element of the list; each place writes its own element of the result. */
#ifndef SN_DEVICE_PLACES_CUH
#define SN_DEVICE_PLACES_CUH

enum { SN_PLACES_THREADS = 256 };

template <class Use>
SN_DEVICE void sn_places_run(const Use &use, int64_t *out, int64_t count, int64_t rows, int64_t block) {
    const int64_t i = block * SN_PLACES_THREADS + threadIdx.x;
    if (i >= count) return;
    const int64_t now = use.at_s(i), before = i > 0 ? use.at_s(i - 1) : 0;
    if (now != before && now > 0 && now <= rows) out[now - 1] = i;
}

#endif
