#include "rates.h"

#define PRELUDE                                                                                              \
    "#include <stdint.h>\n"                                                                                  \
    "#if defined(__AVX512F__)\n"                                                                             \
    "#define BYTES 64\n"                                                                                     \
    "#elif defined(__AVX__)\n"                                                                               \
    "#define BYTES 32\n"                                                                                     \
    "#else\n"                                                                                                \
    "#define BYTES 16\n"                                                                                     \
    "#endif\n"                                                                                               \
    "typedef float V __attribute__((vector_size(BYTES), may_alias));\n"

/* As many chains as the registers hold beside two operands: they hide the latency of one. They begin with
 * different values: a compiler merges equal ones, and the figure would be a multiple of the truth. Which
 * thread an item runs on is told by the address of a variable that each thread has of its own. */
#define CHAINS_OF(name)                                                                                      \
    "#if defined(__AVX512F__) || defined(__aarch64__)\n"                                                     \
    "#define MORE(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)\n"              \
    "enum { CHAINS = 24 };\n"                                                                                \
    "#else\n"                                                                                                \
    "#define MORE(X)\n"                                                                                      \
    "enum { CHAINS = 12 };\n"                                                                                \
    "#endif\n"                                                                                               \
    "#define ALL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) MORE(X)\n"                 \
    "static __thread char mine;\n"                                                                           \
    "int " name "(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"             \
    "    float *in = buffers[0], *out = buffers[1];\n"                                                       \
    "    V a = in[0] - (V){}, b = in[1] - (V){};\n"                                                          \
    "    for (int64_t item = begin; item < end; item++) {\n"                                                 \
    "#define START(k) V v##k = in[2 + k] + (float)item - (V){};\n"                                           \
    "        ALL(START)\n"                                                                                   \
    "        for (int64_t i = 0; i < symbols[0]; i++) {\n"                                                   \
    "            ALL(STEP)\n"                                                                                \
    "        }\n"                                                                                            \
    "#define FOLD(k) + v##k\n"                                                                               \
    "        V sum = (V){} ALL(FOLD);\n"                                                                     \
    "        float total = 0;\n"                                                                             \
    "        for (int k = 0; k < BYTES / 4; k++) total += sum[k];\n"                                         \
    "        out[16 * item] = total;\n"                                                                      \
    "        out[16 * item + 1] = CHAINS;\n"                                                                 \
    "        *(uint64_t *)(out + 16 * item + 2) = (uint64_t)&mine;\n"                                        \
    "    }\n"                                                                                                \
    "    return 0;\n"                                                                                        \
    "}\n"

static const char fma_text[] = PRELUDE "#define STEP(k) v##k = v##k * a + b;\n" CHAINS_OF("rate_fma");

/* Where there is no such instruction. */
#define NONE_OF(name)                                                                                        \
    "#else\n"                                                                                                \
    "int " name "(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"             \
    "    for (int64_t item = begin; item < end; item++) ((float *)buffers[1])[16 * item + 1] = 0;\n"         \
    "    return 0;\n"                                                                                        \
    "}\n"                                                                                                    \
    "#endif\n"

/* The instructions themselves: compilers disagree on the types of their builtins. */
static const char dot_text[] = PRELUDE
    "#if defined(__AVX512BF16__)\n"
    "#define STEP(k) __asm__(\"vdpbf16ps %2, %1, %0\" : \"+v\"(v##k) : \"v\"(a), \"v\"(b));\n" CHAINS_OF(
        "rate_dot") NONE_OF("rate_dot");
static const char bytes_text[] =
    PRELUDE "#if defined(__AVX512VNNI__)\n"
            "#define STEP(k) __asm__(\"vpdpbusd %2, %1, %0\" : \"+v\"(v##k) : \"v\"(a), \"v\"(b));\n"
            "#elif defined(__AVXVNNI__)\n"
            "#define STEP(k) __asm__(\"{vex} vpdpbusd %2, %1, %0\" : \"+x\"(v##k) : \"x\"(a), \"x\"(b));\n"
            "#endif\n"
            "#if defined(STEP)\n" CHAINS_OF("rate_bytes") NONE_OF("rate_bytes");

