/* For tests that run every model of a folder in this process: import, compile in both modes, run on its vectors, compare.
 *
 * tests/models/unsupported*.txt list, one a line, the folders that are refused today: a model that is refused without standing
 * there fails, and so does one that stands there and runs. SN_MODELS (a prefix of folder names) narrows a run down. */
#ifndef SN_MODELS_FIXTURE_H
#define SN_MODELS_FIXTURE_H

#include "load.h"
#include "session.h"
#include "type.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <sinter/sinter.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_TENSORS = 64 };

typedef struct Totals {
    int passed, refused, failed;
    char *expected_refusals; /* NULL: any model may be refused */
    const char *device;
    sn_Autocast autocast;
    const char *folder; /* of the command line */
    bool strict;        /* refusals are of what is unsupported, and first vectors are offered as constants */
} Totals;

static inline bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

static inline const char *join(Arena *arena, const char *folder, const char *name) {
    return sn_arena_printf(arena, "%s/%s", folder, name);
}

/* ---- comparison ---- */

/* Narrow floats are as good as their own rounding; a cast's rounding is exactly what it is tested for. */
static inline double tolerance_of(DType dtype) {
    if (dtype == SN_F16) return 4e-3;
    return dtype == SN_BF16 ? 2e-2 : 1e-4;
}

/* Random numbers are nobody else's: of a model that draws some, only types are compared. */
static inline bool draws(const Graph *graph) {
    for (const Node *node = graph->body->first; node; node = node->next)
        if (node->op == SN_OP_RANDOM) return true;
    return false;
}

/* Errors of products whose operands are rounded to 16 bits add up over a few layers: their root mean square is a few of
 * those roundings. */
static inline const char *rounding_difference(Arena *arena, const Tensor *got, const Tensor *expected,
                                              sn_Autocast autocast) {
    enum { ROUNDINGS = 6 };
    double error = 0, square = 0, unit = autocast == SN_AUTOCAST_BF16 ? 0x1p-8 : 0x1p-11;
    for (int64_t i = 0; i < expected->count; i++) {
        double a = sn_tensor_get(got, i), b = sn_tensor_get(expected, i);
        error += (a - b) * (a - b), square += b * b;
    }
    if (sqrt(error) <= ROUNDINGS * unit * sqrt(square)) return NULL;
    return sn_arena_printf(arena, "an error of %.3g roundings", sqrt(error / square) / unit);
}

/* NULL when equal, otherwise what differs; `values`: also in what the elements are. */
static inline const char *difference(Arena *arena, const sn_Tensor *got, const Tensor *expected,
                                     sn_Autocast autocast, bool values) {
    if (got->element_type != sn_dtype_onnx(expected->dtype)) return "another element type";
    if (got->rank != expected->rank) return "another rank";
    for (int i = 0; i < got->rank; i++)
        if (got->extent[i] != expected->extent[i]) return "another shape";
    Tensor result = *expected;
    result.payload = SN_PAYLOAD_BYTES;
    result.bytes = got->data;
    if (autocast && values && expected->dtype == SN_F32)
        return rounding_difference(arena, &result, expected, autocast);
    double tolerance = tolerance_of(expected->dtype);
    for (int64_t i = 0; values && i < expected->count; i++) {
        double a = sn_tensor_get(&result, i), b = sn_tensor_get(expected, i);
        bool same = a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * (1 + fabs(b));
        if (!sn_dtype_is_float(expected->dtype))
            same = sn_tensor_get_int(&result, i) == sn_tensor_get_int(expected, i);
        if (!same) return sn_arena_printf(arena, "element %ld is %.9g, not %.9g", (long)i, a, b);
    }
    return NULL;
}

/* ---- one case ---- */

/* The place of input file number `i`: where some inputs are constants files say their names. -1: it is a constant. */
static inline int place_of(const sn_Model *model, const char *name, int i) {
    if (!model->options.constant_count) return i;
    for (int k = 0; k < sn_model_input_count(model); k++)
        if (strcmp(sn_model_input(model, k).name, name) == 0) return k;
    return -1;
}

