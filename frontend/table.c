/* The table of onnx.def as data. */
#include "import.h"

#include <string.h>

/* The newest opset of ai.onnx that was looked at for changes of meaning: what NEWEST says in the table. */
enum { NEWEST = 27 };

static const ImportRow rows[] = {
#define ONNX(domain, op, since, until, rule, parameter, in_min, in_max, out_max)                             \
    {domain, op, since, until, rule, parameter, in_min, in_max, out_max},
#include "onnx.def"
#undef ONNX
};

const ImportRow *sn_import_row(const char *domain, const char *op_type, int opset, bool *known) {
    *known = false;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].op_type, op_type) != 0 || strcmp(rows[i].domain, domain) != 0) continue;
        *known = true;
        if (opset >= rows[i].since && opset <= rows[i].until) return &rows[i];
    }
    return NULL;
}
