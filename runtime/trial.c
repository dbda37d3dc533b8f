#include "trial.h"
#include <math.h>
#include <stdlib.h>

/* What the device is busy with while a launch is put behind it: so the time between the marks is the launch's, and not that
 * of the host, which takes longer to start a product than many a product takes. About 100 us on its way. */
enum { AHEAD_BYTES = 4 << 20 };

typedef struct Trial {
    sn_Context *context;
    Marks *marks;
    char *flush; /* two halves, each as large as the second-level cache */
    int64_t half;
    void *ahead; /* of the host */
} Trial;

static Status flush(const Trial *trial) {
    Device *device = trial->context->program->device;
    RowsCopy copy = {
        SN_COPY_MOVE, trial->flush, trial->flush + trial->half, trial->half, trial->half, trial->half, 1};
    return device->ops->copy_rows(device, &copy);
}

static Status time_once(const Trial *trial, int index, int way, bool *done, double *seconds) {
    sn_Context *context = trial->context;
    Device *device = context->program->device;
    TRY(flush(trial));
    TRY(device->ops->upload(device, trial->flush, trial->ahead, AHEAD_BYTES));
    TRY(device->ops->mark(device, trial->marks, 0));
    TRY(sn_context_start(context, context->binding, index, way, done));
    TRY(device->ops->mark(device, trial->marks, 1));
    TRY(device->ops->sync(device));
    return device->ops->elapsed(device, trial->marks, 0, 1, seconds);
}

/* The first run loads what it needs and asks the library. */
static Status time_launch(const Trial *trial, int index, int way, int times, double *seconds) {
    double once;
    bool done;
    TRY(time_once(trial, index, way, &done, &once));
    for (int i = 0; i < times && done; i++) {
        TRY(time_once(trial, index, way, &done, &once));
        *seconds = fmin(*seconds, once);
    }
    return NULL;
}

Status sn_context_try(sn_Context *context, int index, int way, int times, double *seconds) {
    Device *device = context->program->device;
    int64_t l2 = device->target.l2_bytes;
    Trial trial = {.context = context, .half = l2 > AHEAD_BYTES ? l2 : AHEAD_BYTES};
    *seconds = INFINITY;
    if (!context->binding || context->program->plan->eager || !device->ops->marks_new)
        return sn_fail(SN_INTERNAL, "a launch is timed without a compiled run before it");
    TRY(sn_context_grow(context, &context->workspace, SN_WORKSPACE_BYTES,
                        sn_context_side_bytes(context) - context->workspace.bytes));
    trial.ahead = calloc(1, AHEAD_BYTES);
    Status status = trial.ahead ? device->ops->marks_new(device, 2, &trial.marks)
                                : sn_fail(SN_NO_MEMORY, "out of memory for %d bytes", AHEAD_BYTES);
    if (!status) status = device->ops->alloc(device, 2 * trial.half, (void **)&trial.flush);
    if (!status) status = time_launch(&trial, index, way, times, seconds);
    Status ended = device->ops->sync(device);
    if (status)
        sn_error_free(ended);
    else
        status = ended;
    device->ops->free(device, trial.flush, 2 * trial.half);
    device->ops->marks_free(device, trial.marks);
    free(trial.ahead);
    context->ran = false;
    return status;
}
