/* Traffic with memory: stores past the caches, for results that are too large to be read back from there, and
 * reading ahead. After vector.h.
 *
 * sn_stream_T_v(pointer, value, past) stores a whole vector of storage type T, sn_stream_T_w two; `past` is 0 where a launch
 * stores past the caches and UINTPTR_MAX where it does not: one test a store instead of two loops. An address
 * that is not aligned is stored to as usual, so loops begin with sn_stream_head elements one by one. */
#ifndef SN_DEVICE_MEMORY_H
#define SN_DEVICE_MEMORY_H

#define SN_ALIGNMENT(bytes) ((uintptr_t)((bytes) < SN_VECTOR_BYTES ? (bytes) : SN_VECTOR_BYTES))
SN_INLINE void sn_stream_bytes(void *to, const void *from, int64_t bytes) {
#if defined(__SSE__)
    typedef float Part __attribute__((vector_size(16), may_alias));
    char *t = to;
    const char *f = from;
#if defined(__AVX512F__) && !defined(__clang__)
    typedef float Line __attribute__((vector_size(64), may_alias));
    for (; bytes >= 64; bytes -= 64, t += 64, f += 64) {
        Line x;
        __builtin_memcpy(&x, f, 64);
        __builtin_ia32_movntps512((float *)t, x);
    }
#endif
#if defined(__AVX__) && !defined(__clang__)
    typedef float Half __attribute__((vector_size(32), may_alias));
    for (; bytes >= 32; bytes -= 32, t += 32, f += 32) {
        Half x;
        __builtin_memcpy(&x, f, 32);
        __builtin_ia32_movntps256((float *)t, x);
    }
#endif
    for (; bytes >= 16; bytes -= 16, t += 16, f += 16) {
        Part x;
        __builtin_memcpy(&x, f, 16);
#if defined(__clang__)
        __builtin_nontemporal_store(x, (Part *)t);
#else
        __builtin_ia32_movntps((float *)t, x);
#endif
    }
#endif
    __builtin_memcpy(to, from, (size_t)bytes);
}
/* Elements from `p` on to the first one that can be stored past the caches in whole vectors; 0 where there is
 * none, or no need. */
SN_INLINE int64_t sn_stream_head(const void *p, int64_t size, uintptr_t past) {
    const int64_t before = (int64_t)(-(uintptr_t)p & (SN_ALIGNMENT(size * SN_LANES) - 1));
    return past || before % size ? 0 : before / size;
}
/* Makes what was stored past the caches seen by other threads in the order of the program. */
SN_INLINE void sn_stream_end(void) {
#if defined(__SSE__)
    __builtin_ia32_sfence();
#endif
}

/* How many rows ahead of the present one to read rows of that many bytes, of `count` tensors at once: so far
 * that memory has answered when they are wanted, which takes longer while stores go past the caches. Not at all (0)
 * rows that would push each other out of a cache that holds `most` bytes of a row. */
SN_INLINE int64_t sn_rows_ahead(int64_t bytes, int64_t count, int64_t most, uintptr_t past) {
    const int64_t ahead = past ? 6144 : 9216, each = past ? bytes : bytes * count;
    return bytes > most || bytes <= 0 ? 0 : (ahead + each - 1) / each;
}
/* `ahead`, in bytes, may lead out of the tensor: reading ahead never traps. SN_AHEAD is for rows that come next, SN_BRING for what
 * lies elsewhere. Where the text says SN_FETCHES, the first cache has too few places for lines that are awaited, beside those that
 * are stored past it: the latter goes into the second-level cache, and so do streams, by SN_FETCH. */
#define SN_AT(p, bytes)    ((const void *)((uintptr_t)(p) + (uintptr_t)(bytes)))
#define SN_AHEAD(p, ahead) __builtin_prefetch(SN_AT(p, ahead))
#define SN_FETCH(p, far)   __builtin_prefetch(SN_AT(p, far), 0, 2)
#ifdef SN_FETCHES
#define SN_BRING(p, ahead) __builtin_prefetch(SN_AT(p, ahead), 0, 2)
#else
#define SN_BRING(p, ahead) SN_AHEAD(p, ahead)
#endif

#define SN_STREAM(NAME, SV, CV, NARROW)                                                                      \
    SN_INLINE void sn_stream_##NAME##_v(void *p, CV value, uintptr_t past) {                                 \
        SV x = NARROW##_v(value);                                                                            \
        if (__builtin_expect(((uintptr_t)p & (past | (SN_ALIGNMENT(sizeof x) - 1))) == 0, 1))                \
            sn_stream_bytes(p, &x, sizeof x);                                                                \
        else                                                                                                 \
            __builtin_memcpy(p, &x, sizeof x);                                                               \
    }
