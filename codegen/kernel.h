/* Kernel IR: loop nests over named axes around scalar SSA, loads and stores at linear offsets.
 *
 * A kernel is a list of nests. A nest walks its parallel axes; inside each point of them it runs its steps in
 * order, each of which either walks the reduced axes (updating accumulators and storing) or stores once. An
 * elementwise kernel is a nest without reduced axes and with one step.
 *
 * Axes are Dims (sn_dim_axis). Numbers below SN_INDEX_AXIS are loop axes; from there on they are the results
 * of INDEX instructions: a gathered index is a number in [0, extent), which is all that an axis is to the
 * simplifier.
 */
#ifndef SN_KERNEL_H
#define SN_KERNEL_H

#include "codegen.h"

enum { SN_INDEX_AXIS = 4096 };

typedef enum InstrKind {
    SN_INSTR_LITERAL, /* number (floats) or integer */
    SN_INSTR_DIM,     /* the value of `dim`, i64 */
    SN_INSTR_GIVEN,   /* the same, of a constant that is no part of the text: the launch gives it */
    SN_INSTR_LESS,    /* bool: dim < limit */
    SN_INSTR_LOAD,    /* buffer[dim]; zero where the guard is false */
    SN_INSTR_CALL,    /* function(arg…) on `operand`s */
    SN_INSTR_CAST,    /* arg[0] of dtype `operand` to dtype */
    SN_INSTR_INDEX, /* arg[0] (an i64), negative values wrapped once; outside [0, limit) is a fault. dim: its
                       axis */
    SN_INSTR_CHECKED,  /* arg[0], after the check that is arg[1] */
    SN_INSTR_REDUCED,  /* the final value of an accumulator */
    SN_INSTR_RUNNING,  /* the value of a scan so far */
    SN_INSTR_HOLE_ARG, /* what a template hands to a hole: argument number `buffer` */
    SN_INSTR_KIND_COUNT
} InstrKind;

typedef struct Instr Instr;
typedef struct Acc Acc;

struct Instr {
    InstrKind kind;
    DType dtype;
    int id; /* order of creation in its nest, so arguments have smaller ids */
    int arg_count;
    Instr *arg[3];
    const char *function; /* CALL: the scalar column of ops.def */
    DType operand;        /* CALL, CAST: dtype of the arguments */
    bool exact;           /* CAST: rounds to dtype even where that computes wider */
    Dim dim, limit;
    int buffer;
    Dim which;    /* LOAD, CPU: from the buffer that many after `buffer`; NULL: from that one */
    Instr *guard; /* NULL, or the bool under which a load or a check happens */
    double number;
    int64_t integer;
    int fault; /* what the kernel returns when its check fails; 0: cannot fail */
    Acc *acc;

    /* set by schedule */
    bool rowwise; /* depends on a parallel axis other than the vector axis */
    bool reduced; /* depends on a reduced axis */
    bool varying; /* depends on the vector axis */
    int ready;    /* number of steps that must have ended before it can be computed */
    int scratch;  /* row scratch that keeps it from step `kept` on, or -1 */
    int kept;
};

/* A reduction or scan over the reduced axes. */
struct Acc {
    const char *function; /* add, mul, max, min */
    DType dtype;
    Instr *value;  /* what is combined */
    Instr *result; /* REDUCED or RUNNING */
    bool running, exclusive;
    int number; /* in its nest */
};

typedef struct Store {
    int buffer;
    DType dtype;
    Dim offset;
    Instr *value;
    Instr *guard; /* NULL: always */
} Store;

typedef struct Step {
    bool loop; /* walks the reduced axes */
    SN_VEC(Store) store;
    SN_VEC(Acc *) acc;
} Step;

typedef enum VectorMode {
    SN_VECTOR_PARALLEL, /* the last parallel axis */
    SN_VECTOR_REDUCED,  /* the last reduced axis; accumulators are folded at the end of the step */
    SN_VECTOR_NONE,     /* one element at a time */
} VectorMode;

/* f32 values of a row, kept between its steps. */
typedef struct Scratch {
    int64_t count; /* elements of a local array, or 0: `buffer` */
    int buffer;
    Dim each; /* bytes that a work item has of it */
} Scratch;

/* Loop axes, outermost first. */
typedef SN_VEC(Dim) Axes;