/* Four sums, and of operands as many loads as multiplications: what a product's inner loop has at the least. */
#define MATRIX_OF(name, multiply)                                                                            \
    "\n#if SN_MATRIX\n"                                                                                      \
    "static __thread char mine;\n"                                                                           \
    "int " name "(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"             \
    "    float *out = buffers[1];\n"                                                                         \
    "    char near[16384] __attribute__((aligned(64)));\n"                                                   \
    "    float sums[256];\n"                                                                                 \
    "    for (int i = 0; i < 8192; i++) ((uint16_t *)near)[i] = 0x3f00 + i % 64;\n"                          \
    "    sn_matrix_begin();\n"                                                                               \
    "    for (int64_t item = begin; item < end; item++) {\n"                                                 \
    "        SN_MATRIX_ZERO(0); SN_MATRIX_ZERO(1); SN_MATRIX_ZERO(2); SN_MATRIX_ZERO(3);\n"                  \
    "        for (int64_t i = 0; i < symbols[0]; i++) {\n"                                                   \
    "            const char *at = near + (i & 3) * 4096;\n"                                                  \
    "            SN_MATRIX_LOAD(4, at, 64); SN_MATRIX_LOAD(6, at + 1024, 64);\n"                             \
    "            " multiply "(0, 4, 6);\n"                                                                   \
    "            SN_MATRIX_LOAD(7, at + 2048, 64);\n"                                                        \
    "            " multiply "(1, 4, 7);\n"                                                                   \
    "            SN_MATRIX_LOAD(5, at + 3072, 64);\n"                                                        \
    "            " multiply "(2, 5, 6); " multiply "(3, 5, 7);\n"                                            \
    "        }\n"                                                                                            \
    "        SN_MATRIX_STORE(0, sums, 64);\n"                                                                \
    "        out[16 * item] = sums[0];\n"                                                                    \
    "        out[16 * item + 1] = 4;\n"                                                                      \
    "        *(uint64_t *)(out + 16 * item + 2) = (uint64_t)&mine;\n"                                        \
    "    }\n"                                                                                                \
    "    sn_matrix_end();\n"                                                                                 \
    "    return 0;\n"                                                                                        \
    "}\n" NONE_OF(name)

static const char matrix_text[] = MATRIX_OF("rate_matrix", "SN_MATRIX_PAIRS");
static const char matrix_bytes_text[] = MATRIX_OF("rate_matrix_bytes", "SN_MATRIX_BYTES");

/* So many bytes ahead (0: not at all) of four vectors at p, into the second-level cache. */
#define FETCH_PRELUDE                                                                                        \
    PRELUDE                                                                                                  \
    "#define FETCH(p, bytes, ahead) \\\n"                                                                    \
    "    for (int64_t k = 0; (ahead) && k < (int64_t)(bytes); k += 64) \\\n"                                 \
    "        __builtin_prefetch((const char *)(p) + (ahead) + k, 0, 2)\n"

/* The sign keeps a compiler from calling its own copy, which may do either. */
#define COPY_OF(name)                                                                                        \
    "int " name "(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"             \
    "    const int64_t each = symbols[0] / BYTES, ahead = symbols[1];\n"                                     \
    "    const V *in = (const V *)buffers[0] + begin * each;\n"                                              \
    "    V *out = (V *)buffers[1] + begin * each;\n"                                                         \
    "    for (int64_t i = 0; i < (end - begin) * each; i += 4) {\n"                                          \
    "        FETCH(in + i, 4 * BYTES, ahead);\n"                                                             \
    "        V v0 = -in[i], v1 = -in[i + 1], v2 = -in[i + 2], v3 = -in[i + 3];\n"                            \
    "        STREAM(out + i, v0);\n"                                                                         \
    "        STREAM(out + i + 1, v1);\n"                                                                     \
    "        STREAM(out + i + 2, v2);\n"                                                                     \
    "        STREAM(out + i + 3, v3);\n"                                                                     \
    "    }\n"                                                                                                \
    "    __sync_synchronize();\n"                                                                            \
    "    return 0;\n"                                                                                        \
    "}\n"

/* Stores past the caches, where the compiler offers them: an ordinary store reads the line first, which is
 * traffic that nobody asked for. */
