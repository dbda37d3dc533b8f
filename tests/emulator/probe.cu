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

EMU_KERNEL(probe_votes)
EMU_KERNEL(probe_shared)
EMU_KERNEL(probe_leaves)
