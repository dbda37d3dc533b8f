/* Contractions, and packing, on the CPU: the tile template with its operands and results as holes. */
#include "lower_gemm.h"

#include "tuning.h"
#include "view.h"

enum {
    FEW = 4, /* heights: SN_GEMM_FEW of gemm_unpacked.h */
    STEP = 2,
    GROUP = 16,          /* panels: SN_GEMM_STEP and, mostly, SN_GEMM_GROUP of gemm_panel.h */
    WORDS = 5,           /* SN_GEMM_B of panels of bytes in words */
    PAIRS = 6,           /* and of bf16 in words, and SN_TILE_B of these */
    WIDENED = 128,       /* rows of a panel that are near when they have been widened */
    WORD = 4,            /* bytes of a group: of SN_TILE_B 5 */
    PAIR = 2,            /* bf16 of a word: of SN_TILE_B 6 */
    MATRIX_ROWS = 32,    /* SN_GEMM_ROWS with matrix tiles */
    BYTES_PERCENT = 200, /* matrix_byte_percent, at least */
    MATRIX_COLUMNS = 16, /* of a matrix tile; panels have at most three of them */
    SPLIT_ROWS = 32,     /* of A, at least: what the split of B costs is shared by a block's rows */
    SPLIT_DATA = 64,     /* the same of a B that is packed as it is read */
    SPLIT_GROUP = 768,   /* columns of a group: A is split once for them */
    SPLIT_HEIGHT = 8,    /* rows of a tile of multiply-adds, which tiles of 32 have to be whole numbers of */
    STRIDE_MOST = 16384, /* elements of a row: a height that has to be copied lies likewise on the stack */
};

/* Whether work items are blocks of rows by steps of panels, gemm_panel.h: all but gemm_unpacked.h's. */
static bool in_blocks(const Gemm *gemm) {
    return gemm->mode || gemm->matrix;
}

/* ---- operands ---- */

static bool read_operand(Gemm *gemm, const Value *value, const char *name, const char *rows, Dim row_extent,
                         const char *columns, Dim column_extent, bool rows_aligned) {
    Dim *axes = sn_gemm_axes(gemm, row_extent, column_extent);
    bool across = sn_gemm_runs_across(gemm, value, axes);
    HoleSpec spec = {.name = name,
                     .count = 3,
                     .argument = {"batch", rows, columns},
                     .extent = {gemm->batch, row_extent, column_extent},
                     .lane = across ? 1 : 2,
                     .aligned = !across || rows_aligned,
                     .integer = gemm->mode == WORDS};
    sn_hole_read(&gemm->lower, gemm->use, &spec, value, axes, axes, gemm->rank, sn_gemm_stand, gemm);
    return across;
}

/* The packed operand: the address of a batch's panels. False when it does not lie as the template wants it.
 */
static bool read_panels(Gemm *gemm, const Value *value, const char *name) {
    Lower *lower = &gemm->lower;
    Type type = value->type;
    Dim *axes = sn_view_axes(lower->dims, lower->arena, type.rank, type.dim);
    sn_lower_nest(lower);
    Instr *load = sn_lower_pull(lower, value, axes);
    Dim inner = sn_dim(lower->dims, 0), base;
    const int first = gemm->rank - 2; /* of the axes within a batch */
    for (int i = first; i < type.rank; i++)
        inner = sn_dim_add(lower->dims, sn_dim_mul(lower->dims, inner, type.dim[i]), axes[i]);
    bool plain = load->kind == SN_INSTR_LOAD && !load->guard;
    base = plain ? sn_dim_sub(lower->dims, load->dim, inner) : inner;
    for (int i = first; i < type.rank; i++) plain &= !sn_dim_depends(base, axes[i]);
    if (!plain || lower->status) {
        lower->kernel->nest.count--;
        return false;
    }
    HoleSpec spec = {.name = name, .count = 1, .argument = {"batch"}, .extent = {gemm->batch}};
    HoleAxes at = sn_hole_axes(lower->kernel, &spec, false);
    Dim *to = SN_ARRAY(lower->arena, Dim, type.rank);
    at.argument[1] = at.argument[2] = sn_dim(lower->dims, 0);
    sn_gemm_stand(gemm, &at, to);
    for (int i = first; i < type.rank; i++) to[i] = sn_dim(lower->dims, 0);
    sn_hole_add(lower, gemm->use, &spec, false, &at, load, axes, to, type.rank);
    gemm->use->hole.at[gemm->use->hole.count - 1].address = true;
    return true;
}

