/* For tests of the CUDA text: the fused graphs of tests/clusters, and the kernels that they become. Each file
 * is a graph in the text form, at stage fused. */
#ifndef SN_CLUSTER_FILES_H
#define SN_CLUSTER_FILES_H

#include "codegen.h"
#include "text_form.h"
#include "verify.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_FILES = 64 };

/* A graph, and a kernel for each of its clusters in order of the body. */
typedef struct ClusterFile {
    const char *name; /* without its folder and ending */
    Graph *graph;
    SN_VEC(const Kernel *) kernel;
} ClusterFile;

typedef struct ClusterFiles {
    Arena *arena;
    ClusterFile file[MAX_FILES];
    int count;
} ClusterFiles;

static inline void must(Status status, const char *what) {
    if (status) fail_msg("%s: %s", what, sn_error_message(status));
}

static inline void read_cluster_file(Arena *arena, const char *name, const Target *target, ClusterFile *out) {
    static char text[1 << 16]; /* cmocka's tests run one after the other */
    char path[512];
    snprintf(path, sizeof path, "%s/clusters/%s", SN_TESTS, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text, file);
    assert_true(length > 0 && length < sizeof text);
    fclose(file);
    out->name = sn_arena_printf(arena, "%.*s", (int)strlen(name) - 4, name);
    must(sn_graph_parse(arena, text, length, &out->graph), path);
    must(sn_verify(out->graph), path);
    assert_int_equal(out->graph->stage, SN_STAGE_FUSED);
    for (Node *node = out->graph->body->first; node; node = node->next) {
        Kernel *kernel;
        if (node->op != SN_OP_CLUSTER) continue;
        must(sn_codegen(arena, out->graph->dims, node, target, &kernel), path);
        sn_push(arena, &out->kernel, (const Kernel *)kernel);
    }
}

/* All files, in order of their names, for compute capability `sm`. */
static inline void read_cluster_files(ClusterFiles *files, int sm) {
    struct dirent **entry;
    int count = scandir(SN_TESTS "/clusters", &entry, NULL, alphasort);
    assert_true(count > 0);
    files->arena = sn_arena_new();
    assert_non_null(files->arena);
    files->count = 0;
    Target *target = SN_NEW(files->arena, Target);
    sn_target_cuda(target, sm);
    for (int i = 0; i < count; i++) {
        const char *name = entry[i]->d_name;
        size_t length = strlen(name);
        if (length > 4 && strcmp(name + length - 4, ".txt") == 0) {
            assert_true(files->count < MAX_FILES);
            read_cluster_file(files->arena, name, target, &files->file[files->count++]);
        }
        free(entry[i]);
    }
    free(entry);
    assert_true(files->count > 0);
}

static inline ClusterFile *find_cluster_file(ClusterFiles *files, const char *name) {
    for (int i = 0; i < files->count; i++)
        if (strcmp(files->file[i].name, name) == 0) return &files->file[i];
    fail_msg("no file %s", name);
    return NULL;
}

/* Adds the text of each kernel that `seen` has not met yet. Equal layers share one kernel, and the prelude,
 * which every kernel begins with, is guarded, so that many fit in one translation unit. */
static inline void add_kernel(Text *text, Map *seen, const Kernel *kernel) {
    void **slot = sn_map_at_string(seen, kernel->name);
    if (*slot) return;
    *slot = (void *)kernel;
    sn_text_add(text, "%s\n", kernel->source);
}

#endif
