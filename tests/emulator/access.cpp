/* The check of each access of a kernel.
 *
 * Kernels are compiled with -fsanitize=thread, of which only the calls before each load and store are used:
 * their targets are defined here. Two accesses to a byte race when one of them writes, they are of different
 * threads, and nothing orders them: a block barrier between them, a warp barrier if they are of one warp, and
 * nothing at all if they are of two blocks. That is found in whatever order the threads happen to run.
 * Atomics are not compiled that way, so they are exempt.
 *
 * The last accesses of each byte are remembered in pages of cells, which are found by the address: none is lost
 * within a launch. */
#include "engine.h"

#include <memory>
#include <unordered_map>
#include <vector>

enum { PAGE_BITS = 12, READERS = 2, MAX_PAGES = 1024, RECENT = 64 };

struct Access {
    int thread; /* in its block, from 1; 0: none */
    int block, block_barriers, warp_barriers;
};

struct Cell {
    unsigned launch;                /* the rest is of that one */
    Access writer, reader[READERS]; /* the last readers that are different threads */
};

/* By the address's bits above PAGE_BITS; `recent`, indexed by the lowest of them, saves most searches. */
static std::unordered_map<uintptr_t, std::unique_ptr<Cell[]>> pages;
static struct {
    uintptr_t page;
    Cell *cell;
} recent[RECENT];
static unsigned launches;
static int block_now;

bool emu_checked;

/* Pages stay for the next launch, which often has its buffers at the same addresses, unless they became many. */
void emu_access_start() {
    launches++;
    if (pages.size() <= MAX_PAGES) return;
    pages.clear();
    memset(recent, 0, sizeof recent);
}

/* ---- what of shared memory has been written in this block ---- */

enum Content : unsigned char { NOTHING, PENDING, WRITTEN };

struct Piece {
    const char *start;
    std::vector<Content> content;
};
static Piece pieces[2];

void emu_access_shared(int piece, const void *start, size_t bytes) {
    pieces[piece].start = (const char *)start;
    pieces[piece].content.assign(bytes, NOTHING);
}

static Content *content_at(const char *address) {
    for (Piece &piece : pieces)
        if (address >= piece.start && address < piece.start + piece.content.size())
            return &piece.content[(size_t)(address - piece.start)];
    return NULL;
}

static void note_content(const char *address, bool write) {
    Content *content = content_at(address);
    if (!content) return;
    if (!write && *content != WRITTEN)
        emu_fail_here("a load of shared memory that %s", *content == PENDING
                                                             ? "an asynchronous copy has not reached yet"
                                                             : "nothing has been stored to");
    if (write) *content = WRITTEN;
}

void emu_note_pending(const void *address, long bytes) {
    for (long i = 0; i < bytes && emu_checked; i++)
        if (Content *content = content_at((const char *)address + i)) *content = PENDING;
}

/* ---- who accesses what ---- */

void emu_access_block(int block) {
    block_now = block;
}

static Access access_now() {
    return (Access){emu_place.number + 1, block_now, emu_place.block_barriers, emu_place.warp_barriers};
}

static bool ordered(const Access *before, const Access *after) {
    if (before->thread == 0) return true;
    if (before->block != after->block) return false;
    if (before->thread == after->thread || before->block_barriers != after->block_barriers) return true;
    bool one_warp = (before->thread - 1) / 32 == (after->thread - 1) / 32;
    return one_warp && before->warp_barriers != after->warp_barriers;
}

static bool same_thread(const Access *a, const Access *b) {
    return a->thread == b->thread && a->block == b->block;
}

static Cell *cell_at(uintptr_t address) {
    uintptr_t page = address >> PAGE_BITS;
    auto &known = recent[page % RECENT];
    if (known.page != page) {
        std::unique_ptr<Cell[]> &cells = pages[page];
        if (!cells) cells.reset(new Cell[1 << PAGE_BITS]());
        known = {page, cells.get()};
    }
    return &known.cell[address & ((1 << PAGE_BITS) - 1)];
}

static Cell *find_cell(const char *address, bool shared) {
    Cell *cell = cell_at((uintptr_t)address);
    bool stale = cell->launch != launches;
    /* Shared memory is another one in each block. */
    if (shared && cell->writer.thread && cell->writer.block != block_now) stale = true;
    if (shared && cell->reader[0].thread && cell->reader[0].block != block_now) stale = true;
    if (stale) *cell = (Cell){launches, {}, {}};
    return cell;
}

