/* A file of a few sealed parts: what a saved program is written into.
 *
 * A fixed header (magic, byte order, format, the place and hash of each part, its own hash), then the parts,
 * the payload part last and on a page of its own. Everything but the payload is hashed and checked when the
 * file is opened; the payload has only its length checked, because it may be larger than memory, and whoever
 * wants to can hash what lies in it.
 */
#ifndef SN_PARTS_H
#define SN_PARTS_H

#include "files.h"
#include "map.h"

typedef enum PartKind {
    SN_PART_FACTS,   /* text: what the program is and what it needs */
    SN_PART_GRAPH,   /* text: the fused graph */
    SN_PART_CODE,    /* the kernels as a shared object */
    SN_PART_INDEX,   /* what lies where in the payload */
    SN_PART_PAYLOAD, /* weights */
    SN_PART_COUNT
} PartKind;

enum { SN_PARTS_FORMAT = 1, SN_PARTS_ALIGNMENT = 64, SN_PARTS_PAGE = 4096 };

typedef struct Part {
    const uint8_t *bytes; /* of the payload, when it is written: NULL, see PayloadWriter */
    size_t size;
} Part;

/* True when the file begins as one of these does; any doubt (it is absent, too short) is a no. */
bool sn_parts_is(const char *path);

/* Maps the file, for as long as `owner` lives, and checks it. SN_INVALID says what is wrong: cut short,
 * damaged, of another format or byte order, not such a file at all. */
Status sn_parts_open(Arena *owner, const char *path, Part part[SN_PART_COUNT]);

/* Where the payload goes while the file is written. */
typedef struct PartsWriter PartsWriter;

/* Bytes of the payload at `offset`; offsets grow from call to call, and gaps are zeros. */
Status sn_parts_put(PartsWriter *writer, int64_t offset, const void *bytes, size_t size);

/* Writes the file beside `path` and moves it there in one step when it is complete: a process that has an
 * older one mapped keeps it. `payload` (NULL: there is none) puts part[SN_PART_PAYLOAD].size bytes at most.
 */
Status sn_parts_write(Arena *arena, const char *path, const Part part[SN_PART_COUNT],
                      Status (*payload)(PartsWriter *writer, void *user), void *user);

#endif