/* Two vectors of 16-bit floats, one behind the other, in one store where both are aligned: half lines take as long as whole ones. */
#define SN_STREAM_TWO(NAME)                                                                                  \
    SN_INLINE void sn_stream_##NAME##_w(void *p, vf32 low, vf32 high, uintptr_t past) {                      \
        const vu16w x = sn_to_##NAME##_w(low, high);                                                         \
        if (__builtin_expect(((uintptr_t)p & (past | (sizeof x - 1))) == 0, 1)) {                            \
            sn_stream_bytes(p, &x, sizeof x);                                                                \
        } else if (past) {                                                                                   \
            __builtin_memcpy(p, &x, sizeof x);                                                               \
        } else {                                                                                             \
            sn_stream_##NAME##_v(p, low, past);                                                              \
            sn_stream_##NAME##_v((char *)p + sizeof x / 2, high, past);                                      \
        }                                                                                                    \
    }
/* A line (as much of one as a vector's store is) that two rows share, or two pieces of a row, is put together before it is
 * stored past the caches: parts of it stored one by one would bring it into them first. sn_edge_T_p(edge, pointer, value,
 * n, past) stores the first n lanes, then or later; sn_edge_end(edge) what is left. */
typedef struct SnEdge {
    char *line;
    uint64_t have; /* by byte: what the line has so far */
    char byte[SN_VECTOR_BYTES] __attribute__((aligned(SN_VECTOR_BYTES)));
} SnEdge;
static __attribute__((noinline, unused)) void sn_edge_end(SnEdge *edge) {
    while (edge->have) {
        const int at = __builtin_ctzll(edge->have), count = __builtin_ctzll(~(edge->have >> at));
        __builtin_memcpy(edge->line + at, edge->byte + at, (size_t)count);
        edge->have &= ~(((UINT64_C(1) << count) - 1) << at);
    }
}
/* In line: a call at the ends of rows made softmax of rows of 50257 take 6 % longer. */
SN_INLINE void sn_edge_put(SnEdge *edge, char *p, const void *part, int64_t bytes, int64_t line) {
    const int64_t at = (int64_t)((uintptr_t)p & (uintptr_t)(line - 1));
    if (at + bytes > line) {
        __builtin_memcpy(p, part, (size_t)bytes);
        return;
    }
    if (p - at != edge->line) sn_edge_end(edge);
    __builtin_memcpy(edge->byte + at, part, (size_t)bytes);
    edge->line = p - at;
    edge->have |= ~UINT64_C(0) >> (64 - bytes) << at;
    if (edge->have != ~UINT64_C(0) >> (64 - line)) return;
    sn_stream_bytes(edge->line, edge->byte, line);
    edge->have = 0;
}
#define SN_EDGE(NAME, SV, CV, NARROW)                                                                        \
    SN_INLINE void sn_edge_##NAME##_p(SnEdge *edge, void *p, CV value, int64_t n, uintptr_t past) {          \
        if (__builtin_expect(past != 0, 1)) {                                                                \
            sn_store_##NAME##_p(p, value, n);                                                                \
            return;                                                                                          \
        }                                                                                                    \
        SV x = NARROW##_v(value);                                                                            \
        sn_edge_put(edge, p, &x, n *(int64_t)(sizeof x / SN_LANES), (int64_t)SN_ALIGNMENT(sizeof x));        \
    }

#define SN_STORED(X)                                                                                         \
    X(f32, vf32, vf32, SN_SAME)                                                                              \
    X(f64, vf64, vf64, SN_SAME)                                                                              \
    X(f16, vu16, vf32, sn_to_f16)                                                                            \
    X(bf16, vu16, vf32, sn_to_bf16)                                                                          \
    X(i8, vi8, vi32, sn_narrow_i8)                                                                           \
    X(u8, vu8, vi32, sn_narrow_u8)                                                                           \
    X(i16, vi16, vi32, sn_narrow_i16)                                                                        \
    X(u16, vu16, vi32, sn_narrow_u16)                                                                        \
    X(bool, vu8, vi32, SN_FROM_MASK)                                                                         \
    X(i32, vi32, vi32, SN_SAME)                                                                              \
    X(u32, vu32, vu32, SN_SAME)                                                                              \
    X(i64, vi64, vi64, SN_SAME)                                                                              \
    X(u64, vu64, vu64, SN_SAME)
SN_STORED(SN_STREAM)
SN_STREAM_TWO(f16)
SN_STREAM_TWO(bf16)
SN_STORED(SN_EDGE)

#endif
