#include "arena.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ALIGNMENT = 16,
#ifdef __SANITIZE_ADDRESS__
    FIRST_BLOCK = 0, /* a block for each allocation, so that the sanitizer sees where it ends */
#else
    FIRST_BLOCK = 4 << 10,
#endif
    LARGEST_BLOCK = 1 << 20,
};

/* Blocks come zeroed from calloc and are never used twice. */
typedef struct Block {
    struct Block *next;
    _Alignas(ALIGNMENT) char bytes[];
} Block;

typedef struct Deferred {
    struct Deferred *next;
    void (*release)(void *object);
    void *object;
} Deferred;

struct Arena {
    Arena *root, *parent;
    Arena *children, *older, *younger; /* the latest child; the neighbours among the parent's children */
    Block *blocks;
    char *free, *end; /* what is left of the block that is being filled */
    size_t block_bytes;
    size_t used;
    Deferred *deferred;
    jmp_buf *guard; /* of a root alone, like `limit` */
    size_t limit;
};

static Arena *make(Arena *root, Arena *parent) {
    Arena *arena = calloc(1, sizeof *arena);
    if (!arena) return NULL;
    arena->root = root ? root : arena;
    arena->parent = parent;
    arena->block_bytes = FIRST_BLOCK;
    arena->limit = SIZE_MAX;
    return arena;
}

_Noreturn static void exhausted(const Arena *arena) {
    if (arena->root->guard) longjmp(*arena->root->guard, 1);
    fputs("sinter: out of memory\n", stderr);
    abort();
}

Arena *sn_arena_new(void) {
    return make(NULL, NULL);
}

Arena *sn_arena_child(Arena *parent) {
    Arena *arena = make(parent->root, parent);
    if (!arena) exhausted(parent);
    arena->older = parent->children;
    if (arena->older) arena->older->younger = arena;
    parent->children = arena;
    return arena;
}

static void unlink_from_parent(Arena *arena) {
    if (!arena->parent) return;
    if (arena->younger)
        arena->younger->older = arena->older;
    else
        arena->parent->children = arena->older;
    if (arena->older) arena->older->younger = arena->younger;
}

void sn_arena_free(Arena *arena) {
    if (!arena) return;
    while (arena->deferred) {
        Deferred *latest = arena->deferred;
        arena->deferred = latest->next;
        latest->release(latest->object);
    }
    while (arena->children) sn_arena_free(arena->children);
    while (arena->blocks) {
        Block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    unlink_from_parent(arena);
    free(arena);
}

void sn_arena_guard(Arena *root, jmp_buf *guard) {
    root->guard = guard;
}

void sn_arena_limit(Arena *root, size_t bytes) {
    root->limit = bytes;
}

static void *new_block(Arena *arena, size_t bytes) {
    Block *block = calloc(1, sizeof *block + bytes);
    if (!block) return NULL;
    block->next = arena->blocks;
    arena->blocks = block;
    return block->bytes;
}

/* Large pieces have a block of their own, so that the rest of the one being filled is not lost. */
static void *carve(Arena *arena, size_t bytes) {
    size_t rounded = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded > (size_t)(arena->end - arena->free)) {
        if (rounded > arena->block_bytes / 4) return new_block(arena, bytes);
        char *fresh = new_block(arena, arena->block_bytes);
        if (!fresh) return NULL;
        arena->free = fresh;
        arena->end = fresh + arena->block_bytes;
        if (arena->block_bytes < LARGEST_BLOCK) arena->block_bytes *= 2;
    }
    char *piece = arena->free;
    arena->free += rounded;
    return piece;
}

/* NULL when memory or the limit is exhausted. */
static void *try_alloc(Arena *arena, size_t bytes) {
    Arena *root = arena->root;
    if (bytes == 0) bytes = 1;
    if (bytes > PTRDIFF_MAX || bytes > root->limit) return NULL;
    void *piece = carve(arena, bytes);
    if (!piece) return NULL;
    if (root->limit != SIZE_MAX) root->limit -= bytes;
    arena->used += bytes;
    return piece;
}

void *sn_arena_alloc(Arena *arena, size_t bytes) {
    void *piece = try_alloc(arena, bytes);
    if (!piece) exhausted(arena);
    return piece;
}

void *sn_arena_array(Arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) exhausted(arena);
    return sn_arena_alloc(arena, bytes);
}

void sn_arena_defer(Arena *arena, void (*release)(void *object), void *object) {
    Deferred *deferred = try_alloc(arena, sizeof *deferred);
    if (!deferred) {
        /* The object is the arena's from the moment of this call. */
        release(object);
        exhausted(arena);
    }
    *deferred = (Deferred){arena->deferred, release, object};
    arena->deferred = deferred;
}

char *sn_arena_string(Arena *arena, const char *string) {
    size_t bytes = strlen(string) + 1;
    return memcpy(sn_arena_alloc(arena, bytes), string, bytes);
}

char *sn_arena_printf(Arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *string = length < 0 ? NULL : try_alloc(arena, (size_t)length + 1);
    if (string) vsnprintf(string, (size_t)length + 1, format, again);
    va_end(again);
    if (!string) exhausted(arena);
    return string;
}

size_t sn_arena_used(const Arena *arena) {
    return arena->used;
}

void *sn_vec_room(Arena *arena, void *at, int count, int *capacity, size_t size) {
    if (count < *capacity) return at;
    if (count > INT_MAX / 2) exhausted(arena);
    int larger = count < 4 ? 8 : 2 * count;
    void *copy = sn_arena_array(arena, (size_t)larger, size);
    if (count > 0) memcpy(copy, at, (size_t)count * size);
    *capacity = larger;
    return copy;
}