#define STREAM_PRELUDE                                                                                       \
    FETCH_PRELUDE                                                                                            \
    "#if defined(__clang__)\n"                                                                               \
    "#define STREAM(p, v) __builtin_nontemporal_store(v, p)\n"                                               \
    "#elif defined(__AVX512F__)\n"                                                                           \
    "#define STREAM(p, v) __builtin_ia32_movntps512((float *)(p), v)\n"                                      \
    "#elif defined(__AVX__)\n"                                                                               \
    "#define STREAM(p, v) __builtin_ia32_movntps256((float *)(p), v)\n"                                      \
    "#elif defined(__SSE__)\n"                                                                               \
    "#define STREAM(p, v) __builtin_ia32_movntps((float *)(p), v)\n"                                         \
    "#else\n"                                                                                                \
    "#define STREAM(p, v) (*(p) = (v))\n"                                                                    \
    "#endif\n"

static const char stream_text[] = STREAM_PRELUDE COPY_OF("rate_stream");

static const char copy_text[] = FETCH_PRELUDE "#define STREAM(p, v) (*(p) = (v))\n" COPY_OF("rate_copy");

/* Alone, reading gains most where what is fetched comes from there to the first cache in time. */
static const char read_text[] = FETCH_PRELUDE
    "#define NEAR(p, bytes, ahead) \\\n"
    "    for (int64_t k = 0; (ahead) && k < (int64_t)(bytes); k += 64) \\\n"
    "        __builtin_prefetch((const char *)(p) + (ahead) + k)\n"
    "int rate_read(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
    "    const int64_t each = symbols[0] / BYTES, ahead = symbols[1];\n"
    "    float *out = buffers[1];\n"
    "    for (int64_t item = begin; item < end; item++) {\n"
    "        const V *in = (const V *)buffers[0] + item * each;\n"
    "        V a = {}, b = {}, c = {}, d = {};\n"
    "        for (int64_t i = 0; i < each; i += 4) {\n"
    "            FETCH(in + i, 4 * BYTES, ahead * 7 / 4);\n"
    "            NEAR(in + i, 4 * BYTES, ahead / 2);\n"
    "            a += in[i], b += in[i + 1], c += in[i + 2], d += in[i + 3];\n"
    "        }\n"
    "        V sum = (a + b) + (c + d);\n"
    "        float total = 0;\n"
    "        for (int k = 0; k < BYTES / 4; k++) total += sum[k];\n"
    "        out[16 * item] = total;\n"
    "    }\n"
    "    return 0;\n"
    "}\n";

static const char mix_text[] = STREAM_PRELUDE
    "int rate_mix(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
    "    const int64_t rounds = symbols[0], reads = symbols[1] * 64 / BYTES, writes = symbols[2] * 64 / "
    "BYTES;\n"
    "    const V *in = (const V *)buffers[0] + begin * rounds * reads;\n"
    "    V *out = (V *)buffers[1] + begin * rounds * writes;\n"
    "    for (int64_t i = 0; i < (end - begin) * rounds; i++, in += reads, out += writes) {\n"
    "        V a = 1 - (V){}, b = {}, c = {}, d = {};\n"
    "        FETCH(in, reads * BYTES, symbols[3]);\n"
    "        int64_t k = 0;\n"
    "        for (; k + 4 <= reads; k += 4)\n"
    "            a += in[k], b += in[k + 1], c += in[k + 2], d += in[k + 3];\n"
    "        for (; k < reads; k++) a += in[k];\n"
    "        a = (a + b) + (c + d);\n"
    "        for (k = 0; k < writes; k++) STREAM(out + k, a);\n"
    "        __asm__ volatile(\"\" : : \"m\"(a));\n"
    "    }\n"
    "    __sync_synchronize();\n"
    "    return 0;\n"
    "}\n";

