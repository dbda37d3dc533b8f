/* Recordings as CUDA graphs, and marks as events. */
#include "gpu.h"
#include <stdlib.h>

struct Recording {
    CuGraphExec exec;
};

struct Marks {
    int count;
    CuEvent event[];
};

/* ---- recordings ---- */

Status sn_cuda_record(Device *device) {
    Cuda *cuda = (Cuda *)device;
    Lane *lane;
    TRY(sn_cuda_enter(cuda));
    Status status = sn_cuda_lane(cuda, &lane);
    if (!status) status = sn_cuda_lane_beside(cuda, lane);
    /* Other threads may call the driver as they like meanwhile. */
    if (!status) status = SN_CU(cuda, cuStreamBeginCapture_v2, lane->stream, SN_CU_CAPTURE_THREAD_LOCAL);
    sn_cuda_leave(cuda);
    return status;
}

/* Its kernels keep the priorities of the streams that they were captured on. A graph that differs from the one before
 * in numbers and addresses alone changes it; otherwise it is made anew. */
static Status put(Cuda *cuda, CuGraph graph, Recording *recording) {
    CuGraphUpdate result = {0};
    if (recording->exec &&
        cuda->driver.cuGraphExecUpdate_v2(recording->exec, graph, &result) == SN_CU_SUCCESS)
        return NULL;
    if (recording->exec) cuda->driver.cuGraphExecDestroy(recording->exec);
    recording->exec = NULL;
    return SN_CU(cuda, cuGraphInstantiateWithFlags, &recording->exec, graph, SN_CU_GRAPH_USE_NODE_PRIORITY);
}

static Status put_new(Cuda *cuda, CuGraph graph, Recording **recording) {
    Recording *made = *recording ? *recording : calloc(1, sizeof *made);
    if (!made) return sn_fail(SN_NO_MEMORY, "out of memory for a recording");
    Status status = put(cuda, graph, made);
    if (status) {
        free(made);
        made = NULL;
    }
    *recording = made;
    return status;
}

static Status end_capture(Cuda *cuda, Recording **recording) {
    Lane *lane;
    CuGraph graph = NULL;
    TRY(sn_cuda_lane(cuda, &lane));
    lane->is_beside = false;
    Status status = SN_CU(cuda, cuStreamEndCapture, lane->stream, &graph);
    if (!status && recording) status = put_new(cuda, graph, recording);
    if (graph) cuda->driver.cuGraphDestroy(graph);
    return status;
}

Status sn_cuda_recorded(Device *device, Recording **recording) {
    Cuda *cuda = (Cuda *)device;
    TRY(sn_cuda_enter(cuda));
    Status status = end_capture(cuda, recording);
    sn_cuda_leave(cuda);
    return status;
}

Status sn_cuda_replay(Device *device, Recording *recording) {
    Cuda *cuda = (Cuda *)device;
    Lane *lane;
    TRY(sn_cuda_enter(cuda));
    Status status = sn_cuda_lane(cuda, &lane);
    if (!status) status = SN_CU(cuda, cuGraphLaunch, recording->exec, lane->stream);
    sn_cuda_leave(cuda);
    return status;
}

void sn_cuda_forget(Device *device, Recording *recording) {
    Cuda *cuda = (Cuda *)device;
    if (!recording) return;
    if (sn_cuda_enter_to_free(cuda)) {
        cuda->driver.cuGraphExecDestroy(recording->exec);
        sn_cuda_leave(cuda);
    }
    free(recording);
}

/* ---- marks ---- */

static Status make_events(Cuda *cuda, Marks *marks, int count) {
    for (; marks->count < count; marks->count++)
        TRY(SN_CU(cuda, cuEventCreate, &marks->event[marks->count], SN_CU_EVENT_DEFAULT));
    return NULL;
}

Status sn_cuda_marks_new(Device *device, int count, Marks **out) {
    Cuda *cuda = (Cuda *)device;
    *out = NULL;
    TRY(sn_cuda_enter(cuda));
    Marks *marks = calloc(1, sizeof *marks + (size_t)count * sizeof *marks->event);
    Status status =
        marks ? make_events(cuda, marks, count) : sn_fail(SN_NO_MEMORY, "out of memory for %d events", count);
    sn_cuda_leave(cuda);
    if (status)
        sn_cuda_marks_free(device, marks);
    else
        *out = marks;
    return status;
}

Status sn_cuda_mark(Device *device, Marks *marks, int index) {
    Cuda *cuda = (Cuda *)device;
    Lane *lane;
    TRY(sn_cuda_enter(cuda));
    Status status = sn_cuda_lane(cuda, &lane);
    if (!status) status = SN_CU(cuda, cuEventRecord, marks->event[index], lane->stream);
    sn_cuda_leave(cuda);
    return status;
}

Status sn_cuda_elapsed(Device *device, const Marks *marks, int from, int to, double *seconds) {
    Cuda *cuda = (Cuda *)device;
    float milliseconds = 0;
    TRY(sn_cuda_enter(cuda));
    Status status = SN_CU(cuda, cuEventElapsedTime, &milliseconds, marks->event[from], marks->event[to]);
    sn_cuda_leave(cuda);
    *seconds = 1e-3 * (double)milliseconds;
    return status;
}

void sn_cuda_marks_free(Device *device, Marks *marks) {
    Cuda *cuda = (Cuda *)device;
    if (!marks) return;
    if (sn_cuda_enter_to_free(cuda)) {
        for (int i = 0; i < marks->count; i++) cuda->driver.cuEventDestroy_v2(marks->event[i]);
        sn_cuda_leave(cuda);
    }
    free(marks);
}
