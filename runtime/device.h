/* What a device can do: memory, kernels, time. Executors know devices through this table alone.
 *
 * A device is shared by the contexts of a program, whose threads call it at once; every function is safe to
 * call from several threads. Addresses are device addresses; adding a byte offset to one gives an address
 * inside the same allocation.
 */
#ifndef SN_DEVICE_H
#define SN_DEVICE_H

#include "codegen.h"

typedef struct Device Device;
typedef struct Module Module; /* loaded kernels */

/* Where compile time went, in seconds, and what was found ready. */
typedef struct CompileRecord {
    double compiler, link, load;
    int kernels;      /* distinct ones asked for */
    int compiled;     /* that the compiler ran for */
    bool linked;      /* the program was not in the cache as a whole */
    int processes;    /* compilers and linkers that were started */
    char reason[200]; /* why the cache did not have it all; "" when it did */
    int registers;    /* CUDA: the most that a thread of a kernel takes */
    int spilling;     /* CUDA: kernels whose registers do not suffice */
} CompileRecord;

/* Kernels as a file holds them, and what may run them (see cpu/features.h). Nothing is owned. */
typedef struct ModuleImage {
    const char *machine, *requires;
    const void *bytes;
    size_t size;
} ModuleImage;

/* One launch. The arrays are read before `launch` returns. */
typedef struct LaunchArguments {
    int kernel;            /* position in the list that the module was compiled from */
    void *const *buffer;   /* the kernel's inputs, outputs and scratch; none NULL, even of zero bytes */
    const int64_t *symbol; /* the values of the kernel's params */
    int64_t items;         /* > 0 */
    int64_t first;         /* in a group: items of the members before it */
    int64_t after;         /* items that follow when these have ended */
    int64_t together;      /* CPU: so many neighbours share what they prepare; 0 and 1: none do */
    int64_t work;          /* operations + bytes moved; -1: not known. Decides how many threads take part */
    int threads;           /* CUDA: per block */
    int64_t shared;        /* CUDA: bytes */
    int buffer_count, symbol_count;
} LaunchArguments;

/* A copy of `rows` rows of `width` bytes, whose beginnings are a stride apart: 0 <= width <= strides. */
typedef enum CopyKind {
    SN_COPY_UPLOAD,   /* from the host */
    SN_COPY_DOWNLOAD, /* to the host */
    SN_COPY_MOVE,     /* on the device */
} CopyKind;

typedef struct RowsCopy {
    CopyKind kind;
    void *to;
    const void *from;
    int64_t to_stride, from_stride, width, rows;
} RowsCopy;

/* A product of the device's library: see codegen's library.h, with numbers in place of its Dims. */
typedef struct ProductMatrix {
    int64_t offset, stride, batch_stride;
} ProductMatrix;

typedef struct ProductArguments {
    const LibraryProduct *product; /* dtypes, transposition, epilogue, buffers */
    int64_t batch, M, N, K;        /* all > 0 */
    ProductMatrix a, b, c, d, bias, aux, sum;
    Precision precision;
    void *const *buffer;
    void *workspace; /* of the device, that no other product uses meanwhile */
    int64_t workspace_bytes;
    int proposal; /* which of the algorithms that the library proposes, the best one first, from 0 */
} ProductArguments;

/* Launches that were recorded to be started together. */
typedef struct Recording Recording;

/* Points in the order of what a thread starts, whose distance in time can be asked for. */
typedef struct Marks Marks;

