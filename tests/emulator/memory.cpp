/* Buffers between pages that cannot be touched. */
#include "engine.h"

#include <sys/mman.h>

enum { PAGE = 4096, ALIGNMENT = 16, MAX_BUFFERS = 256 };

struct Buffer {
    char *start, *pages; /* `pages` begins with the first forbidden page */
    size_t bytes, mapped;
};
static Buffer buffers[MAX_BUFFERS];
static int used; /* slots that were ever taken */

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

void *emu_alloc(size_t bytes) {
    size_t room = round_up(bytes ? bytes : 1, ALIGNMENT), inner = round_up(room, PAGE),
           mapped = inner + 2 * PAGE;
    int slot = 0;
    while (slot < MAX_BUFFERS && buffers[slot].start) slot++;
    if (slot == MAX_BUFFERS) return NULL;
    char *pages = (char *)mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return NULL;
    if (mprotect(pages + PAGE, inner, PROT_READ | PROT_WRITE) != 0) {
        munmap(pages, mapped);
        return NULL;
    }
    memset(pages + PAGE, EMU_FILL, inner);
    buffers[slot] = (Buffer){pages + PAGE + inner - room, pages, bytes, mapped};
    if (slot == used) used++;
    return buffers[slot].start;
}

void emu_free(void *buffer) {
    for (int i = 0; i < used; i++) {
        if (!buffer || buffers[i].start != buffer) continue;
        munmap(buffers[i].pages, buffers[i].mapped);
        buffers[i] = Buffer();
    }
}

bool emu_buffer_at(const void *address, size_t *bytes, long *offset) {
    const char *at = (const char *)address;
    for (int i = 0; i < used; i++) {
        const Buffer *b = &buffers[i];
        if (!b->start || at < b->pages || at >= b->pages + b->mapped) continue;
        *bytes = b->bytes;
        *offset = (long)(at - b->start);
        return true;
    }
    return false;
}

/* The bytes of the pages within that can be touched but belong to no buffer. */
static void check_guard(const Buffer *b) {
    const char *first = b->pages + PAGE, *last = b->pages + b->mapped - PAGE;
    for (const char *p = first; p < last; p++)
        if ((p < b->start || p >= b->start + b->bytes) && *(const unsigned char *)p != EMU_FILL) {
            emu_fail("a store out of bounds at %ld of a buffer of %zu", (long)(p - b->start), b->bytes);
            return;
        }
}

void emu_check_guards() {
    for (int i = 0; i < used; i++)
        if (buffers[i].start) check_guard(&buffers[i]);
}
