#include "map.h"

#include <limits.h>
#include <stdio.h>

/* Compiled in: a program that a saved model runs in needs no other library for it. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* The seed goes before the data, so that all of its 128 bits count. */
Hash sn_hash(Hash seed, const void *data, size_t bytes) {
    struct {
        Hash seed;
        unsigned char data[112];
    } message;
    message.seed = seed;
    XXH128_hash_t hash;
    if (bytes <= sizeof message.data) {
        if (bytes > 0) memcpy(message.data, data, bytes);
        hash = XXH3_128bits(&message, sizeof seed + bytes);
    } else {
        XXH3_state_t state;
        XXH3_128bits_reset(&state);
        XXH3_128bits_update(&state, &seed, sizeof seed);
        XXH3_128bits_update(&state, data, bytes);
        hash = XXH3_128bits_digest(&state);
    }
    return (Hash){hash.low64, hash.high64};
}

void sn_hash_hex(Hash hash, char out[33]) {
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)hash.hi, (unsigned long long)hash.lo);
}

typedef struct Entry {
    uint64_t hash;
    const void *key;
    size_t bytes;
    void *value;
} Entry;

struct Map {
    Arena *arena;
    SN_VEC(Entry) entries; /* in order of insertion */
    int *table;            /* open addressing: 1 + the number of an entry, 0 for none */
    size_t table_size;     /* a power of two, more than twice the count of entries */
};

enum { FIRST_TABLE = 16 };

Map *sn_map_new(Arena *arena) {
    Map *map = SN_NEW(arena, Map);
    map->arena = arena;
    map->table_size = FIRST_TABLE;
    map->table = SN_ARRAY(arena, int, FIRST_TABLE);
    return map;
}

static uint64_t hash_key(const void *key, size_t bytes) {
    return bytes ? XXH3_64bits(key, bytes) : 0;
}

/* The place in the table of `key`, or the empty place where it belongs. */
static int *find(const Map *map, uint64_t hash, const void *key, size_t bytes) {
    for (size_t i = hash;; i++) {
        int *place = &map->table[i & (map->table_size - 1)];
        if (!*place) return place;
        const Entry *entry = &map->entries.at[*place - 1];
        if (entry->hash == hash && entry->bytes == bytes && (!bytes || !memcmp(entry->key, key, bytes)))
            return place;
    }
}

static void grow(Map *map) {
    map->table_size *= 2;
    map->table = SN_ARRAY(map->arena, int, map->table_size);
    for (int i = 0; i < map->entries.count; i++) {
        size_t at = map->entries.at[i].hash;
        while (map->table[at & (map->table_size - 1)]) at++;
        map->table[at & (map->table_size - 1)] = i + 1;
    }
}

void **sn_map_at(Map *map, const void *key, size_t bytes) {
    uint64_t hash = hash_key(key, bytes);
    int *place = find(map, hash, key, bytes);
    if (!*place) {
        if ((size_t)map->entries.count >= map->table_size / 2) {
            grow(map);
            place = find(map, hash, key, bytes);
        }
        void *copy = sn_arena_alloc(map->arena, bytes);
        if (bytes > 0) memcpy(copy, key, bytes);
        sn_push(map->arena, &map->entries, ((Entry){hash, copy, bytes, NULL}));
        *place = map->entries.count;
    }
    return &map->entries.at[*place - 1].value;
}

void *sn_map_get(const Map *map, const void *key, size_t bytes) {
    int place = *find(map, hash_key(key, bytes), key, bytes);
    return place ? map->entries.at[place - 1].value : NULL;
}

int sn_map_count(const Map *map) {
    return map->entries.count;
}

void *sn_map_entry(const Map *map, int i, const void **key, size_t *bytes) {
    const Entry *entry = &map->entries.at[i];
    if (key) *key = entry->key;
    if (bytes) *bytes = entry->bytes;
    return entry->value;
}
