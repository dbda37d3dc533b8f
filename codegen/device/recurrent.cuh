/* Recurrent networks over run-time steps, out[T + 1, B, P·H]: ir/recurrent.h says what of what. After prelude.cuh.
 *
 * Use, the kernel's struct, has the type Real, the numbers KIND (0 simple, 1 gated, 2 long_short), UNITS (H), REVERSE, LATE,
 * GATE, CANDIDATE and OUTPUT (0 sigmoid, 1 tanh, 2 relu), BIAS, PEEP and LENGTH (whether there is such an operand), and the
 * holes
 *   Real x_s(int64_t t, int64_t b, int64_t c)
 *   Real weight_s(int64_t k, int64_t c), Real state_s(int64_t b, int64_t c)
 *   Real bias_s(int64_t c), Real peep_s(int64_t c), int64_t length_s(int64_t b)
 * A block has a sequence; each of its threads has units, whose gates it computes. Shared memory has reset·h. */
#ifndef SN_DEVICE_RECURRENT_CUH
#define SN_DEVICE_RECURRENT_CUH

enum { SN_RECURRENT_THREADS = 256 };

SN_DEVICE float sn_recurrent_sigmoid(float x) {
    return sn_sigmoid_f32_s(x);
}
SN_DEVICE double sn_recurrent_sigmoid(double x) {
    return sn_sigmoid_f64_s(x);
}
SN_DEVICE float sn_recurrent_tanh(float x) {
    return sn_tanh_f32_s(x);
}
SN_DEVICE double sn_recurrent_tanh(double x) {
    return sn_tanh_f64_s(x);
}

template <int FUNCTION, class Real>
SN_DEVICE Real sn_recurrent_apply(Real x) {
    if constexpr (FUNCTION == 0) return sn_recurrent_sigmoid(x);
    if constexpr (FUNCTION == 1) return sn_recurrent_tanh(x);
    return x < 0 ? Real(0) : x;
}

/* Column c of the product of h and the weights, with its bias. */
template <class Use>
SN_DEVICE typename Use::Real sn_recurrent_product(const Use &use, const typename Use::Real *h, int c) {
    typename Use::Real sum = 0;
    if constexpr (Use::BIAS) sum = use.bias_s(c);
#pragma unroll 4
    for (int k = 0; k < Use::UNITS; k++) sum += h[k] * use.weight_s(k, c);
    return sum;
}

template <class Use>
SN_DEVICE void sn_recurrent_simple(const Use &use, const typename Use::Real *from, typename Use::Real *to, int64_t t,
                                   int64_t b) {
    for (int j = threadIdx.x; j < Use::UNITS; j += SN_RECURRENT_THREADS)
        to[j] = sn_recurrent_apply<Use::CANDIDATE>(sn_recurrent_product(use, from, j) + use.x_s(t, b, j));
}

template <class Use>
SN_DEVICE void sn_recurrent_gated(const Use &use, const typename Use::Real *from, typename Use::Real *to, int64_t t,
                                  int64_t b) {
    typedef typename Use::Real Real;
    Real *turned = (Real *)sn_shared_memory();
    const int H = Use::UNITS;
    for (int j = threadIdx.x; j < H; j += SN_RECURRENT_THREADS) {
        const Real reset =
            sn_recurrent_apply<Use::GATE>(sn_recurrent_product(use, from, H + j) + use.x_s(t, b, H + j));
        turned[j] = Use::LATE ? reset * sn_recurrent_product(use, from, 2 * H + j) : reset * from[j];
    }
    __syncthreads();
    for (int j = threadIdx.x; j < H; j += SN_RECURRENT_THREADS) {
        const Real update = sn_recurrent_apply<Use::GATE>(sn_recurrent_product(use, from, j) + use.x_s(t, b, j));
        const Real late = Use::LATE ? turned[j] : sn_recurrent_product(use, turned, 2 * H + j);
        const Real candidate = sn_recurrent_apply<Use::CANDIDATE>(late + use.x_s(t, b, 2 * H + j));
        to[j] = candidate + update * (from[j] - candidate);
    }
}

/* Gate k of unit j, with what the cell `s` weighs in it. */
template <class Use>
SN_DEVICE typename Use::Real sn_recurrent_gate(const Use &use, const typename Use::Real *from, int64_t t, int64_t b,
                                               int k, int j, typename Use::Real s) {
    typename Use::Real sum = sn_recurrent_product(use, from, k * Use::UNITS + j) + use.x_s(t, b, k * Use::UNITS + j);
    if constexpr (Use::PEEP) sum += use.peep_s(k * Use::UNITS + j) * s;
    return sn_recurrent_apply<Use::GATE>(sum);
}

template <class Use>
SN_DEVICE void sn_recurrent_long_short(const Use &use, const typename Use::Real *from, typename Use::Real *to, int64_t t,
                                       int64_t b) {
    typedef typename Use::Real Real;
    const int H = Use::UNITS;
    for (int j = threadIdx.x; j < H; j += SN_RECURRENT_THREADS) {
        const Real before = from[H + j];
        const Real input = sn_recurrent_gate(use, from, t, b, 0, j, before);
        const Real forget = sn_recurrent_gate(use, from, t, b, 2, j, before);
        const Real candidate = sn_recurrent_apply<Use::CANDIDATE>(sn_recurrent_product(use, from, 3 * H + j) +
                                                                  use.x_s(t, b, 3 * H + j));
        const Real after = forget * before + input * candidate;
        to[H + j] = after;
        to[j] = sn_recurrent_gate(use, from, t, b, 1, j, after) * sn_recurrent_apply<Use::OUTPUT>(after);
    }
}

template <class Use>
SN_DEVICE void sn_recurrent_step(const Use &use, const typename Use::Real *from, typename Use::Real *to, int64_t t,
                                 int64_t b, int width) {
    if constexpr (Use::LENGTH) {
        if (t >= use.length_s(b)) {
            for (int c = threadIdx.x; c < width; c += SN_RECURRENT_THREADS) to[c] = from[c];
            return;
        }
    }
    if constexpr (Use::KIND == 0)
        sn_recurrent_simple(use, from, to, t, b);
    else if constexpr (Use::KIND == 1)
        sn_recurrent_gated(use, from, to, t, b);
    else
        sn_recurrent_long_short(use, from, to, t, b);
}

template <class Use>
SN_DEVICE void sn_recurrent_run(const Use &use, typename Use::Real *out, int64_t steps, int64_t batch, int64_t b) {
    const int width = Use::KIND == 2 ? 2 * Use::UNITS : Use::UNITS;
    const int64_t row = batch * width;
    out += b * width;
    typename Use::Real *first = Use::REVERSE ? out + steps * row : out;
    for (int c = threadIdx.x; c < width; c += SN_RECURRENT_THREADS) first[c] = use.state_s(b, c);
    for (int64_t i = 0; i < steps; i++) {
        const int64_t t = Use::REVERSE ? steps - 1 - i : i;
        __syncthreads();
        sn_recurrent_step(use, out + (Use::REVERSE ? t + 1 : t) * row, out + (Use::REVERSE ? t : t + 1) * row, t, b,
                          width);
    }
}

#endif
