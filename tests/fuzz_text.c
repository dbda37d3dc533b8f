/* libFuzzer target: the parser of the text form. Whatever it accepts can be verified, cloned and printed, and
 * the print parses to itself. */
#include "text_form.h"
#include "verify.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY_LIMIT = 64 << 20 };

static const char *print(Arena *arena, const Graph *graph) {
    Text text = sn_text(arena);
    sn_graph_print(&text, graph);
    return sn_text_string(&text);
}

static void require(bool holds, const char *what, const char *detail) {
    if (holds) return;
    fprintf(stderr, "%s:\n%s\n", what, detail);
    abort();
}

static void try_text(Arena *arena, const char *text, size_t length) {
    Graph *graph, *again;
    Status status = sn_graph_parse(arena, text, length, &graph);
    if (!status) {
        sn_error_free(sn_verify(graph));
        const char *first = print(arena, graph);
        status = sn_graph_parse(arena, first, strlen(first), &again);
        require(!status, sn_error_message(status), first);
        require(strcmp(first, print(arena, again)) == 0, "the second print differs", first);
        require(strcmp(first, print(arena, sn_graph_clone(arena, graph))) == 0, "the clone differs", first);
    }
    sn_error_free(status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *arena = sn_arena_new();
    if (!arena) return 0;
    jmp_buf guard;
    sn_arena_guard(arena, &guard);
    sn_arena_limit(arena, MEMORY_LIMIT);
    if (!setjmp(guard)) try_text(arena, (const char *)data, size);
    sn_arena_free(arena);
    return 0;
}