/* The elements, or words, between the rows of A, where these can be multiplied as they lie; otherwise 0. */
static int64_t find_stride(const Gemm *gemm, const Instr *load, const Dim *axes) {
    Dims *dims = gemm->lower.dims;
    Dim m = axes[gemm->rank - 2], k = axes[gemm->rank - 1], row, one, rest;
    DType dtype = gemm->word == WORD ? SN_U8 : gemm->word == PAIR ? SN_BF16 : SN_F32;
    int64_t stride, K, word = gemm->word;
    if (word > 1 && !(sn_dim_is(gemm->K, &K) && K % word == 0)) return 0;
    bool known = load->dtype == dtype && m->kind == SN_DIM_AXIS && k->kind == SN_DIM_AXIS &&
                 sn_dim_affine(dims, load->dim, k, &one, &rest) && sn_dim_equals(one, 1) &&
                 sn_dim_affine(dims, rest, m, &row, &rest) && sn_dim_is(row, &stride);
    if (known) stride = stride % word == 0 ? stride / word : 0;
    return known && stride > 0 && stride <= STRIDE_MOST ? stride : 0;
}

/* SN_GEMM_A_STRIDE. A copy of rows has their stride too, so these must not overlap, as windows do; and those that are so
 * short that they are copied side by side are not read as they lie. */
static int64_t usable_stride(const Gemm *gemm, bool across) {
    int64_t K, copied = gemm->piece;
    bool known = sn_dim_is(gemm->depth, &K), whole = gemm->attr->block; /* few rows are then one piece */
    if (known && (whole || K < copied)) copied = K;
    return in_blocks(gemm) && (known || !whole) && !across && gemm->stride >= copied ? gemm->stride : 0;
}

/* SN_GEMM_WHOLE. Pieces of blocks are short, for they are near when they are widened, which few rows have no need of. A single
 * height reads panels as they follow one another. Copies have to hold all of K. */
static int whole_rows(const Gemm *gemm, int64_t stride) {
    int64_t K;
    if (gemm->matrix || !gemm->mode || !sn_dim_is(gemm->depth, &K) || stride < K) return 0;
    return gemm->attr->block ? 2 * gemm->tile.rows : gemm->tile.rows;
}

/* The address of an operand's elements, to fetch them ahead, when they are plain loads. Returns whether they are;
 * then *out is the load, over *axes. */
static bool read_address(Gemm *gemm, const Value *value, const HoleSpec *spec, Dim **axes, Instr *out) {
    Lower *lower = &gemm->lower;
    Dim *to = SN_ARRAY(lower->arena, Dim, gemm->rank);
    *axes = sn_gemm_axes(gemm, spec->extent[1], spec->extent[2]);
    sn_lower_nest(lower);
    Instr *load = sn_lower_pull(lower, value, *axes);
    if (load->kind != SN_INSTR_LOAD || load->guard || lower->status) {
        lower->kernel->nest.count--;
        return false;
    }
    *out = *load;
    HoleAxes at = sn_hole_axes(lower->kernel, spec, false);
    sn_gemm_stand(gemm, &at, to);
    sn_hole_add(lower, gemm->use, spec, false, &at, load, *axes, to, gemm->rank);
    gemm->use->hole.at[gemm->use->hole.count - 1].address = true;
    return true;
}

/* SN_GEMM_A_POINTER, and A's stride. */
static bool read_a_address(Gemm *gemm) {
    Dim *axes;
    const HoleSpec spec = {.name = "sn_gemm_a_pointer",
                           .count = 3,
                           .argument = {"batch", "m", "k"},
                           .extent = {gemm->batch, gemm->M, gemm->K}};
    Instr load;
    if (!read_address(gemm, gemm->node->input[0], &spec, &axes, &load)) return false;
    gemm->stride = find_stride(gemm, &load, axes);
    return true;
}

/* SN_GEMM_B_POINTER. */
static int read_b_address(Gemm *gemm, bool along_k) {
    Dim *axes, one, rest;
    const HoleSpec spec = {.name = "sn_gemm_b_pointer",
                           .count = 3,
                           .argument = {"batch", "k", "n"},
                           .extent = {gemm->batch, gemm->K, gemm->N}};
    Instr load;
    if (!read_address(gemm, gemm->node->input[1], &spec, &axes, &load)) return 0;
    Dim lane = axes[gemm->rank - (along_k ? 2 : 1)];
    bool line = load.dtype == SN_F32 && lane->kind == SN_DIM_AXIS &&
                sn_dim_affine(gemm->lower.dims, load.dim, lane, &one, &rest) && sn_dim_equals(one, 1);
    return line ? 2 : 1;
}

