/* Buffers between pages that cannot be touched. */
#include "engine.h"

#include <map>
#include <sys/mman.h>

enum { PAGE = 4096, LEAST_ALIGNMENT = 16 };

struct Buffer {
    char *start, *pages; /* `pages` begins with the first forbidden page */
    size_t bytes, mapped;
    EmuMemory kind;
};

/* By the address behind the last page, so that upper_bound finds the buffer that an address is in or beside. */
typedef std::map<const char *, Buffer> Buffers;
static Buffers buffers;
static size_t total_of_device;

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

/* Beside a buffer lie NaN as well, in every width, but others, so that a store of a NaN that was loaded shows. */
static unsigned char guard_byte(const char *at) {
    return (uintptr_t)at % 2 ? 0xff : 0xfe;
}

static void fill_guard(char *first, char *last) {
    for (char *p = first; p < last; p++) *(unsigned char *)p = guard_byte(p);
}

/* The first byte of [first, last) that is not as it was filled; NULL: all are. */
static const char *first_changed(const char *first, const char *last) {
    for (const char *p = first; p < last; p++)
        if (*(const unsigned char *)p != guard_byte(p)) return p;
    return NULL;
}

void *emu_alloc_as(size_t bytes, size_t alignment, EmuMemory kind) {
    size_t room = round_up(bytes ? bytes : 1, alignment), inner = round_up(room, PAGE),
           mapped = inner + 2 * PAGE;
    char *pages = (char *)mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return NULL;
    if (mprotect(pages + PAGE, inner, PROT_READ | PROT_WRITE) != 0) {
        munmap(pages, mapped);
        return NULL;
    }
    Buffer buffer = {pages + PAGE + inner - room, pages, bytes, mapped, kind};
    memset(buffer.start, EMU_FILL, bytes);
    fill_guard(pages + PAGE, buffer.start);
    fill_guard(buffer.start + bytes, pages + PAGE + inner);
    if (kind == EMU_DEVICE) mprotect(pages + PAGE, inner, PROT_NONE);
    buffers[pages + mapped] = buffer;
    if (kind == EMU_DEVICE) total_of_device += bytes;
    return buffer.start;
}

void *emu_alloc(size_t bytes) {
    return emu_alloc_as(bytes, LEAST_ALIGNMENT, EMU_OPEN);
}

static Buffers::iterator find(const void *address) {
    const char *at = (const char *)address;
    Buffers::iterator found = buffers.upper_bound(at);
    return found == buffers.end() || at < found->second.pages ? buffers.end() : found;
}

void emu_free(void *buffer) {
    Buffers::iterator found = find(buffer);
    if (!buffer || found == buffers.end() || found->second.start != buffer) return;
    if (found->second.kind == EMU_DEVICE) total_of_device -= found->second.bytes;
    munmap(found->second.pages, found->second.mapped);
    buffers.erase(found);
}

bool emu_buffer_at(const void *address, size_t *bytes, long *offset) {
    Buffers::iterator found = find(address);
    if (found == buffers.end()) return false;
    *bytes = found->second.bytes;
    *offset = (long)((const char *)address - found->second.start);
    return true;
}

bool emu_memory_at(const void *address, EmuMemory *kind, size_t *rest) {
    Buffers::iterator found = find(address);
    if (found == buffers.end()) return false;
    const Buffer *b = &found->second;
    size_t offset = (size_t)((const char *)address - b->start);
    if ((const char *)address < b->start || offset > b->bytes) return false;
    *kind = b->kind;
    *rest = b->bytes - offset;
    return true;
}

size_t emu_device_bytes() {
    return total_of_device;
}

void emu_open_device(bool open) {
    for (const Buffers::value_type &entry : buffers) {
        const Buffer *b = &entry.second;
        if (b->kind == EMU_DEVICE)
            mprotect(b->pages + PAGE, b->mapped - 2 * PAGE, open ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
}

/* The bytes of the pages within that can be touched but belong to no buffer: less than a page before it, and less
 * than its alignment behind. */
static void check_guard(const Buffer *b) {
    const char *changed = first_changed(b->pages + PAGE, b->start);
    if (!changed) changed = first_changed(b->start + b->bytes, b->pages + b->mapped - PAGE);
    if (changed)
        emu_fail("a store out of bounds at %ld of a buffer of %zu", (long)(changed - b->start), b->bytes);
}

void emu_check_guards() {
    for (const Buffers::value_type &entry : buffers) check_guard(&entry.second);
}