typedef struct DeviceOps {
    /* `bytes` > 0, aligned to at least 64, contents undefined. SN_NO_MEMORY when there is not enough. */
    Status (*alloc)(Device *device, int64_t bytes, void **out);
    /* What alloc gave, with the same `bytes`; no launch uses it any more. NULL is allowed. */
    void (*free)(Device *device, void *at, int64_t bytes);

    /* Copies between host and device memory, not overlapping. A download is done when it returns. After an upload,
     * `from` may change, and what the calling thread starts later finds the bytes; other threads do after its sync. */
    Status (*upload)(Device *device, void *to, const void *from, int64_t bytes);
    Status (*download)(Device *device, void *to, const void *from, int64_t bytes);

    /* A copy of rows, done when it returns. */
    Status (*copy_rows)(Device *device, const RowsCopy *copy);

    /* Zeroed memory of the host that kernels can write to as well. free_host: NULL is allowed. */
    Status (*alloc_host)(Device *device, int64_t bytes, void **out);
    void (*free_host)(Device *device, void *at);

    /* Compiles and loads `count` kernels of different hashes. SN_COMPILER with the compiler's first lines.
     * The module is unloaded by `unload`, when no launch uses it any more. */
    Status (*compile)(Device *device, const Kernel *const *kernel, int count, CompileRecord *record,
                      Module **out);
    void (*unload)(Device *device, Module *module); /* NULL is allowed */

    /* The module's image, in `arena`, and a module from an image of these kernels, whose processor has been
     * checked. NULL where the device has none. */
    Status (*image)(Device *device, Arena *arena, const Module *module, ModuleImage *out);
    Status (*load)(Device *device, const Kernel *const *kernel, int count, const ModuleImage *image,
                   CompileRecord *record, Module **out);

    /* Starts a launch after those that the calling thread started before. *fault (0 before) becomes the
     * kernel's fault code, 1 + the node's position in the cluster's body, at the latest when sync returns. */
    Status (*launch)(Device *device, Module *module, const LaunchArguments *arguments, int *fault);

    /* Starts `count` launches as one, none of which touches what another one writes. They are of kernels that have been
     * compiled in their grouped form, of one kernel on a GPU; they have no `after`, and may have no items. fault[i] is that
     * of member[i]. */
    Status (*launch_group)(Device *device, Module *module, const LaunchArguments *member, int count,
                           int *fault);

    /* Whether there is a library of products (asked for when a plan has some); and starts one, like a launch.
     * *done false: the library has no such proposal. `product` is NULL where `library` is. */
    bool (*library)(Device *device);
    Status (*product)(Device *device, const ProductArguments *arguments, bool *done);

    /* A thread's work goes to one of two lanes, which run beside one another: `lane` says to which one (0, the first, or
     * 1) launches and products go from here on; everything else belongs to the first. `post` puts post `number` (>= 0,
     * below the number of launches or so) behind what has been started in the lane at hand, and `await` lets what is
     * started in it from here on wait for that post, which was put since the last sync. The second lane begins with an
     * `await` of a post of the first one, and the first one waits for all of it in the end, before anything else is
     * started and before `recorded`; sync waits for both, and goes back to the first one. All three are NULL where
     * nothing runs beside anything. */
    Status (*lane)(Device *device, int lane);
    Status (*post)(Device *device, int number);
    Status (*await)(Device *device, int number);

    /* Between `record` and `recorded`, what the calling thread starts is kept and not run; it is launches
     * and products only. `recorded` puts it into *recording, in the place of what was there (NULL: nothing);
     * with `recording` NULL it is dropped. A recording refers to the addresses that it was made with.
     * `replay` starts it; `forget` frees it when it is not running. All four are NULL where a device gains
     * nothing by them. */
    Status (*record)(Device *device);
    Status (*recorded)(Device *device, Recording **recording);
    Status (*replay)(Device *device, Recording *recording);
    void (*forget)(Device *device, Recording *recording);

    /* `mark` puts mark `index` behind what the calling thread has started; once a sync has returned,
     * `elapsed` gives the seconds from one to another. NULL where launches have ended when they return. */
    Status (*marks_new)(Device *device, int count, Marks **out);
    Status (*mark)(Device *device, Marks *marks, int index);
    Status (*elapsed)(Device *device, const Marks *marks, int from, int to, double *seconds);
    void (*marks_free)(Device *device, Marks *marks); /* NULL is allowed */

    /* Waits for everything that the calling thread started. */
    Status (*sync)(Device *device);

    /* Seconds on the device's clock when everything started before has ended (waits for it). */
    double (*clock)(Device *device);

    /* Releases the device; its modules and memory have been released before. */
    void (*close)(Device *device);
} DeviceOps;

struct Device {
    const DeviceOps *ops;
    Target target;
    bool host_memory; /* device addresses are host addresses: inputs and constants are used in place */
    bool absent;      /* it compiles only: there is no memory and nothing runs */
};

#endif