static void report_race(const Access *before, const char *address, bool write, bool shared) {
    size_t bytes = 0;
    long offset = 0;
    const char *where = shared ? "shared memory" : "a buffer";
    if (!shared) emu_buffer_at(address, &bytes, &offset);
    emu_fail_here("race: a %s of byte %ld of %s that thread %d of block %d reaches too",
                  write ? "store" : "load", offset, where, before->thread - 1, before->block);
}

static void note_byte(const char *address, const Access &now, bool write, bool shared) {
    Cell *cell = find_cell(address, shared);
    if (!ordered(&cell->writer, &now)) report_race(&cell->writer, address, write, shared);
    if (write) {
        for (int i = 0; i < READERS; i++)
            if (!ordered(&cell->reader[i], &now)) report_race(&cell->reader[i], address, write, shared);
        cell->writer = now;
        return;
    }
    if (!same_thread(&cell->reader[0], &now)) cell->reader[1] = cell->reader[0];
    cell->reader[0] = now;
}

void emu_note(const void *address, long size, bool write) {
    const char *at = (const char *)address;
    if (!emu_checked || emu_is_stack(at)) return;
    bool shared = emu_is_shared(at);
    size_t bytes;
    long offset;
    if (emu_buffer_at(at, &bytes, &offset) && (offset < 0 || offset + size > (long)bytes)) {
        emu_fail_as(EMU_ILLEGAL_ADDRESS);
        emu_fail_here("a %s out of bounds at %ld of a buffer of %zu", write ? "store" : "load", offset,
                      bytes);
    }
    Access now = access_now();
    if (!shared) emu_touch(address, (size_t)size, write);
    for (long i = 0; i < size; i++) {
        note_byte(at + i, now, write, shared);
        if (shared) note_content(at + i, write);
    }
}

/* ---- what the compiler calls ---- */

/* Under these names, and not the compiler's, kernels find them (linked with --wrap) in a process that has a
 * sanitizer of its own. */
#define EMU_NOTE(name, size, write)                                                                          \
    extern "C" void name(void *address) {                                                                    \
        emu_note(address, size, write);                                                                      \
    }
EMU_NOTE(__wrap___tsan_read1, 1, false)
EMU_NOTE(__wrap___tsan_read2, 2, false)
EMU_NOTE(__wrap___tsan_read4, 4, false)
EMU_NOTE(__wrap___tsan_read8, 8, false)
EMU_NOTE(__wrap___tsan_read16, 16, false)
EMU_NOTE(__wrap___tsan_unaligned_read2, 2, false)
EMU_NOTE(__wrap___tsan_unaligned_read4, 4, false)
EMU_NOTE(__wrap___tsan_unaligned_read8, 8, false)
EMU_NOTE(__wrap___tsan_unaligned_read16, 16, false)
EMU_NOTE(__wrap___tsan_write1, 1, true)
EMU_NOTE(__wrap___tsan_write2, 2, true)
EMU_NOTE(__wrap___tsan_write4, 4, true)
EMU_NOTE(__wrap___tsan_write8, 8, true)
EMU_NOTE(__wrap___tsan_write16, 16, true)
EMU_NOTE(__wrap___tsan_unaligned_write2, 2, true)
EMU_NOTE(__wrap___tsan_unaligned_write4, 4, true)
EMU_NOTE(__wrap___tsan_unaligned_write8, 8, true)
EMU_NOTE(__wrap___tsan_unaligned_write16, 16, true)

extern "C" void __wrap___tsan_read_range(void *address, long size) {
    emu_note(address, size, false);
}
extern "C" void __wrap___tsan_write_range(void *address, long size) {
    emu_note(address, size, true);
}
extern "C" void __wrap___tsan_func_entry(void *) {}
extern "C" void __wrap___tsan_func_exit() {}
extern "C" void __wrap___tsan_init() {}

/* -fsanitize=alignment: what it knows of the access. */
struct TypeMismatch {
    const void *file;
    unsigned line, column;
    const void *type;
    unsigned char log_alignment, kind;
};

extern "C" void __wrap___ubsan_handle_type_mismatch_v1(const TypeMismatch *what, void *) {
    emu_fail_as(EMU_MISALIGNED);
    emu_fail_here("an address that is not a multiple of %d, at line %u", 1 << what->log_alignment,
                  what->line);
}
