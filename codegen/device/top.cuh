/* The places of the elements of each row that come first in order: out[r, 0 … columns). After prelude.cuh.
 *
 * Use, the kernel's struct, has the type Key that elements are compared in, LARGEST, true where the order goes down, and
 * the hole
 *   Key at_s(int64_t r, int64_t i)
 * Equal elements stand in the order of their places, and NaN is greater than all else. A thread has one element: its
 * place in the result is the number of those that come before it. */
#ifndef SN_DEVICE_TOP_CUH
#define SN_DEVICE_TOP_CUH

enum { SN_TOP_THREADS = 256 };

/* Whether element i, which is a, comes before element j, which is b. */
template <class Use>
SN_DEVICE bool sn_top_before(typename Use::Key a, int64_t i, typename Use::Key b, int64_t j) {
    if (a < b) return !Use::LARGEST;
    if (a > b) return Use::LARGEST;
    const bool odd_a = a != a, odd_b = b != b;
    if (odd_a != odd_b) return Use::LARGEST ? odd_a : odd_b;
    return i < j;
}

template <class Use>
SN_DEVICE void sn_top_run(const Use &use, int64_t *out, int64_t count, int64_t columns, int64_t block) {
    const int64_t blocks = (count + SN_TOP_THREADS - 1) / SN_TOP_THREADS, r = block / blocks;
    const int64_t i = block % blocks * SN_TOP_THREADS + threadIdx.x;
    if (i >= count) return;
    const typename Use::Key own = use.at_s(r, i);
    int64_t before = 0;
    for (int64_t j = 0; j < count && before < columns; j++)
        before += sn_top_before<Use>(use.at_s(r, j), j, own, i);
    if (before < columns) out[r * columns + before] = i;
}

#endif
