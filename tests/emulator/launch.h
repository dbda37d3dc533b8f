/* How a test launches kernels on the emulator: C, for both sides of a dlopen. */
#ifndef SN_EMULATOR_LAUNCH_H
#define SN_EMULATOR_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In which order the threads of a block run between two barriers. */
typedef enum EmuOrder {
    EMU_FORWARD,
    EMU_REVERSE,
    EMU_SHUFFLED, /* anew after each barrier, from `seed` */
    EMU_ORDER_COUNT
} EmuOrder;

/* A kernel of a module, as EMU_ENTRY(name) defines name_entry. */
typedef struct EmuEntry {
    void (*kernel)(const void *args);
    size_t args_bytes;
    size_t pointers; /* the argument struct begins with so many */
    size_t fault_at; /* where it has one more; 0: nowhere */
    int max_threads; /* of a block; 0: as many as the device has */
} EmuEntry;

typedef enum EmuFailure {
    EMU_FINE,
    EMU_ILLEGAL_ADDRESS, /* out of a buffer's bounds */
    EMU_MISALIGNED,
    EMU_ILLEGAL, /* anything else */
} EmuFailure;

typedef struct EmuLaunch {
    void (*kernel)(const void *args); /* what EMU_KERNEL(name) defines as name_call */
    const void *args;                 /* the kernel's argument struct */
    unsigned grid[3], block[3];       /* block: at most 1024 threads in all */
    size_t shared;                    /* bytes of dynamic shared memory */
    EmuOrder order;
    uint64_t seed;
    EmuFailure failure;
    char message[256]; /* why it failed, with block and thread */
} EmuLaunch;

/* Runs all blocks, one after the other. 0, or 1 and a message: a divergent barrier, a shuffle with a lane
 * that takes no part, a race (see access.cpp), an access out of a buffer's bounds. One launch at a time in a
 * process. */
typedef int EmuLaunchFunction(EmuLaunch *launch);
int emu_launch(EmuLaunch *launch);

/* A buffer between two pages that cannot be touched; its end is at most 15 bytes before the second one. The
 * bytes around it are checked after each launch. Both are filled with NaN. NULL when there is no memory. */
typedef void *EmuAllocFunction(size_t bytes);
void *emu_alloc(size_t bytes);
typedef void EmuFreeFunction(void *buffer);
void emu_free(void *buffer);

#ifdef __cplusplus
}
#endif
#endif
