/* Graphs of a few operators that memory bounds. */
#ifndef SN_ROWS_CASES_H
#define SN_ROWS_CASES_H

#include <stdbool.h>
#include <stdint.h>

/* How often all of a row is gone over where it is longer than the first-level cache. */
typedef enum RowsAgain {
    ROWS_ONCE,
    ROWS_READ_AGAIN, /* what is written of it comes from what is read */
    ROWS_KEPT,       /* or from what was made of that, and was kept in the second-level cache */
    ROWS_TWICE       /* it is longer than half a second-level cache, and comes from memory twice */
} RowsAgain;

typedef struct RowsCase {
    const char *name;
    const char *body;   /* the graph in the text form, after its first line; N is its symbol. NULL: AdamW */
    int64_t row_bytes;  /* N times this is the size that is asked for */
    int64_t multiple;   /* of which N is one; 0: 1 */
    int64_t index_most; /* integer inputs are in [0, index_most) */
    int table; /* 1 + the input of which as much is read as is written; 0: every input is read once */
    RowsAgain again;
    int64_t table_bytes;  /* of the table whose rows are read at random; 0: there is none */
    int64_t table_row;    /* of such a row */
    int64_t table_beside; /* rows of a small table that are added to them in order; 0: none are */
    int64_t columns;      /* of rows of f32 that are transposed; 0: none are */
    int64_t positions;    /* so many of them together; 0: all */
} RowsCase;

extern const RowsCase sn_rows_cases[];
extern const int sn_rows_case_count;

#endif