/* How B comes: 0 through its hole, or as panels of f32 (1), pairs of bf16 (2), f16 (3), i8 (4) or words of i8. */
static int packed_mode(const Gemm *gemm) {
    int64_t K;
    if (gemm->attr->group && !gemm->attr->halves)
        return gemm->attr->group == WORD && sn_dim_is(gemm->K, &K) ? WORDS : 0;
    bool even = sn_dim_is(gemm->K, &K) && K % 2 == 0;
    DType dtype = gemm->node->input[1]->type.dtype;
    if (dtype == SN_F32 || dtype == SN_I8) return dtype == SN_F32 ? 1 : 4;
    return !even ? 0 : dtype == SN_BF16 ? 2 : 3;
}

/* Whether panels of that mode are as wide as gemm_matrix.h has them. */
static bool may_tile(const Gemm *gemm, int mode) {
    int64_t panel;
    return gemm->mode == mode && sn_dim_is(gemm->node->input[1]->type.dim[gemm->rank], &panel) &&
           panel % MATRIX_COLUMNS == 0 && panel <= 3 * MATRIX_COLUMNS;
}

/* SN_GEMM_B and the elements of a word. Dot products take both operands as bf16, which their values are. */
static void choose_mode(Gemm *gemm) {
    gemm->mode = gemm->attr->packed ? packed_mode(gemm) : 0;
    gemm->word = gemm->mode == WORDS ? WORD : 1;
    gemm->depth = gemm->K;
    if (sn_gemm_is_row(gemm)) return;
    bool wide = gemm->lower.kernel->target->vector_bytes == 4 * MATRIX_COLUMNS; /* what B is packed to */
    bool pairs =
        (may_tile(gemm, 2) || (!gemm->mode && wide)) && sn_hole_matrix(&gemm->lower, gemm->node->input, 2);
    gemm->matrix =
        pairs || (may_tile(gemm, WORDS) && gemm->lower.kernel->target->matrix_byte_percent >= BYTES_PERCENT);
    pairs = pairs || ((!gemm->mode || gemm->mode == 2) && sn_hole_pairs(&gemm->lower, gemm->node->input, 2));
    if (pairs) gemm->word = PAIR;
    if (pairs && gemm->mode) gemm->mode = PAIRS;
    gemm->depth = sn_dim_ceildiv(gemm->lower.dims, gemm->K, sn_dim(gemm->lower.dims, gemm->word));
}

/* ---- the driver ---- */

static Dim if_more(Dims *dims, Dim count, int64_t than, Dim more, Dim otherwise) {
    Dim above = sn_dim_max(dims, sn_dim_addc(dims, count, -than), sn_dim(dims, 0));
    Dim flag = sn_dim_min(dims, above, sn_dim(dims, 1));
    return sn_dim_add(dims, otherwise, sn_dim_mul(dims, flag, sn_dim_sub(dims, more, otherwise)));
}

static int64_t panel_columns(const Gemm *gemm) {
    return (int64_t)gemm->tile.vectors * (gemm->lower.kernel->target->vector_bytes / 4);
}

/* Blocks of rows by runs of so many panels. */
static Dim block_items(const Gemm *gemm, Dim U, Dim P, int panels) {
    Dims *dims = gemm->lower.dims;
    return sn_dim_mul(dims, sn_dim_ceildiv(dims, P, sn_dim(dims, panels)),
                      sn_dim_ceildiv(dims, U, sn_dim(dims, gemm->heights)));
}

/* SN_GEMM_SPLIT, of a product that may be split. */
static int split_rows(const Gemm *gemm) {
    return gemm->mode ? SPLIT_ROWS : SPLIT_DATA;
}

/* The work items of gemm_panel.h and gemm_unpacked.h. */
static Dim gemm_items(const Gemm *gemm) {
    Dims *dims = gemm->lower.dims;
    Dim U = sn_dim_ceildiv(dims, gemm->M, sn_dim(dims, gemm->rows));
    Dim P = sn_dim_ceildiv(dims, gemm->N, sn_dim(dims, panel_columns(gemm)));
    Dim items = block_items(gemm, U, P, gemm->panels);
    if (!in_blocks(gemm)) items = if_more(dims, U, FEW, items, P);
    if (!in_blocks(gemm) && gemm->split)
        items = if_more(dims, gemm->M, SPLIT_DATA - 1, block_items(gemm, U, P, STEP), items);
    return sn_dim_mul(dims, gemm->batch, items);
}

