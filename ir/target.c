#include "target.h"

/* A contraction's micro-kernel keeps rows × vectors accumulators in registers; each step of K loads the
 * vectors of the panel once and broadcasts one element a row (which takes a register only where the FMA
 * cannot read it from memory). The first tile of each kind is the quickest where the panels are full; the
 * others have narrower panels. */
static const Tile wide_tiles[] = {{8, 3}, {14, 2}, {16, 1}}, narrow_tiles[] = {{6, 2}, {12, 1}};

Tile sn_target_tile(const Target *target, int64_t columns) {
    bool many = target->vector_registers >= 32;
    const Tile *tile = many ? wide_tiles : narrow_tiles, *best = tile;
    int64_t lanes = target->vector_bytes / 4, least = INT64_MAX;
    for (int i = 0; i < (many ? 3 : 2) && columns > 0; i++) {
        int64_t width = tile[i].vectors * lanes, padded = (columns + width - 1) / width * width;
        if (padded > least - least / 16) continue; /* what a narrower panel costs */
        best = &tile[i];
        least = padded;
    }
    return *best;
}

/* Tiles for panels that are packed ahead, with their speed beside the first one's, in sixteenths (docs/performance-products.md). */
typedef struct PackedTile {
    Tile tile;
    int speed;
} PackedTile;

static const PackedTile wide_packed[] = {{{8, 3}, 16}, {{6, 4}, 16}, {{14, 2}, 14}, {{16, 1}, 12}},
                        narrow_packed[] = {{{6, 2}, 16}, {{12, 1}, 13}};

static const PackedTile *packed_tiles(const Target *target, int *count) {
    bool many = target->vector_registers >= 32;
    *count = many ? 4 : 2;
    return many ? wide_packed : narrow_packed;
}

bool sn_target_splits(const Target *target, int64_t columns, int64_t depth) {
    enum { SPLIT_PERCENT = 800 }; /* six products, and as much again */
    return target->vector_bytes == 64 && target->matrix_percent >= SPLIT_PERCENT &&
           columns >= SN_SPLIT_COLUMNS && depth >= SN_SPLIT_DEPTH;
}

int64_t sn_target_panel(const Target *target, int64_t columns, int64_t depth) {
    enum {
        FEW = 256,
        GAIN = 16,
        SPLIT_SIDE = 32 /* SN_SPLIT_SIDE of gemm_split_parts.h */
    };                  /* columns from which on the last panel matters little; the least gain is one in 16 */
    int count;
    const PackedTile *tile = packed_tiles(target, &count), *best = tile;
    int64_t lanes = target->vector_bytes / 4, least = 0;
    if (sn_target_splits(target, columns, depth)) return SPLIT_SIDE;
    if (columns <= 0 || columns >= FEW) return target->panel;
    for (int i = 0; i < count; i++) {
        int64_t width = tile[i].tile.vectors * lanes;
        int64_t cost = (columns + width - 1) / width * width * 16 * GAIN / tile[i].speed;
        if (i && cost * GAIN > least * (GAIN - 1)) continue;
        best = &tile[i];
        least = cost;
    }
    return best == tile ? target->panel : best->tile.vectors * lanes;
}

bool sn_target_panel_tile(const Target *target, int64_t panel, Tile *out) {
    int count;
    const PackedTile *tile = packed_tiles(target, &count);
    *out = (Tile){target->tile_rows, target->tile_vectors};
    if (panel == target->panel) return true;
    for (int i = 0; i < count; i++) {
        *out = tile[i].tile;
        if (panel == tile[i].tile.vectors * (target->vector_bytes / 4)) return true;
    }
    return false;
}

static void choose_tile(Target *target) {
    Tile tile = sn_target_tile(target, 0);
    target->tile_rows = tile.rows;
    target->tile_vectors = tile.vectors;
    target->panel = (int64_t)tile.vectors * (target->vector_bytes / 4);
}

/* What the last-level cache has for one process is known to nobody on shared machines, where the system tells
 * the size of all of it. */
enum { STREAM_L2S = 16 };

