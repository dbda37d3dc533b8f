/* Kernels from text to function pointers: the system compiler, the linker, the cache, the loader. */
#ifndef SN_JIT_H
#define SN_JIT_H

#include "device.h"
#include "toolchain.h"

/* See codegen.h. */
typedef int KernelFunction(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end);

typedef struct Library {
    void *handle;  /* of dlopen */
    int file;      /* the file in memory that it was loaded from; -1: it lies in the cache */
    char name[40]; /* in the cache; "" */
    int count;
    KernelFunction **function; /* by position in the list of kernels */
} Library;

/* Compiles what the cache does not hold (one object a kernel, several compilers side by side), links all
 * objects into one shared object, and loads it; a set of kernels met before is only loaded. Kernels differ in
 * their hashes. `arena` is for scratch; the library is closed by sn_jit_close. */
Status sn_jit_build(Arena *arena, const Toolchain *tools, const Kernel *const *kernel, int count,
                    CompileRecord *record, Library **out);

/* The bytes of a library that lies in the cache, in `arena`. SN_IO when it has been removed from there. */
Status sn_jit_image(Arena *arena, const Toolchain *tools, const Library *library, const void **bytes,
                    size_t *size);

/* A library from such bytes, wherever they come from; needs neither compiler nor cache. */
Status sn_jit_load(const void *bytes, size_t size, const Kernel *const *kernel, int count, Library **out);

void sn_jit_close(Library *library); /* NULL is allowed */

#endif
