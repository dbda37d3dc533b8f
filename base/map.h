/* A hash map from byte strings to pointers, and the 128-bit content hash (XXH3). */
#ifndef SN_MAP_H
#define SN_MAP_H

#include "arena.h"
#include <stdint.h>

typedef struct Hash {
    uint64_t lo, hi;
} Hash;

/* The hash of `bytes` bytes chained onto `seed` ({0} to start). The same on every machine. */
Hash sn_hash(Hash seed, const void *data, size_t bytes);
static inline Hash sn_hash_u64(Hash seed, uint64_t value) {
    return sn_hash(seed, &value, sizeof value);
}
static inline Hash sn_hash_string(Hash seed, const char *s) {
    return sn_hash(seed, s, strlen(s) + 1);
}
static inline bool sn_hash_equal(Hash a, Hash b) {
    return a.lo == b.lo && a.hi == b.hi;
}

/* 32 lower-case hexadecimal digits and a NUL. */
void sn_hash_hex(Hash hash, char out[33]);

typedef struct Map Map;

Map *sn_map_new(Arena *arena);

/* The slot of `key` (its bytes are copied), made with NULL in it if new. Valid until the next sn_map_at. */
void **sn_map_at(Map *map, const void *key, size_t bytes);

/* What sn_map_at stored, or NULL. */
void *sn_map_get(const Map *map, const void *key, size_t bytes);

/* Convenience for C strings (without the NUL). */
static inline void **sn_map_at_string(Map *map, const char *key) {
    return sn_map_at(map, key, strlen(key));
}
static inline void *sn_map_get_string(const Map *map, const char *key) {
    return sn_map_get(map, key, strlen(key));
}

int sn_map_count(const Map *map);

/* The i-th entry in order of insertion, 0 <= i < count: deterministic iteration. `key` and `bytes` may be
 * NULL. */
void *sn_map_entry(const Map *map, int i, const void **key, size_t *bytes);

#endif