/* SN_GEMM_GROUP. */
static int group_panels(const Gemm *gemm) {
    return gemm->split ? SPLIT_GROUP / (int)panel_columns(gemm) : GROUP;
}

/* Where a range that begins inside a block of rows would fetch them again, piece by piece or to be copied, the panels of a group belong
 * together, for one block (sn_gemm_run of gemm_packed.h). Every range splits its rows; few panels then are shared by two threads. */
static Dim gemm_together(const Gemm *gemm, bool copied) {
    if (!in_blocks(gemm) && !gemm->split) return NULL;
    Dims *dims = gemm->lower.dims;
    Dim steps = sn_dim_ceildiv(dims, gemm->N, sn_dim(dims, STEP * panel_columns(gemm)));
    Dim more = sn_dim_addc(dims, gemm->depth, -gemm->piece);
    Dim whole = sn_dim(dims, copied ? 4 * group_panels(gemm) / STEP : 1);
    Dim group = sn_dim(dims, group_panels(gemm) / STEP);
    Dim together = sn_dim_min(dims, steps, if_more(dims, more, 0, group, whole));
    if (!gemm->split) return together;
    Dim half = sn_dim_ceildiv(dims, steps, sn_dim(dims, 2));
    Dim split = sn_dim_min(dims, half, group);
    return if_more(dims, gemm->M, split_rows(gemm) - 1, split, in_blocks(gemm) ? together : sn_dim(dims, 1));
}

static const char *tile_defines(const Gemm *gemm) {
    bool blocks = gemm->attr && gemm->attr->block; /* b is widened before the tile reads it */
    int element = gemm->word == PAIR ? PAIRS : gemm->mode && !blocks ? gemm->mode : 1;
    return sn_arena_printf(gemm->lower.arena,
                           "#define SN_TILE_MR %d\n#define SN_TILE_NV %d\n#define SN_TILE_B %d\n#define "
                           "SN_TILE_STREAM %d\n",
                           gemm->tile.rows, gemm->tile.vectors, element,
                           gemm->lower.kernel->target->fetch_bytes);
}

/* A block of A, its sums and two pieces of a panel share the second-level cache. A piece that is all of K needs no sums
 * and may be longer. */
static void choose_block(Gemm *gemm) {
    int64_t l2 = gemm->lower.kernel->target->l2_bytes;
    int rows = l2 >= 2 << 20 ? 128 : l2 >= 1 << 20 ? 64 : 32;
    gemm->panels = STEP;
    gemm->heights = gemm->matrix ? 2 * rows / MATRIX_ROWS : rows / gemm->tile.rows;
    bool whole = sn_dim_le(gemm->lower.dims, gemm->depth, sn_dim(gemm->lower.dims, 1024));
    gemm->piece = l2 >= 1 << 20 ? (whole ? 1024 : 768) : l2 >= 512 << 10 ? 384 : 256;
}

/* Whether many rows of f32 are multiplied by matrix tiles. Where only a run tells K, the run decides; a B that is data has other work
 * items then, which follow from M. */
static bool may_split(const Gemm *gemm) {
    int64_t M, N = 0, K = gemm->mode == 1 ? SN_SPLIT_DEPTH : 0;
    if (!gemm->attr || gemm->mode > 1 || gemm->word > 1) return false;
    if (sn_dim_is(gemm->M, &M) && M < split_rows(gemm)) return false;
    (void)sn_dim_is(gemm->N, &N);
    (void)sn_dim_is(gemm->K, &K);
    return sn_target_splits(gemm->lower.kernel->target, N, K);
}

/* The parts of a block of A, which are larger by half than it is, and those of two times 32 columns share the second-level cache.
 * Longer pieces store and load fewer sums; a B that is packed as it is read meets as many rows as there are instead. */
static void choose_split_block(Gemm *gemm) {
    bool large = gemm->lower.kernel->target->l2_bytes >= 2 << 20;
    int rows = large && !gemm->mode ? 256 : 128;
    gemm->heights = rows / gemm->tile.rows;
    gemm->piece = !gemm->mode ? 384 : large ? 768 : 512;
}

