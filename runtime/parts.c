#include "parts.h"
#include "new_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

enum { BYTE_ORDER_MARK = 0x01020304 };

typedef struct Place {
    uint64_t offset, size;
    Hash hash; /* zero for the payload */
} Place;

/* As it stands in the file, in the machine's own byte order. */
typedef struct Header {
    char magic[8];
    uint32_t byte_order, format;
    uint64_t file_size;
    Place place[SN_PART_COUNT];
    Hash hash; /* of all before it */
} Header;

_Static_assert(sizeof(Header) == 24 + SN_PART_COUNT * 32 + 16, "the header has no padding");

/* The first byte is no text, and the line ends are what transfers as text would change. */
static const char magic[8] = {'\x93', 'S', 'N', 'T', 'R', '\r', '\n', '\x1a'};

static Hash header_hash(const Header *header) {
    return sn_hash((Hash){0}, header, offsetof(Header, hash));
}

/* ---- reading ---- */

bool sn_parts_is(const char *path) {
    char start[sizeof magic];
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return false;
    bool is = pread(file, start, sizeof start, 0) == (ssize_t)sizeof start &&
              memcmp(start, magic, sizeof magic) == 0;
    close(file);
    return is;
}

static Status check_header(const Mapping *file, Header *header) {
    if (file->size < sizeof magic || memcmp(file->bytes, magic, sizeof magic) != 0)
        return sn_fail(SN_INVALID, "not a saved program");
    if (file->size < sizeof *header) return sn_fail(SN_INVALID, "a saved program that was cut short");
    memcpy(header, file->bytes, sizeof *header);
    if (header->byte_order != BYTE_ORDER_MARK)
        return sn_fail(SN_INVALID, header->byte_order == __builtin_bswap32(BYTE_ORDER_MARK)
                                       ? "saved on a machine of the other byte order"
                                       : "a damaged saved program: its byte order is none");
    if (header->format != SN_PARTS_FORMAT)
        return sn_fail(SN_INVALID, "saved in format %u, and this build reads format %d: compile it again",
                       (unsigned)header->format, SN_PARTS_FORMAT);
    if (!sn_hash_equal(header->hash, header_hash(header)))
        return sn_fail(SN_INVALID, "a damaged saved program: its header does not fit its hash");
    if (header->file_size != file->size)
        return sn_fail(SN_INVALID, "a saved program of %llu bytes, of which %llu are there",
                       (unsigned long long)header->file_size, (unsigned long long)file->size);
    return NULL;
}

static Status open_parts(Arena *owner, const char *path, Part part[SN_PART_COUNT]) {
    Mapping file;
    Header header;
    TRY(sn_file_map(owner, path, &file));
    TRY(check_header(&file, &header));
    for (int i = 0; i < SN_PART_COUNT; i++) {
        const Place *place = &header.place[i];
        if (place->offset > file.size || place->size > file.size - place->offset ||
            place->offset % SN_PARTS_ALIGNMENT)
            return sn_fail(SN_INVALID, "a damaged saved program: part %d lies outside of it", i);
        part[i] = (Part){file.bytes + place->offset, (size_t)place->size};
        if (i == SN_PART_PAYLOAD) continue;
        if (!sn_hash_equal(place->hash, sn_hash((Hash){0}, part[i].bytes, part[i].size)))
            return sn_fail(SN_INVALID, "a damaged saved program: part %d does not fit its hash", i);
    }
    return NULL;
}

Status sn_parts_open(Arena *owner, const char *path, Part part[SN_PART_COUNT]) {
    Status status = open_parts(owner, path, part);
    if (sn_error_code(status) == SN_IO) return status; /* names the file already */
    Arena *scratch = sn_arena_child(owner);
    Text name = sn_text(scratch);
    sn_text_quote(&name, path, strlen(path));
    status = sn_status_prefix(status, "%s", sn_text_string(&name));
    sn_arena_free(scratch);
    return status;
}

/* ---- writing ---- */

struct PartsWriter {
    NewFile file;
    uint64_t payload, payload_size;
};

Status sn_parts_put(PartsWriter *writer, int64_t offset, const void *bytes, size_t size) {
    bool inside = offset >= 0 && (uint64_t)offset <= writer->payload_size &&
                  size <= writer->payload_size - (uint64_t)offset;
    if (!inside) return sn_fail(SN_INTERNAL, "a payload outside of its part");
    return sn_new_file_put_at(&writer->file, writer->payload + (uint64_t)offset, bytes, size);
}

static uint64_t round_up(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

static Status write_parts(PartsWriter *writer, const Part part[SN_PART_COUNT],
                          Status (*payload)(PartsWriter *writer, void *user), void *user) {
    Header header = {.byte_order = BYTE_ORDER_MARK, .format = SN_PARTS_FORMAT};
    memcpy(header.magic, magic, sizeof magic);
    uint64_t at = sizeof header;
    for (int i = 0; i < SN_PART_COUNT; i++) {
        at = round_up(at, i == SN_PART_PAYLOAD ? SN_PARTS_PAGE : SN_PARTS_ALIGNMENT);
        header.place[i] = (Place){.offset = at, .size = part[i].size};
        if (i != SN_PART_PAYLOAD) {
            header.place[i].hash = sn_hash((Hash){0}, part[i].bytes, part[i].size);
            TRY(sn_new_file_put_at(&writer->file, at, part[i].bytes, part[i].size));
        }
        at += part[i].size;
    }
    header.file_size = at;
    header.hash = header_hash(&header);
    writer->payload = header.place[SN_PART_PAYLOAD].offset;
    writer->payload_size = header.place[SN_PART_PAYLOAD].size;
    if (ftruncate(writer->file.file, (off_t)at) != 0)
        return sn_fail(SN_IO, "%s cannot be written: %s", writer->file.path, strerror(errno));
    if (payload) TRY(payload(writer, user));
    return sn_new_file_put_at(&writer->file, 0, &header, sizeof header);
}

Status sn_parts_write(Arena *arena, const char *path, const Part part[SN_PART_COUNT],
                      Status (*payload)(PartsWriter *writer, void *user), void *user) {
    PartsWriter writer = {0};
    TRY(sn_new_file_begin(arena, path, &writer.file));
    return sn_new_file_end(&writer.file, write_parts(&writer, part, payload, user));
}
