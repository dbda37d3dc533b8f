/* Tensor cores, copies past the registers, and vectors of memory: PTX behind wrappers, each with a second
 * definition for emulation (an emulator provides the emu_… functions). After prelude.cuh.
 *
 * Fragments are those of the PTX ISA's mma.m16n8k16 (16-bit operands) and m16n8k8 (TF32), with g = lane / 4 and
 * t = lane % 4: a[] holds A's rows g and g + 8, b[] B's column g, and d[] D's elements (g, 2t), (g, 2t + 1),
 * (g + 8, 2t), (g + 8, 2t + 1). All lanes of a warp call them together. */
#ifndef SN_DEVICE_TENSOR_CUH
#define SN_DEVICE_TENSOR_CUH

#ifdef SN_EMULATE
#define sn_mma_bf16(d, a, b)             emu_mma_bf16(d, a, b, __LINE__)
#define sn_mma_f16(d, a, b)              emu_mma_f16(d, a, b, __LINE__)
#define sn_mma_tf32(d, a, b)             emu_mma_tf32(d, a, b, __LINE__)
#define sn_ldmatrix4(r, row)             emu_ldmatrix4(r, row, 0, __LINE__)
#define sn_ldmatrix4_trans(r, row)       emu_ldmatrix4(r, row, 1, __LINE__)
#define sn_copy_async16(to, from, bytes) emu_copy_async(to, from, bytes)
#define sn_copy_commit()                 emu_copy_commit()
#define sn_copy_wait(groups)             emu_copy_wait(groups)
SN_DEVICE uint32_t sn_to_tf32(float x) {
    return emu_to_tf32(x);
}
SN_DEVICE float sn_exp2_fast(float x) {
    return exp2f(x);
}
SN_DEVICE uint32_t sn_pack_bf16(float low, float high) {
    return sn_to_bf16_s(low) | (uint32_t)sn_to_bf16_s(high) << 16;
}
SN_DEVICE uint32_t sn_pack_f16(float low, float high) {
    return sn_to_f16_s(low) | (uint32_t)sn_to_f16_s(high) << 16;
}
#else
/* D += A·B. */
SN_DEVICE void sn_mma_bf16(float *d, const uint32_t *a, const uint32_t *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
SN_DEVICE void sn_mma_f16(float *d, const uint32_t *a, const uint32_t *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
SN_DEVICE void sn_mma_tf32(float *d, const uint32_t *a, const uint32_t *b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8×8 matrices of 16-bit elements: `row` is, in lane l, the address of row l % 8 of matrix l / 8 (16 bytes of
 * shared memory, aligned). r[i] is what the lane holds of matrix i: of row g the elements 2t and 2t + 1, or, with
 * _trans, of column g. */
SN_DEVICE void sn_ldmatrix4(uint32_t *r, const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row)));
}
SN_DEVICE void sn_ldmatrix4_trans(uint32_t *r, const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row)));
}

/* 16 bytes to shared memory without registers, of which `bytes` (0 to 16) come from `from` and the rest are zero;
 * both addresses are multiples of 16. With no bytes `from` is not read, wherever it points. They are there for the thread itself after the wait that leaves at most
 * `groups` of its later commits under way, and for others behind a barrier after that. */
SN_DEVICE void sn_copy_async16(void *to, const void *from, int bytes) {
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
        "l"(from), "r"(bytes)
        : "memory");
}
SN_DEVICE void sn_copy_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
#define sn_copy_wait(groups) asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory")

/* The bits of x rounded to TF32, to nearest, ties away. */
SN_DEVICE uint32_t sn_to_tf32(float x) {
    uint32_t r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}

/* 2^x in one instruction; the relative error is at most 2^-22, subnormal numbers are zero. */
SN_DEVICE float sn_exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Two numbers, each rounded to the nearest, as neighbours in memory. */
SN_DEVICE uint32_t sn_pack_bf16(float low, float high) {
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
SN_DEVICE uint32_t sn_pack_f16(float low, float high) {
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
#endif

#endif