/* Whether the block, which may be a tuning file's, is one that gemm_split.h can have. */
static bool can_split(const Gemm *gemm) {
    int rows = gemm->heights * gemm->tile.rows;
    return rows % 32 == 0 && (int64_t)rows * gemm->piece <= 256 * 768;
}

/* What a tuning file says about this product, or about what packs its weights. */
static void take_tuned(Gemm *gemm, DType dtype) {
    GemmChoice choice;
    if (!sn_tuning_gemm(gemm->lower.kernel->target, dtype, gemm->N, gemm->K, &choice)) return;
    gemm->tile = choice.tile;
    if (gemm->matrix) return; /* its heights are others */
    gemm->heights = choice.heights;
    gemm->piece = choice.piece;
}

/* The height of tiles, at most a quarter lower than the usual one, by which a known number of rows (a pack has none) are full tiles, or nearly: others run
 * as full ones, and fetch nothing meanwhile. */
static int full_height(const Gemm *gemm) {
    enum { WORTH = 95 }; /* % of the rows that are multiplied otherwise, at most */
    int64_t M, rows = gemm->tile.rows;
    if (!gemm->M || !sn_dim_is(gemm->M, &M) || M <= rows || gemm->matrix || gemm->split)
        return gemm->tile.rows;
    int64_t least = (M + rows - 1) / rows * rows * WORTH / 100;
    int height = gemm->tile.rows;
    for (int64_t r = rows - 1; r >= rows * 3 / 4; r--) {
        int64_t multiplied = (M + r - 1) / r * r;
        if (multiplied <= least) least = multiplied - 1, height = (int)r;
    }
    return height;
}

/* An operand that every work item packs for itself is packed for many rows at a time; its panels are this
 * product's own, so they may be as narrow as the product is. */
static void choose_tile(Gemm *gemm) {
    const Target *target = gemm->lower.kernel->target;
    int64_t columns = 0;
    (void)sn_dim_is(gemm->N, &columns);
    gemm->split = may_split(gemm);
    gemm->tile =
        gemm->split ? (Tile){target->tile_rows, target->tile_vectors} : sn_target_tile(target, columns);
    if (gemm->mode) {
        (void)sn_target_panel_tile(target, gemm->panel, &gemm->tile); /* there is one: sn_gemm_has_tiles */
        if (gemm->split && MATRIX_ROWS % gemm->tile.rows) gemm->tile.rows = SPLIT_HEIGHT;
        gemm->tile.rows = full_height(gemm);
        choose_block(gemm);
        if (gemm->split) choose_split_block(gemm);
        if (gemm->mode != WORDS && !(gemm->attr && gemm->attr->halves))
            take_tuned(gemm, gemm->node->input[gemm->node->op == SN_OP_CONTRACT]->type.dtype);
        if (gemm->attr && gemm->attr->block) gemm->piece = WIDENED;
        gemm->rows = gemm->matrix ? MATRIX_ROWS : gemm->tile.rows;
        gemm->split = gemm->split && can_split(gemm);
        return;
    }
    choose_block(gemm); /* of gemm_matrix_unpacked.h */
    gemm->rows = gemm->matrix ? MATRIX_ROWS : gemm->tile.rows;
    gemm->piece = 384;
    if (gemm->matrix) return;
    gemm->panels = 4;
    gemm->heights = 256 / gemm->tile.rows;
    if (gemm->split) choose_split_block(gemm);
}

/* Whether there is a tile for panels of that width: the one that a tuning file says, or one of the target's, narrow ones of f32. */
static bool has_panels(const Gemm *gemm, DType dtype, int64_t panel) {
    const Target *target = gemm->lower.kernel->target;
    GemmChoice choice;
    Tile tile;
    if (sn_tuning_gemm(target, dtype, gemm->N, gemm->K, &choice))
        return panel == sn_tuning_panel(target, dtype, gemm->N, gemm->K);
    return dtype == SN_F32 ? sn_target_panel_tile(target, panel, &tile) : panel == target->panel;
}

bool sn_gemm_has_tiles(const Gemm *gemm) {
    const KernelIr *kernel = gemm->lower.kernel;
    if (!sn_gemm_is_narrow(gemm->type.dtype) && !gemm->attr->group) return false;
    if (!gemm->attr->packed) return true;
    const Type packed = gemm->node->input[1]->type;
    bool empty = sn_dim_equals(sn_type_count(kernel->dims, packed), 0); /* then nothing is loaded */
    bool words = gemm->attr->group || gemm->attr->halves;
    int64_t panel;
    return !empty && packed_mode(gemm) && sn_dim_is(packed.dim[gemm->rank], &panel) &&
           (words ? panel == kernel->target->panel : has_panels(gemm, packed.dtype, panel));
}

