/* What the parts of the emulator share: emulator.cpp (threads and barriers), memory.cpp (guarded buffers) and
 * access.cpp (the check of each access). */
#ifndef SN_EMULATOR_ENGINE_H
#define SN_EMULATOR_ENGINE_H

#include "emulator.h"

enum { EMU_FILL = 0xff }; /* the byte that memory is full of before a kernel writes: floats are NaN */

/* Notes a failure of the launch that runs; the first one stays. */
void emu_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same from inside a thread, which never runs again. */
void emu_fail_here(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- memory ---- */

/* The buffer in or beside which `address` lies: its size, and the offset of the address from its start. */
bool emu_buffer_at(const void *address, size_t *bytes, long *offset);

/* Fails when a byte beside a buffer has changed. */
void emu_check_guards();

/* Stacks of threads are private to them; shared memory belongs to the block that runs. */
bool emu_is_stack(const void *address);
bool emu_is_shared(const void *address);

/* ---- accesses ---- */

/* Before a launch, and before each of its blocks, which are numbered from 0. */
void emu_access_start();
void emu_access_block(int block);

#endif
