/* Tensor cores, and copies from buffers to shared memory that go on while their thread works. */
#include "engine.h"

#include <vector>

enum { WARP = 32, MAX_THREADS = 1024, CHUNK = 16 };

/* ---- products of a warp ---- */

/* A lane's rows and columns are those of tensor.cuh: g = lane / 4, t = lane % 4. */
struct Fragment {
    uint32_t a[4], b[2];
};

static float widen_bf16(uint32_t bits) {
    return emu_bits<float>(bits << 16);
}

static float widen_f16(uint32_t bits) {
    uint32_t sign = (bits & 0x8000u) << 16, rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) return emu_bits<float>(sign | 0x7f800000u | rest << 13);
    return emu_bits<float>(sign | emu_bits<uint32_t>(emu_bits<float>(rest << 13) * 0x1p112f));
}

/* The two 16-bit operands in a word, or the one of TF32. */
template <float (*WIDEN)(uint32_t)> static int unpack_pair(uint32_t word, float *out) {
    out[0] = WIDEN(word & 0xffffu);
    out[1] = WIDEN(word >> 16);
    return 2;
}

static int unpack_tf32(uint32_t word, float *out) {
    out[0] = emu_bits<float>(word & 0xffffe000u);
    return 1;
}

/* Row `high` * 8 + g of A, of the lanes 4g to 4g + 3: two words of each, 0 (+1 for the high row) and 2 (+1), hold
 * its first and second half. Elements run over t within a half. */
typedef int Unpack(uint32_t word, float *out);

static int read_row(const Fragment *const *warp, int g, int high, Unpack *unpack, float *out) {
    int count = 0;
    for (int half = 0; half < 2; half++)
        for (int t = 0; t < 4; t++) count += unpack(warp[4 * g + t]->a[2 * half + high], out + count);
    return count;
}

static int read_column(const Fragment *const *warp, int g, Unpack *unpack, float *out) {
    int count = 0;
    for (int half = 0; half < 2; half++)
        for (int t = 0; t < 4; t++) count += unpack(warp[4 * g + t]->b[half], out + count);
    return count;
}

static void require_whole_warp(const char *what, int line) {
    if (emu_lanes() != WARP) emu_fail_here("%s in a part of a warp, at line %d", what, line);
}

static void multiply(float *d, const uint32_t *a, const uint32_t *b, int line, Unpack *unpack) {
    require_whole_warp("a product", line);
    Fragment own;
    memcpy(own.a, a, sizeof own.a);
    memcpy(own.b, b, sizeof own.b);
    const EmuGift *gift = emu_give(~0u, line, &own, sizeof own);
    const Fragment *warp[WARP];
    for (int lane = 0; lane < WARP; lane++) warp[lane] = (const Fragment *)gift[lane].bytes;
    int g = emu_place.lane / 4, t = emu_place.lane % 4;
    float row[2][16], column[2][16];
    int count = 0;
    for (int i = 0; i < 2; i++) {
        read_row(warp, g, i, unpack, row[i]);
        count = read_column(warp, 2 * t + i, unpack, column[i]);
    }
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < count; k++) d[i] += row[i / 2][k] * column[i % 2][k];
}

void emu_mma_bf16(float *d, const uint32_t *a, const uint32_t *b, int line) {
    multiply(d, a, b, line, unpack_pair<widen_bf16>);
}

void emu_mma_f16(float *d, const uint32_t *a, const uint32_t *b, int line) {
    multiply(d, a, b, line, unpack_pair<widen_f16>);
}

void emu_mma_tf32(float *d, const uint32_t *a, const uint32_t *b, int line) {
    multiply(d, a, b, line, unpack_tf32);
}

uint32_t emu_to_tf32(float x) {
    uint32_t bits = emu_bits<uint32_t>(x);
    if ((bits & 0x7fffffffu) >= 0x7f800000u) return x != x ? 0x7fffe000u : bits;
    return (bits + 0x1000u) & 0xffffe000u;
}

/* ---- matrices of shared memory ---- */

static void require_shared(const void *address, const char *what) {
    if (!emu_is_shared(address)) emu_fail_here("%s of memory that is not shared", what);
    if ((uintptr_t)address % CHUNK) emu_fail_here("%s at an address that is not a multiple of 16", what);
}

static uint16_t read_half(const char *row, int element) {
    uint16_t half;
    emu_note(row + 2 * element, sizeof half, false);
    memcpy(&half, row + 2 * element, sizeof half);
    return half;
}

void emu_ldmatrix4(uint32_t *r, const void *row, int transposed, int line) {
    require_whole_warp("a load of matrices", line);
    require_shared(row, "a load of matrices");
    const EmuGift *gift = emu_give(~0u, line, &row, sizeof row);
    int g = emu_place.lane / 4, t = emu_place.lane % 4;
    for (int i = 0; i < 4; i++) {
        uint32_t half[2];
        for (int k = 0; k < 2; k++) {
            const char *from;
            memcpy(&from, gift[8 * i + (transposed ? 2 * t + k : g)].bytes, sizeof from);
            half[k] = read_half(from, transposed ? g : 2 * t + k);
        }
        r[i] = half[0] | half[1] << 16;
    }
}

/* ---- asynchronous copies ---- */

struct Copy {
    char *to;
    const char *from;
    int bytes;
    int group; /* the number of commits before it */
};

struct Copies {
    std::vector<Copy> under_way;
    int commits;
};
static Copies copies[MAX_THREADS];

void emu_copies_start(int threads) {
    for (int i = 0; i < threads; i++) {
        copies[i].under_way.clear();
        copies[i].commits = 0;
    }
}

void emu_copy_async(void *to, const void *from, int bytes) {
    Copies *own = &copies[emu_place.number];
    require_shared(to, "an asynchronous copy to a part");
    if ((uintptr_t)from % CHUNK)
        emu_fail_here("an asynchronous copy from an address that is not a multiple of 16");
    if (bytes < 0 || bytes > CHUNK) emu_fail_here("an asynchronous copy of %d bytes", bytes);
    if (bytes > 0 && (emu_is_shared(from) || emu_is_stack(from)))
        emu_fail_here("an asynchronous copy that is not from a buffer");
    if (bytes) emu_note(from, bytes, false);
    emu_note(to, CHUNK, true);
    emu_note_pending(to, CHUNK);
    memset(to, EMU_FILL, CHUNK);
    own->under_way.push_back({(char *)to, (const char *)from, bytes, own->commits});
}

void emu_copy_commit() {
    copies[emu_place.number].commits++;
}

/* A copy that was not committed belongs to no group, and waits for one. */
void emu_copy_wait(int groups) {
    Copies *own = &copies[emu_place.number];
    std::vector<Copy> later;
    for (const Copy &copy : own->under_way) {
        if (copy.group >= own->commits - groups) {
            later.push_back(copy);
            continue;
        }
        emu_note(copy.to, CHUNK, true);
        memset(copy.to, 0, CHUNK);
        memcpy(copy.to, copy.from, (size_t)copy.bytes);
    }
    own->under_way.swap(later);
}