void sn_target_cpu(Target *target, int vector_bytes, int vector_registers, int64_t l1, int64_t l2) {
    *target = (Target){
        .kind = SN_TARGET_CPU,
        .name = "cpu",
        .vector_bytes = vector_bytes,
        .vector_registers = vector_registers,
        .l1_bytes = l1,
        .l2_bytes = l2,
        .stream_bytes = STREAM_L2S * l2,
        .isa = "",
    };
    choose_tile(target);
}

/* `shared`: what one block may ask for, from the CUDA C++ Programming Guide, "Technical Specifications per
 * Compute Capability"; of a capability that is not listed, the least of those that are. */
typedef struct Capability {
    int sm;
    const char *name, *architecture; /* from 9.0 on with the features of that one alone */
    int64_t shared;
    int processors; /* of the A100, RTX A6000, L40S and H200, with their second-level caches */
    int64_t l2;
} Capability;

static const Capability *find_capability(int sm) {
    static const Capability known[] = {
        {80, "cuda:sm_80", "sm_80", 163 << 10, 108, 40 << 20},
        {86, "cuda:sm_86", "sm_86", 99 << 10, 84, 6 << 20},
        {89, "cuda:sm_89", "sm_89", 99 << 10, 142, 96 << 20},
        {90, "cuda:sm_90a", "sm_90a", 227 << 10, 132, 50 << 20},
    };
    static const Capability other = {0, "cuda", "", 99 << 10, 64, 4 << 20};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].sm == sm) return &known[i];
    return &other;
}

enum { WALK_WAVES = 2 }; /* below it half of the blocks at least would have a single turn */

void sn_target_cuda(Target *target, int sm) {
    const Capability *capability = find_capability(sm);
    *target = (Target){
        .kind = SN_TARGET_CUDA,
        .name = capability->name,
        .isa = "",
        .sm = sm,
        .architecture = capability->architecture,
        .warp = 32,
        .max_threads = 1024,
        .processors = capability->processors,
        .walk_waves = WALK_WAVES,
        .l2_bytes = capability->l2,
        .shared_bytes = capability->shared,
        .library = true,
        .precision = SN_PRECISION_HIGHEST,
    };
}

const AnchorAccepts *sn_target_accepts(const Target *target, ClusterKind kind) {
    /* One table for all targets, as their templates have the same holes. What a GPU's products take through an operand
     * other than as it lies in memory costs them the asynchronous copies and the library. */
    static const AnchorAccepts table[SN_CLUSTER_KIND_COUNT] = {
        [SN_CLUSTER_MAP] = {true, true, true, true, true},
        [SN_CLUSTER_REDUCE] = {true, true, true, true, true},
        /* Arithmetic on an operand would be redone for every tile that reads it, on a GPU by a slower way besides. */
        [SN_CLUSTER_CONTRACT] = {.prologue_views = true,
                                 .epilogue_pointwise = true,
                                 .epilogue_views = true,
                                 .several_outputs = true},
        [SN_CLUSTER_ATTENTION] = {.prologue_views = true, .epilogue_views = true},
        [SN_CLUSTER_SCAN] = {true, true, true, true, false},
        [SN_CLUSTER_PACK] = {.prologue_views = true, .prologue_pointwise = true},
        [SN_CLUSTER_SCATTER] = {.prologue_views = true, .prologue_pointwise = true},
        [SN_CLUSTER_RECURRENT] = {.prologue_views = true},
    };
    (void)target;
    return &table[kind];
}

static const char *const autocast_name[] = {
    [SN_AUTOCAST_NONE] = "none", [SN_AUTOCAST_BF16] = "bf16", [SN_AUTOCAST_F16] = "f16"};

const char *sn_autocast_name(sn_Autocast autocast) {
    return autocast_name[autocast];
}

bool sn_autocast_from_name(const char *name, sn_Autocast *out) {
    for (int i = SN_AUTOCAST_NONE; i <= SN_AUTOCAST_F16; i++)
        if (strcmp(name, autocast_name[i]) == 0) {
            *out = (sn_Autocast)i;
            return true;
        }
    return false;
}