static void add_file(const char **files, const char *file, bool used) {
    while (*files) files++;
    if (used) *files = file;
}

/* The files of the template's form, and of what it calls of the kernel. */
static void name_files(Gemm *gemm) {
    const char **form = gemm->use->common, **file = gemm->use->file;
    bool words = gemm->word > 1 && !(gemm->matrix && gemm->mode);
    add_file(form, "gemm.h", true);
    add_file(form, "matrix.h", gemm->matrix || gemm->split);
    add_file(form, "gemm_panel.h", in_blocks(gemm) || gemm->split);
    add_file(form, "gemm_blocks.h", gemm->attr->block);
    add_file(form, "gemm_matrix.h", gemm->matrix);
    add_file(form, "gemm_matrix_unpacked.h", gemm->matrix && !gemm->mode);
    add_file(form, gemm->mode ? "gemm_packed.h" : "gemm_unpacked.h", !gemm->matrix);
    add_file(form, "gemm_split_parts.h", gemm->split);
    add_file(form, "gemm_split.h", gemm->split);
    add_file(file, "gemm_pack.h", !gemm->mode);
    add_file(file, "gemm_gather.h", true);
    add_file(file, "gemm_words.h", words);
    add_file(file, "gemm_matrix_copy.h", gemm->matrix);
    add_file(file, "gemm_holes.h", true);
    add_file(file, "gemm_row.h", gemm->row);
}

Status sn_lower_gemm_cpu(Gemm *gemm) {
    Lower *lower = &gemm->lower;
    KernelIr *kernel = lower->kernel;
    choose_mode(gemm);
    if (gemm->mode) (void)sn_dim_is(gemm->node->input[1]->type.dim[gemm->rank], &gemm->panel);
    bool a_across = read_operand(gemm, gemm->node->input[0], "sn_gemm_a", "m", gemm->M, "k", gemm->K, false);
    bool b_across = false;
    bool ahead = read_a_address(gemm);
    if (gemm->mode && gemm->word == 1 && !a_across && !gemm->stride)
        gemm->run = sn_gemm_runs(gemm, gemm->node->input[0]);
    int b_pointer = 0;
    choose_tile(gemm);
    const Value *factors = gemm->attr->block ? gemm->node->input[2] : NULL;
    if (gemm->mode && (!read_panels(gemm, gemm->node->input[1], "sn_gemm_panels") ||
                       (factors && !read_panels(gemm, factors, "sn_gemm_factors"))))
        return sn_fail(SN_UNSUPPORTED, "a packed operand that is not stored whole");
    if (!gemm->mode) {
        b_across = read_operand(gemm, gemm->node->input[1], "sn_gemm_b", "k", gemm->K, "n", gemm->N, true);
        if (sn_gemm_may_be_row(gemm)) b_pointer = read_b_address(gemm, b_across);
    }
    TRY(lower->status);
    HoleSpec epilogue = {.name = "sn_epilogue",
                         .count = 3,
                         .argument = {"batch", "m", "n"},
                         .extent = {gemm->batch, gemm->M, gemm->N},
                         .lane = 2,
                         .takes_value = true,
                         .aligned = true};
    TRY(sn_hole_store(lower, gemm->use, &epilogue, sn_gemm_stand, gemm));
    HoleSpec ahead_of = epilogue;
    ahead_of.name = "sn_epilogue_ahead", ahead_of.takes_value = false;
    TRY(sn_hole_ahead(lower, gemm->use, &ahead_of, sn_gemm_stand, gemm));
    int64_t stride = usable_stride(gemm, a_across);
    gemm->use->defines = gemm->use->driver = "";
    gemm->use->items = gemm_items(gemm);
    if (sn_gemm_may_be_row(gemm)) gemm->use->items = sn_gemm_row(gemm, b_across, b_pointer, gemm->use->items);
    gemm->use->defines = sn_arena_printf(
        kernel->arena,
        "%s%s#define SN_GEMM_B %d\n#define SN_GEMM_MATRIX %d\n#define SN_GEMM_BLOCK %lld\n#define "
        "SN_GEMM_BITS "
        "%d\n#define SN_GEMM_KC "
        "%d\n#define SN_GEMM_GROUP %d\n#define SN_GEMM_HEIGHTS %d\n#define SN_GEMM_BLOCKS %d\n#define "
        "SN_GEMM_A_ALONG_M %d\n"
        "#define SN_GEMM_B_ALONG_K %d\n#define SN_GEMM_A_POINTER %d\n#define SN_GEMM_AHEAD 1\n"
        "#define SN_GEMM_A_STRIDE %lld\n#define SN_GEMM_A_RUN %lld\n#define SN_GEMM_WHOLE %d\n#define "
        "SN_GEMM_SPLIT %d\n"
        "#define SN_GEMM_SPLIT_DEPTH %d\n#define SN_TILE_ONCE %d\n",
        gemm->use->defines, tile_defines(gemm), gemm->mode, gemm->matrix, (long long)gemm->attr->block,
        gemm->attr->halves ? 4 : 8, gemm->piece, group_panels(gemm), gemm->heights, gemm->heights, a_across,
        b_across, ahead, (long long)stride, (long long)gemm->run, whole_rows(gemm, stride),
        gemm->split ? split_rows(gemm) : 0, SN_SPLIT_DEPTH, kernel->target->fetch_bytes > 0);
    name_files(gemm);
    gemm->use->needs = !gemm->matrix && !gemm->split ? NULL
                       : gemm->word == WORD          ? "amx-tile amx-int8"
                                                     : "amx-tile amx-bf16";
    gemm->use->driver = sn_arena_printf(kernel->arena, "%ssn_gemm_run(context, %s, %s, %s, begin, end);",
                                        gemm->use->driver, sn_template_number(kernel, gemm->use, gemm->M),
                                        sn_template_number(kernel, gemm->use, gemm->N),
                                        sn_template_number(kernel, gemm->use, gemm->K));
    gemm->use->together = gemm_together(gemm, !stride);
    kernel->use = gemm->use;
    return NULL;
}