/* The best of a dozen forms tried: the ends of a row are fetched four rows ahead, for the translation of their addresses. */
static const char rows_text[] = STREAM_PRELUDE
    "static const V *row_of(const int64_t *symbols, const void *in, int64_t row) {\n"
    "    uint64_t x = (uint64_t)row * UINT64_C(0x9e3779b97f4a7c15);\n"
    "    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);\n"
    "    return (const V *)in + (int64_t)((x >> 32) * (uint64_t)symbols[2] >> 32) * symbols[1] * (64 / "
    "BYTES);\n"
    "}\n"
    "int rate_rows(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
    "    const int64_t each = symbols[1] * (64 / BYTES);\n"
    "    for (int64_t row = begin * symbols[0]; row < end * symbols[0]; row++) {\n"
    "        const V *in = row_of(symbols, buffers[0], row), *next = row_of(symbols, buffers[0], row + 2);\n"
    "        const V *far = row_of(symbols, buffers[0], row + 4);\n"
    "        const V *with = symbols[3] ? (const V *)buffers[0] + row % symbols[3] * each : 0;\n"
    "        V *out = (V *)buffers[1] + row * each;\n"
    "        __builtin_prefetch(far);\n"
    "        __builtin_prefetch(far + each - 1);\n"
    "        for (int64_t i = 0; i < each; i += 64 / BYTES) {\n"
    "            if (symbols[4]) __builtin_prefetch(next + i, 0, 2);\n"
    "            else __builtin_prefetch(next + i);\n"
    "            for (int k = 0; k < 64 / BYTES; k++) {\n"
    "                V x = in[i + k];\n"
    "                if (with) x += with[i + k];\n"
    "                STREAM(out + i + k, x);\n"
    "            }\n"
    "        }\n"
    "    }\n"
    "    __sync_synchronize();\n"
    "    return 0;\n"
    "}\n";

/* Bands of 64 rows, and order of memory with nothing fetched, are slower where stores are of columns; a band of 32 writes two
 * lines together, which is what memory wants. What is fetched into the second-level cache is so in four streams, two lines of
 * each by turns. */
static const char bands_text[] = STREAM_PRELUDE
    "typedef float Any __attribute__((vector_size(BYTES), aligned(4), may_alias));\n"
    "enum { BAND = 32, LINE = 16, STREAMS = 4 };\n"
    "int rate_bands(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
    "    const int64_t columns = symbols[0], rows = symbols[1], whole = columns / LINE * LINE;\n"
    "    for (int64_t row = begin * BAND; row < end * BAND; row += BAND) {\n"
    "        const float *in = (const float *)buffers[0] + row * columns;\n"
    "        const float *next = in + BAND * columns, *line = next;\n"
    "        float *out = (float *)buffers[1] + row / rows * rows * whole + row % rows;\n"
    "        for (int64_t c = 0; c < whole; c += LINE, next += BAND / STREAMS * LINE)\n"
    "            for (int64_t j = 0; j < LINE; j++)\n"
    "                for (int64_t k = 0; k < 2; k++, line += LINE) {\n"
    "                    const float *from = in + (2 * j + k) * columns + c;\n"
    "                    float *to = out + (c + j) * rows + k * LINE;\n"
    "                    if (symbols[2])\n"
    "                        __builtin_prefetch(next + j % STREAMS * (BAND / STREAMS) * columns +\n"
    "                                               (j / STREAMS * 2 + k) * LINE, 0, 2);\n"
    "                    else\n"
    "                        __builtin_prefetch(line);\n"
    "                    for (int v = 0; v < LINE; v += BYTES / 4)\n"
    "                        STREAM((V *)(to + v), (V)(*(const Any *)(from + v)));\n"
    "                }\n"
    "    }\n"
    "    __sync_synchronize();\n"
    "    return 0;\n"
    "}\n";

/* What rows need that are gone over twice, and are longer than the first-level cache: of each vector a load and a store past
 * the caches, and a load from the second-level cache between them, which with a copy has a store before it. */