static inline sn_Error *set_inputs(Arena *arena, const sn_Model *model, sn_Context *context,
                                   const char *folder) {
    int count = sn_model_input_count(model) + model->options.constant_count;
    for (int i = 0; i < count; i++) {
        Tensor *tensor;
        const char *name, *path = sn_arena_printf(arena, "%s/input_%d.pb", folder, i);
        if (model->options.constant_count && !exists(path)) break;
        Status status = sn_load_tensor(arena, path, &tensor, &name);
        if (status) return status;
        int place = place_of(model, name, i);
        if (place < 0) continue;
        void *bytes =
            sn_arena_alloc(arena, (size_t)tensor->count * (size_t)sn_dtype_bytes(tensor->dtype) + 1);
        sn_tensor_copy(tensor, 0, tensor->count, bytes);
        sn_Tensor input = {sn_dtype_onnx(tensor->dtype), tensor->rank, tensor->extent, bytes};
        status = sn_context_set_input(context, place, &input);
        if (status) return status;
    }
    return NULL;
}

static inline const char *check_outputs(Arena *arena, const sn_Context *context, const char *folder,
                                        int count, sn_Autocast autocast, bool values) {
    for (int i = 0; i < count; i++) {
        const char *path = sn_arena_printf(arena, "%s/output_%d.pb", folder, i);
        Tensor *expected;
        sn_Tensor got;
        if (!exists(path)) continue;
        Status status = sn_load_tensor(arena, path, &expected, NULL);
        if (!status) status = sn_context_output(context, i, &got);
        const char *reason = status ? sn_arena_string(arena, sn_error_message(status)) : NULL;
        sn_error_free(status);
        if (!reason) reason = difference(arena, &got, expected, autocast, values);
        if (reason) return sn_arena_printf(arena, "output %d: %s", i, reason);
    }
    return NULL;
}

/* NULL when the case passes. Both cases of a model run in one context, so a new shape must not need a new
 * program. */
static inline const char *run_case(Arena *arena, const sn_Model *model, sn_Context *context,
                                   sn_Autocast autocast, const char *folder) {
    sn_Error *error = set_inputs(arena, model, context, folder);
    if (!error) error = sn_context_run(context);
    const char *reason = error ? sn_arena_string(arena, sn_error_message(error)) : NULL;
    sn_error_free(error);
    return reason ? reason
                  : check_outputs(arena, context, folder, sn_model_output_count(model), autocast,
                                  !draws(model->graph));
}

static inline const char *run_cases(Arena *arena, const sn_Model *model, sn_Context *context,
                                    sn_Autocast autocast, const char *folder) {
    if (exists(join(arena, folder, "output_0.pb"))) return run_case(arena, model, context, autocast, folder);
    struct dirent **entry;
    int count = scandir(folder, &entry, NULL, alphasort);
    const char *reason = NULL;
    for (int i = 0; i < count; i++) {
        const char *inner = join(arena, folder, entry[i]->d_name);
        if (!reason && entry[i]->d_name[0] != '.' && exists(join(arena, inner, "output_0.pb")))
            reason = run_case(arena, model, context, autocast, inner);
        free(entry[i]);
    }
    free(entry);
    return reason;
}

/* *code: of what failed before a run. */
static inline const char *run_mode(Arena *arena, const sn_Model *model, const Totals *totals, sn_Mode mode,
                                   const char *folder, sn_Code *code) {
    sn_CompileOptions options = {.size = sizeof options,
                                 .mode = mode,
                                 .device = totals->device,
                                 .autocast = totals->autocast,
                                 .threads = 2};
    sn_Program *program = NULL;
    sn_Context *context = NULL;
    sn_Error *error = sn_compile(model, &options, &program);
    if (!error) error = sn_context_new(program, NULL, &context);
    const char *reason = error ? sn_arena_string(arena, sn_error_message(error)) : NULL;
    *code = sn_error_code(error);
    sn_error_free(error);
    if (!reason) reason = run_cases(arena, model, context, totals->autocast, folder);
    sn_context_free(context);
    sn_program_free(program);
    return reason;
}

/* ---- one model ---- */

