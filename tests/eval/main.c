#include "eval_fixture.h"

int main(void) {
    int (*const group[])(void) = {test_pointwise, test_move, test_rows, test_heavy, test_graphs};
    int failed = 0;
    for (size_t k = 0; k < sizeof group / sizeof *group; k++) failed += group[k]();
    return failed != 0;
}
