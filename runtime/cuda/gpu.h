/* What a device `cuda` holds. Its functions are spread over errors.c, lanes.c, copy.c, module.c, product.c
 * and graph.c. */
#ifndef SN_CUDA_GPU_H
#define SN_CUDA_GPU_H

#include "cuda.h"
#include "nvrtc.h"
#include <pthread.h>
#include <stdatomic.h>

enum { SN_STAGING_BYTES = 4 << 20, SN_STAGING_COUNT = 2 };

/* A stream and one beside it, lent to a thread from the first thing that it starts until it has waited for all of them:
 * so what a thread starts runs in order, and there are as many of them as threads that were at work at once. */
typedef struct Lane {
    struct Lane *next;
    pthread_t thread;
    bool lent;
    CuStream stream;
    CuStream beside; /* of a lower priority; NULL until something is to run there */
    bool is_beside;  /* launches and products go there now */
    CuEvent *post;   /* by their numbers; NULL: not needed yet */
    int post_count;
    void *staging[SN_STAGING_COUNT]; /* pinned; NULL until something is copied */
    CuEvent copied[SN_STAGING_COUNT];
    unsigned turn; /* which of them is the next, modulo their number */
} Lane;

/* Algorithms that the library has chosen; see product.c. */
typedef struct Choices Choices;

typedef struct Cuda {
    Device device;
    Pool *pool;
    DriverLibrary driver;
    int version; /* of the driver, 1000·major + 10·minor; 0: there is none */
    Nvrtc nvrtc; /* path NULL: none was asked for */
    CuDevice gpu;
    int pitch;         /* the most bytes from row to row of a copy */
    CuContext context; /* NULL: absent */
    atomic_uint lost;  /* the error that the context was lost with; 0: it is alive */
    _Atomic(const char *) lost_call;
    atomic_bool beside;   /* a lane has had two streams */
    pthread_mutex_t lock; /* of what follows */
    Lane *lanes;
    bool library_asked, library_there;
    LtLibrary lt;
    LtHandle lt_handle;
    Choices *choices;
} Cuda;

/* ---- errors.c ---- */

/* NULL for success; otherwise SN_DEVICE (SN_NO_MEMORY when memory is short) with the call, the code, its
 * name and its meaning. Remembers an error after which the context is lost. */
Status sn_cuda_check(Cuda *cuda, CuResult result, const char *call);

/* A call to the driver, checked. */
#define SN_CU(cuda, name, ...) sn_cuda_check(cuda, (cuda)->driver.name(__VA_ARGS__), #name)

/* Makes the GPU's context that of the calling thread, until sn_cuda_leave; fails when it is lost or absent. */
Status sn_cuda_enter(Cuda *cuda);

/* The same in order to free what is in the context, also when it is lost; false when there is none. What the
 * driver says to freeing is not looked at: a lost context takes with it what it does not free. */
bool sn_cuda_enter_to_free(Cuda *cuda);
void sn_cuda_leave(Cuda *cuda);

/* ---- lanes.c, inside of sn_cuda_enter ---- */

/* The lane of the calling thread, lent to it now if it has none. */
Status sn_cuda_lane(Cuda *cuda, Lane **out);

/* Waits for the lane and takes it back. */
Status sn_cuda_lane_end(Cuda *cuda, Lane *lane);

/* Both pieces of staging memory. */
Status sn_cuda_lane_staging(Cuda *cuda, Lane *lane);

/* Makes the lane's second stream if there may be need of one: while one is captured, none can be made. */
Status sn_cuda_lane_beside(Cuda *cuda, Lane *lane);

/* Where launches and products go: the lane's stream, or the one beside it. */
CuStream sn_cuda_lane_stream(const Lane *lane);

Status sn_cuda_sync(Device *device);

Status sn_cuda_turn(Device *device, int lane);
Status sn_cuda_post(Device *device, int number);
Status sn_cuda_await(Device *device, int number);

/* When no thread uses one. */
void sn_cuda_lanes_free(Cuda *cuda);

/* ---- copy.c ---- */

Status sn_cuda_upload(Device *device, void *to, const void *from, int64_t bytes);
Status sn_cuda_download(Device *device, void *to, const void *from, int64_t bytes);
Status sn_cuda_copy_rows(Device *device, const RowsCopy *copy);

/* ---- module.c ---- */

Status sn_cuda_compile(Device *device, const Kernel *const *kernel, int count, CompileRecord *record,
                       Module **out);
Status sn_cuda_load(Device *device, const Kernel *const *kernel, int count, const ModuleImage *image,
                    CompileRecord *record, Module **out);
Status sn_cuda_image(Device *device, Arena *arena, const Module *module, ModuleImage *out);
void sn_cuda_unload(Device *device, Module *module);
Status sn_cuda_launch(Device *device, Module *module, const LaunchArguments *arguments, int *fault);
Status sn_cuda_launch_group(Device *device, Module *module, const LaunchArguments *member, int count,
                            int *fault);

/* ---- product.c ---- */

bool sn_cuda_library(Device *device);
Status sn_cuda_product(Device *device, const ProductArguments *arguments, bool *done);
void sn_cuda_products_free(Cuda *cuda);

/* ---- graph.c ---- */

Status sn_cuda_record(Device *device);
Status sn_cuda_recorded(Device *device, Recording **recording);
Status sn_cuda_replay(Device *device, Recording *recording);
void sn_cuda_forget(Device *device, Recording *recording);
Status sn_cuda_marks_new(Device *device, int count, Marks **out);
Status sn_cuda_mark(Device *device, Marks *marks, int index);
Status sn_cuda_elapsed(Device *device, const Marks *marks, int from, int to, double *seconds);
void sn_cuda_marks_free(Device *device, Marks *marks);

#endif
