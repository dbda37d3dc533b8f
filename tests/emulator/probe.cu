/* Kernels by hand, which try the emulator itself. */

struct probe_votesArgs {
    unsigned *out; /* 5 words a thread, of one block of 40 threads: a whole warp and a part of one */
};
extern "C" __global__ void probe_votes(const __grid_constant__ probe_votesArgs args) {
    const unsigned thread = threadIdx.x;
    unsigned *out = args.out + 5 * thread;
    out[0] = __ballot_sync(0xffffffffu, thread % 3 == 0);
    out[1] = __shfl_down_sync(0xffffffffu, thread, thread < 32 ? 1 : 0);
    out[2] = __shfl_up_sync(0xffffffffu, thread, 1);
    out[3] = (unsigned)__shfl_sync(0xffffffffu, (unsigned long long)thread << 32, 7) +
             __any_sync(0xffffffffu, thread == 39) * 2 + __all_sync(0xffffffffu, thread < 32);
    __syncwarp();
    out[4] = blockDim.x + gridDim.x;
}

struct probe_sharedArgs {
    int *out; /* `count` of them turned round within a block, then the number of threads that took part */
    long long count;
};
extern "C" __global__ void probe_shared(const __grid_constant__ probe_sharedArgs args) {
    int *const kept = (int *)emu_dynamic_shared();
    const int at = (int)threadIdx.x, last = (int)args.count - 1;
    kept[at] = args.out[at];
    __syncthreads();
    args.out[at] = kept[last - at];
    atomicAdd(args.out + args.count, 1);
    atomicMax(args.out + args.count + 1, at);
    atomicMin(args.out + args.count + 2, -at);
}

struct probe_leavesArgs {
    int *out;
};
extern "C" __global__ void probe_leaves(const __grid_constant__ probe_leavesArgs args) {
    if (threadIdx.x == 5) return;
    args.out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, (int)threadIdx.x, 1);
}

#include "prelude.cuh"
#include "tensor.cuh"

/* One warp: out (16, 8) += A (16, 16 or 8) · B. A is row-major, B (16, 8) row-major or, as TF32, (8, 8) column-major.
 * `plan` is 0 for the right way, or says what is wrong with it. */
enum { PROBE_RIGHT, PROBE_NO_WAIT, PROBE_LATE_WAIT, PROBE_NO_BARRIER, PROBE_MISALIGNED, PROBE_NOT_SHARED };
struct probe_tensorArgs {
    const void *a, *b;
    float *out;
    long long plan;
};

SN_DEVICE void probe_store(float *out, const float *d) {
    const int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
}

/* 16-bit operands through shared memory: rows of A are 24 elements apart there, and those of B. */
SN_DEVICE void probe_stage(uint16_t *to, const uint16_t *from, int width, int plan) {
    const int lane = (int)threadIdx.x, pieces = width / 8;
    for (int i = lane; i < 16 * pieces; i += 32)
        sn_copy_async16(to + i / pieces * 24 + i % pieces * 8, from + i * 8 + (plan == PROBE_MISALIGNED), 16);
    sn_copy_commit();
}

template <bool F16> SN_DEVICE void probe_halves(const probe_tensorArgs &args) {
    __shared__ __align__(16) uint16_t kept[2][16 * 24];
    const int lane = (int)threadIdx.x, plan = (int)args.plan;
    uint32_t a[4], b[4];
    float d[4] = {0, 0, 0, 0};
    probe_stage(kept[0], (const uint16_t *)args.a, 16, plan);
    probe_stage(kept[1], (const uint16_t *)args.b, 8, plan);
    if (plan == PROBE_LATE_WAIT) sn_copy_wait(1);
    else if (plan != PROBE_NO_WAIT) sn_copy_wait(0);
    if (plan != PROBE_NO_BARRIER) __syncthreads();
    const uint16_t *rows = plan == PROBE_NOT_SHARED ? (const uint16_t *)args.a : kept[0];
    sn_ldmatrix4(a, rows + lane % 16 * 24 + lane / 16 * 8);
    sn_ldmatrix4_trans(b, kept[1] + lane % 16 * 24);
    F16 ? sn_mma_f16(d, a, b) : sn_mma_bf16(d, a, b);
    probe_store(args.out, d);
}
struct probe_bf16Args : probe_tensorArgs {};
struct probe_f16Args : probe_tensorArgs {};
extern "C" __global__ void probe_bf16(const __grid_constant__ probe_tensorArgs args) {
    probe_halves<false>(args);
}
extern "C" __global__ void probe_f16(const __grid_constant__ probe_tensorArgs args) {
    probe_halves<true>(args);
}

/* With a plan, what is not rounded is cut off. */
struct probe_tf32Args : probe_tensorArgs {};
extern "C" __global__ void probe_tf32(const __grid_constant__ probe_tensorArgs args) {
    const int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    const float *x = (const float *)args.a, *y = (const float *)args.b;
    float d[4] = {0, 0, 0, 0};
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) {
        const float element = x[(g + i % 2 * 8) * 8 + t + i / 2 * 4];
        a[i] = args.plan ? __float_as_uint(element) : sn_to_tf32(element);
    }
    for (int i = 0; i < 2; i++) b[i] = sn_to_tf32(y[g * 8 + t + i * 4]);
    sn_mma_tf32(d, a, b);
    probe_store(args.out, d);
}

struct probe_vectorsArgs {
    const float *in;
    float *out; /* 4 a thread */
    long long offset;
};
extern "C" __global__ void probe_vectors(const __grid_constant__ probe_vectorsArgs args) {
    const float4 x = *(const float4 *)(args.in + args.offset + 4 * threadIdx.x);
    *(float4 *)(args.out + 4 * threadIdx.x) = make_float4(x.w, x.z, x.y, x.x);
}

struct probe_lostArgs {
    int *out;
};
extern "C" __global__ void probe_lost(const __grid_constant__ probe_lostArgs args) {
    __shared__ int kept[32];
    if (threadIdx.x != 3) kept[threadIdx.x] = 1;
    __syncthreads();
    args.out[threadIdx.x] = kept[31 - threadIdx.x];
}

EMU_KERNEL(probe_bf16)
EMU_KERNEL(probe_f16)
EMU_KERNEL(probe_tf32)
EMU_KERNEL(probe_vectors)
EMU_KERNEL(probe_lost)
EMU_KERNEL(probe_votes)
EMU_KERNEL(probe_shared)
EMU_KERNEL(probe_leaves)
