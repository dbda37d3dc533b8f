/* Graphs of a few operators that memory bounds. */
#ifndef SN_ROWS_CASES_H
#define SN_ROWS_CASES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct RowsCase {
    const char *name;
    const char *body;   /* the graph in the text form, after its first line; N is its symbol. NULL: AdamW */
    int64_t row_bytes;  /* N times this is the size that is asked for */
    int64_t multiple;   /* of which N is one; 0: 1 */
    int64_t index_most; /* integer inputs are in [0, index_most) */
    int table; /* 1 + the input of which as much is read as is written; 0: every input is read once */
    bool
        twice; /* rows are longer than half a second-level cache, and needed again when all of one has been read */
    int64_t table_bytes,
        table_row; /* of the table and of its rows, which are read at random; 0: there is none */
    int64_t columns,
        positions; /* of rows of f32 that are transposed, so many of them together (0: all); 0: it is none */
} RowsCase;

extern const RowsCase sn_rows_cases[];
extern const int sn_rows_case_count;

#endif
