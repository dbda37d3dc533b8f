/* Kernel IR to text. emit.c spells index expressions, emit_instr.c instructions, which emit_place.c places; they
 * serve C and CUDA C++, whose preludes define functions of the same names. emit_c.c and emit_cuda.c build the
 * loops and the entry. */
#ifndef SN_EMIT_H
#define SN_EMIT_H

#include "kernel.h"

typedef struct Dialect {
    const char *fault;  /* format of the statement that reports fault %d */
    bool goes_on;       /* after a fault the code goes on, so indices must be made safe */
    bool one_plus_erf;  /* there is a function for 1 + erf(x) */
    const char *symbol; /* format of symbol %d of the launch */
    const char *buffer; /* format of buffer %d of the launch, a void pointer */
    const char *number; /* format of the f32 whose bits are the symbol %s; NULL: such numbers are not given */
    const char
        *kept; /* format of the place of a row's element in scratch %d; NULL: by its number in the row */
} Dialect;

typedef enum Form {
    SN_FORM_VECTOR,  /* whole vectors */
    SN_FORM_PARTIAL, /* the first n lanes, 0 < n < SN_LANES */
    SN_FORM_SCALAR,
} Form;

typedef struct Emit {
    Arena *arena;
    const Dialect *dialect;
    KernelIr *kernel;
    Axes param;   /* Kernel.param: what s0, s1 … are, over all functions of the kernel */
    bool streams; /* stores may go past the caches: `past` says so, see device/memory.h */
    bool
        fetches; /* what is loaded is fetched into the second-level cache, `far` bytes ahead: see emit_fetch.c */
    int64_t least_fetched; /* where it reads at least so many bytes */
    bool crosses;          /* that is of the next rows where these end: `far<id>` on, see sn_emit_far_rows */
    int online;     /* the nest's step that is one walk with the one before it, see emit_online.c; 0: none */
    bool lags;      /* its rows are stored one row later, see emit_lag.c */
    int host;       /* of those: the step in whose loop the row before is stored */
    bool beside;    /* of those: nothing is dear, and rows are read again from the caches */
    bool again;     /* from the second-level cache */
    bool fours;     /* and stored four rows by turns, see emit_fours.c */
    bool leads;     /* and gone over for the first time one row sooner, see emit_lead.c */
    bool direct;    /* the nest's whole tiles are stored straight from registers, see emit_tile.c */
    bool registers; /* one of those is written: loads through it are x<id>[r * (band / SN_LANES) + v] */

    /* the function being written */
    const Nest *nest;
    Text text;
    int indent;
    Form form;
    int step;        /* of the loop being written */
    int part;        /* of the vectors that a loop does at a time, the number of the one being written. C */
    Dim vector_axis; /* NULL: none */
    const Store *alone;          /* NULL, or the store that loops are written for without the others; C */
    const unsigned char *needs;  /* by id: what that one needs */
    SN_VEC(const Store *) edges; /* those whose partial vectors are put together, see emit_edge.c */
    const bool *wide;            /* NULL, or by id: loads that are f32 in g<id>, see emit_wide.c */
    const unsigned char *holds;  /* NULL, or by id: tests that are known to hold. C */
    const bool *ahead;   /* NULL, or by id: loads that have been done, whose elements are x<id>[q]. CUDA */
    SN_VEC(int) symbols; /* used by the function, in order of first use */
    SN_VEC(int) buffers;
} Emit;

/* Starts a function: text, indent and what it uses are emptied. */
void sn_emit_function(Emit *emit, const Nest *nest);