/* How the rows (all parallel axes) of a nest are dealt to CUDA blocks of team·rows threads. */
typedef struct Block {
    int team;    /* threads that share a row */
    int rows;    /* rows that a block works on side by side */
    bool beside; /* neighbouring threads are at neighbouring rows, otherwise in one row */
    bool
        narrow; /* each warp of the team does a row alone in runs where rows have SN_NARROW_ROW elements at most */
    bool scans; /* the team is a warp, which joins what it has so far at each element */
    int pack; /* neighbours along the vector axis that are loaded and stored at once, where they are aligned */
    int wide; /* no reduced axes: elements that a thread does, loading all before it stores any; 0: one */
    bool
        flows; /* what the next turn of a block loads is loaded before the results of the present one are stored */
    int tile;     /* edge of the square that a block does, along nest->tile and the vector axis; 0: none */
    int64_t each; /* elements of its row that a thread does, unrolled, so that registers can keep them; 0:
                     looped */
    int ahead;    /* looped: packs that are loaded before the first of them is used */
} Block;

enum { SN_NARROW_ROW = 1024 };

enum { SN_STRIP_ROWS = 8 };

typedef struct Nest {
    Axes parallel, reduced;
    SN_VEC(Instr *) instr;
    SN_VEC(Instr *) index; /* INDEX instructions: axis SN_INDEX_AXIS + k is index.at[k] */
    SN_VEC(Step) step;
    SN_VEC(Scratch) scratch;
    Map *instrs; /* structural sharing while lowering */
    VectorMode vector;
    Dim rows;    /* product of the parallel extents; on the CPU without the vector axis in PARALLEL mode */
    Dim grain;   /* CPU: rows a work item */
    Block block; /* CUDA */
    Dim tile; /* PARALLEL mode: the last axis of rows, of which a vector's worth (CUDA: Block.tile) is worked on
                    together, because loads that are no vectors along the vector axis are vectors along it; NULL:
                    none */
    Dim strip; /* CPU, PARALLEL mode: an axis of rows, of which SN_STRIP_ROWS are worked on at each point of those behind
                  it, because what is read lies together for that many; NULL: none */
    Dim piece;    /* the parallel axis over equal pieces of a reduced one; NULL: none is cut */
    Dim cut;      /* with it: the reduced axis inside a piece … */
    Dim whole;    /* … and the extent of all pieces together, where the last one ends */
    bool last;    /* runs when the other nests have ended */
    Dim chunk;    /* of the vector axis in PARALLEL mode, elements; NULL: not cut */
    int64_t sums; /* CPU: columns are reduced in memory by so many elements at most; 0: they are not */
    int beside; /* CPU: rows of columns that are reduced side by side, because what they read overlaps; 0: one */
    Dim items;
} Nest;

/* A buffer of the launch: inputs, outputs, scratch. */
typedef struct Buffer {
    DType dtype;
    bool written;
    Dim bytes; /* scratch only */
} Buffer;

/* What a contraction or an attention hands to its template; see lower_gemm.c and lower_attention.c. */
typedef struct TemplateUse TemplateUse;

typedef struct KernelIr KernelIr;
struct KernelIr {
    Arena *arena;
    Dims *dims;
    const Node *cluster;
    const Target *target;
    SN_VEC(Buffer) buffer;
    int input_count, output_count;
    SN_VEC(Nest *) nest;
    const TemplateUse *use;               /* NULL for plain nests */
    const LibraryProduct *library, *full; /* with `rest`, as in Kernel; may be NULL */
    KernelIr *rest;
    Dim flops, bytes;
    const char *
        group_text; /* CUDA: of a form that groups of launches take, with KERNEL_NAME for its name; NULL: none */
    Dim count;      /* what sn_dim_unknown stands for in its nests; NULL: it does not occur */
};

Nest *sn_nest_new(KernelIr *kernel);
Step *sn_nest_step(KernelIr *kernel, Nest *nest, bool loop);

/* The instruction of the nest that equals `proto`, made if there is none. REDUCED, RUNNING and INDEX are
 * always new. */
Instr *sn_instr(KernelIr *kernel, Nest *nest, const Instr *proto);

/* Adds a scratch buffer of `bytes` and gives its number. */
int sn_kernel_scratch(KernelIr *kernel, DType dtype, Dim bytes);

/* Bytes of all that the kernel stores; and of all that it reads, and whether these may be `least` or more, from which on it
 * fetches its streams ahead (emit_fetch.c). */
Dim sn_kernel_written_bytes(const KernelIr *kernel);
Dim sn_kernel_read_bytes(const KernelIr *kernel);
bool sn_kernel_fetches(const KernelIr *kernel, int64_t *least);

/* One loop with accumulators, whose results alone are stored when it has ended. */
bool sn_nest_folds(const Nest *nest);

/* True when `fn` is so dear that keeping its value in memory beats computing it twice. */
bool sn_function_is_costly(const char *fn);