static inline bool is_expected_refusal(const Totals *totals, const char *name) {
    size_t length = strlen(name);
    for (const char *line = totals->expected_refusals; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && (line[length] == '\n' || !line[length])) return true;
    }
    return false;
}

static inline void count_failure(Totals *totals, const char *name, const char *what, const char *reason) {
    print_message("%s %s: %s\n", name, what, reason);
    totals->failed++;
}

/* A refusal that is expected (or, without a list, any) is one before a run, or an error when the sizes are bound; another
 * result never is. */
static inline bool is_refusal(const Totals *totals, sn_Code code, const char *reason, const char *name) {
    if (totals->expected_refusals && !is_expected_refusal(totals, name)) return false;
    return totals->strict ? code == SN_UNSUPPORTED : code || strncmp(reason, "output ", 7) != 0;
}

/* ONNX's tests of an operator are there once more with what the operator's function consists of. Those operators have tests
 * of their own that run them one by one, so that these run compiled alone. */
static inline bool is_written_out(const char *name) {
    static const char end[] = "_expanded";
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* Of ONNX's own tests, one whose inputs decide sizes or axes is imported for the values of its first vectors. */
static inline sn_Error *open_model(Arena *arena, const Totals *totals, const char *folder, sn_Model **out) {
    LoadOptions options = {0};
    ConstantInput *offered = SN_ARRAY(arena, ConstantInput, MAX_TENSORS);
    const char *path = join(arena, folder, "model.onnx");
    for (int i = 0; totals->strict && i < MAX_TENSORS; i++) {
        Tensor *tensor;
        const char *input = sn_arena_printf(arena, "%s/test_data_set_0/input_%d.pb", folder, i);
        if (!exists(input)) break;
        sn_Error *error = sn_load_tensor(arena, input, &tensor, &offered[i].name);
        sn_error_free(error); /* of what is no tensor, as the model will say */
        if (error) break;
        offered[i].tensor = tensor;
        offered[i].if_needed = true;
        options.constant_count++;
    }
    options.constant = offered;
    return sn_session_open(path, &options, out);
}

static inline void run_model(Totals *totals, const char *folder, const char *name) {
    Arena *arena = sn_arena_new();
    sn_Model *model = NULL;
    sn_Error *error = open_model(arena, totals, folder, &model);
    const char *reason = error ? sn_error_message(error) : NULL;
    sn_Code code = sn_error_code(error);
    int passed = 0;
    for (int mode = 0, modes = is_written_out(name) ? 1 : 2; model && mode < modes && !reason; mode++) {
        reason = run_mode(arena, model, totals, mode ? SN_EAGER : SN_COMPILED, folder, &code);
        passed += !reason;
    }
    if (reason && is_refusal(totals, code, reason, name))
        totals->refused++;
    else if (reason)
        count_failure(totals, name, error ? "import" : passed ? "eager" : "compiled", reason);
    else if (is_expected_refusal(totals, name))
        count_failure(totals, name, "import", "is supported now: remove it from the list of what is not");
    else
        totals->passed++;
    sn_error_free(error);
    sn_model_close(model);
    sn_arena_free(arena);
}

static inline void run_folder(Totals *totals, const char *folder, const char *prefix) {
    struct dirent **entry;
    int count = scandir(folder, &entry, NULL, alphasort);
    const char *only = getenv("SN_MODELS");
    for (int i = 0; i < count; i++) {
        char path[2048], name[512];
        snprintf(name, sizeof name, "%s%s", prefix, entry[i]->d_name);
        snprintf(path, sizeof path, "%s/%s/model.onnx", folder, entry[i]->d_name);
        bool wanted = !only || strncmp(name, only, strlen(only)) == 0;
        if (wanted && entry[i]->d_name[0] != '.' && exists(path)) {
            path[strlen(path) - strlen("/model.onnx")] = 0;
            run_model(totals, path, name);
        }
        free(entry[i]);
    }
    if (count >= 0) free(entry);
}

static inline char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    if (file) {
        size_t length = fread(text, 1, (1 << 16) - 1, file);
        assert_true(length < (1 << 16) - 1);
        fclose(file);
    }
    return text;
}

#endif
