/* For tests of executors: fused graphs from text, a code generator that is too simple to be wrong, and a
 * cache folder of the test's own. */
#ifndef SN_EXECUTE_FIXTURE_H
#define SN_EXECUTE_FIXTURE_H

#include "context.h"
#include "fixture.h"
#include "session.h"
#include "text_form.h"
#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

/* A folder of the test's own for kernels and whatever else it writes, removed by remove_cache. Where $SINTER_CACHE is set, its
 * kernels outlive it in a folder below that one, for this program of another build; of two builds' that run at once, the second
 * one waits. The path is short in any case. */
static inline int make_cache(void **state) {
    enum { LENGTH = sizeof "/tmp/sinter-test-XXXXXX" - 1 };
    static char path[64]; /* cmocka's tests run one after the other */
    if (make_test_folder(path)) return -1;
    *state = path;
    if (!getenv("SINTER_CACHE")) return 0;
    char command[256];
    snprintf(command, sizeof command,
             "kept=$SINTER_CACHE/%s; mkdir -p -m 700 \"$kept\" && ln -s \"$(realpath \"$kept\")\" %s/kept",
             program_invocation_short_name, path);
    if (system(command) != 0) return -1;
    strcpy(path + LENGTH, "/kept");
    int lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closed by the end of the process */
    if (lock < 0 || flock(lock, LOCK_EX) != 0) return -1;
    snprintf(command, sizeof command, "find %s/ -mindepth 1 -maxdepth 1 ! -name kernels -exec rm -r {} +",
             path);
    return system(command);
}

static inline int remove_cache(void **state) {
    char folder[64];
    snprintf(folder, sizeof folder, "%s", (const char *)*state);
    char *kept = strstr(folder, "/kept");
    if (kept) *kept = '\0';
    return remove_test_folder(folder);
}

/* ---- the simple generator ----
 *
 * One output element an item. Every value of the body has the first output's element count, except operands
 * of view (which repeat: element i reads i mod count, for constant counts) and tables of gather (rank 1). f32
 * and i64. */

/* Position in the body, from 1: the fault code of a node, and part of its variable's name, so that equal
 * clusters have equal text. */
static inline int position_of(const Node *node) {
    int position = 1;
    for (; node->previous; node = node->previous) position++;
    return position;
}

static inline void operand(Text *text, const Value *value, const char *index) {
    const char *type = value->type.dtype == SN_I64 ? "const long long" : "const float";
    if (value->producer)
        sn_text_add(text, "v%d", position_of(value->producer));
    else
        sn_text_add(text, "((%s *)b[%d])[%s]", type, value->index, index);
}

static inline void simple_view(Text *text, const Value *source) {
    int64_t count = 1, extent;
    for (int i = 0; i < source->type.rank; i++) {
        assert_true(sn_dim_is(source->type.dim[i], &extent));
        count *= extent;
    }
    char index[64];
    snprintf(index, sizeof index, "i %% %lld", (long long)count);
    operand(text, source, index);
}

static inline void simple_node(Text *text, const Node *node) {
    int position = position_of(node);
    sn_text_add(text, "        %s v%d = ", node->output[0]->type.dtype == SN_I64 ? "long long" : "float",
                position);
    if (node->op == SN_OP_VIEW) {
        simple_view(text, node->input[0]);
    } else if (node->op == SN_OP_GATHER) {
        sn_text_add(text, "0; long long at = ");
        operand(text, node->input[1], "i");
        sn_text_add(text, "; if (at < 0 || at >= s[0]) fault = %d; else v%d = ", position, position);
        operand(text, node->input[0], "at");
    } else {
        operand(text, node->input[0], "i");
        sn_text_add(text, node->op == SN_OP_ADD ? " + " : node->op == SN_OP_MUL ? " * " : " - ");
        operand(text, node->input[1], "i");
    }
    sn_text_add(text, ";\n");
}

static inline Status simple_codegen(Arena *arena, Dims *dims, const Node *cluster, const Target *target,
                                    Kernel **out) {
    (void)target;
    Text body = sn_text(arena);
    Dim *param = SN_ARRAY(arena, Dim, 2); /* the length of a gather's table, and the number of items */
    param[0] = sn_dim(dims, 1);
    param[1] = sn_type_count(dims, cluster->output[0]->type);
    for (const Node *node = cluster->body->first; node; node = node->next) {
        if (node->op == SN_OP_GATHER) param[0] = node->input[0]->type.dim[0];
        simple_node(&body, node);
    }
    for (int i = 0; i < cluster->output_count; i++) {
        const Value *value = cluster->body->result.at[i];
        sn_text_add(&body, "        ((%s *)b[%d])[i] = ", value->type.dtype == SN_I64 ? "long long" : "float",
                    cluster->input_count + i);
        operand(&body, value, "i");
        sn_text_add(&body, ";\n");
    }
    Kernel *kernel = SN_NEW(arena, Kernel);
    kernel->hash = sn_hash_string((Hash){0}, sn_text_string(&body));
    char hex[33];
    sn_hash_hex(kernel->hash, hex);
    kernel->name = sn_arena_printf(arena, "k_%s", hex);
    kernel->source = sn_arena_printf(arena,
                                     "int %s(void *const *b, const long *s, long begin, long end) {\n"
                                     "    int fault = end > s[1] ? 100 : 0;\n"
                                     "    for (long i = begin; i < end; i++) {\n%s    }\n"
                                     "    return fault;\n}\n",
                                     kernel->name, sn_text_string(&body));
    kernel->input_count = cluster->input_count;
    kernel->output_count = cluster->output_count;
    kernel->param_count = 2;
    kernel->param = param;
    kernel->items = param[1];
    *out = kernel;
    return NULL;
}

/* ---- programs ---- */

static inline Graph *parse_fused(Arena *arena, const char *text) {
    Graph *graph = NULL;
    assert_ok(sn_graph_parse(arena, text, strlen(text), &graph));
    assert_ok(sn_verify(graph));
    return graph;
}

/* `wrap` (may be NULL) may put another device in the place of the program's. */
static inline sn_Program *make_program(const char *text, bool eager, int threads, const char *cache,
                                       void (*wrap)(sn_Program *program)) {
    Arena *arena = sn_arena_new();
    sn_Program *program;
    Plan *plan;
    assert_non_null(arena);
    assert_ok(sn_program_open(arena, NULL, threads, cache, &program));
    if (wrap) wrap(program);
    assert_ok(
        sn_plan_new(arena, parse_fused(arena, text), &program->device->target, eager, simple_codegen, &plan));
    assert_ok(sn_program_load(program, plan));
    return program;
}

static inline sn_Context *make_context(const sn_Program *program, int64_t memory_limit) {
    sn_Context *context;
    sn_ContextOptions options = {.size = sizeof options, .memory_limit = memory_limit};
    assert_ok(sn_context_new(program, &options, &context));
    return context;
}

static inline Status set_f32(sn_Context *context, int index, int rank, const int64_t *extent, void *data) {
    sn_Tensor tensor = {.element_type = 1, .rank = rank, .extent = extent, .data = data};
    return sn_context_set_input(context, index, &tensor);
}

static inline Status set_i64(sn_Context *context, int index, int rank, const int64_t *extent, void *data) {
    sn_Tensor tensor = {.element_type = 7, .rank = rank, .extent = extent, .data = data};
    return sn_context_set_input(context, index, &tensor);
}

#endif