/* Calls visit(user, instr) for every instruction that `root` needs, arguments first, each once; instructions
 * for which enter() is false are visited but not entered (enter may be NULL). `seen` has nest->instr.count
 * zeroed bytes. */
void sn_instr_walk(const Nest *nest, Instr *root, unsigned char *seen,
                   bool (*enter)(void *user, const Instr *), void (*visit)(void *user, Instr *), void *user);

/* Every axis of INDEX instructions that occurs in `dim`: visit(user, instr). */
void sn_dim_indices(const Nest *nest, Dim dim, void (*visit)(void *user, Instr *), void *user);

void sn_kernel_print(Text *text, const KernelIr *kernel);

/* Launches with so many buffers and params each that fit among the arguments of one. */
static inline int sn_group_most(int buffers, int params) {
    enum { WORD = 8 };
    return (SN_ARGUMENT_BYTES - WORD) / (WORD * (buffers + params + 2));
}

/* ---- in_place.c ---- */

/* Fills in out->in_place of a kernel that has been emitted. */
void sn_find_in_place(const KernelIr *kernel, Kernel *out);

/* Fills in out->fault: by which instructions the kernel can fail on its data. */
void sn_find_faults(const KernelIr *kernel, Kernel *out);

/* ---- schedule_facts.c ---- */

/* The product of the extents of the first `count` axes. */
Dim sn_schedule_product(Dims *dims, const Axes *axes, int count);

/* Whether a load is of vectors along `axis` where those along the last parallel axis are scattered, *stride elements apart. */
bool sn_schedule_crosses(Dims *dims, const Nest *nest, const Instr *instr, Dim axis, Dim *stride);

/* A load that goes through a tile: vectors along nest->tile, transposed to the vector axis, whose lanes are *stride
 * elements apart (may be NULL). */
bool sn_schedule_tiled(Dims *dims, const Nest *nest, const Instr *instr, Dim *stride);

/* CPU: rows of the source of such loads in a work item, a multiple of 16, so that stores are of several whole lines. */
int sn_schedule_band(const Nest *nest);

/* ---- schedule.c ---- */

/* Splits and merges axes, chooses the vector axis, places instructions, keeps dear values in row scratch,
 * cuts work items. */
Status sn_schedule_nest(KernelIr *kernel, Nest *nest);

/* Chooses the vector axis and makes it the last of its kind. */
void sn_schedule_vector(KernelIr *kernel, Nest *nest);

/* Values that are dear and needed in more than one loop over the row are computed once; where there are none, on a
 * CPU, those that are made of several rows. */
void sn_schedule_keeps(KernelIr *kernel, Nest *nest);

/* The last steps of sn_schedule_nest, for a nest whose axes are final. */
void sn_schedule_items(KernelIr *kernel, Nest *nest);

/* The least number that no axis of the nest has, nor any above it. */
int sn_schedule_free_number(const Nest *nest);

/* ---- schedule_replace.c ---- */

/* Every Dim of a nest that a loop axis may occur in. */
typedef SN_VEC(Dim *) NestDims;
NestDims sn_nest_dims(Arena *arena, Nest *nest);

/* Replaces axes in these Dims, or in all that the nest computes. */
void sn_nest_dims_replace(Dims *dims, NestDims in, const Dim *from, const Dim *to, int count);
void sn_schedule_replace(KernelIr *kernel, Nest *nest, const Dim *from, const Dim *to, int count);

/* ---- dense.c ---- */

/* Of an elementwise nest that has one axis left, along which all its loads and stores lie dense: lets a number of the
 * launch stand for its extent, so that tensors of all sizes have one kernel. */
void sn_schedule_dense(KernelIr *kernel, Nest *nest);

/* In a kernel that has been emitted: the extent in the place of what stood for it. */
void sn_give_count(const KernelIr *kernel, Kernel *out);

/* ---- strip.c ---- */

/* Orders two axes of rows that change places, and chooses nest->strip. */
void sn_schedule_strip(KernelIr *kernel, Nest *nest);

/* ---- split.c ---- */

/* Splits a scheduled nest of few rows that are long into one that reduces pieces of them, as many as the shape
 * and the target say, and another one, behind all others of the kernel, that reduces the pieces' results. */
void sn_schedule_split(KernelIr *kernel, Nest *nest);

/* ---- schedule_cuda.c ---- */

/* Chooses nest->block and cuts the rows into blocks. */
void sn_schedule_block(KernelIr *kernel, Nest *nest);

/* True when a value that is needed in several steps is worth its registers. */
bool sn_schedule_block_keeps(const Nest *nest, const Instr *instr);

#endif
