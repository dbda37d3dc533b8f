/* Saved programs: a compiled program in one file, to be run where there is no compiler.
 *
 * The file (parts.h) holds facts (version, mode, what the processor must have, the target's numbers, the
 * kernels' hashes), its tuning, the fused graph in its text form, the kernels as a shared object, and the weights: what
 * the setup made of them where it could be stored, the others as they are in the model, and rules as rules.
 * From graph and target the plan is made again, which must give the very kernels that the file holds. It
 * contains code: loading one is running it.
 */
#ifndef SN_SAVED_H
#define SN_SAVED_H

#include "device.h"
#include "graph.h"
#include "parts.h"
#include "program.h"
#include "saved_facts.h"

typedef enum SavedKind {
    SN_SAVED_CONSTANT, /* the bytes of a tensor that the graph's text elides; key: its hash there */
    SN_SAVED_SETUP,    /* a result of the setup; key: the value's id */
    SN_SAVED_KINDS
} SavedKind;

/* A row of the index, as it stands in the file. */
typedef struct SavedRow {
    uint64_t kind, key;
    uint64_t offset, size; /* within the payload; offsets are multiples of SN_PARTS_ALIGNMENT */
    uint64_t hash;         /* of the bytes (the low half) */
} SavedRow;

/* An opened file; its bytes are mapped for as long as the arena it was opened in lives. */
typedef struct Saved {
    SavedFacts facts;
    Part part[SN_PART_COUNT];
    int row_count;
    const SavedRow *row;
} Saved;

/* Opens a file and parses its graph (stage FUSED). Nothing of it is executed. */
Status sn_saved_open(Arena *arena, const char *path, Saved **out, Graph **graph);

/* SN_INVALID when a weight does not fit its hash: reads all of them. */
Status sn_saved_check_weights(const Saved *saved);

/* Loads the kernels and weights of `saved` into a program whose device was opened for the saved target. The
 * graph is a copy of the file's in the program's arena; `saved` outlives the program. The states are the
 * file's when `state_count` is 0. SN_UNSUPPORTED names what the processor lacks. */
Status sn_saved_load(sn_Program *program, const Saved *saved, const Graph *graph, int state_count,
                     const sn_State *state);

/* Writes a program to a file. SN_UNSUPPORTED for one that was itself loaded from a file. */
Status sn_saved_write(Arena *arena, const sn_Program *program, const char *path);

#endif
