/* What makes a graph a language model: an input of token ids, an output of logits, and how many positions it knows. */
#ifndef SN_LANGUAGE_H
#define SN_LANGUAGE_H

#include "inputs.h"

typedef struct Language {
    const Graph *graph;
    int tokens;         /* the input [batch, length]: the integers that index the largest table */
    DType dtype;        /* of it */
    int64_t vocabulary; /* rows of that table; 0: not known */
    int64_t batch;      /* what the model fixes the extents of `tokens` to; 0: nothing */
    int64_t length;
    int64_t context; /* positions that its tables have rows for; 0: any number */
    int logits;      /* the output [batch, length, classes] */
    int64_t classes;
} Language;

/* Looks at an imported graph. `logits` names the output; NULL: the first float one of rank 3. SN_INVALID says
 * what is missing, or that there is no such output. */
Status sn_language_find(const Graph *graph, const char *logits, Language *out);

/* Inputs beside the tokens that index a table as positions do get the positions past, past + 1, … (or zero where the
 * table has a few rows only, as tables of kinds of tokens have), but for those that the request names. */
void sn_language_fill(const Language *language, const InputRequest *request, const Inputs *inputs,
                      int64_t past);

#endif