/* ---- packing ---- */

/* Offsets of the matrix that is packed: base + batch · batch_step + n · step + k where it lies along k, otherwise
 * base + batch · batch_step + k · step + n. */
typedef struct Matrix {
    int buffer;
    DType dtype;
    Dim base, batch_step, step;
} Matrix;

/* Takes the part of *rest that moves with `axis` off it; false when that is no multiple of a number. */
static bool take_axis(Dims *dims, Dim axis, Dim *rest, Dim *step) {
    *step = sn_dim(dims, 0);
    if (axis->kind != SN_DIM_AXIS) return true; /* of a single element */
    return sn_dim_affine(dims, *rest, axis, step, rest) && !sn_dim_has_axis(*step);
}

static bool find_matrix(Gemm *gemm, const Value *value, bool along_k, Matrix *out) {
    Lower *lower = &gemm->lower;
    Dims *dims = lower->dims;
    Dim *axes = sn_gemm_axes(gemm, gemm->K, gemm->N), one;
    int lane = gemm->rank - (along_k ? 2 : 1), other = gemm->rank - (along_k ? 1 : 2);
    sn_lower_nest(lower);
    const Instr *load = sn_lower_pull(lower, value, axes);
    lower->kernel->nest.count--; /* only looked at */
    if (load->kind != SN_INSTR_LOAD || load->guard || load->which || lower->status || gemm->rank > 3)
        return false;
    *out = (Matrix){load->buffer, load->dtype, load->dim, sn_dim(dims, 0), NULL};
    return (gemm->rank < 3 || take_axis(dims, axes[0], &out->base, &out->batch_step)) &&
           take_axis(dims, axes[other], &out->base, &out->step) &&
           take_axis(dims, axes[lane], &out->base, &one) && sn_dim_equals(one, 1) &&
           !sn_dim_has_axis(out->base);
}

/* The holes that read a matrix whose place is told by numbers of the launch, so that one kernel packs matrices of all
 * sizes. Axes stand for these numbers. */
