/* What the parts of the emulator share: emulator.cpp (threads and barriers), memory.cpp (guarded buffers),
 * access.cpp (the check of each access) and tensor.cpp (tensor cores and asynchronous copies). */
#ifndef SN_EMULATOR_ENGINE_H
#define SN_EMULATOR_ENGINE_H

#define EMU_ENGINE
#include "emulator.h"

enum { EMU_FILL = 0xff }; /* the byte that memory is full of before a kernel writes: floats are NaN */

/* Notes a failure of the launch that runs; the first one stays. */
void emu_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says of which kind the next failure is, when it is the first. */
void emu_fail_as(EmuFailure failure);

/* The same from inside a thread, which never runs again. */
void emu_fail_here(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- warps ---- */

/* What a lane gives in an exchange. */
struct EmuGift {
    unsigned char bytes[32];
};

/* The lanes of `mask` meet; what each of the 32 gave, valid until the second exchange from here. */
const EmuGift *emu_give(unsigned mask, int line, const void *value, size_t bytes);

/* The lanes of the warp that runs: 32, or fewer in a block's last one. */
int emu_lanes();

/* ---- modules ---- */

/* The module in which the address lies; NULL: in none. */
const EmuModule *emu_module_at(const void *address);

/* ---- memory ---- */

/* Who may touch a buffer: everybody; the kernels alone, or whoever copies for them; both, as memory of the host that a
 * kernel sees. */
enum EmuMemory { EMU_OPEN, EMU_DEVICE, EMU_HOST };

/* As emu_alloc, with another alignment (a power of two, at most a page). Device memory cannot be touched until it
 * is opened: a host that does so dies of SIGSEGV. */
void *emu_alloc_as(size_t bytes, size_t alignment, EmuMemory kind);

/* The kind of the buffer in which `address` lies, or at whose end, and the bytes from there on; false: in none. */
bool emu_memory_at(const void *address, EmuMemory *kind, size_t *rest);

/* Bytes of all device buffers. */
size_t emu_device_bytes();

/* Opens all device buffers to this process, or closes them. */
void emu_open_device(bool open);

/* The buffer in or beside which `address` lies: its size, and the offset of the address from its start. */
bool emu_buffer_at(const void *address, size_t *bytes, long *offset);

/* Fails when a byte beside a buffer has changed. */
void emu_check_guards();

/* Stacks of threads are private to them; shared memory belongs to the block that runs. */
bool emu_is_stack(const void *address);
bool emu_is_shared(const void *address);

/* ---- accesses ---- */

extern bool emu_checked; /* whether the kernel that runs calls for the check of its accesses */

/* Before a launch, and before each of its blocks, which are numbered from 0. */
void emu_access_start();
void emu_access_block(int block);

/* Where shared memory lies: two pieces, of which either may be empty. Nothing is written yet. */
void emu_access_shared(int piece, const void *start, size_t bytes);

/* An access of the thread that runs; nothing unless emu_checked. */
void emu_note(const void *address, long bytes, bool write);

/* The same for the order of operations (order.cpp). */
void emu_touch(const void *at, size_t bytes, bool write);

/* Bytes of shared memory whose content is under way and cannot be read before they are written. */
void emu_note_pending(const void *address, long bytes);

/* ---- copies ---- */

/* Before each block of so many threads. */
void emu_copies_start(int threads);

#endif
