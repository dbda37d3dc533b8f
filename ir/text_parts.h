/* What the printer, the parser and the verifier share of the text form. */
#ifndef SN_TEXT_PARTS_H
#define SN_TEXT_PARTS_H

#include "graph.h"

/* Words of the text form, by enumerator. */
extern const char *const sn_stage_word[], *const sn_check_word[], *const sn_phase_word[];
enum { SN_STAGE_WORDS = 3, SN_CHECK_WORDS = 3, SN_PHASE_WORDS = 3 };

enum { SN_TEXT_TENSOR_MAX = 32 }; /* tensors of more elements are elided */

/* The hash that stands for the payload of a tensor too large to print. It parses to a recipe of zeros (scale
 * and offset 0) that has the hash as its seed, which gives back the same hash and needs no memory. */
uint64_t sn_tensor_elided_hash(const Tensor *tensor);

/* The shortest decimal that gives back `value` when it is rounded to `dtype`; "inf", "-inf" or "nan". The
 * same in every locale. */
void sn_float_print(Text *text, DType dtype, double value);

/* The text of a graph with a line for each note behind what it is about: a Node, a Value or a Region, or the
 * graph itself. Notes are comments, so that the text still parses. */
typedef struct Note {
    const void *about;
    const char *message;
} Note;

typedef struct Notes {
    SN_VEC(Note) list;
} Notes;

void sn_graph_print_notes(Text *text, const Graph *graph, const Notes *notes);

#endif