/* A line (indented, with a newline) of the function. */
void sn_emit_line(Emit *emit, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The locals s0 …, b0 … that the function uses, as text to put before its body; symbols are read through
 * dialect->symbol and dialect->buffer. */
void sn_emit_locals(const Emit *emit, Text *out);

/* The expression of a Dim as arena text. With `lane` (the name of a variable), the vector axis stands at that
 * lane. */
const char *sn_emit_dim(Emit *emit, Dim dim, const char *lane);

/* A Dim without axes as a number that the launch gives, also where it is constant. */
const char *sn_emit_given(Emit *emit, Dim dim);

/* The name of a buffer's pointer, which becomes a local. */
const char *sn_emit_buffer(Emit *emit, int buffer);

/* Names: compute type of a dtype ("f32", "mask"), its C type as scalar or vector, the storage type's C name.
 */
const char *sn_emit_compute(DType dtype);
const char *sn_emit_type(DType dtype, bool vector);
const char *sn_emit_storage(DType dtype);

/* Whether the kernel calls `function`, whose text then comes before it. */
bool sn_emit_calls(const KernelIr *kernel, const char *function);

/* The value as an operand; `vector`: splat when it does not vary. */
const char *sn_emit_use(Emit *emit, const Instr *instr, bool vector);

/* What `function` of two accumulated values spells, and where it starts. */
const char *sn_emit_combine(Emit *emit, const char *function, DType dtype, bool vector, const char *a,
                            const char *b);
const char *sn_emit_identity(Emit *emit, const char *function, DType dtype, bool vector);

/* True when the instruction is written as a vector in the present form. */
bool sn_emit_is_vector(const Emit *emit, const Instr *instr);

/* True when dim = stride·lane + what it is at lane 0, with a stride that is the same in all lanes. */
bool sn_emit_strided(const Emit *emit, Dim dim, Dim *stride);

/* The statements that compute one instruction as v<id>. */
void sn_emit_instr(Emit *emit, const Instr *instr);
void sn_emit_store(Emit *emit, const Store *store);

/* The value that a store rounds by itself to what it stores. */
const char *sn_emit_stored(Emit *emit, const Store *store, bool vector);

/* Where instructions are written, and what is needed there. */
typedef enum Place {
    SN_PLACE_ITEM,   /* depends on no axis */
    SN_PLACE_ROW,    /* on parallel axes, not the vector axis */
    SN_PLACE_VECTOR, /* on the vector axis, which is parallel */
    SN_PLACE_LOOP,   /* on reduced axes */
} Place;

/* needed[id]: the instruction is needed in step `step` (or in any, for step < 0). */
unsigned char *sn_emit_needed(Emit *emit, int step);
/* Whether a loop over the row computes something dear anew. */
bool sn_emit_is_dear(Emit *emit, int step);

/* Adds what `value` needs to needed[]. */
void sn_emit_need(Emit *emit, Instr *value, unsigned char *needed);

/* Writes the instructions of `place` that are needed, and ready after `ready` steps (LOOP: whatever their
 * readiness). */
void sn_emit_place(Emit *emit, Place place, int ready, const unsigned char *needed);

/* ---- emit_fetch.c: streams that the C dialect fetches ahead into the second-level cache ---- */

/* Sets emit->fetches: the target gains by it, and what the kernel reads may be too large for that cache. */
void sn_emit_choose_fetches(Emit *emit);

/* Defines `far` of the function, if emit->fetches. */
void sn_emit_far(Emit *emit);

/* Whether a load, of vectors of what lies side by side, has what it reads of a whole strip in one piece: the next strip's is read
 * ahead as it lies. */
bool sn_emit_strips(const Emit *emit, const Instr *load);

enum {
    SN_NEAR_BYTES = 512
}; /* so far ahead what waits in the second-level cache is brought into the first */

/* Whether streams are fetched, and rows of elements of so many bytes are known to be longer than the second-level cache. */
bool sn_emit_is_vast(const Emit *emit, int bytes);

/* Behind the load of a whole vector: fetches what that load will want later. */
void sn_emit_fetch(Emit *emit, const Instr *instr);

/* If emit->crosses: defines far<id> of every load of the step in runs of `run` elements, of `rows` places of `axis` side by side,
 * by `ends`: whether the next such runs are at hand there, `far` on, and not these. */
void sn_emit_far_rows(Emit *emit, Dim axis, int rows, const char *run);

/* ---- emit_memory.c: the C dialect's traffic with memory ---- */

/* Sets emit->streams: what the kernel writes may be too large for the caches. */
void sn_emit_choose_streams(Emit *emit);

/* Defines `past` of the function, if emit->streams. */
void sn_emit_past(Emit *emit);

/* The store of a step whose address decides where the loop over vectors begins, or NULL. */
const Store *sn_emit_head_store(const Emit *emit, const Step *step);

/* Whether a map's stores have loops of their own: as they begin at different places of vectors, so that only one of them could be
 * aligned, and have nothing in common; or, in strips of rows, as pieces that are stored in order. */
bool sn_emit_stores_apart(Emit *emit);

/* From here on loops are written for that store and what it needs alone (NULL: for all). */
void sn_emit_alone(Emit *emit, const Store *store);

/* Whether the loop over vectors begins with a partial one, as `head` (which this defines) says. */
bool sn_emit_head(Emit *emit, const Store *store);

/* The last axis of rows (NULL: all is one row, or nothing is in vectors), and how many elements a row has. */
Dim sn_emit_row_axis(const Nest *nest);
Dim sn_emit_row_length(const Emit *emit);

/* Whether a row is gone over in one loop, that reduces. */
bool sn_emit_reduces_once(const Nest *nest);

/* Whether indices choose rows that the nest loads. */
bool sn_emit_gathers(const Emit *emit);

/* Defines ahead<id> for every load of whole rows: how many bytes further on it is worth reading. */
void sn_emit_rows_ahead(Emit *emit);

/* Defines, at the beginning of a row, the indices that rows further on will have. */
void sn_emit_far_indices(Emit *emit);

/* Reads ahead at the present place in the row. */
void sn_emit_read_ahead(Emit *emit);

/* `count` of equal parts of a row, from part `from` on. */
typedef struct RowShare {
    int from, count;
} RowShare;

/* The parts of a row that a loop reads ahead, usually and where its kernel stores past the caches. */
typedef struct RowShares {
    const RowShare *usual, *past;
} RowShares;

/* In a loop over a row that is at its vectors number n·parts to n·parts + parts − 1: reads ahead of its share of
 * `parts` parts as much as it has come forward. */
void sn_emit_read_share(Emit *emit, const RowShares *shares, int parts);

/* ---- emit_edge.c: lines that rows share ---- */

/* At the beginning of the function: chooses emit->edges and defines edge<buffer> for each; at its end: stores what they have. */
void sn_emit_edges(Emit *emit);
void sn_emit_edges_end(Emit *emit);

/* ---- emit_lag.c: rows of the C dialect that are stored while the next one is computed ---- */

/* Whether the nest is one of those (then it sets emit->host); its last step is then never written by itself. */
bool sn_emit_lags(Emit *emit);

/* Before the loop over rows: defines what is to be stored as nothing. At the end of a row: as that row. */
void sn_emit_lag_begin(Emit *emit);
void sn_emit_lag_row(Emit *emit);

/* Stores what has not been stored of the row of before, up to at least element `limit`, or all where it is the length. */
void sn_emit_lag(Emit *emit, const char *limit);

/* The same with each of `vectors` vectors of the hosting loop: before them what is no whole line, or all that is left where it is less
 * than these, and at each of them a vector of what is left; or two at every other one, where two are a line. */
void sn_emit_lag_group(Emit *emit, int vectors);
void sn_emit_lag_vector(Emit *emit);

/* ---- emit_lead.c: of those, rows that are gone over for the first time while the one before is computed ---- */

/* Whether the nest may be one of those, if it lags. */
bool sn_emit_may_lead(Emit *emit);

/* Whether what the first loop over a row keeps of it takes turns between three places: next_r<n>, r<n> and before_r<n>. In a block:
 * the place is that of such a row. */
bool sn_emit_takes_turns(const Emit *emit);
void sn_emit_turn(Emit *emit, const char *row);

/* ---- emit_online.c: a maximum and the sums of exponentials below it, in one walk over long rows ---- */

enum {
    SN_ONLINE_BLOCK = 4096, /* elements: 16 KB of float32, a part of a first-level cache */
    SN_ONLINE_FIRST = 1024  /* elements of the first block that are gone over for the first level */
};

/* The step that takes such sums, if the one before it finds that maximum; 0 where there is none. */
int sn_emit_online(const Emit *emit);

/* Of these two: *top has the maximum, *sums all else that they accumulate, *both everything. Accumulators have `copies`. */
void sn_emit_online_steps(Emit *emit, Step *top, Step *sums, Step *both);

/* Before a block: holds what has been summed up. Behind it: the statement that leaves it, unless the maximum has risen too far
 * above `level`; what that changes. Behind the row: puts the sums right, and defines `over`, by which exponentials
 * that were kept are to be multiplied. */
void sn_emit_online_hold(Emit *emit, const Step *sums, int copies);
const char *sn_emit_online_test(Emit *emit, const Step *top);
void sn_emit_online_rise(Emit *emit, const Step *top, const Step *sums, int copies);
void sn_emit_online_end(Emit *emit, const Step *top, const Step *sums, int copies);

/* At a vector: reads the next block ahead, if this is that walk. */
void sn_emit_block_ahead(Emit *emit);

/* ---- the two dialects ---- */
Status sn_emit_c(KernelIr *kernel, Kernel *out);
Status sn_emit_cuda(KernelIr *kernel, Kernel *out);

/* Fills in source, name and hash, replacing every occurrence of "KERNEL_NAME" in `text`; and params. */
void sn_emit_name(Arena *arena, const char *text, Kernel *out);
void sn_emit_finish(KernelIr *kernel, Emit *emit, const char *text, Kernel *out);

#endif
