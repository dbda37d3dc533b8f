/* Memory that dies together.
 *
 * Everything a compilation makes lives in an arena: a graph, a pass's scratch, an error-free early return.
 * Allocation from an arena never returns NULL. When memory runs out it jumps to the guard that the API call
 * set on the root arena (as Lua does), which frees the arena and reports SN_NO_MEMORY; what is not memory
 * (a mapping, a file) is handed to the arena with sn_arena_defer so that no path can leak it. Large run-time
 * buffers (tensors, weights) are not allocated here; they come from devices with a Status.
 */
#ifndef SN_ARENA_H
#define SN_ARENA_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct Arena Arena;

/* A root arena, or NULL when there is no memory. One thread at a time may use a root and its children. */
Arena *sn_arena_new(void);

/* An arena that is freed with its parent at the latest: per-pass scratch. */
Arena *sn_arena_child(Arena *parent);

/* Runs the deferred releases (latest first), frees children and blocks. NULL is allowed. */
void sn_arena_free(Arena *arena);

/* Where exhaustion of this root or its children jumps (longjmp with 1); NULL: abort with a message. */
void sn_arena_guard(Arena *root, jmp_buf *guard);

/* `release(object)` will be called when the arena is freed. */
void sn_arena_defer(Arena *arena, void (*release)(void *object), void *object);

/* `bytes` zeroed bytes, aligned to 16. Zero bytes give a valid pointer. */
void *sn_arena_alloc(Arena *arena, size_t bytes);

/* count × size bytes; an overflowing product counts as exhaustion. */
void *sn_arena_array(Arena *arena, size_t count, size_t size);

char *sn_arena_string(Arena *arena, const char *string);
char *sn_arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Bytes handed out so far by this arena alone (for the compile ledger and for limits). */
size_t sn_arena_used(const Arena *arena);

/* Test hook: allocations of the root and its children fail after `bytes` more bytes; SIZE_MAX lifts it. */
void sn_arena_limit(Arena *root, size_t bytes);

#define SN_NEW(arena, type)          ((type *)sn_arena_alloc((arena), sizeof(type)))
#define SN_ARRAY(arena, type, count) ((type *)sn_arena_array((arena), (size_t)(count), sizeof(type)))

/* A growable array: `SN_VEC(Node *) nodes = {0}; sn_push(arena, &nodes, node);` */
#define SN_VEC(type)                                                                                         \
    struct {                                                                                                 \
        type *at;                                                                                            \
        int count, capacity;                                                                                 \
    }
#define sn_push(arena, vec, item)                                                                            \
    ((vec)->at = sn_vec_room((arena), (vec)->at, (vec)->count, &(vec)->capacity, sizeof *(vec)->at),         \
     (void)((vec)->at[(vec)->count++] = (item)))

/* `at` when it has room for one more than `count` items, otherwise a larger copy. */
void *sn_vec_room(Arena *arena, void *at, int count, int *capacity, size_t size);

#endif