static void read_matrix(Gemm *gemm, const Matrix *matrix, bool along_k) {
    enum { SIZE_AXIS = 120, ANY = 1 << 20 };
    KernelIr *kernel = gemm->lower.kernel;
    Dims *dims = kernel->dims;
    Dim any = sn_dim(dims, ANY), number[3];
    const Dim size[3] = {matrix->base, matrix->batch_step, matrix->step};
    Text more = sn_text(kernel->arena);
    for (int i = 0; i < 3; i++) {
        number[i] = sn_dim_axis(dims, SIZE_AXIS + i, any);
        sn_text_add(&more, "%si%d = %s", i ? ", " : "", SIZE_AXIS + i,
                    sn_template_size(kernel, gemm->use, size[i]));
    }
    HoleSpec spec = {.name = "sn_gemm_b",
                     .count = 3,
                     .argument = {"batch", "k", "n"},
                     .extent = {any, any, any},
                     .lane = along_k ? 1 : 2,
                     .more = sn_text_string(&more)};
    for (int vector = 0; vector < 2; vector++) {
        sn_lower_nest(&gemm->lower);
        HoleAxes at = sn_hole_axes(kernel, &spec, vector);
        Dim across = sn_dim_mul(dims, number[2], at.argument[along_k ? 2 : 1]);
        Dim offset = sn_dim_add(dims, number[0], sn_dim_mul(dims, number[1], at.argument[0]));
        offset = sn_dim_add(dims, offset, sn_dim_add(dims, across, at.argument[spec.lane]));
        Instr *load = sn_instr(
            kernel, gemm->lower.nest,
            &(Instr){.kind = SN_INSTR_LOAD, .dtype = matrix->dtype, .dim = offset, .buffer = matrix->buffer});
        load = sn_lower_cast(&gemm->lower, load, SN_F32, false);
        sn_hole_add(&gemm->lower, gemm->use, &spec, vector, &at, load, NULL, NULL, 0);
    }
}

static Status lower_pack(Gemm *gemm) {
    KernelIr *kernel = gemm->lower.kernel;
    const Value *value = gemm->node->input[0];
    Matrix matrix;
    choose_tile(gemm);
    bool along_k = sn_gemm_runs_across(gemm, value, sn_gemm_axes(gemm, gemm->K, gemm->N));
    if (find_matrix(gemm, value, along_k, &matrix))
        read_matrix(gemm, &matrix, along_k);
    else
        read_operand(gemm, value, "sn_gemm_b", "k", gemm->K, "n", gemm->N, true);
    TRY(gemm->lower.status);
    gemm->use->file[0] = "gemm_pack.h";
    gemm->use->defines =
        sn_arena_printf(kernel->arena, "%s#define SN_GEMM_PACK 1\n#define SN_GEMM_B_ALONG_K %d\n",
                        tile_defines(gemm), along_k);
    gemm->use->driver = sn_arena_printf(
        kernel->arena, "sn_gemm_pack_run(context, buffers[%d], %s, %s, begin, end);", kernel->input_count,
        sn_template_size(kernel, gemm->use, gemm->N), sn_template_size(kernel, gemm->use, gemm->K));
    Dim P = sn_dim_ceildiv(kernel->dims, gemm->N, sn_dim(kernel->dims, panel_columns(gemm)));
    gemm->use->items = sn_dim_mul(kernel->dims, gemm->batch, P);
    kernel->use = gemm->use;
    return NULL;
}

/* A pack cluster that is one pack of narrow floats, stored as the template reads it. Others are elementwise,
 * which is the same layout except for pairs of bf16. */
Status sn_lower_pack(KernelIr *kernel) {
    const Region *body = kernel->cluster->body;
    const Node *node = body->result.at[0]->producer;
    if (!node || node->op != SN_OP_PACK || ((const AttrPack *)node->attr)->group || body->result.count != 1 ||
        kernel->target->kind != SN_TARGET_CPU)
        return sn_lower_map(kernel);
    Type type = node->input[0]->type;
    Gemm gemm = {.lower = sn_lower(kernel), .node = node, .rank = type.rank, .type = type};
    gemm.depth = type.dim[type.rank - 2];
    gemm.K = type.dim[type.rank - 2], gemm.N = type.dim[type.rank - 1];
    gemm.batch = sn_gemm_product(kernel->dims, type, type.rank - 2);
    int64_t K;
    bool even = sn_dim_is(gemm.K, &K) && K % 2 == 0;
    gemm.panel = ((const AttrPack *)node->attr)->panel;
    bool tiles = has_panels(&gemm, type.dtype, gemm.panel) &&
                 (type.dtype == SN_F32 || (even && sn_gemm_is_narrow(type.dtype)));
    if (!tiles) return sn_lower_map(kernel);
    gemm.use = SN_NEW(kernel->arena, TemplateUse);
    gemm.mode = type.dtype == SN_F32 ? 1 : type.dtype == SN_BF16 ? 2 : 3;
    return lower_pack(&gemm);
}