static const char again_text[] = STREAM_PRELUDE
    "static inline __attribute__((always_inline)) void walk(const V *in, const V *from, V *kept, V *out,\n"
    "                                                       int64_t each, int64_t ahead, V *sum) {\n"
    "    for (int64_t i = 0; i < each; i += 4) {\n"
    "        if (in) FETCH(in + i, 4 * BYTES, ahead);\n"
    "        for (int64_t k = 0; ahead && in && k < 4 * BYTES; k += 64)\n"
    "            __builtin_prefetch((const char *)(in + i) + 512 + k);\n"
    "        for (int64_t k = i; k < i + 4; k++) {\n"
    "            const V was = out ? from[k] : (V){}, is = in ? in[k] : (V){};\n"
    "            if (in && kept) kept[k] = is;\n"
    "            if (in && !kept) sum[k - i] += is;\n"
    "            if (out) STREAM(out + k, -was);\n"
    "        }\n"
    "    }\n"
    "}\n"
    "int rate_again(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
    "    const int64_t each = symbols[0] * (64 / BYTES), ahead = symbols[2];\n"
    "    const V *in = (const V *)buffers[0] + begin * each;\n"
    "    V *out = (V *)buffers[1] + begin * each, kept[symbols[1] ? each : 1], sum[4] = {};\n"
    "    if (begin == end) return 0;\n"
    "    if (symbols[1]) {\n"
    "        walk(in, 0, kept, 0, each, ahead, sum);\n"
    "        for (int64_t row = begin + 1; row < end; row++, out += each)\n"
    "            walk(in += each, kept, kept, out, each, ahead, sum);\n"
    "        walk(0, kept, kept, out, each, ahead, sum);\n"
    "    } else {\n"
    "        walk(in, 0, 0, 0, each, ahead, sum);\n"
    "        for (int64_t row = begin + 1; row < end; row++, in += each, out += each)\n"
    "            walk(in + each, in, 0, out, each, ahead, sum);\n"
    "        walk(0, in, 0, out, each, ahead, sum);\n"
    "    }\n"
    "    __asm__ volatile(\"\" : : \"m\"(sum));\n"
    "    __sync_synchronize();\n"
    "    return 0;\n"
    "}\n";

static const char evict_text[] =
    PRELUDE "#if defined(__CLFLUSHOPT__)\n"
            "#define EVICT(p) __builtin_ia32_clflushopt(p)\n"
            "#elif defined(__SSE2__)\n"
            "#define EVICT(p) __builtin_ia32_clflush(p)\n"
            "#else\n"
            "#define EVICT(p) (void)(p)\n"
            "#endif\n"
            "int rate_evict(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n"
            "    for (int64_t i = begin * symbols[0]; i < end * symbols[0]; i += 64)\n"
            "        EVICT((char *)buffers[0] + i);\n"
            "    __sync_synchronize();\n"
            "    return 0;\n"
            "}\n";

void sn_rate_fill(void *buffer, int64_t bytes) {
    float *at = buffer;
    for (int64_t i = 0; i < bytes / (int64_t)sizeof *at; i++) at[i] = 1 + (float)(i & 1023) / 1024;
}

void sn_rate_kernels(Arena *arena, const Kernel *out[SN_RATE_COUNT]) {
    static const struct {
        const char *name, *source;
    } texts[SN_RATE_COUNT] = {
        [SN_RATE_FMA] = {"rate_fma", fma_text},
        [SN_RATE_DOT] = {"rate_dot", dot_text},
        [SN_RATE_BYTES] = {"rate_bytes", bytes_text},
        [SN_RATE_MATRIX] = {"rate_matrix", matrix_text},
        [SN_RATE_MATRIX_BYTES] = {"rate_matrix_bytes", matrix_bytes_text},
        [SN_RATE_STREAM] = {"rate_stream", stream_text},
        [SN_RATE_COPY] = {"rate_copy", copy_text},
        [SN_RATE_READ] = {"rate_read", read_text},
        [SN_RATE_MIX] = {"rate_mix", mix_text},
        [SN_RATE_ROWS] = {"rate_rows", rows_text},
        [SN_RATE_BANDS] = {"rate_bands", bands_text},
        [SN_RATE_AGAIN] = {"rate_again", again_text},
        [SN_RATE_EVICT] = {"rate_evict", evict_text},
    };
    for (int i = 0; i < SN_RATE_COUNT; i++) {
        Kernel *kernel = SN_NEW(arena, Kernel);
        kernel->name = texts[i].name;
        kernel->source = texts[i].source;
        if (i == SN_RATE_MATRIX || i == SN_RATE_MATRIX_BYTES)
            kernel->source =
                sn_arena_printf(arena, "#include <stdint.h>\n#define SN_INLINE static inline\n%s%s",
                                sn_device_text("matrix.h"), texts[i].source);
        kernel->hash = sn_hash_string((Hash){0}, kernel->source);
        out[i] = kernel;
    }
}
