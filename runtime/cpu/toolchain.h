/* The system's C compiler and what it says about this processor. */
#ifndef SN_TOOLCHAIN_H
#define SN_TOOLCHAIN_H

#include "cache.h"
#include "map.h"

typedef struct Toolchain {
    Cache cache;
    const char *compiler; /* absolute path */
    Hash key;           /* of the compiler, its version, its flags, and the instruction set they resolve to */
    const char *about;  /* the same in a line each: "compiler ...", "flags ...", "processor ..." */
    const char *before; /* `about` of whoever last compiled into this cache; NULL: nobody */
    const char *features; /* that its code needs, see features.h */
    int vector_bytes;     /* of the widest vectors: 64, 32 or 16 */
    int vector_registers;
} Toolchain;

/* The file of the cache that says what `about` was when something was last compiled into it. */
#define SN_TOOLCHAIN_NOTE "toolchain"

/* The flags that kernels are compiled with (not how to link), NULL-terminated. */
extern const char *const sn_kernel_flags[];

/* Finds $SINTER_CC, or else the first of cc, gcc and clang in $PATH, and asks it for its predefined macros;
 * the answer is kept in the cache for as long as compiler and processor stay the same. */
Status sn_toolchain_open(Arena *arena, const char *cache_dir, Toolchain *out);

/* SN_COMPILER: `what` and the first lines of a compiler's output file. */
Status sn_toolchain_failure(const char *compiler, const char *what, const char *output);

#endif
